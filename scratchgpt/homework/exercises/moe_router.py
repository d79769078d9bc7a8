"""The router of a mixture of experts and its balancing loss; the variant is DeepSeek-V3's, balanced by a bias."""

from dataclasses import replace

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.ops.experts import (
    choose_experts,
    gate_backward,
    gate_forward,
    load_balance_backward,
    load_balance_forward,
    moved_bias,
)

CHOICE = {
    "order": {
        "ascending": "the lowest of the chosen comes first; the highest belongs there",
        "number": "the chosen are sorted by their number; the highest score comes first",
    },
    "which": {
        "lowest": "the experts with the lowest scores are chosen: argsort sorts upwards",
        "first": "the first k experts are chosen, whatever their scores",
        "second": "the best expert is left out: the choice starts at the second",
    },
}
NORMALISE = {
    "never": "the weights are not divided by their sum",
    "always": "the weights are divided by their sum although normalise is False",
    "all": "divided by the sum over all E experts; over the k chosen belongs there",
    "softmax": "a softmax over the chosen scores; they are divided by their sum, without exponentials",
}
SCALE = {"none": "scale is missing", "twice": "scale is applied twice"}
GATE = {
    "normalise": NORMALISE,
    "scale": SCALE | {"before": "the scores are scaled before they are divided by their sum, so that scale cancels"},
    "picks": {
        "columns": "the scores of the first k experts; those of the chosen belong there",
        "number": "the weights are in the order of the experts' numbers; in the order of chosen belongs there",
    },
}
RIGHT_SLOPE = "ds = scale * (dw - sum(dw * s) / sum(s)) / sum(s)"
DGATE = {
    "normalise": {
        "constant": f"sum(s) is taken as a constant, but every chosen score is in it: {RIGHT_SLOPE}",
        "never": "the normalisation is missing on the way back",
        "always": "the normalisation is differentiated although normalise is False",
        "once": f"the last division by sum(s) is missing: {RIGHT_SLOPE}",
        "inner": f"the division by sum(s) inside the brackets is missing: {RIGHT_SLOPE}",
        "sign": f"the inner sum has the wrong sign: {RIGHT_SLOPE}",
        "softmax": f"that is the derivative of a softmax: {RIGHT_SLOPE}",
    },
    "scale": SCALE,
    "picks": {
        "columns": "the gradient is put on the first k experts; it belongs to the chosen",
        "number": "the gradients are put on the chosen in the order of their numbers; column j is that of chosen[:, j]",
        "best": "only the best expert has a gradient; each of the chosen has one",
        "spread": "experts that were not chosen have a gradient too; they have no part in the weights",
    },
}
SEQUENCES = {
    "sum": "the factor W_b is missing: a sequence counts as much as its tokens' weights add up to",
    "mean": "a mean over the sequences; their sum, each times W_b, belongs there",
    "batch": "f and P are taken over the whole batch; each sequence has its own",
}
TOKENS = {
    "ones": "the means are over all tokens alike; token_weights says how much each counts",
    "mask": "token_weights only says which tokens count; it is also how much they count",
}
CHOICES = {
    "best": "f counts each token's best expert alone; it counts all k",
    "soft": "P stands in the place of f, which counts choices",
}
LOSS = {
    "sequences": SEQUENCES, "tokens": TOKENS,
    "choices": CHOICES | {"squared": "f * f stands in the place of f * P"},
    "P": {"chosen": "P counts the probabilities of the chosen alone; it is the mean of all"},
}  # fmt: skip
DLOSS = {
    "sequences": SEQUENCES, "tokens": TOKENS, "choices": CHOICES,
    "P": {"chosen": "only the chosen have a gradient; every probability is in P"},
    "dloss": {"missing": "dloss is missing (chain rule)", "twice": "dloss is applied twice"},
    "f": {"through": "f is differentiated too; it counts choices, which do not move with the probabilities"},
}  # fmt: skip
BALANCE_SCALES = {
    "1/E": "the number of experts is missing",
    "1/k": "f is taken as a share of the choices; it counts k of them for each token",
    "1/B": "averaged over the sequences too",
    "1/T": "averaged over the tokens, which token_weights has done",
    "T": "a sum over the tokens where a mean belongs",
}


