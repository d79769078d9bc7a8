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

Letters: B batch, T query length, S key length, C model width, H heads, G heads of keys and values, D head width, Dv
that of the values, V vocabulary, K classes, N = B*T rows, I and O the inputs and outputs of a linear map. ``dX`` is
d loss / d X and has X's shape.
"""

import math

from scratchgpt.backend import array_module
from scratchgpt.errors import InputError
from scratchgpt.ops.experts import *  # noqa: F403  the second page: the mixture of experts
from scratchgpt.ops.experts import sigmoid_forward


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


def embedding_forward(ids, wte, wpe=None, start=0):
    """out[b, t] = wte[ids[b, t]] + wpe[start + t]. ids (B, T) in [0, V), wte (V, C), wpe (P, C) -> (B, T, C).

    Without wpe it picks rows of any table, by ids of any shape: segments, positions that skip padding, and, from
    x (N, C), the rows that a head reads.
    """
    out = wte[ids]  # (B, T, C)
    if wpe is not None:
        out = out + wpe[start : start + ids.shape[1]]
    return out, (ids, wte.shape, None if wpe is None else wpe.shape, start)


def embedding_backward(dout, cache):
    """Returns dwte (V, C), dwpe (P, C) or None: a row used several times receives the sum of its uses' gradients."""
    ids, wte_shape, wpe_shape, start = cache
    xp = array_module(dout)
    dwte = xp.zeros(wte_shape, dout.dtype)  # (V, C)
    xp.add.at(dwte, ids, dout)  # repeated ids add up; dwte[ids] += dout would not
    if wpe_shape is None:
        return dwte, None
    dwpe = xp.zeros(wpe_shape, dout.dtype)  # (P, C)
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


def rms_norm_forward(x, weight, eps=1e-6):
    """out = x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich 2019, eq. 4): layer norm without
    the mean and the bias."""
    xp = array_module(x)
    rstd = 1 / xp.sqrt((x * x).mean(-1, keepdims=True) + eps)  # (..., 1)
    xhat = x * rstd  # (..., C)
    return xhat * weight, (xhat, rstd, weight)


def rms_norm_backward(dout, cache):
    """Returns dx (..., C), dweight (C,)."""
    xhat, rstd, weight = cache
    dweight = (dout * xhat).sum(tuple(range(dout.ndim - 1)))  # (C,)
    dxhat = dout * weight  # (..., C)
    # x reaches xhat two ways: directly and through the mean of its squares
    dx = dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    dx *= rstd
    return dx, dweight


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


def relu_forward(x):
    """out = max(x, 0) (Nair & Hinton 2010)."""
    return array_module(x).where(x.real < 0, 0, x), (x.real > 0,)


def relu_backward(dout, cache):
    """Returns dx: the gradient passes where x was positive."""
    (positive,) = cache
    return dout * positive


def tanh_forward(x):
    """out = tanh(x), BERT's pooler (Devlin et al. 2019)."""
    out = array_module(x).tanh(x)
    return out, (1 - out * out,)  # the slope: out belongs to the caller


def tanh_backward(dout, cache):
    """tanh' = 1 - tanh^2. Returns dx."""
    (slope,) = cache
    return dout * slope


def silu_forward(x):
    """out = x sigmoid(x), also called swish (Ramachandran et al. 2017; Elfwing et al. 2018)."""
    gate, _ = sigmoid_forward(x)
    return x * gate, (x, gate)


def silu_backward(dout, cache):
    """d/dx x s(x) = s + x s (1 - s). Returns dx."""
    x, gate = cache
    return dout * gate * (1 + x * (1 - gate))


def glu_forward(gate, up, activation="silu"):
    """out = activation(gate) * up (Shazeer 2020, eq. 6): "silu" makes it SwiGLU, "gelu_tanh" and "gelu" (exact) GEGLU,
    "relu" ReGLU. gate and up have one shape."""
    if activation == "silu":
        hidden, cache = silu_forward(gate)
    elif activation == "relu":
        hidden, cache = relu_forward(gate)
    else:
        hidden, cache = gelu_forward(gate, "tanh" if activation == "gelu_tanh" else "none")
    return hidden * up, (hidden, up, activation, cache)


def glu_backward(dout, cache):
    """Returns dgate, dup."""
    hidden, up, activation, cache = cache
    backward = {"silu": silu_backward, "relu": relu_backward}.get(activation, gelu_backward)
    return backward(dout * up, cache), dout * hidden


