"""The ops, forward and backward, as a student should read them. Every other table must agree with this page.

The contract of an op
1. ``name_forward(inputs, params, options) -> out, cache`` and ``name_backward(dout, cache) -> one gradient per
   forward array, in order``.
2. Pure: inputs and ``dout`` are never written. What an op returns belongs to the caller, who may overwrite it.
   No returned array is a view of an input. (``adamw_step`` is the one op that changes state in place.)
3. The cache is a plain tuple that holds only what backward needs. Its layout is documented here and private to
   the other tables, which therefore replace forward and backward together.
4. dtype and device of the output are those of ``x``: scalars are Python floats, so float32 stays float32.
5. Generic in dtype (float32, float64, and complex where the op is analytic) and in array module (NumPy, CuPy).

Letters: B batch, T query length, S key length, C model width, H heads, D head width, V vocabulary, N = B*T rows,
I and O the inputs and outputs of a linear map. ``dX`` is d loss / d X and has X's shape.
"""

import math

from scratchgpt.backend import array_module
from scratchgpt.errors import InputError
from scratchgpt.ops.experts import *  # noqa: F403  the second page: the mixture of experts


def linear_forward(x, weight, bias=None):
    """out = x W^T + b over the last axis. x (..., I), weight (O, I), bias (O,) or None -> out (..., O)."""
    out = x @ weight.T  # (..., O)
    if bias is not None:
        out += bias
    return out, (x, weight, bias is not None)


def linear_backward(dout, cache):
    """Returns dx (..., I), dweight (O, I), dbias (O,) or None."""
    x, weight, has_bias = cache
    rows = dout.reshape(-1, dout.shape[-1])  # (N, O)
    dx = dout @ weight  # (..., I)
    dweight = rows.T @ x.reshape(-1, x.shape[-1])  # (O, I): summed over the N rows
    dbias = rows.sum(0) if has_bias else None  # (O,): the bias was broadcast to every row
    return dx, dweight, dbias


def embedding_forward(ids, wte, wpe, start=0):
    """out[b, t] = wte[ids[b, t]] + wpe[start + t]. ids (B, T) in [0, V), wte (V, C), wpe (P, C) -> (B, T, C)."""
    T = ids.shape[1]
    return wte[ids] + wpe[start : start + T], (ids, wte.shape, wpe.shape, start)


def embedding_backward(dout, cache):
    """Returns dwte (V, C), dwpe (P, C): a row used several times receives the sum of its uses' gradients."""
    ids, wte_shape, wpe_shape, start = cache
    xp = array_module(dout)
    dwte = xp.zeros(wte_shape, dout.dtype)  # (V, C)
    dwpe = xp.zeros(wpe_shape, dout.dtype)  # (P, C)
    xp.add.at(dwte, ids, dout)  # repeated ids add up; dwte[ids] += dout would not
    dwpe[start : start + ids.shape[1]] = dout.sum(0)  # (T, C): a position is used once per sequence
    return dwte, dwpe


def layer_norm_forward(x, weight, bias, eps=1e-5):
    """out = (x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016, eq. 3-4)."""
    xp = array_module(x)
    xhat = x - x.mean(-1, keepdims=True)  # (..., C)
    rstd = 1 / xp.sqrt((xhat * xhat).mean(-1, keepdims=True) + eps)  # (..., 1)
    xhat *= rstd  # ours: made two lines up
    return xhat * weight + bias, (xhat, rstd, weight)


def layer_norm_backward(dout, cache):
    """Returns dx (..., C), dweight (C,), dbias (C,)."""
    xhat, rstd, weight = cache
    rows = tuple(range(dout.ndim - 1))  # every axis but C
    dweight, dbias = (dout * xhat).sum(rows), dout.sum(rows)  # (C,), (C,)
    dxhat = dout * weight  # (..., C)
    # x reaches xhat three ways: directly, through the mean and through the variance
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx *= rstd
    return dx, dweight, dbias


SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
GELU_CUBIC = 0.044715


def gelu_forward(x, approximate="tanh"):
    """GELU(x) = x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016).

    approximate: "tanh", 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as GPT-1 to 3 use it, or "none", exact.
    """
    xp = array_module(x)
    if approximate == "tanh":
        phi = 0.5 * (1 + xp.tanh(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)))
    else:
        phi = normal_cdf(x)
    return x * phi, (x, phi, approximate)


def gelu_backward(dout, cache):
    """d/dx x Phi(x) = Phi(x) + x Phi'(x). Returns dx, shaped like x."""
    x, phi, approximate = cache
    xp = array_module(x)
    if approximate == "tanh":
        # phi = (1 + tanh u) / 2, so phi' = (1 - tanh^2 u) / 2 * u' = 2 phi (1 - phi) u'
        dphi = 2 * phi * (1 - phi) * (SQRT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x))
    else:
        dphi = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return dout * (phi + x * dphi)


