"""A real small GPT (or Llama) with a student's op in it, trained beside the same model with the library's.

The training runs in a process of its own (`python -m scratchgpt.homework.train`), which may import the library but has
the limits on time and memory that a check has.
"""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np

from scratchgpt.errors import InputError, NonFiniteError
from scratchgpt.homework import runner
from scratchgpt.homework.exercises import exercise_names, find_exercise
from scratchgpt.homework.grade import check, explain_problem
from scratchgpt.homework.start import given_source
from scratchgpt.homework.student import read_source

SHAPE = {"vocab_size": 512, "n_ctx": 64, "n_layer": 2, "n_head": 4, "n_embd": 64}
ROWS, LEARNING_RATE, WARMUP, DROPOUT = 8, 3e-3, 10, 0.1
TEXT = 300_000  # characters of the plays: enough that no step sees a window twice
CALL_SECONDS = 20.0  # of processor time, for one call of a student's op; the library's take milliseconds
SAME = 2e-2  # nats: two right float32 ops drift apart by rounding, by 1e-3 or so after 150 steps; a mistake shows more


class StudentError(Exception):
    """The student's code failed during training; the message says where."""


def compare_training(path, steps, seed=0, out=None):
    """Checks the file, then trains with it. Returns 0, or 1 when the student's op fails or gives NaN."""
    if steps < 1:
        raise InputError(f"--steps is {steps}; expected at least 1")
    report = check(path, seed=seed)
    exercise = find_exercise(report.exercise)
    if report.variant:
        raise InputError(f"{report.exercise}/{report.variant} has another signature than the library's op; only "
                         f"{report.exercise} itself can take its place in a model")  # fmt: skip
    if not exercise.ops:
        able = ", ".join(name for name in exercise_names() if find_exercise(name).ops)
        raise InputError(
            f"{report.exercise} is no op of a training step, so it cannot be trained with; these can: {able}"
        )
    if report.refusals:
        print(f"{path} was not graded: {'; '.join(map(str, report.refusals))}", file=sys.stderr)
        return 1
    wrong = [row for row in report.rows if not row.passed]
    print(f"{path}: {'all right' if report.passed else 'wrong, and trained with all the same'}")
    for row in wrong:
        print(f"  {row.name}: {row.diagnosis()}")
    out = Path(out or f"runs/homework-{report.exercise}")
    out.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    command = [
        sys.executable,
        "-m",
        "scratchgpt.homework.train",
        str(path),
        report.exercise,
        str(steps),
        str(seed),
        str(out),
    ]
    return subprocess.run(command, check=False).returncode


# ---- in the process of its own


def guarded(function, name, path, lines):
    """The student's function, with a limit on its time, and errors that name the student's line."""

    def call(*args, **kwargs):
        runner.timer(CALL_SECONDS)
        try:
            return function(*args, **kwargs)
        except (Exception, runner.OutOfTime) as error:  # whatever a student's code can raise
            problem = runner.describe(error, path, name)
            raise StudentError(str(explain_problem(problem, lines))) from None
        finally:
            runner.timer(0)

    return call


def student_table(path, exercise):
    """The reference table with the student's functions in place of the exercise's ops."""
    from scratchgpt.ops import table

    source = read_source(path)
    functions, _, problem = runner.load(str(path), source, given_source(exercise))
    if problem:
        raise StudentError(str(explain_problem(problem, source.split("\n"))))
    ours = {name: guarded(functions[name], name, str(path), source.split("\n")) for name in exercise.ops}
    return table("reference").replace(**ours)


