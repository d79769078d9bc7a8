"""`scratchgpt bench`: training, memory, sampling and tokenizing side by side with other libraries, in one run.

__init__.py   the command and how its results are printed
sections.py   what is compared with what
contest.py    processes that take turns
worker.py     what runs inside such a process
torch_gpt.py  the same GPT in PyTorch
"""

import json
import sys
import time
from dataclasses import asdict
from importlib.util import find_spec

from scratchgpt import doctor
from scratchgpt.backend import available_cores
from scratchgpt.bench.contest import KERNELS, ContenderError
from scratchgpt.bench.sections import SECTIONS, Row, Settings
from scratchgpt.errors import InputError

ROUNDS, QUICK_ROUNDS = 9, 3


def add_arguments(parser):
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"any of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of every contender (default: one per core)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}: rougher")
    parser.add_argument(
        "--blas", choices=tuple(KERNELS), default="auto",
        help="the BLAS kernels that ours runs with: scratchgpt's choice, or Haswell's, without AVX-512 (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--gpt2-files", metavar="DIR", help="GPT-2's vocabulary and merges, to compare encoding with tiktoken"
    )


def main(args):
    """Runs the sections and prints them; exit code 1 when one of them could not be run."""
    sections = list(dict.fromkeys(args.sections)) or list(SECTIONS)
    threads = available_cores() if args.threads is None else args.threads
    if threads < 1:
        raise InputError(f"--threads is {threads}; expected at least 1")
    check(sections)
    settings = Settings(threads, QUICK_ROUNDS if args.quick else ROUNDS, KERNELS[args.blas], args.gpt2_files)
    machine = {"cpu": doctor.cpu(), "versions": doctor.versions()}
    start, results, failed = time.perf_counter(), {}, False
    for name in sections:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            results[name] = SECTIONS[name][0](settings)
        except ContenderError as error:
            results[name], failed = [Row(name, None, note=str(error))], True
        if not args.json:
            show_rows(results[name])  # at once: the next section takes minutes
    report = {
        "machine": machine,
        "settings": {"threads": threads, "rounds": settings.rounds, "blas": args.blas},
        "seconds": time.perf_counter() - start,
        "sections": {name: [asdict(row) | {"met": row.met} for row in rows] for name, rows in results.items()},
    }
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        show_machine(report)
    return int(failed)


def check(sections):
    """Raises InputError for an unknown section, and when a package that a section compares with is not installed."""
    for name in sections:
        if name not in SECTIONS:
            raise InputError(f"bench has no section {name!r}; expected any of {', '.join(SECTIONS)}")
        for package in SECTIONS[name][1]:
            if find_spec(package) is None:
                without = [each for each in SECTIONS if all(map(find_spec, SECTIONS[each][1]))]
                raise InputError(
                    f"bench {name} compares with {package}, which is not installed; run pip install "
                    f"'scratchgpt[compare]', or ask only for what needs nothing more: {' '.join(without)}"
                )


def show_rows(rows):
    """Prints a section: the ratios first, then what they were made of."""
    cells = [("ratio", "goal", "", "", "ours", "theirs", "", "against"), *map(cells_of, rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        aligned = (
            cell.rjust(width) if index in (0, 1, 4, 5) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths))
        )
        print("  ".join(aligned).rstrip())
    for row in rows:
        print(f"* {f'against {row.against}: ' if row.against else ''}{row.note}")
    print(flush=True)


def show_machine(report):
    """Prints on what, with what and how the figures were taken."""
    cpu, settings = report["machine"]["cpu"], report["settings"]
    print(f"{cpu['name']}, {cpu['cores']} cores, {' '.join(cpu['flags'])}")
    print(", ".join(f"{name} {version}" for name, version in report["machine"]["versions"].items()))
    print(
        f"threads {settings['threads']}; medians of {settings['rounds']} rounds, taken in turns; "
        f"{report['seconds']:.0f} s in all"
    )
    if cpu["load"] > 0.3 * cpu["cores"]:
        print(f"The load was {cpu['load']:.1f} before the start: other programs ran, and the figures are rough.")


def cells_of(row):
    """A row as texts: ratio, goal, met or not, what, ours, theirs, unit, against."""

    def number(value):
        return "" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"

    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    goal = "" if row.goal is None else f"{'<=' if row.at_most else '>='} {row.goal:g}"
    met = {None: "", True: "met", False: "missed"}[row.met]
    return ratio, goal, met, row.what, number(row.ours), number(row.theirs), row.unit, row.against