def at(N, E, k, B, T, scale=1.0, **options):
    return {"N": N, "E": E, "k": k, "B": B, "T": T, "scale": scale} | options


def inputs(draw, N, E, k, B, T, scale, normalise=True):
    scores, probs = spread(draw, N, E), spread(draw, B, T, E)
    counted = np.arange(T) < np.maximum(1, T - np.arange(B))[:, None]  # each sequence is a token shorter
    token_weights = counted * (np.ones((B, T)) if draw.small else 0.2 + draw.rng.random((B, T)))
    return {
        "scores": scores if draw.small else 0.5 * E * scores, "k": k, "chosen": best(scores, k), "normalise": normalise,
        "scale": scale, "dweights": draw.normal(N, k), "probs": probs, "picked": best(probs, k),
        "token_weights": token_weights, "dloss": 2.0 if draw.small else 1 + abs(float(draw.normal())),
    }  # fmt: skip


def spread(draw, *shape):
    """Positive numbers that sum to 1 along the last axis; small: quarters."""
    if draw.small:
        return draw.rng.permuted(np.broadcast_to([3.0, 1.0, *[0.0] * (shape[-1] - 2)], shape), axis=-1) / 4
    return draw.rng.dirichlet(np.full(shape[-1], 2.0), shape[:-1])


def best(scores, k):
    return np.argsort(-scores, -1, kind="stable")[..., :k].copy()


def choice(case, order="", which=""):
    ranked = best(case["scores"], case["scores"].shape[1])
    k = case["k"]
    chosen = {"lowest": ranked[:, ::-1][:, :k], "second": np.roll(ranked, -1, 1)[:, :k]}.get(which, ranked[:, :k])
    if which == "first":
        chosen = np.broadcast_to(np.arange(k), chosen.shape)
    return {"ascending": chosen[:, ::-1], "number": np.sort(chosen, 1)}.get(order, chosen).astype(float)


def columns_of(case, picks):
    """The experts that a student takes for the chosen, (N, k)."""
    chosen = case["chosen"]
    if picks == "columns":
        return np.broadcast_to(np.arange(chosen.shape[1]), chosen.shape)
    return np.sort(chosen, 1) if picks == "number" else chosen


def weights(case, normalise="", scale="", picks=""):
    scores, normalised = case["scores"], case["normalise"]
    s = np.take_along_axis(scores, columns_of(case, picks), 1)
    factor = {"none": 1.0, "twice": case["scale"] ** 2}.get(scale, case["scale"])
    if scale == "before" and normalised:
        factor = 1.0
    if normalise == "never" or not (normalised or normalise == "always"):
        return factor * s
    s = np.exp(s) if normalise == "softmax" else s
    return factor * s / (scores if normalise == "all" else s).sum(1, keepdims=True)


def dscores(case, normalise="", scale="", picks=""):
    s = np.take_along_axis(case["scores"], case["chosen"], 1)
    dw = {"none": 1.0, "twice": case["scale"] ** 2}.get(scale, case["scale"]) * case["dweights"]
    total = s.sum(1, keepdims=True)
    if normalise == "softmax" and case["normalise"]:
        w = s / total
        ds = w * (dw - (dw * w).sum(1, keepdims=True))
    elif normalise == "never" or not (case["normalise"] or normalise == "always"):
        ds = dw
    else:
        inner = (dw * s).sum(1, keepdims=True) / (1 if normalise == "inner" else total)
        inner = {"constant": 0.0, "sign": -inner}.get(normalise, inner)
        ds = (dw - inner) / (1 if normalise == "once" else total)
    result = np.zeros_like(case["scores"])
    if picks == "best":
        ds = ds * (np.arange(ds.shape[1]) == 0)
    if picks == "spread":
        result += ds.mean(1, keepdims=True)
    np.put_along_axis(result, columns_of(case, picks), ds, 1)
    return result


