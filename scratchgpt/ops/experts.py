"""The reference's second page: the ops of a mixture of experts, to the contract at the top of `reference`.

A router scores E experts for each of N tokens, k of them are chosen, and only those run (Shazeer et al. 2017):

    scores -> choose_experts -> chosen       which experts: whole numbers, so nothing to differentiate
           -> gate           -> weights      how much of each
           -> load_balance   -> a loss that is small when all experts get equally many tokens; or moved_bias
    x -> dispatch -> grouped_linear, an activation, grouped_linear -> combine -> out

Every op here is smooth; what jumps is the choice, where two scores change places.
"""

import math
from itertools import pairwise

from scratchgpt.backend import array_module

LEAST_TOTAL = 1e-20  # keeps the weights of a token finite whose scores have all underflowed, as DeepSeek-V3's code does


def softmax_forward(x):
    """out = exp(x) / sum exp(x) over the last axis."""
    xp = array_module(x)
    out = xp.exp(x - x.real.max(-1, keepdims=True))
    out /= out.sum(-1, keepdims=True)
    return out, (out.copy(),)  # out is the caller's to overwrite


def softmax_backward(dout, cache):
    """Returns dx: a score changes its whole row."""
    (probs,) = cache
    return probs * (dout - (dout * probs).sum(-1, keepdims=True))


def sigmoid_forward(x):
    """out = 1 / (1 + exp(-x)), exact in both tails: only exp(-|x|) is computed, which cannot overflow."""
    xp = array_module(x)
    negative = x.real < 0
    small = xp.exp(xp.where(negative, x, -x))  # exp(-|x|), but analytic: the complex step takes x + ih
    out = xp.where(negative, small, 1) / (1 + small)
    return out, (out * (1 - out),)


def sigmoid_backward(dout, cache):
    """sigmoid' = sigmoid (1 - sigmoid). Returns dx."""
    (slope,) = cache
    return dout * slope