def rotary_forward(x, start=0, base=10000.0, width=None, interleaved=False):
    """Rotary positions (Su et al. 2021, eq. 34): pair i of the columns of x[:, t] is turned, as a point of the plane,
    by the angle (start + t) / base^(2i / width), so that the product of a query and a key depends on their distance.

    x (B, T, H, D) -> (B, T, H, D). The last `width` columns are turned (None: all D), the others pass. The pairs are
    columns (i, i + width / 2), as in Llama's checkpoints, or, interleaved, (2i, 2i + 1), as in the paper.
    """
    width = x.shape[-1] if width is None else width
    if width % 2 or not 0 < width <= x.shape[-1]:
        raise InputError(f"rotary positions turn {width} of {x.shape[-1]} columns; expected an even number of them")
    xp = array_module(x)
    t = xp.arange(start, start + x.shape[1], dtype="float64")[:, None, None]  # float64: t may be large
    angle = t * base ** (xp.arange(0, width, 2, dtype="float64") / -width)  # (T, 1, width / 2)
    cos, sin = xp.cos(angle).astype(x.real.dtype), xp.sin(angle).astype(x.real.dtype)
    return turned(x, cos, sin, interleaved), (cos, sin, interleaved)


def rotary_backward(dout, cache):
    """Returns dx: the transpose of a rotation turns the other way."""
    cos, sin, interleaved = cache
    return turned(dout, cos, -sin, interleaved)


def turned(x, cos, sin, interleaved):
    """x with the pairs of its last columns turned; cos and sin (T, 1, width / 2)."""
    half = cos.shape[-1]
    rest = x.shape[-1] - 2 * half
    if interleaved:
        first, second = slice(rest, None, 2), slice(rest + 1, None, 2)
    else:
        first, second = slice(rest, rest + half), slice(rest + half, None)
    a, b = x[..., first], x[..., second]  # (B, T, H, width / 2)
    out = x.copy()
    out[..., first] = a * cos - b * sin
    out[..., second] = a * sin + b * cos
    return out


def position_bias_forward(table, T, S, start=0, bidirectional=True, max_distance=128):
    """T5's relative positions (Raffel et al. 2020, section 2.1): out[0, h, t, s] = table[bucket(s - (start + t)), h], a
    learned bias for the scores of attention, by distance.

    table (buckets, H) -> (1, H, T, S). Query t is at position start + t, key s at s.
    """
    xp = array_module(table)
    distance = xp.arange(S) - (xp.arange(T)[:, None] + start)  # (T, S)
    buckets = distance_buckets(distance, len(table), bidirectional, max_distance)
    return xp.ascontiguousarray(table[buckets].transpose(2, 0, 1))[None], (buckets, table.shape)


def position_bias_backward(dout, cache):
    """Returns dtable (buckets, H): a bucket receives the sum over all pairs of positions at its distances."""
    buckets, table_shape = cache
    xp = array_module(dout)
    dtable = xp.zeros(table_shape, dout.dtype)
    xp.add.at(dtable, buckets, dout[0].transpose(1, 2, 0))
    return dtable


def distance_buckets(distance, n_buckets, bidirectional, max_distance):
    """The bucket of each distance key - query: one each for the near half, then ever wider ones (logarithmically) up to
    max_distance, and the last for all beyond. bidirectional: one half of the buckets is for keys behind the query, the
    other for keys ahead; else all are for keys behind, and keys ahead count as distance 0."""
    xp = array_module(distance)
    behind = xp.maximum(-distance, 0)
    first, n = 0, n_buckets
    if bidirectional:
        n = n_buckets // 2
        first = xp.where(distance > 0, n, 0)
        behind = abs(distance)
    near = n // 2
    if not 0 < near < max_distance:
        raise InputError(
            f"{n_buckets} buckets for distances up to {max_distance}; expected at least 2 buckets (4, if half of them "
            "are for keys ahead), and a distance beyond the half that has one each"
        )
    ratio = xp.log(xp.maximum(behind, near).astype("float64") / near) / math.log(max_distance / near)
    far = near + (ratio * (n - near)).astype("int64")
    return first + xp.where(behind < near, behind, xp.minimum(far, n - 1))


