"""Attention with causal and padding masks, forward and backward; the variant has the heads before the positions."""

from dataclasses import replace

import numpy as np

from scratchgpt.homework.spec import Exercise, Output, pair
from scratchgpt.ops.reference import attention_backward, attention_forward

DIRECT, SUM = "p * dp", "p * sum_s(dp * p)"  # the terms of d loss / d scores, with dp = d loss / d p
SHIFT = 45.0  # its square over sqrt(D) is a score whose exponential overflows

FORWARD = {
    "scale": {
        "none": "the scores are not divided by sqrt(D)",
        "D": "the scores are divided by D; by sqrt(D) belongs there",
        "width": "the scores are divided by sqrt(H * D), the model's width; D is the width of a head",
        "times": "the scores are multiplied by sqrt(D) instead of divided by it",
    },
    "causal": {
        "none": "the causal mask is missing",
        "strict": "the causal mask hides a query's own position, which it may see",
        "late": "the causal mask lets a query see one key beyond its own position",
        "start": "the causal mask compares s with t; query t is at position S - T + t, the last query at the last key",
        "past": "the causal mask hides the past and shows the future",
        "always": "the causal mask is applied where causal is False too",
        "without padding": "the causal mask is ignored where a padding mask is given; both apply",
        "wrap": "S - T + t + 1 may be negative, and as an index it then counts from the end: such a query sees nothing",
    },
    "padding": {
        "none": "the padding mask is ignored",
        "inverted": "the padding mask is the wrong way round: True means that a key may be seen",
        "first": "the padding mask of the first sequence is used for all of them",
        "without causal": "the padding mask is ignored where causal is True; both apply",
    },
    "hide": {
        "after": "hidden keys are set to 0 after the softmax, and the others do not sum to 1; -inf belongs before it",
        "zero": "hidden scores are set to 0, and exp(0) is 1; -inf belongs there",
    },
    "nothing": {
        "mean": "a query that may see nothing gets the mean of all values; zeros belong there",
        "all": "a query that may see nothing sees everything; zeros belong there",
    },
    "axis": {
        "queries": "the softmax runs over the queries (axis T); over the keys (axis S) belongs there",
        "heads": "the softmax runs over the heads (axis H); over the keys (axis S) belongs there",
    },
    "heads": {
        "reshape": "heads and positions are mixed: reshape(B, H, T, D) where transpose(0, 2, 1, 3) belongs",
        "join": "heads and positions are mixed on the way out: reshape where transpose(0, 2, 1, 3) belongs",
        "one": "all heads are taken as one wide head: each head has its own softmax",
    },
}
BACK = "ds = p * (dp - sum_s(dp * p))"
BACKWARD = FORWARD | {
    "hide": FORWARD["hide"] | {"zero again": FORWARD["hide"]["zero"]},  # the gradient of those scores is set to 0 too
    "softmax": {
        "none": f"the softmax is missing on the way back: {BACK}",
        "diagonal": f"the softmax's Jacobian is taken as diagonal, p (1 - p); a score changes its whole row: {BACK}",
        "queries": "the sum in the softmax's backward runs over the queries; over the keys belongs there",
        "outer p": f"the outer factor p is missing in {BACK}",
        "inner p": f"the factor p is missing inside the sum of {BACK}",
        "brackets": f"the brackets are missing in {BACK}: the sum is multiplied by p too",
    },
}
SCALES = {
    "sqrt(D)": "the scale 1/sqrt(D) is missing on the way back",
    "1/sqrt(D)": "scaled by 1/sqrt(D) twice on the way back",
    "1/S": "a mean where a sum belongs",
}


