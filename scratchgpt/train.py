"""Training: configuration, the loop, checkpoints, and what is left in the run's directory.

>>> trainer = Trainer(model, tokenizer, train_ids, val_ids, TrainConfig(steps=300), out="runs/mine")  # doctest: +SKIP
>>> trainer.run()                                                                                     # doctest: +SKIP
"""

import contextlib
import json
import math
import signal
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from scratchgpt import interop
from scratchgpt.backend import available_cores, blas_kernels, matmul_flops_per_second, to_host
from scratchgpt.checkpoint import STATE_FILE, restore_state, save_state
from scratchgpt.data import NextTokens
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError, Interrupted, NonFiniteError, SaveError
from scratchgpt.files import write_text
from scratchgpt.ops import watched
from scratchgpt.optim import AdamW, cosine_schedule
from scratchgpt.plot import draw_load, draw_loss
from scratchgpt.progress import Progress

METRICS_FILE, LOSS_FILE, LOAD_FILE = "metrics.jsonl", "loss.png", "moe_load.png"
RUN_FILES = (  # a directory that holds one of these holds a run
    STATE_FILE, METRICS_FILE, LOSS_FILE, LOAD_FILE, "config.json", "model.safetensors", "tokenizer.json", "vocab.json",
    "vocab.txt", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
    "words.json",
)  # fmt: skip


