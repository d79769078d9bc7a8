"""loss.png: the curves of a run between the entropy lines of its token stream; moe_load.png: its experts' load."""

from scratchgpt.files import write_atomically

INK, GREY, TRAINING, VALIDATION = "#222222", "#6b6b6b", "#2f6690", "#c8401f"
NAMES = {
    "uniform": "all tokens equally likely",
    "unigram": "token frequencies",
    "bigram": "one token of context",
    "trigram": "two tokens, memorised",
    "in sight": "and a look at the place",
    "coin": "tossed for each candidate",
    "frequencies": "of the candidates alone",
}


def draw_loss(path, history, lines, title, curve="loss", unit="token"):
    """Writes loss.png: training and validation loss (nats per unit) against the step, each line named at its end.

    history: the records of metrics.jsonl, {"step", "loss"?, "val_loss"?, "whole"?}; curve: the key of their training
    loss, of which the lines speak; whole marks a validation loss of the whole text, a point of its own beside the curve
    over a part of it; lines: {name: nats per unit}.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 5.2), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    last = max(record["step"] for record in history) if history else 1
    labels = []  # (y, text, colour, weight)
    for name, value in lines.items():
        axes.plot([0, last], [value, value], color=GREY, lw=0.9, ls=(0, (5, 4)))
        labels.append((value, f"{value:.2f} {name}" + (f": {NAMES[name]}" if name in NAMES else ""), GREY, "normal"))
    glances = [record for record in history if not record.get("whole")]
    whole = [record for record in history if record.get("whole")]
    for records, key, name, style in (
        (glances, curve, "training", {"color": TRAINING}),
        (glances, "val_loss", "validation, a part", {"color": VALIDATION, "marker": "o", "ms": 3}),
        (whole, "val_loss", "validation, whole", {"color": VALIDATION, "marker": "D", "ms": 5, "ls": "none"}),
    ):
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            steps, values = zip(*points)
            values = smoothed(values) if key == curve else values
            axes.plot(steps, values, lw=1.8, clip_on=False, **style)
            labels.append((values[-1], f"{values[-1]:.2f} {name}", style["color"], "bold"))
    axes.set_xlim(0, last)
    name_at_the_end(axes, labels, last)
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel(f"loss, nats per {unit}", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


MOST_MIXTURES = 6  # drawn beside each other; of more, some from the first to the last


def draw_load(path, runs, top_k):
    """Writes moe_load.png: for each mixture of experts, the share of the tokens that goes to each expert against the
    step, one line an expert; all would lie on the dashed line if the load were even.

    runs: {name: history}, a row of panels each: one run, or the same one with and without balancing. history: the
    records of metrics.jsonl that have an "expert_load", for each mixture the shares of its experts.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    runs = {name: [record for record in history if "expert_load" in record] for name, history in runs.items()}
    n_mixtures = len(next(iter(runs.values()))[0]["expert_load"])
    n_drawn = min(n_mixtures, MOST_MIXTURES)
    drawn = [n_mixtures * i // n_drawn for i in range(n_drawn)]
    size = (max(5, 2.6 * n_drawn), 3 * len(runs))
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(runs), n_drawn, squeeze=False, sharex=True, sharey=True)
    for (name, history), row in zip(runs.items(), panels):
        for mixture, axes in zip(drawn, row):
            shares = list(zip(*(record["expert_load"][mixture] for record in history)))  # (E, records)
            even = top_k / len(shares)
            steps = [record["step"] for record in history]
            for share in shares:
                axes.plot(steps, share, color=TRAINING, lw=1.1, alpha=0.7)
            axes.axhline(even, color=GREY, lw=0.9, ls=(0, (5, 4)))
            axes.set_title(f"mixture {mixture + 1}" + (f", {name}" if name else ""), color=INK, fontsize=9, loc="left")
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        row[0].set_ylabel(f"tokens that go to each expert\n(dashed: {even:.1%}, the even share)", color=INK, fontsize=9)
    panels[0][0].set_ylim(bottom=0)
    figure.supxlabel("step", color=INK, fontsize=10)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def name_at_the_end(axes, labels, x):
    """Writes each label beside the right end of its line, moved apart where two would touch."""
    low, high = axes.get_ylim()
    places = spread([y for y, *_ in labels], gap=(high - low) * 0.045)
    for (y, text, colour, weight), place in zip(labels, places):
        axes.annotate(
            text, (x, y), xytext=(1.015, (place - low) / (high - low)), textcoords="axes fraction", va="center",
            color=colour, fontsize=9, fontweight=weight, annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(low, high)


def spread(values, gap):
    """Values moved apart until neighbours are at least `gap` from each other, in the order given.

    values=[1.0, 1.0, 5.0], gap=1.0 -> [0.5, 1.5, 5.0]
    """
    groups = []  # each is laid out side by side
    for index in sorted(range(len(values)), key=values.__getitem__):
        groups.append([index])
        while len(groups) > 1 and start(groups[-1], values, gap) - end(groups[-2], values, gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    places = [0.0] * len(values)
    for group in groups:
        for rank, index in enumerate(group):
            places[index] = start(group, values, gap) + rank * gap
    return places


def start(group, values, gap):
    return sum(values[index] for index in group) / len(group) - (len(group) - 1) * gap / 2


def end(group, values, gap):
    return start(group, values, gap) + (len(group) - 1) * gap


def smoothed(values):
    """Means over a window centred on each point, 5% of the points wide and narrower towards the ends: it has no lag."""
    half = len(values) // 40
    out = []
    for place in range(len(values)):
        reach = min(half, place, len(values) - 1 - place)
        window = values[place - reach : place + reach + 1]
        out.append(sum(window) / len(window))
    return out
