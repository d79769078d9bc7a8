"""The ops that measurably win on a CPU; every one must agree with `reference`, which a test checks.

Three ideas carry this page. Element-wise chains run in place over blocks of rows that stay in the core's cache, so
memory is read once and not once per operation. What backward needs is made in forward while its inputs are in cache
(GELU's derivative instead of GELU's input). Attention never computes what the causal mask hides.
Nothing here starts a thread: `distributed.Shards` gives each core its own rows.
"""

import math
from itertools import pairwise

import numpy as np

from scratchgpt.ops import reference

BLOCK = 1 << 18  # elements of an element-wise block: it stays in the cache, and threads seldom meet at the GIL
SCORES = 1 << 18  # attention scores held at a time
SMALL = 1 << 13  # elements below which a chain over blocks gains nothing
KEPT_QUERIES = 256  # attention keeps its exponentials for backward up to this T, and computes them again beyond
QUERY_ROWS = 64  # queries to a block of attention: fewer skip more of the hidden half, more make better products
KEPT_LOGITS = 1 << 23  # the head keeps its exponentials for backward up to this many, and computes them again beyond
ADAMW_BLOCK = 1 << 18  # larger: here two threads gain more from fewer calls (which need the GIL) than from the cache


def row_blocks(n_rows, n_columns, block=BLOCK):
    return reference.row_chunks(n_rows, n_columns, block)


def as_rows(x):
    """x as a matrix (N, last axis)."""
    return x.reshape(-1, x.shape[-1])


def column_sums(x):
    """x (N, C) summed over its rows, as a product with ones: BLAS reads x once, at full speed."""
    return np.ones(len(x), x.dtype) @ x


def linear_forward(x, weight, bias=None):
    """One row (sampling) is a dot product per output: it reads the weights at the speed of memory, BLAS's gemv at half
    of it."""
    rows = as_rows(x)
    out = np.vecdot(weight, rows) if len(rows) == 1 else rows @ weight.T
    if bias is not None:
        out += bias
    return out.reshape(*x.shape[:-1], len(weight)), (x, weight, bias is not None)


def linear_backward(dout, cache):
    x, weight, has_bias = cache
    rows = as_rows(dout)
    dx = rows @ weight
    dweight = rows.T @ as_rows(x)
    return dx.reshape(x.shape), dweight, column_sums(rows) if has_bias else None


def embedding_forward(ids, wte, wpe=None, start=0):
    out = wte.take(ids, 0)
    if wpe is not None:
        out += wpe[start : start + ids.shape[1]]
    return out, (ids, wte.shape, None if wpe is None else wpe.shape, start)


def embedding_backward(dout, cache):
    """Rows of equal ids are summed as a product with the one-hot matrix of the ids that occur: np.add.at takes 30x as
    long. Sorted first, the rows of a product have few different ids, and the product is small."""
    ids, wte_shape, wpe_shape, start = cache
    dwte, dwpe = np.zeros(wte_shape, dout.dtype), None
    if wpe_shape is not None:
        dwpe = np.zeros(wpe_shape, dout.dtype)
        dwpe[start : start + ids.shape[1]] = np.add.reduce(dout, 0)
    rows, ids = as_rows(dout), ids.reshape(-1)
    order = np.argsort(ids.astype("uint16") if len(dwte) <= 1 << 16 else ids, kind="stable")  # of 16 bits: radix sort
    ids = ids[order]
    for part in row_blocks(len(ids), 1, 512):
        first = np.append(True, ids[part][1:] != ids[part][:-1])  # of the rows with its id
        position = np.cumsum(first) - 1
        one_hot = np.zeros((position[-1] + 1, len(position)), dout.dtype)
        one_hot[position, np.arange(len(position))] = 1
        dwte[ids[part][first]] += one_hot @ rows[order[part]]
    return dwte, dwpe


def layer_norm_forward(x, weight, bias, eps=1e-5):
    rows = as_rows(x)
    N, C = rows.shape
    if N == 1:  # sampling: the calls cost more than the numbers
        xhat = rows - np.add.reduce(rows, 1, keepdims=True) / C
        rstd = 1 / np.sqrt(np.vecdot(xhat, xhat)[:, None] / C + eps)
        xhat *= rstd
        out = xhat * weight
        out += bias
        return out.reshape(x.shape), (xhat, rstd, weight)
    out, xhat, rstd = np.empty((N, C), x.dtype), np.empty((N, C), x.dtype), np.empty((N, 1), x.dtype)
    for part in row_blocks(N, C):
        h, r = xhat[part], rstd[part]
        mean = np.add.reduce(rows[part], 1, keepdims=True)
        mean *= 1 / C
        np.subtract(rows[part], mean, out=h)
        np.einsum("nc,nc->n", h, h, out=r[:, 0])
        r *= 1 / C
        r += eps
        np.sqrt(r, out=r)
        np.divide(1, r, out=r)
        h *= r
        np.multiply(h, weight, out=out[part])
        out[part] += bias
    return out.reshape(x.shape), (xhat, rstd, weight)