def statistics(case, sequences="", tokens="", choices="", P=""):
    """(f, P, what each sequence counts, what each token counts in P), under these flavours."""
    probs, w = case["probs"], case["token_weights"]
    B, T, _ = probs.shape
    hits = np.zeros(probs.shape)
    np.put_along_axis(hits, case["picked"][..., : 1 if choices == "best" else None], 1.0, -1)
    counts = {"ones": np.ones((B, T)), "mask": 1.0 * (w != 0)}.get(tokens, w)
    total = np.full(B, counts.sum()) if sequences == "batch" else counts.sum(1)
    share = (counts / total[:, None])[..., None]  # (B, T, 1)
    f, P = (share * hits).sum(1), (share * probs * (hits if P == "chosen" else 1)).sum(1)  # (B, E)
    if sequences == "batch":
        f, P = (np.broadcast_to(a.sum(0), a.shape) for a in (f, P))
    whole = np.full(B, w.sum() / B) if sequences == "batch" else w.sum(1)
    count = {"sum": np.ones(B), "mean": np.full(B, 1 / B)}.get(sequences, whole)
    return {"soft": P}.get(choices, f), P, count, share, hits


def loss(case, choices="", **flavours):
    f, P, count, _, _ = statistics(case, choices=choices, **flavours)
    return float((count[:, None] * f * (f if choices == "squared" else P)).sum() * f.shape[1])


def dprobs(case, dloss="", f="", P="", sequences="", **flavours):
    counts, means, count, share, hits = statistics(case, sequences=sequences, **flavours)
    count = np.full(len(count), count.sum()) if sequences == "batch" else count
    d = {"missing": 1.0, "twice": case["dloss"] ** 2}.get(dloss, case["dloss"])
    slope = counts[:, None] * (hits if P == "chosen" else 1)
    if f == "through":
        slope = slope + means[:, None] * hits
    return d * counts.shape[1] * count[:, None, None] * share * slope


def dims(case):
    (N, E), (B, T) = case["scores"].shape, case["token_weights"].shape
    return {"N": N, "E": E, "k": case["k"], "B": B, "T": T}


EXERCISE = Exercise(
    name="moe_router",
    title="The router of a mixture of experts, with its balancing loss",
    task="""Which k of E experts a token goes to, how much of each, and a loss that is small when all experts get as
many tokens (Fedus et al. 2022, eq. 4-6; Jiang et al. 2024, section 2.1). n_groups and top_groups are always 1.

weights[n, j] = scale * s_j / sum_i s_i, with s the scores of the experts chosen for token n; without normalise it is
scale * s_j. The choice is made of whole numbers and has no derivative.

loss = sum_b W_b E sum_e f_be P_be: of the tokens of sequence b, W_b is the sum of their token_weights, P_be the mean of
their probabilities of expert e and f_be of how often they chose it (k choices a token), both means weighted by
token_weights. Some tokens have the weight 0. dloss is a number.
""",
    cut=(choose_experts, gate_forward, gate_backward, load_balance_forward, load_balance_backward),
    inputs=inputs,
    calls=lambda case: (
        Call("choose_experts", ("scores", "k"), ("choice",)),
        Call("gate_forward", ("scores", "chosen", "normalise", "scale"), ("weights", "cache")),
        Call("gate_backward", ("dweights", "cache"), ("dscores",)),
        Call("load_balance_forward", ("probs", "picked", "token_weights"), ("loss", "balance_cache")),
        Call("load_balance_backward", ("dloss", "balance_cache"), ("dprobs",)),
    ),
    outputs=(
        Output("choice", choice, knobs=CHOICE),
        Output("weights", weights, knobs=GATE, invariants=(
            (lambda weights, case: not case["normalise"] or np.allclose(weights.sum(1), case["scale"]),
             "the weights of a token sum to scale where they are normalised"),
        )),
        Output("dscores", dscores, knobs=DGATE, invariants=(
            (lambda d, case: not case["normalise"] or np.allclose((d * case["scores"]).sum(1), 0, atol=1e-8),
             "dscores * scores sums to 0 for every token where the weights are normalised, because scores that grow "
             "together leave the weights as they are"),
        )),
        Output("loss", loss, knobs=LOSS, scales=BALANCE_SCALES),
        Output("dprobs", dprobs, knobs=DLOSS, scales=BALANCE_SCALES, invariants=(
            (lambda d, case: not d[case["token_weights"] == 0].any(), "a token that does not count has no gradient"),
        )),
    ),
    sizes=(at(7, 5, 2, 3, 4, 2.5), at(5, 6, 3, 2, 4, 1.5), at(4, 7, 3, 2, 5, 0.6, normalise=False),
           at(3, 8, 4, 2, 6, 0.3)),
    small=(at(1, 2, 1, 1, 1), at(1, 2, 2, 1, 2), at(1, 3, 2, 2, 2, 2.0), at(2, 3, 2, 2, 3, 2.0, normalise=False)),
    dims=dims,
    readable=lambda case: bool(case["dweights"].any()),
    ops=("choose_experts", "gate_forward", "gate_backward", "load_balance_forward", "load_balance_backward"),
)  # fmt: skip


