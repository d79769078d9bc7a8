"""Output head, softmax and cross-entropy with ignored targets; the variant starts from the logits."""

import math
from dataclasses import replace

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.ops.reference import cross_entropy_backward, cross_entropy_forward

FAR = 800.0  # what large logits are shifted by: exp(800) overflows


def inputs(draw, N, V, C, far=False):
    case = {"x": draw.normal(N, C), "weight": draw.normal(V, C)} | tokens(draw, N, V)
    if far:
        case["x"][:, 0], case["weight"][:, 0] = FAR, 1
    return case


def logits_inputs(draw, N, V, far=False):
    return {"logits": draw.normal(N, V, scale=2.0) + FAR * far} | tokens(draw, N, V)


def tokens(draw, N, V):
    """targets, token_weights and dloss. The first third of the rows is ignored."""
    counted = np.arange(N) >= (N + 1) // 3
    return {
        "targets": np.where(counted, draw.integers(0, V, N), -100),
        "token_weights": counted * (0.5 + np.abs(draw.normal(N))),
        "dloss": 1 + abs(float(draw.normal())),
    }  # fmt: skip


def dims(case):
    weights = case["token_weights"]
    N, V = logits_of(case).shape
    sizes = {"N": N, "n_counted": np.count_nonzero(weights), "sum(token_weights)": weights.sum(), "V": V}
    return sizes | ({"C": case["x"].shape[1]} if "x" in case else {})


def logits_of(case):
    return case["logits"] if "logits" in case else case["x"] @ case["weight"].T


def log_softmax(case, softmax):
    z = logits_of(case)
    axis = 0 if softmax == "axis 0" else -1
    largest = z.max(axis, keepdims=True)
    log_total = np.log(np.exp(z - largest).sum(axis, keepdims=True))
    if softmax == "raw":
        return z
    return z - (0 if softmax == "max" else largest) - (0 if softmax == "no sum" else log_total)


def targets_of(case, targets):
    """Those in range; an ignored row has 0."""
    right = np.where(case["token_weights"] == 0, 0, case["targets"])
    return (right - 1) % logits_of(case).shape[1] if targets == "one less" else right


def weights_of(case, weights):
    w = case["token_weights"]
    return {"ones": np.ones_like(w), "mask": (w != 0).astype(float), "twice": w * w}.get(weights, w)


def loss(case, softmax="", weights="", targets="", log=""):
    log_probs, target = log_softmax(case, softmax), targets_of(case, targets)
    scores = np.exp(log_probs) if log == "missing" else log_probs / (math.log(2) if log == "base 2" else 1)
    picked = scores[:, target].sum(0) if targets == "pairs" else scores[np.arange(len(target)), target]
    return -(weights_of(case, weights) * picked).sum()


def dlogits(case, softmax="", weights="", targets="", dloss="", jacobian=""):
    probs, target = np.exp(log_softmax(case, softmax)), targets_of(case, targets)
    onehot = np.eye(probs.shape[1])[target]
    if targets == "pairs":
        onehot = np.broadcast_to(onehot.max(0), onehot.shape)
    if jacobian == "diagonal":
        probs = probs * onehot
    d = {"missing": 1, "twice": case["dloss"] ** 2}.get(dloss, case["dloss"])
    w = d * weights_of(case, "mask" if weights == "skipped" else weights)[:, None]
    on_probs = d if weights in ("one-hot", "skipped") else w
    return {"softmax": on_probs * probs, "one-hot": (d if weights == "softmax" else w) * onehot}


def dx(case, **flavour):
    return {name: term @ case["weight"] for name, term in dlogits(case, **flavour).items()}


def dweight(case, rows="", repeats="", **flavour):
    kept = slice(-1, None) if rows == "last" else slice(None)
    terms = dlogits(case, **flavour)
    result = {name: term[kept].T @ case["x"][kept] for name, term in terms.items()}
    if repeats:
        target = targets_of(case, flavour.get("targets"))
        result["one-hot"] = np.zeros_like(case["weight"])
        result["one-hot"][target] = terms["one-hot"].max(1, keepdims=True) * case["x"]
    return result


SOFTMAX = {
    "axis 0": "the softmax runs over the rows; it belongs over the vocabulary (the last axis)",
    "no sum": "the exponentials are not divided by their sum",
}
WEIGHTS = {
    "ones": "token_weights is not used: ignored rows count, and all rows alike",
    "mask": "token_weights only says which rows count; it is also how much they count",
    "twice": "token_weights is applied twice",
}
TARGETS = {
    "one less": "the targets are taken to start from 1; they start from 0",
    "pairs": "[:, targets] takes every target in every row; [np.arange(N), targets] takes each row's own",
}
LOSS = {
    "softmax": SOFTMAX | {
        "max": "the largest logit was subtracted before exp, but not added back to the log of the sum",
        "raw": "the softmax is missing: the log of the sum of exponentials belongs there",
    },
    "weights": WEIGHTS, "targets": TARGETS,
    "log": {"missing": "the log is missing: it is -log p, not -p", "base 2": "the log is to base 2, not to base e"},
}  # fmt: skip
GRADIENT = {
    "softmax": SOFTMAX, "targets": TARGETS,
    "weights": WEIGHTS | {
        "one-hot": "token_weights is applied to the one-hot term alone; the softmax needs it too",
        "softmax": "token_weights is applied to the softmax alone; the one-hot term needs it too",
        "skipped": "token_weights is not used: in ignored rows the one-hot is left out, and the softmax counts",
    },
    "dloss": {"missing": "dloss is missing (chain rule)", "twice": "dloss is applied twice"},
    "jacobian": {"diagonal": "only the target's logit has a gradient; through the sum all logits have one"},
}  # fmt: skip
ACCUMULATED = {
    "rows": {"last": "only the last row counts: = where += belongs"},
    "repeats": {"last": "weight[targets] -= ... counts a repeated target once; np.subtract.at counts each"},
}
MEANS = {
    "1/N": "averaged over all rows; the mean is in token_weights already",
    "1/n_counted": "averaged over the counted rows; the mean is in token_weights already",
    "1/sum(token_weights)": "a weighted mean; loss is the weighted sum",
}
RIGHT = {"softmax": 1, "one-hot": -1}
LOSS_OUTPUT = Output(
    "loss", loss, {}, LOSS, MEANS,
    ((lambda loss, case: loss >= 0, "a token's loss is -log of a probability, which is never negative"),),
)  # fmt: skip