def inputs(draw, B, T, S, H, D, causal=True, padding=None, shift=0.0):
    """padding: None, "tail" (the ends of all sequences are hidden) or "empty" (of the first, everything).
    shift: makes all scores of a query large together (negative: small), which leaves the softmax as it is."""
    q, k, v = draw.normal(B, T, H, D), draw.normal(B, S, H, D), draw.normal(B, S, H, D)
    if shift:
        q[..., 0], k[..., 0] = q[..., 0] + shift, abs(shift)
    lengths = draw.integers(1, S, B)
    lengths[-1] = S - 1
    if padding == "empty":
        lengths[0] = 0
    mask = np.arange(S) < lengths[:, None] if padding else None
    return {"q": q, "k": k, "v": v, "bias": None, "mask": mask, "causal": causal, "dout": draw.normal(B, T, H, D)}


def at(B, T, S, H, D, **options):
    return {"B": B, "T": T, "S": S, "H": H, "D": D} | options


def split(a, heads=""):
    """(B, L, H, D) -> (B, H, L, D), or what a student makes of it."""
    B, L, H, D = a.shape
    if heads == "reshape":
        return a.reshape(B, H, L, D)
    return (a.reshape(B, L, 1, H * D) if heads == "one" else a).transpose(0, 2, 1, 3)


def join(a, like, heads=""):
    """The way back from `split`, to the shape of like."""
    return (a if heads in ("reshape", "join") else a.transpose(0, 2, 1, 3)).reshape(like.shape)


def visible(case, causal, padding):
    """Which keys each query sees, (B, 1, T, S)."""
    T, S, mask = case["q"].shape[1], case["k"].shape[1], case["mask"]
    shown = np.ones((len(case["q"]), 1, T, S), bool)
    ignored = causal == "none" or (causal == "without padding" and mask is not None)
    if (case["causal"] or causal == "always") and not ignored:
        key, query = np.arange(S), np.arange(T)[:, None] + (0 if causal == "start" else S - T)
        shown &= {
            "strict": key < query, "late": key <= query + 1, "past": key >= query,
            "wrap": key <= query + S * (query < -1),
        }.get(causal, key <= query)  # fmt: skip
    if mask is not None and padding != "none" and not (padding == "without causal" and case["causal"]):
        mask = {"inverted": ~mask, "first": mask[:1]}.get(padding, mask)
        shown &= mask[:, None, None, :]
    return shown


def softmax_of(scores, axis=-1):
    largest = scores.max(axis, keepdims=True)
    exps = np.exp(scores - np.where(np.isinf(largest), 0, largest))
    total = exps.sum(axis, keepdims=True)
    return exps / np.where(total == 0, 1, total)


def probabilities(case, scale="", causal="", padding="", hide="", nothing="", axis="", heads=""):
    """(probs (B, H, T, S), scale, which keys are seen) under these flavours."""
    q, k = split(case["q"], heads), split(case["k"], heads)
    H, D = q.shape[1], q.shape[3]
    factor = {"none": 1.0, "D": 1 / D, "width": (H * D) ** -0.5, "times": D**0.5}.get(scale, D**-0.5)
    scores = q @ k.swapaxes(2, 3) * factor
    shown = visible(case, causal, padding)
    if hide == "after":
        return softmax_of(scores) * shown, factor, shown
    probs = softmax_of(np.where(shown, scores, 0 if hide else -np.inf), {"queries": 2, "heads": 1}.get(axis, 3))
    if nothing:
        instead = softmax_of(scores) if nothing == "all" else 1 / scores.shape[-1]
        probs = np.where(shown.any(-1, keepdims=True), probs, instead)
    return probs, factor, shown


def out(case, heads="", values="v", **flavours):
    probs, _, _ = probabilities(case, heads=heads, **flavours)
    return join(probs @ split(case[values], heads), case["q"], heads)


def dv(case, heads="", weights="", **flavours):
    probs, scale, _ = probabilities(case, heads=heads, **flavours)
    if weights == "scores":
        probs = split(case["q"], heads) @ split(case["k"], heads).swapaxes(2, 3) * scale
    return join(probs.swapaxes(2, 3) @ split(case["dout"], heads), case["v"], heads)


