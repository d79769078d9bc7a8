"""finetune.png: the loss of the training examples, and the metric of the validation examples after each epoch."""

from scratchgpt.files import write_atomically
from scratchgpt.plot import GREY, INK, TRAINING, VALIDATION, smoothed


def draw_finetuning(path, history, majority, title):
    """Writes the picture. history: the records of metrics.jsonl, {"step", "loss"} or {"step", "metrics", "best"};
    majority: {metric: value} of an answer that needs no model, dashed, or None."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    losses = [(record["step"], record["loss"]) for record in history if "loss" in record]
    epochs = [record for record in history if "metrics" in record]
    name = next(iter(epochs[0]["metrics"]))
    if losses:
        steps, values = zip(*losses)
        left.plot(steps, smoothed(values), color=TRAINING, lw=1.8)
    left.set_ylabel("loss of the training examples", color=INK)
    right.plot([each["step"] for each in epochs], [each["metrics"][name] for each in epochs], color=VALIDATION,
               marker="o", ms=4, lw=1.8)  # fmt: skip
    best = [each for each in epochs if each["best"]][-1]
    right.plot(best["step"], best["metrics"][name], color=VALIDATION, marker="D", ms=9, ls="none")
    right.annotate(
        f"{best['metrics'][name]:.3f}, kept", (best["step"], best["metrics"][name]), xytext=(0, 9), ha="center",
        textcoords="offset points", color=VALIDATION, fontweight="bold", fontsize=9,
    )  # fmt: skip
    if majority is not None:
        right.axhline(majority[name], color=GREY, lw=0.9, ls=(0, (5, 4)))
        right.annotate(
            f"{majority[name]:.3f} without a model", (0.99, majority[name]), xytext=(0, 4), ha="right",
            xycoords=("axes fraction", "data"), textcoords="offset points", color=GREY, fontsize=9,
        )  # fmt: skip
    right.set_ylabel(f"{name} of the validation examples", color=INK)
    right.margins(y=0.15)
    for axes in (left, right):
        axes.set_xlabel("step", color=INK)
        axes.set_xlim(0, history[-1]["step"] * 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    title = title.encode("utf-8", "replace").decode()  # it has a file's name, of any bytes, and $ in it means a dollar
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=11, parse_math=False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))