def attention_forward(q, k, v, bias=None, mask=None, causal=True, scale=None):
    """softmax(q k^T / sqrt(D) + bias) v per head (Vaswani et al. 2017, eq. 1).

    q (B, T, H, D), k (B, S, G, D), v (B, S, G, Dv). G is H, or divides it: then H / G heads of queries in a row share
    one of keys and values (Ainslie et al. 2023). bias broadcastable to (B, H, T, S) and added to the scores or None,
    mask (B, S) bool, True where a key may be seen, or None. causal: query t is the (S - T + t)-th of the S
    positions and sees keys up to itself, so the same op serves training (T == S) and a cache (T < S).
    scale: what stands in the place of 1 / sqrt(D), or None.
    Returns out (B, T, H, Dv); a query that may see nothing gives zeros.
    """
    xp = array_module(q)
    (B, T, H, D), (S, G) = q.shape, k.shape[1:3]
    scale = 1 / math.sqrt(D) if scale is None else scale
    qg, kg, vg = (by_group(a, G) for a in (q, k, v))  # (B, G, H/G, T, D), (B, G, 1, S, D), (B, G, 1, S, Dv)
    scores = (qg @ kg.swapaxes(-1, -2) * scale).reshape(B, H, T, S)
    if bias is not None:
        scores = scores + bias
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
    out = probs.reshape(B, G, H // G, T, S) @ vg  # (B, G, H/G, T, Dv)
    return from_groups(out), (q, k, v, probs, None if bias is None else bias.shape, scale)


def attention_backward(dout, cache):
    """Returns dq (B, T, H, D), dk (B, S, G, D), dv (B, S, G, Dv), dbias (bias's shape) or None."""
    q, k, v, probs, bias_shape, scale = cache
    (B, T, H, _), (S, G) = q.shape, k.shape[1:3]
    qg, kg, vg, dg = (by_group(a, G) for a in (q, k, v, dout))
    probs = probs.reshape(B, G, H // G, T, S)
    dv = probs.swapaxes(-1, -2) @ dg  # (B, G, H/G, S, Dv)
    dprobs = dg @ vg.swapaxes(-1, -2)  # (B, G, H/G, T, S)
    # forward was: probs = softmax(scores), so: dscores = probs * (dprobs - sum_s dprobs * probs)
    dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))
    dbias = None if bias_shape is None else sum_to(dscores.reshape(B, H, T, S), bias_shape)
    dq = dscores @ kg * scale  # (B, G, H/G, T, D)
    dk = dscores.swapaxes(-1, -2) @ qg * scale  # (B, G, H/G, S, D)
    dk, dv = sum_to(dk, kg.shape), sum_to(dv, vg.shape)  # shared by the heads of a group: (B, G, 1, S, D or Dv)
    return from_groups(dq), from_groups(dk), from_groups(dv), dbias


def by_group(x, G):
    """x (B, T, H, D) -> a view (B, G, H/G, T, D): the heads that share keys and values side by side."""
    B, T, H, D = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, G, H // G, T, D)


def from_groups(x):
    """by_group's way back: x (B, G, H/G, T, D) -> (B, T, H, D), contiguous."""
    B, G, R, T, D = x.shape
    return array_module(x).ascontiguousarray(x.reshape(B, G * R, T, D).transpose(0, 2, 1, 3))


def sum_to(x, shape):
    """The gradient of broadcasting `shape` to x.shape: x summed over every axis along which it was repeated."""
    aligned = (1,) * (x.ndim - len(shape)) + tuple(shape)
    repeated = tuple(axis for axis, size in enumerate(aligned) if size != x.shape[axis])
    return x.sum(repeated, keepdims=True).reshape(shape) if repeated else x.reshape(shape)


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


def cross_entropy_forward(x, weight, targets, token_weights, bias=None):
    """loss = sum_i token_weights[i] * (log sum_v exp(x_i . weight_v) - x_i . weight_{targets_i}): the output head and
    softmax cross-entropy in one op, so that the (N, V) logits exist only a few rows at a time.

    x (N, C), weight (V, C), targets (N,) ints, token_weights (N,) real: 0 ignores the row (its target may then be
    anything, -100 by custom), 1/n on n rows gives their mean. bias (V,), added to the logits, or None.
    Returns the loss, 0-d.
    """
    xp = array_module(x)
    targets = xp.where(token_weights == 0, 0, targets)  # (N,): an ignored target may be out of range
    log_total = xp.empty(len(x), x.dtype)  # (N,)
    picked = xp.empty(len(x), x.dtype)  # (N,): the target's logit
    for rows in row_chunks(len(x), len(weight)):
        logits = head_logits(x[rows], weight, bias)  # (n, V)
        largest = logits.real.max(-1, keepdims=True)
        log_total[rows] = xp.log(xp.exp(logits - largest).sum(-1)) + largest[:, 0]
        picked[rows] = xp.take_along_axis(logits, targets[rows][:, None], 1)[:, 0]
    loss = (token_weights * (log_total - picked)).sum()
    return loss, (x, weight, targets, token_weights, log_total, bias)


def cross_entropy_backward(dloss, cache):
    """Returns dx (N, C), dweight (V, C) and, with a bias, dbias (V,). The logits are computed again, a chunk at a
    time."""
    x, weight, targets, token_weights, log_total, bias = cache
    xp = array_module(x)
    dx, dweight = xp.empty_like(x), xp.zeros_like(weight)
    dbias = None if bias is None else xp.zeros_like(bias)
    for rows in row_chunks(len(x), len(weight)):
        # forward was: loss = sum w (log sum exp z - z_target), so: dz = w (softmax(z) - onehot(target))
        dlogits = xp.exp(head_logits(x[rows], weight, bias) - log_total[rows][:, None])  # (n, V): softmax
        dlogits[xp.arange(len(dlogits)), targets[rows]] -= 1
        dlogits *= (dloss * token_weights[rows])[:, None]
        dx[rows] = dlogits @ weight  # (n, C)
        dweight += dlogits.T @ x[rows]  # (V, C)
        if bias is not None:
            dbias += dlogits.sum(0)  # (V,)
    return (dx, dweight) if bias is None else (dx, dweight, dbias)


