"""How far our tensors are from the truth, how far rounding lets them be, and what is said of the first that is further.

The twin runs twice, in float64 and in float32. The float64 run is the truth. How far the float32 run is from it says
what rounding does to each tensor of this very model on this very batch: more in a deep layer than in the first, more
where large numbers cancel. Ours may be MARGIN times as far from the truth, and in float64 by as much less as float64 is
finer:

    budget = MARGIN * rounding * fineness    rounding = the largest |float32 - float64|, and not less than its usual
                                             share of the largest |float64|
                                             fineness = 1 in float32; in float64 2^-29, times the coarseness of
                                             PyTorch's products there (definitions.fineness)

Ours sums in another order than PyTorch, so it makes other errors of the same kind. Over 98,000 tensors of 160 random
models, float32 and float64, its worst element was 0.6 roundings from the truth in the median, 2.2 in one tensor of a
hundred and 6.8 at most; in models two numbers wide, where layer norm can amplify without bound, 15. The usual share is
for tensors so small that PyTorch hit the truth by luck: one float32 epsilon for a single op, the median over the
tensors of the pass for a whole model. Weights after AdamW have their own budget, see Walk.weights.
"""

import linecache
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

MARGIN = 16
WORST = 5  # elements shown of a tensor that is wrong
EPS = float(np.finfo("float32").eps)


@dataclass(frozen=True)
class Row:
    """One tensor of ours against the truth."""

    stage: str  # "forward", "backward", "gradients" or "weights"
    name: str
    shape: tuple
    error: float  # the largest |ours - truth|, or that of the element furthest beyond its own budget
    scale: float  # the largest |truth|
    budget: float  # what error may be
    worst: tuple = ()  # ((index, ours, truth), ...) where error is largest, if it is not ok
    remark: str = ""  # what is wrong besides numbers, such as the shape

    @property
    def ok(self):
        return self.error <= self.budget

    @property
    def relative(self):
        return share(self.error, self.scale)

    @property
    def allowed(self):
        """What `relative` may be."""
        return share(self.budget, self.scale)

    def to_json(self):
        numbers = {name: finite(getattr(self, name)) for name in ("error", "relative", "budget")}
        return {
            "stage": self.stage,
            "name": self.name,
            "shape": self.shape,
            "ok": self.ok,
            "remark": self.remark,
        } | numbers


def finite(number):
    return number if np.isfinite(number) else None


def share(error, scale):
    return error / scale if scale else np.inf if error else 0.0


def rounding_of(truth, probe, usual=EPS):
    """How far float32 is from the truth, and at least `usual` times the truth's largest element."""
    return max(largest(np.asarray(probe) - truth), usual * largest(truth))


def share_of(error, truth):
    """The largest element of one array, as a share of the largest of the other."""
    return share(largest(error), largest(truth))


def largest(array):
    return float(np.max(np.abs(array), initial=0.0))


def compare_tensors(stage, name, ours, truth, budget):
    """The Row of one tensor. budget: a number, or an array of them; the Row's error and budget are then those of the
    element that is furthest beyond its own."""
    truth, shape = np.asarray(truth), np.shape(ours)
    if ours is None or shape != truth.shape:
        remark = "ours gave none" if ours is None else f"ours has shape {shape}"
        return Row(stage, name, truth.shape, np.inf, 0.0, 0.0, remark=remark)
    difference = np.abs(ours - truth)
    difference = np.where(np.isnan(difference), np.inf, difference)
    error, allowed = largest(difference), budget
    if np.ndim(budget):
        index = np.unravel_index(np.argmax(difference / budget), shape)
        error, allowed = difference[index], budget[index]
    worst = worst_elements(np.asarray(ours), truth, difference) if error > allowed else ()
    return Row(stage, name, shape, float(error), largest(truth), float(allowed), worst)