def losses(model, ids, steps, seed):
    """The training loss before each update."""
    from scratchgpt.data import Batches
    from scratchgpt.distributed import dropout_key
    from scratchgpt.optim import AdamW, cosine_schedule

    batches = Batches(ids, SHAPE["n_ctx"], ROWS, seed)
    optimizer = AdamW(model.params, model.ops)
    for step in range(steps):
        model.params.grad.fill(0)
        try:
            loss, cache = model.loss({"input_ids": batches.at(step)}, dropout_key=dropout_key(seed, step))
            model.backward(cache)
        except (ValueError, TypeError, AttributeError) as error:  # a result of another shape, or no array at all
            raise StudentError(f"the results of these functions do not fit into a model: {error}") from None
        if not math.isfinite(loss) or not np.isfinite(model.params.grad).all():
            raise NonFiniteError(f"at step {step + 1} the loss or a gradient is not finite: training ends there")
        optimizer.step(cosine_schedule(step, LEARNING_RATE, WARMUP, steps), max_norm=1.0)
        yield float(loss)


def draw(path, name, yours, library):
    """Writes both loss curves, the library's dashed over the student's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from scratchgpt.files import write_atomically
    from scratchgpt.plot import TRAINING, VALIDATION

    figure = Figure(figsize=(8, 4.5), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(range(1, len(yours) + 1), yours, color=VALIDATION, lw=2.4, label=f"with your {name}")
    axes.plot(range(1, len(library) + 1), library, color=TRAINING, lw=1.2, ls=(0, (4, 3)), label="with the library's")
    axes.set_xlabel("step")
    axes.set_ylabel("training loss, nats per token")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def small_model(exercise):
    """(class, configuration) of a small model in which the exercise's ops are at work."""
    from scratchgpt.models.gpt import GPT, GPTConfig
    from scratchgpt.models.llama import Llama, LlamaConfig
    from scratchgpt.models.moe import MoEConfig

    if "rms_norm_forward" in exercise.ops:
        return Llama, LlamaConfig(**SHAPE, n_inner=2 * SHAPE["n_embd"])
    return GPT, GPTConfig(
        **SHAPE,
        dropout=DROPOUT if any("dropout" in op for op in exercise.ops) else 0.0,
        moe=MoEConfig(4, 2) if "choose_experts" in exercise.ops else None,
    )


def main(path, name, steps, seed, out):
    from scratchgpt.data import load_text
    from scratchgpt.ops import table
    from scratchgpt.tokenizers import BPETokenizer

    steps, seed, exercise = int(steps), int(seed), find_exercise(name)
    text = load_text("plays")[:TEXT]
    ids = BPETokenizer.train(text, SHAPE["vocab_size"]).encode_array(text)
    kind, config = small_model(exercise)
    models = [kind(config, seed=seed, ops=ops) for ops in (student_table(path, exercise), table("reference"))]
    runs = [losses(model, ids, steps, seed) for model in models]
    yours, library = [], []
    print(f"a {kind.__name__} of {models[0].params.size:,} parameters, {steps} steps of {ROWS * SHAPE['n_ctx']} tokens")
    try:
        for step, pair in enumerate(zip(*runs), 1):
            yours.append(pair[0])
            library.append(pair[1])
            if step == 1 or step % max(1, steps // 10) == 0:
                gap = pair[0] - pair[1]
                print(
                    f"step {step}/{steps}  loss with yours {pair[0]:.4f}  with the library's {pair[1]:.4f}  {gap:+.1e}",
                    flush=True,
                )
    finally:
        if yours:
            draw(Path(out) / "loss.png", name, yours, library)
    largest = max(abs(a - b) for a, b in zip(yours, library))
    same = "the same curve, to the rounding of float32" if largest < SAME else "the curves differ"
    print(f"{same}: at most {largest:.1e} nats apart. Both are in {Path(out) / 'loss.png'}")


if __name__ == "__main__":
    runner.limit_resources(write=True)
    if hasattr(runner.signal, "SIGPROF"):
        runner.signal.signal(runner.signal.SIGPROF, runner.out_of_time)
    try:
        main(*sys.argv[1:])
    except (StudentError, NonFiniteError) as error:
        print(f"scratchgpt: {error}", file=sys.stderr)
        sys.exit(1)
