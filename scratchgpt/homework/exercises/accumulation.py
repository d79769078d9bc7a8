"""Token-weighted accumulation: micro-batches that give exactly what the whole batch gives."""

from dataclasses import replace
from functools import partial
from itertools import accumulate as running_sums

import numpy as np

from scratchgpt.distributed import accumulate
from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.models import IGNORED, count_targets

SHIFTED = {
    "unshifted": "each row's first label is counted, which no position predicts",
    "left": "each row's last label is left out instead of its first",
    "positive": "label 0 is taken as ignored; -100 is",
}
COUNTED = SHIFTED | {
    "all": "all labels are counted, those that are ignored and each row's first too",
    "positions": "labels that are ignored (-100) are counted",
    "rows": "rows are counted instead of targets",
}
MEANS = {
    "means": "a mean of means: a target in a micro-batch with few of them weighs more than one in a full one",
    "rows": "the means are weighted by their rows, or by all their labels; only targets count, and all alike",
}
WEIGHTING = MEANS | {
    "own": "every micro-batch is divided by its own targets: a sum of means",
    "running": "divided by the targets seen so far; count those of all micro-batches first",
    "last": "divided by the targets of the last micro-batch; it takes those of all",
    "first": "divided by the targets of the first micro-batch; it takes those of all",
}
SCALED = MEANS | {
    "own": "a sum of means: each must be weighted by its share of all targets",
    "count": "the scale is the number of targets; it is the micro-batch's share of them",
    "1/N": "the scale is 1 / all targets, which divides a mean again; it is the micro-batch's share of them",
}
ENDS = {
    "first": "only the first micro-batch counts: the return stands inside the loop",
    "skip first": "the first micro-batch is left out",
    "skip last": "the last micro-batch is left out",
}
KEPT = {"kept": ENDS | {"last": "only the last loss is returned: = where += belongs"}}
SCALES = {
    "N": "the sum is not divided by the number of targets",
    "N/K": "divided by the number of micro-batches instead of targets",
    "1/K": "divided by the number of micro-batches too",
    "2": "every micro-batch is run twice",
}


def step(weight, ids, labels, cuts):
    """One step of a small model by your functions: the loss, and its gradient.

    After token i the model predicts the label weight[i]; the loss of a target is the squared error. The rows of ids and
    labels (B, T) are cut into micro-batches at `cuts`.
    """
    gradient = np.zeros_like(weight)

    def run(batch, denominator):
        targets = batch["labels"][:, 1:]
        used = targets != IGNORED
        before = batch["input_ids"][:, :-1][used]
        error = weight[before] - targets[used]
        np.add.at(gradient, before, 2 * error / denominator)
        return float((error * error).sum() / denominator)

    batches = [{"input_ids": ids[a:b], "labels": labels[a:b]} for a, b in zip([0, *cuts], [*cuts, len(ids)])]
    return accumulate(batches, lambda batch: count_targets(batch["labels"]), run), gradient


def inputs(draw, B, T, K):
    ids = draw.integers(0, 4, B, T)
    ids[:, 1] = draw.integers(1, 4, B)  # a target in every row, also for who takes 0 as ignored
    shown = draw.rng.random((B, T)) < np.linspace(0.9, 0.3, B)[:, None]  # rows have different numbers of targets
    shown[:, 1] = True
    cuts = sorted(1 + draw.rng.permutation(B - 1)[: K - 1])
    return {"weight": draw.normal(4), "ids": ids, "labels": np.where(shown, ids, IGNORED), "cuts": [*map(int, cuts)]}


def edges(case):
    return list(zip([0, *case["cuts"]], [*case["cuts"], len(case["ids"])]))


def count(labels, counted=""):
    marks = labels != IGNORED
    ways = {"all": labels.size, "positions": labels[:, 1:].size, "unshifted": marks.sum(), "left": marks[:, :-1].sum(),
            "positive": (labels[:, 1:] > 0).sum(), "rows": len(labels)}  # fmt: skip
    return int(ways.get(counted, marks[:, 1:].sum()))


def factors(case, counted="", weighting="", means=False):
    """What the summed losses of each micro-batch are multiplied by. means: run gives means, times a scale."""
    n, own = ([count(case["labels"][a:b], how) for a, b in edges(case)] for how in (counted, ""))
    N, K, rows = sum(n), len(n), [b - a for a, b in edges(case)]
    if means:
        scales = {"own": [1] * K, "means": [1 / K] * K, "rows": [r / sum(rows) for r in rows], "count": [N] * K,
                  "1/N": [1 / N] * K}.get(weighting, [each / N for each in n])  # fmt: skip
        return [scale / each for scale, each in zip(scales, own)]
    below = {"own": n, "means": [K * each for each in n], "running": running_sums(n), "last": n[-1:] * K,
             "first": n[:1] * K, "rows": [each * sum(rows) / r for each, r in zip(n, rows)]}  # fmt: skip
    return [1 / each for each in below.get(weighting, [N] * K)]