def layer_norm_backward(dout, cache):
    xhat, rstd, weight = cache
    rows = as_rows(dout)
    N, C = rows.shape
    dx, dweight, dbias = np.empty((N, C), dout.dtype), np.zeros(C, dout.dtype), np.zeros(C, dout.dtype)
    for part in row_blocks(N, C):
        d, h, out = rows[part], xhat[part], dx[part]
        product = d * h
        dweight += column_sums(product)
        dbias += column_sums(d)
        np.multiply(d, weight, out=out)
        mean = np.add.reduce(out, 1, keepdims=True)
        mean *= 1 / C
        projection = np.einsum("nc,nc->n", out, h)[:, None]
        projection *= 1 / C
        np.multiply(h, projection, out=product)
        out -= product
        out -= mean
        out *= rstd[part]
    return dx.reshape(dout.shape), dweight, dbias


def gelu_forward(x, approximate="tanh"):
    """The cache is GELU's derivative, made while x is in the core's cache: backward is one product."""
    chain = chain_of("gelu_tanh" if approximate == "tanh" else "gelu", x)
    if chain is None:
        return reference.gelu_forward(x, approximate)
    out, slope = with_slope(x, chain)
    return out, (slope,)


def gelu_backward(dout, cache):
    return dout * cache[0] if len(cache) == 1 else reference.gelu_backward(dout, cache)


def relu_forward(x):
    return np.maximum(x, 0), (x > 0,)


def relu_backward(dout, cache):
    return reference.relu_backward(dout, cache)


def glu_forward(gate, up, activation="silu"):
    chain = chain_of(activation, gate)
    if chain is None:
        return reference.glu_forward(gate, up, activation)
    hidden, slope = with_slope(gate, chain)
    return hidden * up, (hidden, up, slope)


def glu_backward(dout, cache):
    if len(cache) == 4:  # the reference made this cache
        return reference.glu_backward(dout, cache)
    hidden, up, slope = cache
    dgate = dout * up
    dgate *= slope
    return dgate, dout * hidden


def chain_of(activation, x):
    """The element-wise chain of an activation for with_slope; None where the reference does better."""
    if x.size < SMALL or (activation == "gelu" and x.dtype != np.float32):
        return None
    return {"gelu_tanh": gelu_tanh_chain, "gelu": gelu_exact_chain, "silu": silu_chain}.get(activation)


def with_slope(x, chain):
    """f(x) and f'(x), of x's shape. chain(z, y, d, t) writes f(z) into y and f'(z) into d, t is its scratch: a block
    of elements at a time, all in the core's cache."""
    flat = x.reshape(-1)
    out, slope = np.empty_like(flat), np.empty_like(flat)
    scratch = np.empty(min(BLOCK, flat.size), x.dtype)
    for part in row_blocks(flat.size, 1):
        z = flat[part]
        chain(z, out[part], slope[part], scratch[: len(z)])
    return out.reshape(x.shape), slope.reshape(x.shape)


def gelu_tanh_chain(z, y, d, t):
    a, b = reference.SQRT_2_OVER_PI, reference.SQRT_2_OVER_PI * reference.GELU_CUBIC
    np.multiply(z, z, out=d)
    np.multiply(d, b, out=t)
    t += a
    t *= z
    np.tanh(t, out=t)  # t = tanh(a z + b z^3)
    d *= 3 * b
    d += a  # d = du/dz
    np.multiply(t, t, out=y)
    np.subtract(1, y, out=y)
    d *= y
    d *= z
    t += 1
    d += t
    d *= 0.5  # (1 + t)/2 + z/2 (1 - t^2) du/dz
    t *= 0.5
    np.multiply(t, z, out=y)