def dscores(case, softmax="", hide="", heads="", **flavours):
    """{term: array}: the two terms of d loss / d scores, times the scale."""
    p, scale, shown = probabilities(case, hide=hide, heads=heads, **flavours)
    dp = split(case["dout"], heads) @ split(case["v"], heads).swapaxes(2, 3)
    inner = (dp * p).sum(-1, keepdims=True)
    wrong = {
        "none": dp,
        "diagonal": p * (1 - p) * dp,
        "queries": p * (dp - (dp * p).sum(-2, keepdims=True)),
        "outer p": dp - inner,
        "inner p": p * (dp - dp.sum(-1, keepdims=True)),
        "brackets": p * dp - inner,
    }
    direct = wrong[softmax] + p * inner if softmax else p * dp
    kept = shown if hide == "zero again" else 1.0
    return {DIRECT: direct * kept * scale, SUM: p * inner * kept * scale}


def dq(case, heads="", factor="k", **flavours):
    k = split(case[factor], heads)
    return {name: join(ds @ k, case["q"], heads) for name, ds in dscores(case, heads=heads, **flavours).items()}


def dk(case, heads="", **flavours):
    q = split(case["q"], heads)
    terms = dscores(case, heads=heads, **flavours)
    return {name: join(ds.swapaxes(2, 3) @ q, case["k"], heads) for name, ds in terms.items()}


def between_values(out, case):
    low, high = np.minimum(case["v"].min(1), 0)[:, None], np.maximum(case["v"].max(1), 0)[:, None]  # 0: nothing seen
    return bool(((out >= low - 1e-9) & (out <= high + 1e-9)).all())


def seeing(case):
    """Which queries see a key, (B, T)."""
    return visible(case, "", "").any(-1)[:, 0]


def passes_dout_on(dv, case):
    return np.allclose(dv.sum(1), (case["dout"] * seeing(case)[..., None, None]).sum(1), atol=1e-8)


BLIND = (lambda value, case: not value[~seeing(case)].any(), "of a query that may see nothing all is 0")


OUTPUTS = (
    Output(
        "out", out, knobs=FORWARD | {"values": {"k": "the probabilities weigh k; v belongs there"}},
        invariants=(BLIND, (between_values, "out is a weighted mean of the values, so it lies between the smallest and "
                            "the largest of them")),
    ),
    Output(
        "dq", dq, {DIRECT: 1, SUM: -1}, BACKWARD | {"factor": {"v": "dq = ds k, and v stands in k's place"}}, SCALES,
        invariants=(BLIND,),
    ),
    Output(
        "dk", dk, {DIRECT: 1, SUM: -1}, BACKWARD, SCALES,
        invariants=((lambda dk, case: np.allclose(dk.sum(1), 0, atol=1e-8), "dk sums to 0 over the keys, because the "
                     "same vector added to every key leaves the softmax as it is"),),
    ),
    Output(
        "dv", dv, knobs=FORWARD | {"weights": {"scores": "the scores stand where the probabilities belong"}},
        scales=SCALES,
        invariants=((passes_dout_on, "dv summed over the keys is dout summed over the queries that see a key, because "
                     "the probabilities of a query sum to 1"),),
    ),
)  # fmt: skip