def worst_elements(ours, truth, difference):
    """((index, ours, truth), ...) of the elements that are furthest apart, the worst first."""
    count = min(WORST, difference.size)
    order = np.argpartition(difference, -count, axis=None)[-count:] if count else ()
    indices = [np.unravel_index(i, difference.shape) for i in sorted(order, key=lambda i: -difference.flat[i])]
    return tuple((tuple(map(int, index)), float(ours[index]), float(truth[index])) for index in indices)


class Lines(NamedTuple):
    """A piece of source code, and the function it stands in."""

    file: str
    first: int
    last: int
    function: str

    def __str__(self):
        path = Path(self.file)
        roots = (Path.cwd(), Path(__file__).parents[3])  # where the user is, where the package is
        root = next((root for root in roots if path.is_relative_to(root)), "")
        where = f"{path.relative_to(root) if root else path}:{self.first}"
        where = f"{where if self.first == self.last else f'{where}-{self.last}'} in {self.function}"
        return f"{where}: {linecache.getline(self.file, self.first).strip()}" if self.first == self.last else where


@dataclass(frozen=True)
class Divergence:
    """The first tensor that is wrong, and whose fault it is."""

    row: Row
    kind: str  # "op", "between", "asked", "sum", "missing", "weights" or "rounding"
    where: str  # the op's name in the model, "blocks.1.ln2"; between two ops "blocks.1.attn.out -> blocks.1.ln2"
    op: str  # "layer_norm_forward": the guilty one, or the one that was given or asked for the wrong thing; "" for none
    said: str  # the same in words
    lines: tuple = ()  # Lines to look at: the op and its callers; or what ran between two ops, in that order


@dataclass(frozen=True)
class Report:
    """What a comparison found: a Row for each tensor up to the first that is wrong, and what that one means."""

    rows: tuple
    divergence: Divergence | None

    @property
    def agrees(self):
        return self.divergence is None

    def to_json(self):
        """A dict that JSON can hold: what is not finite is null."""
        divergence = None
        if self.divergence is not None:
            fields = {name: value for name, value in vars(self.divergence).items() if name not in ("row", "lines")}
            divergence = {"tensor": self.divergence.row.name} | fields
            divergence["worst"] = [[list(index), finite(a), finite(b)] for index, a, b in self.divergence.row.worst]
            divergence["lines"] = [line._asdict() for line in self.divergence.lines]
        return {"agrees": self.agrees, "rows": [row.to_json() for row in self.rows], "divergence": divergence}

    def __str__(self):
        width = max([len(row.name) for row in self.rows], default=0)
        lines, stage = [], None
        for row in self.rows:
            if row.stage != stage:
                stage = row.stage
                lines += [""] * bool(lines)
                lines.append(f"{stage:{width}}  {'shape':17} {'error':>8} {'relative':>8} {'allowed':>8}")
            numbers = f"{row.error:8.1e} {row.relative:8.1e} {row.allowed:8.1e}"
            lines.append(f"{row.name:{width}}  {row.shape!s:17} {row.remark or numbers}  {'ok' if row.ok else 'WRONG'}")
        return "\n".join([*lines, "", *(self.story() if self.divergence else [self.summary()])])

    def summary(self):
        nearest = max(self.rows, key=lambda row: row.error / row.budget if row.budget else 0.0)
        return (
            f"All {len(self.rows)} tensors agree. The nearest to its budget is {nearest.name}: {nearest.error:.1e} of "
            f"{nearest.budget:.1e}."
        )

    def story(self):
        """The first divergence in words, where to look, and the numbers side by side."""
        found = self.divergence
        yield f"FIRST DIVERGENCE: {found.row.name}"
        yield found.said
        if found.lines:
            yield "look at"
            yield from (f"    {line}" for line in found.lines)
        if found.row.worst:
            yield f"{'worst elements':20} {'ours':>16} {'theirs':>16} {'difference':>11}"
            for index, ours, truth in found.row.worst:
                yield f"    {list(index)!s:16} {ours:16.9g} {truth:16.9g} {ours - truth:11.1e}"