def gelu_exact_chain(z, y, d, t):
    """By Abramowitz & Stegun 7.1.26, erfc(x) = exp(-x^2) (a1 t + ... + a5 t^5) with t = 1 / (1 + p x), which is right
    to 1.5e-7: to float32's rounding."""
    np.abs(z, out=t)
    t *= 0.3275911 * math.sqrt(0.5)
    t += 1
    np.divide(1, t, out=t)
    np.multiply(z, z, out=d)
    d *= -0.5
    np.exp(d, out=d)
    np.multiply(t, 1.061405429, out=y)
    for a in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        y += a
        y *= t
    y *= d
    y *= -0.5
    y += 0.5  # the share between 0 and |z|
    np.copysign(y, z, out=y)
    y += 0.5  # Phi(z)
    d *= 1 / math.sqrt(2 * math.pi)
    d *= z
    d += y  # Phi(z) + z Phi'(z)
    y *= z


def silu_chain(z, y, d, t):
    np.multiply(z, 0.5, out=t)
    np.tanh(t, out=t)
    t *= 0.5
    t += 0.5  # the sigmoid
    np.multiply(z, t, out=y)
    np.subtract(1, t, out=d)
    d *= y
    d += t  # s + z s (1 - s)


def attention_forward(q, k, v, bias=None, mask=None, causal=True, scale=None):
    """Blocks of queries by groups of heads, each against the keys its causal mask shows. The cache keeps the
    exponentials as they are, not yet divided by their sum: backward divides dout instead, which is D wide and not S.
    Beyond KEPT_QUERIES it keeps each query's largest score alone and computes the exponentials again (Dao et al. 2022,
    section 3.1), so that memory grows with T and not with T^2. Where R = H/G heads share keys, their queries are R t
    queries of one head: the keys are not copied, and the product sums their gradients."""
    (B, T, H, D), (S, G) = q.shape, k.shape[1:3]
    scale = 1 / math.sqrt(D) if scale is None else scale
    out = np.empty((B, T, H, v.shape[3]), q.dtype)
    may_be_empty = mask is not None or bias is not None or S == 0 or (causal and T > S)
    kept = []
    for block in attention_blocks(B, T, S, H, G, causal):
        probs = block_scores(q, k, bias, mask, causal, scale, block)  # (b, g, R t, s)
        largest = np.maximum.reduce(probs, 3, keepdims=True, initial=-math.inf)
        if may_be_empty:
            largest[largest.real == -math.inf] = 0  # .real: complex numbers may pass here, as in the reference
        probs -= largest
        np.exp(probs, out=probs)
        total = np.add.reduce(probs, 3, keepdims=True)
        if may_be_empty:
            total[total == 0] = 1
        inverse = 1 / total
        put_queries(out, G, block, probs @ keys_of(v, block), inverse)
        kept.append((probs if T <= KEPT_QUERIES else None, largest, inverse))
    return out, (q, k, v, kept, bias, mask, causal, scale)


