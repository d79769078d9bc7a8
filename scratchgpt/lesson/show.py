"""What a lesson shows: Heat, Curves and Bars, each as HTML (`_repr_html_`: pages, notebooks) and as text (`repr`).

Colour never carries meaning alone: signs and numbers are printed, and each curve has its own dashes and its own label.
The HTML is complete in itself, and readable on a light and on a dark ground.
"""

import math
from html import escape
from itertools import pairwise

import numpy as np

from scratchgpt.errors import InputError

POSITIVE, NEGATIVE = "37,99,235", "220,38,38"  # blue and red, as CSS writes rgb
DEEPEST = 0.55  # the opacity of the largest number: dark and light text can both be read on it
SHADES = " ░▒▓█"
STYLES = (  # of curves: a colour that can be seen on white and on black, and dashes
    ("#3b82f6", ""), ("#e0860b", "7 3"), ("#0f9d76", "2 3"), ("#c55aa5", "9 3 2 3"), ("#8b8f98", "4 4"),
    ("#b45309", "1 2"),
)  # fmt: skip


def decimals_for(values):
    """(exponent, decimals) in which an array is written: x is shown as x / 10^exponent with so many decimals.

    About four digits for the largest number; the exponent is 0 unless the largest is below 0.01 or at least 10,000.
    decimals_for([0.25, 12.5]) -> (0, 2); decimals_for([1, 20]) -> (0, 0), whole numbers; [3e-7] -> (-7, 3)
    """
    values = np.asarray(values)
    finite = np.abs(values[np.isfinite(values)]).astype(np.float64)
    largest = float(finite.max(initial=0))
    if largest < 1e6 and bool((finite == np.floor(finite)).all()):
        return 0, 0
    size = max(-300, math.floor(math.log10(largest)))  # 10^-303 is still a number
    if size < -2 or size > 3:
        return size, 3
    return 0, min(4, 3 - size)


def number_text(x, exponent=0, decimals=3):
    """number_text(-0.5) -> "−0.500": a true minus sign, and inf and nan in words."""
    if not math.isfinite(x):
        return str(float(x)).replace("-", "−")
    text = f"{x / 10**exponent:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def short_number(x):
    """One number alone, to five digits: 3.8811, 12,345, 1.2e-07."""
    x = x.item() if isinstance(x, np.generic) else x
    text = f"{x:,}" if isinstance(x, int) else f"{x:.5g}"
    return text.replace("-", "−") if text[0] == "-" else text


def power_of_ten(exponent):
    return "×10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


class Heat:
    """A labelled matrix, its numbers on a ground that is blue where they are positive and red where negative.

    matrix: (R, C), or (C,) for one row; rows and cols: R and C labels (default: the indices). Raises InputError when
    the matrix is not one, or the labels are not as many as its rows and columns.
    """

    def __init__(self, matrix, rows=None, cols=None, title=""):
        self.matrix = np.atleast_2d(np.array(matrix, dtype=np.float64))  # a copy: what is shown stays
        if self.matrix.ndim != 2 or self.matrix.size == 0:
            raise InputError(f"Heat shows a matrix; the array's shape is {np.shape(matrix)}: pick one matrix of it")
        self.rows, self.cols = (
            self._labels(name, labels, n) for name, labels, n in zip(("rows", "cols"), (rows, cols), self.matrix.shape)
        )
        self.title = str(title)
        self.exponent, self.decimals = decimals_for(self.matrix)

    @staticmethod
    def _labels(name, labels, n):
        labels = [str(label) for label in (range(n) if labels is None else labels)]
        if len(labels) != n:
            raise InputError(f"Heat got {len(labels)} {name} for a matrix that has {n} of them")
        return labels

    def _texts(self):
        return [[number_text(x, self.exponent, self.decimals) for x in row] for row in self.matrix.tolist()]

    def _strengths(self):
        finite = np.where(np.isfinite(self.matrix), self.matrix, 0)
        return finite / (np.abs(finite).max() or 1)  # -1 .. 1

    def _caption(self):
        return " ".join(filter(None, [self.title, power_of_ten(self.exponent) if self.exponent else ""]))

    def _repr_html_(self):
        caption = f"<caption>{escape(self._caption())}</caption>" if self._caption() else ""
        head = "".join(f'<th scope="col">{escape(label)}</th>' for label in self.cols)
        body = "".join(
            f'<tr><th scope="row">{escape(label)}</th>'
            + "".join(f"<td{ground(strength)}>{text}</td>" for text, strength in zip(texts, strengths))
            + "</tr>"
            for label, texts, strengths in zip(self.rows, self._texts(), self._strengths().tolist())
        )
        return f'<table class="heat">{caption}<tr><td></td>{head}</tr>{body}</table>'

    def __repr__(self):
        shades = np.ceil(np.abs(self._strengths()) * (len(SHADES) - 1) - 0.125).astype(int).tolist()
        cells = [[text + SHADES[shade] for text, shade in zip(*row)] for row in zip(self._texts(), shades)]
        left = max(map(len, self.rows))
        widths = [max(len(label) + 1, *(len(row[j]) for row in cells)) for j, label in enumerate(self.cols)]
        lines = [" " * left + "".join(f"  {label + ' ':>{w}}" for label, w in zip(self.cols, widths))]
        for label, row in zip(self.rows, cells):
            lines.append(f"{label:>{left}}" + "".join(f"  {text:>{w}}" for text, w in zip(row, widths)))
        return "\n".join(filter(None, [self._caption(), *(line.rstrip() for line in lines)]))


