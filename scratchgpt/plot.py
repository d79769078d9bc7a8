"""loss.png: the curves of a run between the entropy lines of its token stream."""

from scratchgpt.files import write_atomically

INK, TRAIN, VALIDATION = "#222222", "#9db8d2", "#c8401f"
GREYS = {"uniform": "#777777", "unigram": "#777777", "bigram": "#777777", "trigram": "#777777"}
NAMES = {
    "uniform": "uniform: every token alike",
    "unigram": "unigram: token frequencies",
    "bigram": "bigram: one token of context",
    "trigram": "trigram: two tokens, memorised",
}


def draw_loss(path, history, lines, title):
    """Writes loss.png: training and validation loss (nats per token) against the step.

    history: the records of metrics.jsonl, {"step", "loss"?, "val_loss"?}; lines: {name: nats per token}.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = [(record["step"], record["loss"]) for record in history if "loss" in record]
    validation = [(record["step"], record["val_loss"]) for record in history if "val_loss" in record]
    figure = Figure(figsize=(9, 5.2), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    last = max([step for step, _ in train + validation], default=1)
    axes.set_xlim(0, last * 1.36)                                     # the labels stand to the right of the curves
    if train:
        steps, losses = zip(*train)
        axes.plot(steps, losses, color=TRAIN, lw=0.8, alpha=0.7)
        axes.plot(steps, smoothed(losses), color="#2f6690", lw=1.8)
    if validation:
        axes.plot(*zip(*validation), color=VALIDATION, lw=1.8, marker="o", ms=3)
    label_curves(axes, train, validation)
    for name, value in lines.items():
        axes.plot([0, last], [value, value], color=GREYS[name], lw=1, ls=(0, (5, 4)))
    label_lines(axes, lines, last)
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("loss, nats per token", color=INK)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= last])
    axes.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def label_curves(axes, train, validation):
    """Names each curve at its end; the two names are kept apart."""
    ends = [(train[-1][1], "training", "#2f6690")] if train else []
    ends += [(validation[-1][1], f"validation {validation[-1][1]:.2f}", VALIDATION)] if validation else []
    place_labels(axes, ends, max(step for step, _ in train + validation) if ends else 1, "bold")


def label_lines(axes, lines, last):
    """Names each entropy line at its right end, just above it."""
    for name, value in lines.items():
        axes.annotate(
            f"{NAMES[name]} {value:.2f}", (last, value), xytext=(0, 3), textcoords="offset points",
            ha="right", va="bottom", fontsize=8, color="#555555",
        )  # fmt: skip


def place_labels(axes, ends, x, weight):
    low, high = axes.get_ylim()
    gap = (high - low) * 0.05
    previous = None
    for y, text, color in sorted(ends):
        y_text = y if previous is None else max(y, previous + gap)
        axes.annotate(
            text, (x, y), xytext=(x * 1.02, y_text), va="center", color=color, fontsize=9, fontweight=weight,
            annotation_clip=False,
        )  # fmt: skip
        previous = y_text


def smoothed(values, keep=0.8):
    """An exponential moving average without the start's bias (Kingma & Ba 2015, section 3)."""
    average, out = 0.0, []
    for count, value in enumerate(values, 1):
        average = keep * average + (1 - keep) * value
        out.append(average / (1 - keep**count))
    return out