EXERCISE = Exercise(
    name="cross_entropy",
    title="Softmax and cross-entropy with ignored targets, forward and backward",
    task="""The output head and the loss in one op: logits = x W^T with x (N, C) and weight (V, C), and

    loss = sum_i token_weights[i] * -log softmax(logits[i])[targets[i]]

targets (N,) are ids from 0 to V - 1; token_weights (N,) are numbers, 0 for a row that is ignored: its target is -100.
The mean over the tokens is in token_weights already. Logits may be in the hundreds: exp must not overflow.
dloss is a number, bias is always None. You need not go in chunks of rows, as the library does.
""",
    cut=(cross_entropy_forward, cross_entropy_backward),
    inputs=inputs,
    calls=lambda case: (
        Call("cross_entropy_forward", ("x", "weight", "targets", "token_weights"), ("loss", "cache")),
        Call("cross_entropy_backward", ("dloss", "cache"), ("dx", "dweight")),
    ),
    outputs=(
        LOSS_OUTPUT,
        Output("dx", dx, RIGHT, GRADIENT, MEANS, (
            (lambda dx, case: not dx[case["token_weights"] == 0].any(), "the rows of dx that are ignored are 0"),
        )),
        Output("dweight", dweight, RIGHT, GRADIENT | ACCUMULATED, MEANS, (
            (lambda dweight, case: np.allclose(dweight.sum(0), 0, atol=1e-8),
             "dweight summed over the vocabulary is 0, because in every row softmax minus one-hot sums to 0"),
        )),
    ),
    sizes=({"N": 5, "V": 7, "C": 4}, {"N": 7, "V": 4, "C": 3}, {"N": 11, "V": 5, "C": 2},
           {"N": 6, "V": 3, "C": 4, "far": True}),
    small=({"N": 1, "V": 2, "C": 1}, {"N": 2, "V": 2, "C": 1}, {"N": 2, "V": 3, "C": 2}, {"N": 3, "V": 3, "C": 2}),
    dims=dims,
    readable=lambda case: bool(case["token_weights"].any()),
    ops=("cross_entropy_forward", "cross_entropy_backward"),
)  # fmt: skip


# ---- the variant: from the logits


def softmax_loss_forward(logits, targets, token_weights):
    """loss = sum_i token_weights[i] * -log softmax(logits[i])[targets[i]]. logits (N, V), targets (N,) ints,
    token_weights (N,): 0 ignores the row (its target may then be anything). Returns the loss, 0-d."""
    return cross_entropy_forward(logits, np.eye(logits.shape[1]), targets, token_weights)


def softmax_loss_backward(dloss, cache):
    """Returns dlogits (N, V)."""
    return cross_entropy_backward(dloss, cache)[0]


LOGITS = replace(
    EXERCISE,
    title="Softmax and cross-entropy from the logits, forward and backward",
    task="""loss = sum_i token_weights[i] * -log softmax(logits[i])[targets[i]], with logits (N, V).

targets (N,) are ids from 0 to V - 1; token_weights (N,) are numbers, 0 for a row that is ignored: its target is -100.
The mean over the tokens is in token_weights already. Logits may be in the hundreds: exp must not overflow.
""",
    cut=(softmax_loss_forward, softmax_loss_backward),
    inputs=logits_inputs,
    calls=lambda case: (
        Call("softmax_loss_forward", ("logits", "targets", "token_weights"), ("loss", "cache")),
        Call("softmax_loss_backward", ("dloss", "cache"), ("dlogits",)),
    ),
    outputs=(
        LOSS_OUTPUT,
        Output("dlogits", dlogits, RIGHT, GRADIENT, MEANS, (
            (lambda dlogits, case: np.allclose(dlogits.sum(1), 0, atol=1e-8),
             "every row of dlogits sums to 0, because softmax and one-hot both sum to 1"),
        )),
    ),
    sizes=({"N": 5, "V": 7}, {"N": 7, "V": 4}, {"N": 11, "V": 5}, {"N": 6, "V": 3, "far": True}),
    small=({"N": 1, "V": 2}, {"N": 2, "V": 2}, {"N": 2, "V": 3}, {"N": 3, "V": 3}),
    ops=(),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"logits": LOGITS})