def ground(strength):
    """The style attribute of a cell: blue for strength 1, red for -1, nothing for 0."""
    opacity = f"{abs(strength) * DEEPEST:.2f}".lstrip("0")
    if opacity == ".00":
        return ""
    return f' style="background:rgba({POSITIVE if strength > 0 else NEGATIVE},{opacity})"'


class Bars:
    """Horizontal bars with their numbers. values: {label: number}; unit: written after each number.

    Raises InputError when there is no bar or a value is not finite.
    """

    def __init__(self, values, title="", unit=""):
        self.values = {str(label): value for label, value in values.items()}
        if not self.values:
            raise InputError("Bars got no values; expected {label: number}")
        for label, value in self.values.items():
            if not math.isfinite(value):
                raise InputError(f"Bars got {value} for {label!r}; expected a finite number")
        self.title, self.unit = str(title), str(unit)
        self.largest = max(map(abs, self.values.values())) or 1

    def _rows(self):
        for label, value in self.values.items():
            yield label, float(value), short_number(value) + (f" {self.unit}" if self.unit else "")

    def _repr_html_(self):
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        rows = "".join(
            f'<tr><th scope="row">{escape(label)}</th><td style="width:60%"><div style="height:.9em;border-radius:2px;'
            f"width:{abs(value) / self.largest:.1%};background:rgba({POSITIVE if value > 0 else NEGATIVE},.7)"
            f'"></div></td><td>{escape(text)}</td></tr>'
            for label, value, text in self._rows()
        )
        return f'<table class="bars" style="width:100%">{caption}{rows}</table>'

    def __repr__(self):
        left = max(map(len, self.values))
        lines = [f"{label:>{left}}  {bar(abs(value) / self.largest):30}  {text}" for label, value, text in self._rows()]
        return "\n".join(filter(None, [self.title, *lines]))