def normal_cdf(x):
    """Phi(x), each tail to a relative 2e-14, from +, *, / and exp alone, because NumPy has no erf.

    For |x| < 2 the series Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...) (Marsaglia 2004), beyond it the
    continued fraction of the tail, phi(x) / (x + 1/(x + 2/(x + 3/(x + ...)))) (Abramowitz & Stegun 26.2.14).
    """
    xp = array_module(x)
    size = xp.where(x.real < 0, -x, x)  # |x|, but analytic: the complex step takes x + ih
    central = size.real < 2
    near, far = xp.where(central, size, 0), xp.where(central, 2, size)  # each formula sees only what it can do
    density = xp.exp(-0.5 * size * size) * (1 / math.sqrt(2 * math.pi))
    series = term = near
    for k in range(3, 48, 2):  # the last term: 2^47 / (3 * 5 * ... * 47) = 1e-16
        term = term * near * near / k
        series = series + term
    fraction = far
    for k in range(80, 0, -1):
        fraction = far + k / fraction
    upper = xp.where(central, 0.5 - density * series, density / fraction)  # P(Z > |x|)
    return xp.where(x.real < 0, upper, 1 - upper)


def attention_forward(q, k, v, bias=None, mask=None, causal=True):
    """softmax(q k^T / sqrt(D) + bias) v per head (Vaswani et al. 2017, eq. 1).

    q (B, T, H, D), k and v (B, S, H, D), bias broadcastable to (B, H, T, S) and added to the scores or None,
    mask (B, S) bool, True where a key may be seen, or None. causal: query t is the (S - T + t)-th of the S
    positions and sees keys up to itself, so the same op serves training (T == S) and a cache (T < S).
    Returns out (B, T, H, D); a query that may see nothing gives zeros.
    """
    xp = array_module(q)
    scale = 1 / math.sqrt(q.shape[-1])
    qh, kh, vh = (a.transpose(0, 2, 1, 3) for a in (q, k, v))  # (B, H, T, D), (B, H, S, D) twice
    scores = qh @ kh.swapaxes(-1, -2) * scale  # (B, H, T, S)
    if bias is not None:
        scores = scores + bias
    T, S = scores.shape[-2:]
    if causal and T > 1:  # a single query is the last position and sees every key
        scores = xp.where(xp.arange(S) <= xp.arange(T)[:, None] + (S - T), scores, -math.inf)
    if mask is not None:
        scores = xp.where(mask[:, None, None, :], scores, -math.inf)
    largest = scores.real  # .real: the complex step passes through here
    if scores.size:  # no queries or no keys: there is no largest
        largest = largest.max(-1, keepdims=True)
    largest = xp.where(largest == -math.inf, 0, largest)  # all keys hidden: -inf - -inf would be NaN
    probs = xp.exp(scores - largest)  # (B, H, T, S): hidden keys are exactly 0
    total = probs.sum(-1, keepdims=True)
    probs /= xp.where(total == 0, 1, total)  # all keys hidden: 0 / 1
    out = xp.ascontiguousarray((probs @ vh).transpose(0, 2, 1, 3))  # (B, T, H, D)
    return out, (q, k, v, probs, None if bias is None else bias.shape)


def attention_backward(dout, cache):
    """Returns dq (B, T, H, D), dk and dv (B, S, H, D), dbias (bias's shape) or None."""
    q, k, v, probs, bias_shape = cache
    xp = array_module(dout)
    scale = 1 / math.sqrt(q.shape[-1])
    qh, kh, vh, dh = (a.transpose(0, 2, 1, 3) for a in (q, k, v, dout))
    dv = probs.swapaxes(-1, -2) @ dh  # (B, H, S, D)
    dprobs = dh @ vh.swapaxes(-1, -2)  # (B, H, T, S)
    # forward was: probs = softmax(scores), so: dscores = probs * (dprobs - sum_s dprobs * probs)
    dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))
    dbias = None if bias_shape is None else sum_to(dscores, bias_shape)
    dq = dscores @ kh * scale  # (B, H, T, D)
    dk = dscores.swapaxes(-1, -2) @ qh * scale  # (B, H, S, D)
    dq, dk, dv = (xp.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in (dq, dk, dv))
    return dq, dk, dv, dbias