def summed(case, gradient, kept="", **flavours):
    """The loss or its gradient."""
    parts = []
    for (a, b), factor in zip(edges(case), factors(case, **flavours)):
        used = case["labels"][a:b, 1:] != IGNORED
        before = case["ids"][a:b, :-1][used]
        error = case["weight"][before] - case["labels"][a:b, 1:][used]
        weights = 2 * error if gradient else error * error
        parts.append(factor * np.bincount(before, weights, len(case["weight"])))
    some = {"first": slice(1), "last": slice(-1, None), "skip first": slice(1, None), "skip last": slice(-1)}
    total = np.sum(parts[some.get(kept, slice(None))], 0)
    return total if gradient else float(np.sum(total))


def dims(case):
    return {"N": count(case["labels"]), "K": len(case["cuts"]) + 1}


def outputs(counted, weighting, means):
    knobs = {"counted": counted, "weighting": weighting}
    return (
        Output("targets", lambda case, **k: count(case["labels"], **k), knobs={"counted": COUNTED}),
        Output("loss", partial(summed, gradient=False, means=means), knobs=knobs | KEPT, scales=SCALES),
        Output("gradient", partial(summed, gradient=True, means=means), knobs=knobs | {"kept": ENDS}, scales=SCALES),
    )


EXERCISE = Exercise(
    name="accumulation",
    title="Accumulation: micro-batches that give exactly the whole batch",
    task="""A batch that is too large for the memory goes through the model in micro-batches, and their gradients add
up. The result must be that of the whole batch at once: the mean over all targets, each of which weighs the same.

A target is a label that is not ignored (-100). labels (B, T) are aligned with the token ids: position t predicts label
t + 1, so no position predicts a row's first label.

step, below, is what runs your functions: a small model that predicts the next label as a number.
""",
    cut=(count_targets, accumulate),
    given=(step,),
    inputs=inputs,
    calls=lambda case: (
        Call("count_targets", ("labels",), ("targets",)),
        Call("step", ("weight", "ids", "labels", "cuts"), ("loss", "gradient")),
    ),
    outputs=outputs(COUNTED, WEIGHTING, means=False),
    sizes=({"B": 5, "T": 7, "K": 3}, {"B": 6, "T": 5, "K": 2}, {"B": 8, "T": 6, "K": 4}, {"B": 7, "T": 9, "K": 3}),
    small=({"B": 1, "T": 2, "K": 1}, {"B": 2, "T": 2, "K": 2}, {"B": 2, "T": 3, "K": 2}, {"B": 3, "T": 3, "K": 2},
           {"B": 4, "T": 4, "K": 3}),
    dims=dims,
)  # fmt: skip


def accumulate_means(micro_batches, count, run):
    """The mean loss over the targets of all micro-batches, and its gradient, from one micro-batch at a time.

    count(batch) is how many targets a batch has. run(batch, scale) returns the batch's own mean loss times the scale,
    and adds the gradient of that to what it has gathered so far.
    """
    return accumulate(micro_batches, count, lambda batch, denominator: run(batch, count(batch) / denominator))


def step_of_means(weight, ids, labels, cuts):
    """One step of a small model by your functions: the loss, and its gradient.

    After token i the model predicts the label weight[i]; the loss of a target is the squared error. The rows of ids and
    labels (B, T) are cut into micro-batches at `cuts`.
    """
    gradient = np.zeros_like(weight)

    def run(batch, scale):
        targets = batch["labels"][:, 1:]
        used = targets != IGNORED
        before = batch["input_ids"][:, :-1][used]
        error = weight[before] - targets[used]
        np.add.at(gradient, before, 2 * scale * error / len(error))
        return float(scale * (error * error).mean())

    batches = [{"input_ids": ids[a:b], "labels": labels[a:b]} for a, b in zip([0, *cuts], [*cuts, len(ids)])]
    return accumulate_means(batches, lambda batch: count_targets(batch["labels"]), run), gradient


OF_MEANS = replace(
    EXERCISE,
    title="Accumulation of means: micro-batches that give exactly the whole batch",
    task=EXERCISE.task.replace(
        "step, below, is what runs your functions: a small model that predicts the next label as a number.",
        """Here run gives the mean over a micro-batch's own targets, times a scale, as most frameworks do.

step_of_means, below, is what runs your functions: a small model that predicts the next label as a number.""",
    ),
    cut=(count_targets, accumulate_means),
    given=(step_of_means,),
    calls=lambda case: (
        Call("count_targets", ("labels",), ("targets",)),
        Call("step_of_means", ("weight", "ids", "labels", "cuts"), ("loss", "gradient")),
    ),
    outputs=outputs(SHIFTED, SCALED, means=True),
)
EXERCISE = replace(EXERCISE, variants={"means": OF_MEANS})