def bar(share, width=30):
    """share of `width` columns in blocks of an eighth: bar(0.5, 3) -> "█▌"."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + ["", *"▏▎▍▌▋▊▉"][eighths % 8]


class Curves:
    """Lines over a common x, each labelled at its end.

    curves: {label: ys}; x: the abscissa of all of them (default: 0, 1, 2, ...); lines: {label: y}, horizontal and
    dashed; log: a logarithmic y axis. Points that are not finite are gaps. Raises InputError when there is nothing to
    draw, when lengths differ from x's, or when a logarithmic axis meets a number that is not positive.
    """

    WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 560, 300, 52, 12, 40

    def __init__(self, curves, x=None, lines=None, title="", xlabel="", ylabel="", log=False):
        self.curves = {str(label): np.array(ys, dtype=np.float64).reshape(-1) for label, ys in curves.items()}
        longest = max((ys.size for ys in self.curves.values()), default=0)
        self.x = np.arange(longest, dtype=np.float64) if x is None else np.array(x, dtype=np.float64).reshape(-1)
        self.lines = {str(label): float(y) for label, y in (lines or {}).items()}
        self.title, self.xlabel, self.ylabel, self.log = str(title), str(xlabel), str(ylabel), log
        for label, ys in self.curves.items():
            if x is not None and ys.size != self.x.size:
                raise InputError(f"Curves: {label!r} has {ys.size} points and x has {self.x.size}")
        everything = np.concatenate([*self.curves.values(), [*self.lines.values()]])
        everything = everything[np.isfinite(everything)]
        if longest == 0 or everything.size == 0:
            raise InputError("Curves got no finite point; expected {label: numbers}")
        if log and everything.min() <= 0:
            raise InputError(f"Curves with log=True got {everything.min()}; a logarithmic axis takes positive numbers")
        self.low, self.high = float(everything.min()), float(everything.max())

    def _ticks(self):
        """The numbers on the y axis, and the range it spans."""
        if self.log:
            low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high) + 1e-9)
            high = max(high, low + 1)
            every = -(-(high - low) // 8)
            return [10.0**power for power in range(low, high + 1, every)], 10.0**low, 10.0**high
        ticks = round_ticks(self.low, self.high)
        return ticks, min(self.low, ticks[0]), max(self.high, ticks[-1])

    def _repr_html_(self):
        ticks, low, high = self._ticks()
        scale = math.log10 if self.log else float
        # about 7 units per letter at the font's size; the labels stand to the right of the last point
        right = self.WIDTH - 14 - 7 * max(map(len, [*self.curves, *self.lines]))
        x0, x1 = float(self.x.min()), float(self.x.max())

        def across(x):
            return self.LEFT + (right - self.LEFT) * ((x - x0) / ((x1 - x0) or 1))

        def down(y):
            share = (scale(y) - scale(low)) / ((scale(high) - scale(low)) or 1)
            return self.TOP + (self.HEIGHT - self.TOP - self.BOTTOM) * (1 - share)

        parts = [*self._axes(ticks, across, down, right), *self._marks(across, down, right)]
        said = f"{self.title or 'curves'}: {', '.join([*self.curves, *self.lines])}"
        return (
            '<figure class="curves" style="margin:0">'
            + (f"<figcaption>{escape(self.title)}</figcaption>" if self.title else "")
            + f'<svg viewBox="0 0 {self.WIDTH} {self.HEIGHT}" role="img" aria-label="{escape(said)}" fill="none" '
            'stroke-linejoin="round" style="width:100%;max-width:42rem;font:13px system-ui,sans-serif">'
            + "".join(parts)
            + "</svg></figure>"
        )

    def _axes(self, ticks, across, down, right):
        bottom = self.HEIGHT - self.BOTTOM
        for tick in ticks:
            yield f'<path d="M{self.LEFT} {down(tick):.1f}H{right}" stroke="currentColor" opacity=".14"/>'
            yield svg_text(self.LEFT - 6, down(tick) + 4, short_number(tick), "end")
        for tick in round_ticks(float(self.x.min()), float(self.x.max()), whole=True):
            yield svg_text(across(tick), bottom + 17, short_number(tick), "middle")
        if self.xlabel:
            yield svg_text((self.LEFT + right) / 2, self.HEIGHT - 6, self.xlabel, "middle")
        if self.ylabel:
            yield (
                f'<text x="{-bottom / 2:.1f}" y="11" transform="rotate(-90)" text-anchor="middle" '
                f'fill="currentColor" opacity=".75">{escape(self.ylabel)}</text>'
            )

    def _marks(self, across, down, right):
        """Curves, horizontal lines, and their labels, moved apart where they would overlap."""
        labels = []
        for label, y in self.lines.items():
            yield (
                f'<path d="M{self.LEFT} {down(y):.1f}H{right}" stroke="currentColor" stroke-dasharray="3 4" '
                'opacity=".6"/>'
            )
            labels.append([down(y) + 4, right + 6, label, "currentColor"])
        for (label, ys), (colour, dashes) in zip(self.curves.items(), cycle_styles()):
            points = [(across(x), down(y)) if math.isfinite(y) else None for x, y in zip(self.x.tolist(), ys.tolist())]
            dash = f' stroke-dasharray="{dashes}"' if dashes else ""
            yield f'<path d="{path_of(points)}" stroke="{colour}" stroke-width="2"{dash}/>'
            last = next((point for point in reversed(points) if point), None)
            if last:
                labels.append([last[1] + 4, last[0] + 6, label, colour])
        labels.sort(key=lambda each: each[0])
        for above, below in pairwise(labels):
            below[0] = max(below[0], above[0] + 14)
        lowest = self.HEIGHT - self.BOTTOM + 4  # under it stand the numbers of the x axis
        for i, label in enumerate(reversed(labels)):
            label[0] = min(label[0], lowest - 14 * i)
        for y, x, label, colour in labels:
            yield svg_text(x, y, label, "start", colour)

    def __repr__(self):
        left = max(map(len, [*self.curves, *self.lines]))
        lines = []
        for label, ys in self.curves.items():
            finite = ys[np.isfinite(ys)]
            first, last = (short_number(y) for y in (finite[0], finite[-1])) if finite.size else ("none", "none")
            lines.append(f"{label:>{left}}  {sparkline(ys, self.low, self.high, self.log)}  {first} → {last}")
        lines += [f"{label:>{left}}  {short_number(y)}" for label, y in self.lines.items()]
        axes = " against ".join(filter(None, [self.ylabel, self.xlabel]))
        return "\n".join(filter(None, [": ".join(filter(None, [self.title, axes])), *lines]))


def cycle_styles():
    while True:
        yield from STYLES


def path_of(points):
    """SVG path data through (x, y) points; None lifts the pen."""
    data, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            data.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
            pen = "L"
    return "".join(data)


def svg_text(x, y, text, anchor, colour="currentColor"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def round_ticks(low, high, whole=False):
    """About five round numbers from low to high: round_ticks(0, 9.3) -> [0, 2, 4, 6, 8]. whole: no fractions between
    whole numbers."""
    span = (high - low) or abs(high) or 1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next((factor for factor in (1, 2, 5) if span / (step * factor) <= 6), 10)
    if whole and float(low).is_integer() and float(high).is_integer():
        step = max(1, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(n * step, 12) for n in range(first, last + 1)]
    return [int(tick) if float(tick).is_integer() else tick for tick in ticks] or [low]


def sparkline(ys, low, high, log=False, width=40):
    """ys in one line of at most `width` block characters, from low to high; a gap is a space."""
    ys = ys[np.linspace(0, ys.size - 1, min(width, ys.size)).round().astype(int)] if ys.size else ys
    if log:
        ys, low, high = np.log10(np.where(ys > 0, ys, np.nan)), math.log10(low), math.log10(high)
    heights = (ys - low) / ((high - low) or 1) * 7
    return "".join("▁▂▃▄▅▆▇█"[round(h)] if math.isfinite(h) else " " for h in heights.tolist())