def sum_to(x, shape):
    """The gradient of broadcasting `shape` to x.shape: x summed over every axis along which it was repeated."""
    x = x.sum(tuple(range(x.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 and x.shape[axis] != 1)
    return x.sum(repeated, keepdims=True) if repeated else x


def dropout_forward(x, p, key, start=0):
    """Inverted dropout: each element is zeroed with probability p, the others are scaled by 1/(1-p)
    (Srivastava et al. 2014).

    Element i of x in C order is kept iff draw start + i of counter_hash is at least p 2^32: a pure function of the
    counter, so a resumed run, a run split over threads and a GPU draw the same mask. key: an int of up to 64 bits;
    start: the counter of x's first element.
    """
    if not 0 <= p < 1:
        raise InputError(f"dropout p is {p}; expected 0 <= p < 1")
    xp = array_module(x)
    keep = counter_hash(xp, key, start, x.size).reshape(x.shape) >= int(p * 2**32)
    scale = 1 / (1 - p)
    return x * keep * scale, (keep, scale)


def dropout_backward(dout, cache):
    """Returns dx: the same elements dropped, the same scale."""
    keep, scale = cache
    return dout * keep * scale


def residual_dropout_forward(x, branch, p, key, start=0):
    """out = x + dropout(branch), the end of a residual connection (Vaswani et al. 2017, section 5.4). x and branch have
    one shape; p, key and start are dropout's."""
    out, cache = dropout_forward(branch, p, key, start)
    out += x
    return out, cache


def residual_dropout_backward(dout, cache):
    """Returns dx, dbranch: the gradient takes both ways, past the branch unchanged."""
    return dout.copy(), dropout_backward(dout, cache)


def counter_hash(xp, key, start, n):
    """n uint32 draws, one for each of the counters start .. start + n - 1, under key (ints of up to 64 bits).

    Two rounds of a 32-bit mixer ("lowbias32", Wellons 2018), each round keyed; unsigned arithmetic wraps modulo 2^32 in
    NumPy and CuPy alike. The two round keys come from key and from the counters' bits above the 32nd.
    """
    block, first = divmod(start, 1 << 32)
    left = (1 << 32) - first  # counters until the bits above the 32nd change
    if n > left:
        halves = counter_hash(xp, key, start, left), counter_hash(xp, key, start + left, n - left)
        return xp.concatenate(halves)
    round_keys = split_mix(split_mix(key) ^ block)
    x = xp.arange(n, dtype=xp.uint32)
    x += first
    for round_key in (round_keys >> 32, round_keys & 0xFFFFFFFF):
        x ^= round_key
        x ^= x >> 16
        x *= 0x7FEB352D
        x ^= x >> 15
        x *= 0x846CA68B
        x ^= x >> 16
    return x


def split_mix(word):
    """One step of SplitMix64 on a Python int (Steele, Lea & Flood 2014): every bit out depends on every bit in."""
    word = (word + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


HEAD_CHUNK = 1 << 22  # logits held at a time by the output head, in elements


def cross_entropy_forward(x, weight, targets, token_weights):
    """loss = sum_i token_weights[i] * (log sum_v exp(x_i . weight_v) - x_i . weight_{targets_i}): the output head and
    softmax cross-entropy in one op, so that the (N, V) logits exist only a few rows at a time.

    x (N, C), weight (V, C), targets (N,) ints, token_weights (N,) real: 0 ignores the row (its target may then be
    anything, -100 by custom), 1/n on n rows gives their mean. Returns the loss, 0-d.
    """
    xp = array_module(x)
    targets = xp.where(token_weights == 0, 0, targets)  # (N,): an ignored target may be out of range
    log_total = xp.empty(len(x), x.dtype)  # (N,)
    picked = xp.empty(len(x), x.dtype)  # (N,): the target's logit
    for rows in row_chunks(len(x), len(weight)):
        logits = x[rows] @ weight.T  # (n, V)
        largest = logits.real.max(-1, keepdims=True)
        log_total[rows] = xp.log(xp.exp(logits - largest).sum(-1)) + largest[:, 0]
        picked[rows] = xp.take_along_axis(logits, targets[rows][:, None], 1)[:, 0]
    loss = (token_weights * (log_total - picked)).sum()
    return loss, (x, weight, targets, token_weights, log_total)


def cross_entropy_backward(dloss, cache):
    """Returns dx (N, C), dweight (V, C). The logits are computed again, a chunk at a time."""
    x, weight, targets, token_weights, log_total = cache
    xp = array_module(x)
    dx, dweight = xp.empty_like(x), xp.zeros_like(weight)
    for rows in row_chunks(len(x), len(weight)):
        # forward was: loss = sum w (log sum exp z - z_target), so: dz = w (softmax(z) - onehot(target))
        dlogits = xp.exp(x[rows] @ weight.T - log_total[rows][:, None])  # (n, V): softmax
        dlogits[xp.arange(len(dlogits)), targets[rows]] -= 1
        dlogits *= (dloss * token_weights[rows])[:, None]
        dx[rows] = dlogits @ weight  # (n, C)
        dweight += dlogits.T @ x[rows]  # (V, C)
    return dx, dweight


def row_chunks(n_rows, n_columns, elements=None):
    """Slices of whole rows that hold about `elements` (default: HEAD_CHUNK) elements each."""
    step = max(1, (elements or HEAD_CHUNK) // n_columns)
    return [slice(i, min(i + step, n_rows)) for i in range(0, n_rows, step)]


def global_norm(grad):
    """The Euclidean norm of a flat array, 0-d (Pascanu et al. 2013, algorithm 1)."""
    xp = array_module(grad)
    return xp.sqrt((grad * grad).sum())


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    """One AdamW update of flat arrays, in place (Loshchilov & Hutter 2019, algorithm 2; bias correction as in
    Kingma & Ba 2015): param *= 1 - lr weight_decay, then param -= lr mhat / (sqrt(vhat) + eps).

    t: the number of this update, from 1. grad_scale multiplies grad (clipping); a float or a 0-d array.
    """
    xp = array_module(param)
    grad = grad * grad_scale
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    param *= 1 - lr * weight_decay  # decoupled: the decay never enters m and v
    param -= lr * mhat / (xp.sqrt(vhat) + eps)