# ---- the variant: balanced by a bias


GATES = {
    "normalise": {name: NORMALISE[name] for name in ("never", "all", "softmax")},
    "scale": {"none": SCALE["none"]},
    "bias": {
        "none": "the bias is not used; it is added to the scores for the choice",
        "weights": "the bias is in the weights too; it takes part in the choice alone",
    },
    "groups": {
        "none": "the groups are ignored: the experts come from the top_groups best of them",
        "best": "a group is as good as its best expert; the sum of its two best belongs there",
        "sum": "a group is as good as the sum of all its experts; the sum of its two best belongs there",
        "last": "the worst groups are kept instead of the best",
        "zero": "the scores of the other groups are set to 0, but a biased score may be below 0; -inf belongs there",
    },
}
DGATES = {
    "normalise": {name: DGATE["normalise"][name] for name in ("constant", "never", "once", "softmax")},
    "scale": GATES["scale"], "bias": GATES["bias"], "groups": GATES["groups"],
    "picks": {"all": "every expert's gate has a gradient; those that were not chosen are 0 whatever their score"},
}  # fmt: skip
MOVE = {
    "how": {
        "down": "the bias is moved the wrong way: up for an expert with fewer tokens than the mean",
        "proportional": "moved by speed times the difference to the mean; by its sign alone belongs there",
        "even": "an expert with exactly the mean is moved too; its bias stays",
        "move alone": "only what is added to the bias is returned; the new bias belongs there",
    },
}


def biased_router_forward(scores, bias, k, n_groups, top_groups, scale):
    """gates (N, E): scale * s_e / (sum of the chosen s) for the k experts that are chosen for a token, 0 for others.
    scores (N, E), bias (E,): the choice is by scores + bias, from the top_groups best groups of experts."""
    chosen = choose_experts(scores + bias, k, n_groups, top_groups)
    weights, cache = gate_forward(scores, chosen, True, scale)
    gates = np.zeros_like(scores)
    np.put_along_axis(gates, chosen, weights, 1)
    return gates, (chosen, cache)


def biased_router_backward(dgates, cache):
    """Returns dscores (N, E); the bias is moved, not learned, and has no gradient."""
    chosen, cache = cache
    return gate_backward(np.take_along_axis(dgates, chosen, 1), cache)


def move_bias(bias, load, speed):
    """The new bias (E,): speed higher where an expert got fewer tokens than the mean of load (E,), speed lower where it
    got more."""
    return moved_bias(bias, load, speed)


def biased_inputs(draw, N, n_groups, in_group, top_groups, k, scale):
    E = n_groups * in_group
    load = draw.integers(0, 9, E)
    load[-1] = 9 * E - load[:-1].sum()  # so that the mean is 9, a whole number, and one expert has it
    load[0], load[-1] = 9, load[-1] + load[0] - 9
    return {
        "scores": draw.integers(1, 9, N, E) / 4 if draw.small else 0.1 + draw.rng.random((N, E)),
        "bias": draw.normal(E) if draw.small else 0.5 * draw.normal(E) - 0.4, "k": k, "n_groups": n_groups,
        "top_groups": top_groups, "scale": scale, "dgates": draw.normal(N, E), "load": load,
        "speed": 0.5 if draw.small else 0.001 + draw.rng.random(),
    }  # fmt: skip


def biased_choice(case, bias="", groups=""):
    """Which experts are chosen, (N, E) of 0 and 1."""
    scores = case["scores"]
    by = scores if bias == "none" else scores + case["bias"]
    if groups != "none":
        parts = by.reshape(len(by), case["n_groups"], -1)
        count = {"best": 1, "sum": parts.shape[-1]}.get(groups, 2)
        good = np.sort(parts, -1)[..., -count:].sum(-1)
        rank = np.argsort(np.argsort(good if groups == "last" else -good, -1), -1)
        hidden = np.repeat(rank >= case["top_groups"], parts.shape[-1], -1)
        by = np.where(hidden, 0.0 if groups == "zero" else -np.inf, by)
    chosen = np.zeros_like(scores)
    np.put_along_axis(chosen, best(by, case["k"]), 1.0, 1)
    return chosen