def option(default, group, text, **extra):
    """A dataclass field that is also a command-line option: its group and its help text are kept as metadata."""
    return field(default=default, metadata={"group": group, "help": text, **extra})


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Raises InputError for a value that cannot be used."""

    steps: int = option(1100, "optimisation", "updates of the weights")
    batch_size: int = option(16, "optimisation", "sequences of n_ctx tokens that are run at once; of a "
                            "word2vec words, each with its contexts")  # fmt: skip
    accumulate: int = option(1, "optimisation", "batches whose gradients are added up for one update")
    lr: float = option(4e-3, "optimisation", "highest learning rate, reached after the warm-up")
    min_lr: float = option(0.0, "optimisation", "learning rate of the last update; the way down is half a cosine")
    warmup_steps: int = option(50, "optimisation", "updates during which the learning rate rises linearly to lr")
    weight_decay: float = option(0.1, "optimisation", "AdamW's decoupled decay, on matrices only")
    beta1: float = option(0.9, "optimisation", "AdamW's decay rate of the mean gradient")
    beta2: float = option(0.95, "optimisation", "AdamW's decay rate of the mean squared gradient")
    grad_clip: float = option(1.0, "optimisation", "largest norm of the gradient; a longer one is scaled down; 0: none")
    seed: int = option(0, "run", "fixes the first weights, the order of the data and dropout")
    threads: int | None = option(None, "run", "threads that share each batch (default: one per core)")
    checkpoint_every: int = option(200, "run", "updates between two checkpoints")
    eval_every: int = option(100, "run", "updates between two looks at a part of the validation text")
    log_every: int = option(10, "run", "updates between two lines of metrics.jsonl")

    def __post_init__(self):
        at_least = {"steps": 1, "batch_size": 1, "accumulate": 1, "warmup_steps": 0, "seed": 0, "checkpoint_every": 1,
                    "eval_every": 1, "log_every": 1, "min_lr": 0, "weight_decay": 0, "grad_clip": 0}  # fmt: skip
        for name, least in at_least.items():
            if not least <= getattr(self, name) < math.inf:  # NaN fails too
                raise InputError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr is {self.lr}; expected more than 0")
        if self.min_lr > self.lr:
            raise InputError(f"min_lr {self.min_lr} is above lr {self.lr}; expected a value from 0 to lr")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}; expected at least 1")


class Trainer:
    """Trains a model with AdamW, warm-up and a cosine, and keeps the run in a directory.

    model: a GPT, and train_ids, val_ids: (N,) ints; or any model, and data: its dataset, as scratchgpt/data/__init__.py
    describes it. tokenizer: what made the ids, or None; config: TrainConfig; out: the run's directory, or None to write
    nothing. resume: a State (checkpoint.load_state(DIR)) to continue from, bit for bit. force: overwrite another run in
    `out`. record: JSON values to keep in the checkpoint besides its own. Nothing is written before run() or save().
    Raises InputError for ids out of range, too few of them, a directory that holds another run, and a state of another
    model, tokenizer or corpus.
    """

    def __init__(self, model, tokenizer, train_ids=None, val_ids=None, config=None, *, data=None, out=None, resume=None,
                 force=False, quiet=False, record=None):  # fmt: skip
        self.model, self.tokenizer, self.config = model, tokenizer, config or TrainConfig()
        self.out, self.force, self.quiet, self.extra_record = out and Path(out), force, quiet, record or {}
        config = self.config
        if data is None:
            n_bytes = None if tokenizer is None else len(tokenizer.decode_bytes(val_ids))
            data = NextTokens(train_ids, val_ids, model.config, config, n_bytes)
        self.data = data
        self.threads = config.threads or (resume.record["config"]["threads"] if resume else available_cores())
        self.shards = Shards(model, self.threads)
        self.optimizer = AdamW(
            model.params, model.ops, config.beta1, config.beta2, weight_decay=config.weight_decay, threads=self.threads
        )
        self.done = self.saved = 0  # updates made; the step of the last checkpoint
        self.seconds = 0.0  # spent training, over all sittings
        self.history, self.lines, self.matmul_rate, self.stop_signal = [], None, 0.0, None
        self.resumed, self.same_kernels = resume is not None, True
        self.begun = False  # the run's directory holds this run, from which it can be resumed
        if resume is not None:
            self._continue_from(resume)
        elif self.out is not None and not force:
            refuse_other_run(self.out)

    # ---- one update

    def learning_rate(self):
        config = self.config
        return cosine_schedule(self.done, config.lr, config.warmup_steps, config.steps, config.min_lr)

    def step(self):
        """One update of the weights: (loss, norm of the gradient before clipping), as floats.

        Raises NonFiniteError, and leaves the weights as they are, when the loss or the gradient is not finite.
        """
        config = self.config
        loss = number(self.shards.loss_and_grad(self.data.at(self.done), config.seed, self.done))
        norm = number(self.optimizer.norm())  # waits for the device: no bad update is made
        if not math.isfinite(norm) or not math.isfinite(loss):
            raise NonFiniteError(self._non_finite(loss, norm))
        self.optimizer.step(self.learning_rate(), config.grad_clip or None, norm)
        if self.shards.routed:
            self.model.move_biases(self.shards.routing()[0])
        self.done += 1
        return loss, norm

    def _non_finite(self, loss, norm):
        cause = first_non_finite(self.model, self.data.at(self.done), self.config.seed, self.done)
        return (
            f"step {self.done + 1}: the loss is {loss:.4g}, the gradient's norm {norm:.4g}: {cause}; "
            f"the update was not made; {self._last_good()}"
        )

    def _last_good(self):
        kept = "nothing was saved"
        if self.out is not None:
            kept = f"the last good checkpoint is {self.out / STATE_FILE} (step {self.saved})"
        return f"{kept}; try a lower lr or a longer warm-up"

    # ---- the loop

    def run(self):
        """Trains until config.steps, then evaluates on the whole validation text and returns the dataset's result.

        Raises NonFiniteError (see step), SaveError when a file cannot be written, and Interrupted after Ctrl-C or
        SIGTERM, each with the last checkpoint intact.
        """
        with self._signals():
            self._start()
            with Progress(self.config.steps, self.quiet) as progress:
                self._loop(progress)
        return self._finish()

    def _start(self):
        self.lines = self.data.lines
        self._measure_products(seconds=0.1)
        if self.out is None:
            return
        with self._writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            if self.resumed:
                kept = "".join(json.dumps(record) + "\n" for record in self.history)
                write_text(self.out / METRICS_FILE, kept)
                interop.save(self.model, self.out, self.tokenizer)  # a crash may have left the one before
                self.begun = True
                return
            for name in RUN_FILES:
                (self.out / name).unlink(missing_ok=True)  # only with force, or nothing is there
        self.save()
        self.begun = True

    def _loop(self, progress):
        config, tokens_per_step = self.config, self.data.tokens_per_step
        begun, first, since, since_step = time.monotonic(), self.done, time.monotonic(), self.done
        while self.done < config.steps:
            lr = self.learning_rate()
            loss, norm = self.step()
            last = self.done == config.steps
            evaluates = self.done % config.eval_every == 0 and not last
            if self.done == 1 or self.done % config.log_every == 0 or evaluates or last:
                now = time.monotonic()
                rate = (self.done - since_step) * tokens_per_step / max(now - since, 1e-9)
                self.seconds += now - since
                record = {
                    "step": self.done, "tokens": self.done * tokens_per_step, "loss": loss, "lr": lr,
                    "grad_norm": norm, "tokens_per_s": round(rate, 1), "mfu": self._mfu(rate),
                }  # fmt: skip
                record |= {f"{name}_loss": number(value) for name, value in self.shards.losses.items()}
                if self.shards.routed:
                    record |= self._routing(loss)
                if evaluates:
                    record["val_loss"] = self._glance()
                left = (time.monotonic() - begun) / (self.done - first) * (config.steps - self.done)
                self._log(record)
                progress.show(record | {"seconds_left": left})
                since, since_step = time.monotonic(), self.done
            if last or self.stop_signal or self.done % config.checkpoint_every == 0:
                self.save()
                if self.stop_signal and not last:
                    self._stop()

    def _routing(self, loss):
        """What a record says of mixtures of experts: the loss without and with balancing, and each one's share of the
        tokens that went to each of its experts; evenly it would be top_k / n_experts."""
        load, balance = map(to_host, self.shards.routing())
        shares = load * self.model.config.moe.top_k / load.sum(1, keepdims=True)
        return {"loss": loss - float(balance), "balance_loss": float(balance), "expert_load": shares.round(4).tolist()}

    def _mfu(self, rate):
        """Model FLOPs utilization (Chowdhery et al. 2022): what the model needs per second / what a product reaches."""
        needed = rate * self.data.flops_per_token
        if needed > self.matmul_rate:  # it was measured while other programs took part of the machine
            self._measure_products()
        return round(needed / self.matmul_rate, 4)

    def _measure_products(self, seconds=0.02):
        """Measures the rate of a product, and keeps it when it has grown. Where other programs run, one thread may be
        faster than several, which wait for the slowest."""
        for threads in {1, self.threads}:
            rate = matmul_flops_per_second(self.model.xp, threads, self.model.params.dtype, seconds=seconds)
            self.matmul_rate = max(self.matmul_rate, rate)

    def _glance(self):
        """The loss on a fixed part of the validation text. The rate of a product is measured again: it may grow."""
        self._measure_products()
        return self._evaluate(whole=False).nats_per_token

    def _evaluate(self, whole):
        evaluation = self.data.evaluate(self.model, self.threads, whole)
        if not math.isfinite(evaluation.nats_per_token):
            raise NonFiniteError(
                f"step {self.done}: the loss on the validation text is {evaluation.nats_per_token:.4g}: the weights "
                "have grown too large; try a lower lr or a longer warm-up"
            )
        return evaluation

    def _log(self, record):
        self.history.append(record)
        if self.out is not None:
            with self._writing(self.out / METRICS_FILE), open(self.out / METRICS_FILE, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def _finish(self):
        whole = self._evaluate(whole=True)
        if not any(record.get("whole") and record["step"] == self.done for record in self.history):
            self._log({"step": self.done, "val_loss": whole.nats_per_token, "whole": True} | whole.figures())
        self.draw()
        return whole

    def draw(self):
        """Draws loss.png in the run's directory, and moe_load.png where there are mixtures of experts."""
        data = self.data
        if self.out is not None:
            with self._writing(self.out / LOSS_FILE):
                draw_loss(self.out / LOSS_FILE, self.history, self.lines, data.title, data.curve, data.unit)
                if self.shards.routed:
                    draw_load(self.out / LOAD_FILE, {"": self.history}, self.model.config.moe.top_k)

    # ---- signals

    @contextlib.contextmanager
    def _signals(self):
        """Ctrl-C and SIGTERM ask the loop to save and stop; a second one stops at once. In the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(signum, frame):
            if self.stop_signal:
                raise KeyboardInterrupt
            self.stop_signal = signum

        heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
        before = {signum: signal.signal(signum, ask) for signum in heard}  # what nohup ignores stays ignored
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _stop(self):
        if self.out is None:
            raise Interrupted(f"stopped after step {self.done}; nothing was saved: no directory", self.stop_signal)
        self.draw()
        raise Interrupted(
            f"stopped after step {self.done}, which is saved; to resume: scratchgpt train --resume {self.out}",
            self.stop_signal,
        )

    # ---- files

    def record(self):
        """What the checkpoint says besides the arrays."""
        return {
            "step": self.done, "seconds": round(self.seconds, 3), "model": asdict(self.model.config),
            "config": asdict(self.config) | {"threads": self.threads}, "tokenizer": tokenizer_digest(self.tokenizer),
            "corpus": self.data.digest(), "blas": blas_kernels(), **self.extra_record,
        }  # fmt: skip

    def save(self):
        """Writes the checkpoint and the Hugging Face directory, each file whole or not at all."""
        if not to_host(self.model.xp.isfinite(self.model.params.data).all()):
            raise NonFiniteError(f"step {self.done}: the update made a weight infinite or NaN; {self._last_good()}")
        if self.out is None:
            return
        with self._writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            if self.done == 0:
                interop.save(self.model, self.out, self.tokenizer)  # the tokenizer must be there before a state is
            save_state(self.out / STATE_FILE, self.model.params, self.optimizer, self.record())
            self.saved = self.done
            if self.done:
                interop.save(self.model, self.out, self.tokenizer)

    @contextlib.contextmanager
    def _writing(self, path):
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            where = error.filename2 or error.filename or path
            left = "there is no checkpoint yet"
            if (self.out / STATE_FILE).exists():
                left = (
                    f"the last good checkpoint, step {self.saved}, is untouched; make room, then: "
                    f"scratchgpt train --resume {self.out}"
                )
            raise SaveError(f"step {self.done}: cannot write {where}: {reason}; {left}") from error

    def _continue_from(self, state):
        checks = (
            ("model", asdict(self.model.config), "another model", "build the model it was saved from"),
            ("tokenizer", tokenizer_digest(self.tokenizer), "another tokenizer", "use the tokenizer it was saved with"),
            ("corpus", self.data.digest(), "another text", "give the data it was trained on"),
        )
        for key, mine, what, advice in checks:
            if state.record[key] != mine:
                raise InputError(f"{state.path} is the state of a run with {what}; {advice}")
        for name in ("batch_size", "accumulate", "seed"):
            if state.record["config"][name] != getattr(self.config, name):
                raise InputError(
                    f"{state.path} was trained with {name} {state.record['config'][name]}, "
                    f"not {getattr(self.config, name)}; that would change the order of the data"
                )
        restore_state(state, self.model.params, self.optimizer)
        self.same_kernels = state.record["blas"] == blas_kernels()
        self.done = self.saved = state.step
        self.seconds = state.record["seconds"]
        self.history = [] if self.out is None else read_metrics(self.out / METRICS_FILE, self.done)


def refuse_other_run(out, advice=None):
    """Raises InputError, with some advice, when the directory `out` holds a run, or is not a directory."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; expected a directory for the run")
    found = [name for name in RUN_FILES if (out / name).exists()]
    if found:
        resume = f"continue it with --resume {out}, " if (out / STATE_FILE).exists() else ""
        advice = advice or f"{resume}overwrite it with --force, or give another --out"
        raise InputError(f"{out} already holds a run ({found[0]}); {advice}")