def attention_backward(dout, cache):
    q, k, v, kept, bias, mask, causal, scale = cache
    (B, T, H, _), (S, G) = q.shape, k.shape[1:3]
    dq, dk, dv, dbias = (None if a is None else np.zeros(a.shape, q.dtype) for a in (q, k, v, bias))
    for block, (probs, largest, inverse) in zip(attention_blocks(B, T, S, H, G, causal), kept):
        if probs is None:
            probs = block_scores(q, k, bias, mask, causal, scale, block)
            probs -= largest
            np.exp(probs, out=probs)
        kh, vh, dkh, dvh = (keys_of(a, block) for a in (k, v, dk, dv))
        g = queries_of(dout, G, block) * inverse  # (b, g, R t, Dv)
        dscores = g @ vh.swapaxes(2, 3)  # (b, g, R t, s): dprobs / total
        projection = np.einsum("bhts,bhts->bht", dscores, probs)[..., None]
        projection *= inverse
        dscores -= projection
        dscores *= probs
        dvh += probs.swapaxes(2, 3) @ g
        dkh += dscores.swapaxes(2, 3) @ (queries_of(q, G, block) * scale)
        put_queries(dq, G, block, dscores @ kh, scale)
        if bias is not None:
            part = bias_block(dbias, H // G, block)
            part += reference.sum_to(by_head(dscores, H // G), part.shape)
    return dq, dk, dv, dbias


def block_scores(q, k, bias, mask, causal, scale, block):
    """q k^T scale + bias of one of attention_blocks, (b, g, R t, s), -inf where a key is hidden."""
    (T, H), (S, G) = q.shape[1:3], k.shape[1:3]
    batch, _, rows, end = block
    scores = np.matmul(queries_of(q, G, block) * scale, keys_of(k, block).swapaxes(2, 3), order="C")  # see by_head
    if bias is not None:
        each = by_head(scores, H // G)
        each += bias_block(bias, H // G, block)
    if causal and T > 1:
        hide_future(by_head(scores, H // G), rows, end, S - T)
    if mask is not None:
        scores += np.where(mask[batch, None, None, :end], 0, -math.inf).astype(q.dtype)
    return scores


def attention_blocks(B, T, S, H, G, causal):
    """(slice of batch rows, slice of heads of keys, slice of queries, number of keys they may see), covering all
    once."""
    size = max(1, min(QUERY_ROWS, T))  # no query, no block
    group = max(1, SCORES // (H // G * size * max(1, S)))  # heads at a time, of one batch row or of several
    rows = max(1, group // G)
    for b in range(0, B, rows):
        for h in range(0, G, group):
            for t in range(0, T, size):
                stop = min(t + size, T)
                seen = min(S, max(0, stop + S - T)) if causal else S
                yield slice(b, b + rows), slice(h, h + group), slice(t, stop), seen


def keys_of(x, block):
    """A view (b, g, s, D) of the keys or values x (B, S, G, D) that a block's queries may see."""
    batch, heads, _, end = block
    return x[batch, :end, heads].transpose(0, 2, 1, 3)


def queries_of(x, G, block):
    """A block's queries of x (B, T, H, D), (b, g, R t, D); without a copy where R = 1."""
    view = query_view(x, G, block)
    b, g, R, t, D = view.shape
    return view.reshape(b, g, R * t, D)


def put_queries(x, G, block, values, factor):
    """Writes values * factor, values (b, g, R t, D), where queries_of reads."""
    view = query_view(x, G, block)
    if isinstance(factor, np.ndarray):
        factor = factor.reshape(*view.shape[:-1], 1)
    np.multiply(values.reshape(view.shape), factor, out=view)


def query_view(x, G, block):
    """A view (b, g, R, t, D) of x (B, T, H, D)."""
    batch, heads, rows, _ = block
    B, T, H, D = x.shape
    return x.reshape(B, T, G, H // G, D)[batch, rows, heads].transpose(0, 2, 3, 1, 4)


def by_head(scores, R):
    """A view (b, h, t, s) of scores (b, g, R t, s) in C order, h = g R."""
    b, g, rows, s = scores.shape
    return scores.reshape(b, g * R, rows // R, s)


def bias_block(bias, R, block):
    """A view of the part of a bias, broadcastable to (B, H, T, S), that is added to a block's scores (b, h, t, s)."""
    batch, heads, rows, end = block
    bias = bias[(None,) * (4 - bias.ndim)]
    parts = zip(bias.shape, (batch, slice(heads.start * R, heads.stop * R), rows, slice(end)))
    return bias[tuple(slice(None) if size == 1 else part for size, part in parts)]


def hide_future(scores, rows, end, offset):
    """-inf on the keys after each query's own: they all lie in the last columns of the block."""
    first = max(0, rows.start + offset)  # every query sees the keys before this one
    keys, queries = np.arange(first, end), np.arange(rows.start, rows.stop) + offset
    future = np.where(keys[None, :] > queries[:, None], -math.inf, 0).astype(scores.dtype)
    scores[..., first:] += future


def cross_entropy_forward(x, weight, targets, token_weights, bias=None):
    N, V = len(x), len(weight)
    targets = np.where(token_weights == 0, 0, targets)
    keep = np.empty((N, V), x.dtype) if N * V <= KEPT_LOGITS else None
    largest, total, picked = (np.empty(N, x.dtype) for _ in range(3))
    for chunk in reference.row_chunks(N, V):
        logits = np.matmul(x[chunk], weight.T, out=None if keep is None else keep[chunk])
        if bias is not None:
            logits += bias
        picked[chunk] = logits[np.arange(len(logits)), targets[chunk]]
        for part in row_blocks(len(logits), V):
            z, rows = logits[part], slice(chunk.start + part.start, chunk.start + part.stop)
            np.maximum.reduce(z, 1, out=largest[rows])
            z -= largest[rows, None]
            np.exp(z, out=z)
            np.add.reduce(z, 1, out=total[rows])
    loss = np.dot(token_weights, np.log(total) + largest - picked)
    return loss, (x, weight, targets, token_weights, bias, largest, total, keep)


def cross_entropy_backward(dloss, cache):
    """By columns: a chunk of the vocabulary finishes its own rows of dweight, so no second (V, C) array is needed."""
    x, weight, targets, token_weights, bias, largest, total, keep = cache
    row_weights = token_weights * dloss
    factor = (row_weights / total)[:, None]
    N, V = len(x), len(weight)
    dx, dweight = None, np.empty(weight.shape, x.dtype)
    dbias = None if bias is None else np.empty(bias.shape, x.dtype)
    for columns in [slice(0, V)] if keep is not None else reference.row_chunks(V, N):
        if keep is not None:
            dlogits = keep * factor  # (N, v): row_weights * softmax
        else:
            dlogits = x @ weight[columns].T
            if bias is not None:
                dlogits += bias[columns]
            for part in row_blocks(*dlogits.shape):
                dlogits[part] -= largest[part, None]
                np.exp(dlogits[part], out=dlogits[part])
                dlogits[part] *= factor[part]
        here = np.flatnonzero((targets >= columns.start) & (targets < columns.stop))
        dlogits[here, targets[here] - columns.start] -= row_weights[here]
        np.matmul(dlogits.T, x, out=dweight[columns])
        product = dlogits @ weight[columns]
        dx = product if dx is None else np.add(dx, product, out=dx)
        if bias is not None:
            dbias[columns] = column_sums(dlogits)
    return (dx, dweight) if bias is None else (dx, dweight, dbias)


def dispatch_forward(x, order, place):
    return x.take(order // place.shape[1], 0), (place,)


def dispatch_backward(dout, cache):
    (place,) = cache
    out = np.empty((len(place), dout.shape[1]), dout.dtype)
    for part in row_blocks(*out.shape):
        rows = dout.take(place[part, 0], 0)
        for copy in place[part, 1:].T:
            rows += dout.take(copy, 0)
        out[part] = rows
    return out


def grouped_linear_forward(x, weight, edges):
    """Each product goes where it belongs, and not through an array of its own."""
    out = np.empty((len(x), weight.shape[1]), x.dtype)
    for e, (start, stop) in enumerate(pairwise(edges)):
        np.matmul(x[start:stop], weight[e].T, out=out[start:stop])
    return out, (x, weight, edges)


def grouped_linear_backward(dout, cache):
    x, weight, edges = cache
    dx, dweight = np.empty(x.shape, dout.dtype), np.empty(weight.shape, dout.dtype)
    for e, (start, stop) in enumerate(pairwise(edges)):
        np.matmul(dout[start:stop], weight[e], out=dx[start:stop])
        np.matmul(dout[start:stop].T, x[start:stop], out=dweight[e])
    return dx, dweight


def combine_forward(y, weights, order, place):
    out = np.empty((len(place), y.shape[1]), y.dtype)
    for part in row_blocks(*out.shape):
        out[part] = 0
        for copy, weight in zip(place[part].T, weights[part].T):
            rows = y.take(copy, 0)
            rows *= weight[:, None]
            out[part] += rows
    return out, (y, weights, order, place)


def combine_backward(dout, cache):
    """By blocks of the experts' rows: what a block's tokens receive is read once, for dy and for dweights."""
    y, weights, order, place = cache
    dy, dots = np.empty(y.shape, dout.dtype), np.empty(len(y), dout.dtype)
    tokens, factors = order // place.shape[1], weights.reshape(-1)[order]
    for part in row_blocks(*y.shape):
        rows = dout.take(tokens[part], 0)
        np.einsum("nc,nc->n", rows, y[part], out=dots[part])
        np.multiply(rows, factors[part, None], out=dy[part])
    return dy, dots[place]


def global_norm(grad):
    """Blocks are summed in float64: a float32 sum over a hundred million squares would lose digits."""
    squares = math.fsum(float(np.dot(grad[part], grad[part])) for part in row_blocks(grad.size, 1, 1 << 20))
    return np.asarray(math.sqrt(squares), grad.dtype)


def adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    """Block by block, so that the five arrays are read once."""
    grad_scale, correction = float(grad_scale), 1 / math.sqrt(1 - beta2**t)
    rate, keep = lr / (1 - beta1**t), 1 - lr * weight_decay
    scratch, scaled = np.empty((2, min(ADAMW_BLOCK, param.size)), param.dtype)
    for part in row_blocks(param.size, 1, ADAMW_BLOCK):
        p, mean, square = param[part], m[part], v[part]
        g, s = scaled[: len(p)], scratch[: len(p)]
        np.multiply(grad[part], grad_scale, out=g)
        mean *= beta1
        np.multiply(g, 1 - beta1, out=s)
        mean += s
        square *= beta2
        g *= g
        g *= 1 - beta2
        square += g
        np.sqrt(square, out=s)
        s *= correction
        s += eps
        np.divide(mean, s, out=s)
        s *= rate
        if weight_decay:
            p *= keep
        p -= s