def gates(case, normalise="", scale="", bias="", groups=""):
    chosen = biased_choice(case, bias, groups)
    s = case["scores"] + (case["bias"] if bias == "weights" else 0)
    s = np.exp(s) if normalise == "softmax" else s
    total = 1.0 if normalise == "never" else (s * (1 if normalise == "all" else chosen)).sum(1, keepdims=True)
    return (1.0 if scale else case["scale"]) * chosen * s / total


def dgates_scores(case, normalise="", scale="", bias="", groups="", picks=""):
    chosen = biased_choice(case, bias, groups)
    s = case["scores"] + (case["bias"] if bias == "weights" else 0)
    dw = (1.0 if scale else case["scale"]) * case["dgates"]
    total = (s * chosen).sum(1, keepdims=True)
    seen = np.ones_like(chosen) if picks == "all" else chosen
    if normalise == "never":
        return dw * seen
    if normalise == "softmax":
        w = chosen * s / total
        return w * (dw - (dw * w).sum(1, keepdims=True))
    inner = 0.0 if normalise == "constant" else (dw * s * chosen).sum(1, keepdims=True) / total
    return seen * (dw - inner) / (1 if normalise == "once" else total)


def moved(case, how=""):
    missing = case["load"].mean() - case["load"]
    step = {"down": -np.sign(missing), "proportional": missing, "even": np.where(missing >= 0, 1, -1)}
    return (0 if how == "move alone" else case["bias"]) + case["speed"] * step.get(how, np.sign(missing))


def group_sizes(N, n_groups, in_group, top_groups, k, scale):
    return {"N": N, "n_groups": n_groups, "in_group": in_group, "top_groups": top_groups, "k": k, "scale": scale}


BIASED = replace(
    EXERCISE,
    title="DeepSeek-V3's router: groups of experts, and a bias that balances",
    task="""Which k of E experts a token goes to, and how much of each (DeepSeek-AI 2024, section 2.1.2).

The choice is by scores + bias. The experts are n_groups groups of neighbours, and only those in the top_groups best
groups can be chosen, a group being as good as the sum of its two best. gates (N, E) is 0 for the experts that were not
chosen, and scale * s_e / (sum of the chosen s) for the others, with s the scores alone. The bias has no gradient: after
an update it is moved by speed, up for an expert that got fewer tokens than the mean, down for one that got more (Wang
et al. 2024).
""",
    cut=(biased_router_forward, biased_router_backward, move_bias),
    inputs=biased_inputs,
    calls=lambda case: (
        Call("biased_router_forward", ("scores", "bias", "k", "n_groups", "top_groups", "scale"), ("gates", "cache")),
        Call("biased_router_backward", ("dgates", "cache"), ("dscores",)),
        Call("move_bias", ("bias", "load", "speed"), ("moved",)),
    ),
    outputs=(
        Output("gates", gates, knobs=GATES, invariants=(
            (lambda gates, case: np.allclose(gates.sum(1), case["scale"]), "the gates of a token sum to scale"),
        )),
        Output("dscores", dgates_scores, knobs=DGATES),
        Output("moved", moved, knobs=MOVE),
    ),
    sizes=(group_sizes(7, 3, 3, 2, 2, 2.5), group_sizes(11, 4, 3, 2, 3, 1.5), group_sizes(5, 3, 4, 1, 3, 0.6),
           group_sizes(13, 5, 3, 3, 4, 0.3)),
    small=(group_sizes(1, 2, 2, 1, 1, 1.0), group_sizes(1, 2, 3, 1, 2, 2.0), group_sizes(2, 3, 2, 2, 2, 2.0)),
    dims=lambda case: {
        "N": len(case["scores"]), "E": case["scores"].shape[1], "k": case["k"], "n_groups": case["n_groups"],
        "top_groups": case["top_groups"],
    },
    readable=lambda case: all(len({*row}) == len(row) for row in case["scores"] + case["bias"]),  # no ties
    ops=(),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"biased": BIASED})