def head_logits(x, weight, bias):
    """x W^T + b: (n, V)."""
    logits = x @ weight.T
    return logits if bias is None else logits + bias


def row_chunks(n_rows, n_columns, elements=None):
    """Slices of whole rows that hold about `elements` (default: HEAD_CHUNK) elements each."""
    step = max(1, (elements or HEAD_CHUNK) // n_columns)
    return [slice(i, min(i + step, n_rows)) for i in range(0, n_rows, step)]


def softmax_cross_entropy_forward(logits, targets, row_weights, mask=None):
    """loss = sum_n row_weights[n] * (log sum_k exp(logits[n, k]) - logits[n, targets[n]]): cross-entropy over a few
    classes, choices, or the positions where a span may start.

    logits (N, K), targets (N,) ints, row_weights (N,) real, as cross_entropy's token_weights, mask (N, K) bool, True
    where a class may be chosen (a row that counts must show its target), or None. Returns the loss, 0-d.
    """
    xp = array_module(logits)
    counts = row_weights != 0
    targets = xp.where(counts, targets, 0)  # (N,): an ignored target may be out of range
    if mask is not None:
        logits = xp.where(mask, logits, -math.inf)
    largest = logits.real.max(-1, keepdims=True)
    largest = xp.where(largest == -math.inf, 0, largest)  # a row of padding: -inf - -inf would be NaN
    probs = xp.exp(logits - largest)  # (N, K)
    total = probs.sum(-1, keepdims=True)
    total = xp.where(total == 0, 1, total)
    probs /= total
    picked = xp.take_along_axis(logits, targets[:, None], 1)
    losses = (xp.log(total) + largest - picked)[:, 0]  # (N,)
    loss = (row_weights * xp.where(counts, losses, 0)).sum()
    return loss, (probs, targets, row_weights)


def softmax_cross_entropy_backward(dloss, cache):
    """Returns dlogits (N, K)."""
    probs, targets, row_weights = cache
    dlogits = probs.copy()
    dlogits[array_module(probs).arange(len(probs)), targets] -= 1
    dlogits *= (dloss * row_weights)[:, None]
    return dlogits


def binary_cross_entropy_forward(logits, targets, row_weights):
    """loss = sum_n row_weights[n] sum_k (log(1 + exp(z)) - y z), z = logits[n, k], y = targets[n, k]: minus the log of
    sigmoid(z) where y is 1, of sigmoid(-z) where y is 0. Logits and targets (N, K), real, row_weights (N,).

    Several labels at once, or negative sampling (Mikolov et al. 2013, eq. 4). Returns the loss, 0-d.
    """
    xp = array_module(logits)
    positive = logits.real > 0
    size = xp.where(positive, logits, -logits)  # |z|, but analytic: exp(-|z|) cannot overflow
    softplus = xp.where(positive, logits, 0) + xp.log1p(xp.exp(-size))  # log(1 + exp(z))
    loss = (row_weights * (softplus - targets * logits).sum(-1)).sum()
    return loss, (sigmoid_forward(logits)[0] - targets, row_weights)


def binary_cross_entropy_backward(dloss, cache):
    """Returns dlogits (N, K)."""
    errors, row_weights = cache
    return errors * (dloss * row_weights)[:, None]


def squared_error_forward(x, targets, row_weights):
    """loss = sum_n row_weights[n] sum_k (x[n, k] - targets[n, k])^2, for regression. x and targets (N, K), row_weights
    (N,). Returns the loss, 0-d."""
    errors = x - targets  # (N, K)
    return (row_weights * (errors * errors).sum(-1)).sum(), (errors, row_weights)


def squared_error_backward(dloss, cache):
    """Returns dx (N, K)."""
    errors, row_weights = cache
    return 2 * errors * (dloss * row_weights)[:, None]


def dot_forward(x, y):
    """out[n, k] = x[n] . y[n, k]: a word against its candidates (Mikolov et al. 2013). x (N, C), y (N, K, C) ->
    (N, K)."""
    return (y @ x[:, :, None])[..., 0], (x, y)


def dot_backward(dout, cache):
    """Returns dx (N, C), dy (N, K, C)."""
    x, y = cache
    return (dout[:, None, :] @ y)[:, 0], dout[:, :, None] * x[:, None, :]


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