EXERCISE = Exercise(
    name="attention",
    title="Attention with causal and padding masks, forward and backward",
    task="""softmax(q k^T / sqrt(D)) v for every head (Vaswani et al. 2017, eq. 1), with two masks.

causal: query t is at position S - T + t and sees the keys up to itself; T may be larger than S. mask (B, S): True
where a key may be seen. A query that sees nothing has the output 0. Scores can be so large that their exponentials
overflow. Here bias and scale are always None, G is H and Dv is D: every head has keys and values of its own.
""",
    cut=(attention_forward, attention_backward),
    inputs=inputs,
    calls=lambda case: pair("attention", ("q", "k", "v"), ("bias", "mask", "causal"), ("dq", "dk", "dv", "dbias")),
    outputs=OUTPUTS,
    sizes=(
        at(2, 4, 5, 3, 7), at(3, 3, 4, 2, 5, causal=False, padding="tail"), at(2, 5, 3, 2, 4),
        at(2, 5, 5, 3, 2, padding="tail", shift=SHIFT), at(3, 4, 6, 2, 3, padding="empty"),
    ),
    small=(
        at(1, 1, 2, 1, 1), at(1, 2, 2, 1, 1), at(1, 1, 2, 1, 1, padding="tail"), at(1, 1, 2, 1, 1, padding="empty"),
        at(1, 2, 2, 1, 1, causal=False), at(1, 2, 3, 1, 1), at(1, 1, 2, 1, 4), at(1, 2, 2, 2, 1), at(1, 5, 3, 1, 1),
        at(1, 2, 3, 1, 1, padding="tail"), at(2, 2, 3, 2, 2, padding="tail"),
    ),
    dims=lambda case: dict(zip("BTHD", case["q"].shape)) | {"S": case["k"].shape[1]},
    readable=lambda case: all(case[name].any() for name in ("q", "k", "v", "dout")),
    ops=("attention_forward", "attention_backward"),
)  # fmt: skip


# ---- the variant


def swapped(a):
    """(B, T, H, D) from (B, H, T, D), and back."""
    return a.transpose(0, 2, 1, 3)


def heads_first_attention_forward(q, k, v, mask=None, causal=True):
    """softmax(q k^T / sqrt(D)) v for every head. q (B, H, T, D), k and v (B, H, S, D) -> out (B, H, T, D)."""
    out, cache = attention_forward(swapped(q), swapped(k), swapped(v), None, mask, causal)
    return swapped(out).copy(), cache


def heads_first_attention_backward(dout, cache):
    """Returns dq (B, H, T, D), dk and dv (B, H, S, D)."""
    dq, dk, dv, _ = attention_backward(swapped(dout), cache)
    return swapped(dq).copy(), swapped(dk).copy(), swapped(dv).copy()


ARRAYS = ("q", "k", "v", "dout")


def swapped_case(case):
    return case | {name: swapped(case[name]) for name in ARRAYS}


def swapped_output(output):
    """The same output and the same mistakes, but those of finding the heads, with the heads first."""

    def model(case, **knobs):
        made = output.model(swapped_case(case), **knobs)
        return {term: swapped(a) for term, a in made.items()} if isinstance(made, dict) else swapped(made)

    def checked(holds):
        return lambda value, case: holds(swapped(value), swapped_case(case))

    return replace(
        output, model=model, knobs={name: values for name, values in output.knobs.items() if name != "heads"},
        invariants=tuple((checked(holds), hint) for holds, hint in output.invariants),
    )  # fmt: skip


HEADS_FIRST = replace(
    EXERCISE,
    title="Attention with the heads first, forward and backward",
    task="""softmax(q k^T / sqrt(D)) v for every head (Vaswani et al. 2017, eq. 1), with two masks, in PyTorch's layout.

q (B, H, T, D), k and v (B, H, S, D). causal: query t is at position S - T + t and sees the keys up to itself; T may be
larger than S. mask (B, S): True where a key may be seen. A query that sees nothing has the output 0. Scores can be so
large that their exponentials overflow.
""",
    cut=(heads_first_attention_forward, heads_first_attention_backward),
    inputs=lambda draw, **sizes: swapped_case(inputs(draw, **sizes)),
    calls=lambda case: pair("heads_first_attention", ("q", "k", "v"), ("mask", "causal")),
    outputs=tuple(map(swapped_output, OUTPUTS)),
    dims=lambda case: EXERCISE.dims(swapped_case(case)),
    ops=(),
)
EXERCISE = replace(EXERCISE, variants={"heads_first": HEADS_FIRST})