def choose_experts(scores, k, n_groups=1, top_groups=1):
    """The k experts with the highest scores, the highest first; of equal ones the first. scores (N, E) -> (N, k) ints.

    n_groups: the experts are that many groups of neighbours, and only those in the top_groups best groups can be
    chosen, a group being as good as the sum of its two best experts (DeepSeek-AI 2024, section 2.1.2).
    """
    xp = array_module(scores)
    scores = scores.real
    if top_groups < n_groups:
        groups = scores.reshape(len(scores), n_groups, scores.shape[1] // n_groups)  # (N, n_groups, E / n_groups)
        best_two = xp.sort(groups, -1)[..., -2:].sum(-1)  # (N, n_groups)
        rank = xp.argsort(xp.argsort(-best_two, -1, kind="stable"), -1, kind="stable")  # (N, n_groups): 0 is the best
        scores = xp.where(rank[..., None] < top_groups, groups, -math.inf).reshape(scores.shape)
    return xp.argsort(-scores, -1, kind="stable")[:, :k].copy()  # not a view of all E


def gate_forward(scores, chosen, normalise=True, scale=1.0):
    """weights[n, j] = scale s_j / sum_i s_i, s the scores of the k experts chosen for token n (Jiang et al. 2024,
    section 2.1; DeepSeek-AI 2024, eq. 13); without normalise scale s_j (Fedus et al. 2022, eq. 2).

    scores (N, E) positive, chosen (N, k) ints -> (N, k).
    """
    xp = array_module(scores)
    picked = xp.take_along_axis(scores, chosen, 1)  # (N, k)
    total = picked.sum(-1, keepdims=True) + LEAST_TOTAL if normalise else None  # (N, 1)
    weights = scale * picked if total is None else scale * picked / total
    return weights, (picked, total, scale, chosen, scores.shape)


def gate_backward(dout, cache):
    """Returns dscores (N, E): 0 for the experts that were not chosen."""
    picked, total, scale, chosen, shape = cache
    xp = array_module(dout)
    dpicked = scale * dout  # (N, k)
    if total is not None:
        # forward was: weights = scale s / sum s, so: ds = scale (dout - sum_j dout_j s_j / sum s) / sum s
        dpicked = (dpicked - (dpicked * picked).sum(-1, keepdims=True) / total) / total
    dscores = xp.zeros(shape, dout.dtype)
    dscores[xp.arange(len(chosen))[:, None], chosen] = dpicked  # an expert is chosen once at most
    return dscores


def load_balance_forward(probs, chosen, token_weights):
    """loss = sum_b W_b E sum_e f_be P_be (Fedus et al. 2022, eq. 4-6, for each sequence b): f_be is how many of the
    sequence's tokens expert e was chosen for and P_be its mean probability, both as means over the sequence weighted
    by token_weights, whose sum is W_b.

    probs (B, T, E), chosen (B, T, k) ints, token_weights (B, T), 0 for a token that does not count -> 0-d. It is k when
    all experts are used alike, and E when each token's k experts are always the same and certain. With weights that sum
    to 1 over several batches the losses of the batches add up, however their sequences are divided.
    """
    xp = array_module(probs)
    B, T, E = probs.shape
    hits = xp.zeros((B * T, E), probs.dtype)  # 1 where an expert was chosen
    hits[xp.arange(B * T)[:, None], chosen.reshape(B * T, chosen.shape[2])] = 1
    total = token_weights.sum(1)[:, None]  # (B, 1): W_b
    share = token_weights / xp.where(total == 0, 1, total)  # (B, T)
    f = (share[:, :, None] * hits.reshape(B, T, E)).sum(1)  # (B, E)
    P = (share[:, :, None] * probs).sum(1)  # (B, E)
    return E * (total * f * P).sum(), (f, token_weights)


def load_balance_backward(dloss, cache):
    """Returns dprobs (B, T, E): through P alone, because f counts choices, which do not move with the probabilities."""
    f, token_weights = cache
    # P = sum_t w_t probs_t / W, and W_b cancels
    return dloss * f.shape[1] * f[:, None, :] * token_weights[:, :, None]


def moved_bias(bias, load, speed):
    """The bias on the choice after an update: speed higher for an expert that got fewer tokens than the mean, speed
    lower for one that got more (Wang et al. 2024, algorithm 1). bias (E,), load (E,) ints, an expert's tokens -> (E,).
    """
    missing = load.sum() - len(load) * load  # (E,): to the mean, times E: whole numbers
    return bias + speed * array_module(bias).sign(missing).astype(bias.dtype)


def dispatch_forward(x, order, place):
    """out[r] = x[order[r] // k]: each token's row once for each of its k experts, in the order in which the experts
    multiply them. x (N, C) -> (N k, C).

    Copy j of token n has the number n k + j: order (N k,) lists these numbers sorted by expert, and place (N, k), its
    inverse, says where each went: place[n, j] = r where order[r] = n k + j.
    """
    return x[order // place.shape[1]], (place,)


def dispatch_backward(dout, cache):
    """Returns dx (N, C): a token receives the sum of its copies' gradients."""
    (place,) = cache
    return dout[place].sum(1)  # (N, k, C) -> (N, C): reads that need no order, unlike adding to rows


def grouped_linear_forward(x, weight, edges):
    """out[r] = weight[e] x[r] for the rows r of group e, edges[e] <= r < edges[e + 1]: one product for each expert.
    x (M, I), weight (E, O, I), edges E + 1 Python ints -> (M, O)."""
    out = array_module(x).empty((len(x), weight.shape[1]), x.dtype)
    for e, (start, stop) in enumerate(pairwise(edges)):
        out[start:stop] = x[start:stop] @ weight[e].T
    return out, (x, weight, edges)


def grouped_linear_backward(dout, cache):
    """Returns dx (M, I), dweight (E, O, I): 0 for an expert without rows."""
    x, weight, edges = cache
    xp = array_module(dout)
    dx, dweight = xp.empty(x.shape, dout.dtype), xp.empty(weight.shape, dout.dtype)
    for e, (start, stop) in enumerate(pairwise(edges)):
        dx[start:stop] = dout[start:stop] @ weight[e]
        dweight[e] = dout[start:stop].T @ x[start:stop]
    return dx, dweight


def combine_forward(y, weights, order, place):
    """out[n] = sum_j weights[n, j] y[place[n, j]]: the experts' rows back at their tokens, each times its weight.
    y (N k, C), weights (N, k), order and place as in dispatch -> (N, C)."""
    return (y[place] * weights[:, :, None]).sum(1), (y, weights, order, place)


def combine_backward(dout, cache):
    """Returns dy (N k, C), dweights (N, k)."""
    y, weights, order, place = cache
    drows = dout[order // place.shape[1]]  # (N k, C): for each row of y what its token receives
    dy = drows * weights.reshape(-1)[order][:, None]
    dweights = (drows * y).sum(-1)[place]  # (N k,), and back in the tokens' order
    return dy, dweights