def read_metrics(path, step):
    """The records of metrics.jsonl up to a step; lines after it, or cut short by a crash, are left out."""
    records = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            record = json.loads(line)
            later = record["step"] > step
        except (ValueError, TypeError, KeyError):
            break
        if later:
            break
        records.append(record)
    return records


def number(scalar):
    """A 0-d array, of whatever device, as a Python float."""
    return float(to_host(scalar))


def tokenizer_digest(tokenizer):
    """What tells one tokenizer from another: the digest of its tokens and merges; None for no tokenizer."""
    return None if tokenizer is None else tokenizer.digest()


def first_non_finite(model, micro_batches, seed, step):
    """What made a step's loss or gradient not finite: the weights, or the first op, as the step runs again, watched."""
    for name in model.params.names:
        if not to_host(model.xp.isfinite(model.params[name]).all()):
            return f"the weight {name} was not finite before the step"
    ops, model.ops = model.ops, watched(model.ops)
    try:
        Shards(model, 1).loss_and_grad(micro_batches, seed, step)
    except NonFiniteError as error:
        return str(error)
    finally:
        model.ops = ops
    return "every op alone was finite: their sum overflowed"


def options_of(cls):
    """The fields of a config dataclass that are options, in order."""
    return [each for each in fields(cls) if "group" in each.metadata]
