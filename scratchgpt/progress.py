"""What a person sees while a model trains: a live line in a terminal, a plain line every few seconds elsewhere."""

import sys
import time

PLAIN_SECONDS = 5  # between two lines when the output is not a terminal


class Progress:
    """Shows {"step", "loss", "tokens_per_s", "mfu", "val_loss", "seconds_left"} as training goes; a context manager.

    quiet shows nothing. In a terminal rich redraws one line; elsewhere a line is printed at most every 5 seconds.
    """

    def __init__(self, steps, quiet=False, file=None):
        self.steps, self.quiet, self.file = steps, quiet, file or sys.stdout
        self.last_line = -PLAIN_SECONDS
        self.val_loss = None
        self.bar = self.task = None

    def __enter__(self):
        if not self.quiet and self.file.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[said]}"),
                console=Console(file=self.file),
            )
            self.task = self.bar.add_task("", total=self.steps, said="")
            self.bar.start()
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.stop()

    def show(self, record):
        """Shows one record; the last one always."""
        self.val_loss = record.get("val_loss", self.val_loss)
        if self.quiet:
            return
        said = describe(record, self.val_loss)
        if self.bar is not None:
            self.bar.update(self.task, completed=record["step"], said=said)
        elif time.monotonic() - self.last_line >= PLAIN_SECONDS or record["step"] == self.steps:
            self.last_line = time.monotonic()
            try:
                print(f"step {record['step']}/{self.steps}  {said}", file=self.file, flush=True)
            except BrokenPipeError:  # nobody reads any more: the training goes on
                self.quiet = True


def describe(record, val_loss=None):
    """ "loss 3.21  validation 3.40  45,100 tokens/s  MFU 61%  1:05 left"; of a loss with several parts, "loss 3.21 (mlm
    2.60, nsp 0.61)": the validation is then the first one's."""
    parts = [f"{name} {record[name + '_loss']:.3f}" for name in ("mlm", "nsp", "span") if f"{name}_loss" in record]
    said = [f"loss {record['loss']:.3f}" + (f" ({', '.join(parts)})" if len(parts) > 1 else "")]
    if val_loss is not None:
        said.append(f"validation {val_loss:.3f}")
    said.append(f"{record['tokens_per_s']:,.0f} tokens/s")
    if record.get("mfu") is not None:
        said.append(f"MFU {record['mfu']:.0%}")
    said.append(f"{clock(record['seconds_left'])} left")
    return "  ".join(said)


def clock(seconds):
    """clock(65) -> "1:05"; clock(3700) -> "1:01:40"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def print_table(title, rows, columns=("", ""), file=None):
    """Prints rows of texts as a table; every column but the first is right-aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=any(columns))
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False)
    console.width = console.measure(table, options=console.options.update(max_width=1000)).maximum  # never cropped
    with console.capture() as printed:  # rich would end the process on a closed pipe
        console.print(table)
    if title:
        print(title, file=console.file)
    print(printed.get(), end="", file=console.file)
