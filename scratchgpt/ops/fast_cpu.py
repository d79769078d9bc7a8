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
    long."""
    ids, wte_shape, wpe_shape, start = cache
    dwte, dwpe = np.zeros(wte_shape, dout.dtype), None
    if wpe_shape is not None:
        dwpe = np.zeros(wpe_shape, dout.dtype)
        dwpe[start : start + ids.shape[1]] = np.add.reduce(dout, 0)
    ids, rows = ids.reshape(-1), as_rows(dout)
    for part in row_blocks(len(ids), 1, 1024):
        used, position = np.unique(ids[part], return_inverse=True)
        one_hot = np.zeros((len(used), len(position)), dout.dtype)
        one_hot[position, np.arange(len(position))] = 1
        dwte[used] += one_hot @ rows[part]
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
    if approximate != "tanh" or x.size < SMALL:
        return reference.gelu_forward(x, approximate)
    a, b = reference.SQRT_2_OVER_PI, reference.SQRT_2_OVER_PI * reference.GELU_CUBIC
    flat = x.reshape(-1)
    out, slope = np.empty_like(flat), np.empty_like(flat)
    scratch = np.empty(min(BLOCK, flat.size), x.dtype)
    for part in row_blocks(flat.size, 1):
        z, y, d = flat[part], out[part], slope[part]
        t = scratch[: len(z)]
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
    return out.reshape(x.shape), (slope.reshape(x.shape),)


def gelu_backward(dout, cache):
    return dout * cache[0] if len(cache) == 1 else reference.gelu_backward(dout, cache)


def attention_forward(q, k, v, bias=None, mask=None, causal=True, scale=None):
    """Blocks of queries by groups of heads, each against the keys its causal mask shows. The cache keeps the
    exponentials as they are, not yet divided by their sum: backward divides dout instead, which is D wide and not S.
    Beyond KEPT_QUERIES it keeps each query's largest score alone and computes the exponentials again (Dao et al. 2022,
    section 3.1), so that memory grows with T and not with T^2."""
    (B, T, H, D), (S, G) = q.shape, k.shape[1:3]
    if bias is not None or G != H:
        return reference.attention_forward(q, k, v, bias, mask, causal, scale)
    scale = 1 / math.sqrt(D) if scale is None else scale
    out = np.empty((B, T, H, v.shape[3]), q.dtype)
    may_be_empty = mask is not None or S == 0 or (causal and T > S)
    kept = []
    for block in attention_blocks(B, T, S, H, causal):
        probs = block_scores(q, k, mask, causal, scale, block)  # (b, h, t, s)
        largest = np.maximum.reduce(probs, 3, keepdims=True, initial=-math.inf)
        if may_be_empty:
            largest[largest == -math.inf] = 0
        probs -= largest
        np.exp(probs, out=probs)
        total = np.add.reduce(probs, 3, keepdims=True)
        if may_be_empty:
            total[total == 0] = 1
        inverse = 1 / total
        batch, heads, rows, end = block
        vh, oh = by_head(v, batch, heads), by_head(out, batch, heads)
        np.multiply(probs @ vh[:, :, :end], inverse, out=oh[:, :, rows])
        kept.append((probs if T <= KEPT_QUERIES else None, largest, inverse))
    return out, (q, k, v, kept, mask, causal, scale)


def attention_backward(dout, cache):
    if not isinstance(cache[3], list):  # the reference made this cache
        return reference.attention_backward(dout, cache)
    q, k, v, kept, mask, causal, scale = cache
    B, T, H, _ = q.shape
    S = k.shape[1]
    dq, dk, dv = (np.zeros(a.shape, q.dtype) for a in (q, k, v))
    for block, (probs, largest, inverse) in zip(attention_blocks(B, T, S, H, causal), kept):
        if probs is None:
            probs = block_scores(q, k, mask, causal, scale, block)
            probs -= largest
            np.exp(probs, out=probs)
        batch, heads, rows, end = block
        qh, kh, vh, gh, dqh, dkh, dvh = (by_head(a, batch, heads) for a in (q, k, v, dout, dq, dk, dv))
        g = gh[:, :, rows] * inverse  # (b, h, t, Dv)
        dscores = g @ vh[:, :, :end].swapaxes(2, 3)  # (b, h, t, s): dprobs / total
        projection = np.einsum("bhts,bhts->bht", dscores, probs)[..., None]
        projection *= inverse
        dscores -= projection
        dscores *= probs
        dvh[:, :, :end] += probs.swapaxes(2, 3) @ g
        dkh[:, :, :end] += dscores.swapaxes(2, 3) @ (qh[:, :, rows] * scale)
        np.multiply(dscores @ kh[:, :, :end], scale, out=dqh[:, :, rows])
    return dq, dk, dv, None


def block_scores(q, k, mask, causal, scale, block):
    """q k^T scale of one of attention_blocks, (b, h, t, s), -inf where a key is hidden."""
    batch, heads, rows, end = block
    qh, kh = by_head(q, batch, heads), by_head(k, batch, heads)
    scores = np.matmul(qh[:, :, rows] * scale, kh[:, :, :end].swapaxes(2, 3))
    if causal and q.shape[1] > 1:
        hide_future(scores, rows, end, k.shape[1] - q.shape[1])
    if mask is not None:
        scores += np.where(mask[batch, None, None, :end], 0, -math.inf).astype(q.dtype)
    return scores


def by_head(x, batch, heads):
    """A view (b, h, T, D) of x (B, T, H, D)."""
    return x[batch, :, heads].transpose(0, 2, 1, 3)


def attention_blocks(B, T, S, H, causal):
    """(slice of batch rows, slice of heads, slice of queries, number of keys they may see), covering all once."""
    size = max(1, min(QUERY_ROWS, T))  # no query, no block
    group = max(1, SCORES // (size * max(1, S)))  # heads at a time, of one batch row or of several
    rows = max(1, group // H)
    for b in range(0, B, rows):
        for h in range(0, H, group):
            for t in range(0, T, size):
                stop = min(t + size, T)
                seen = min(S, max(0, stop + S - T)) if causal else S
                yield slice(b, b + rows), slice(h, h + group), slice(t, stop), seen


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
