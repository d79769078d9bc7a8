# scratchgpt homework: flash_attention
# mistake exponentials: causal=key
# mistake out: causal=key tiles
# mistake logsumexp: causal=key tiles
# mistake dq: causal=key tiles
# mistake dk: causal=key tiles
# mistake dv: causal=key tiles
import numpy as np


def heads_first(a):
    return a.transpose(0, 2, 1, 3)


def tile_scores(q, k, mask, causal, t, s, tile, bias=None):
    T, S = q.shape[1], k.shape[1]
    scores = heads_first(q)[:, :, t : t + tile] @ heads_first(k)[:, :, s : s + tile].swapaxes(2, 3)
    scores *= q.shape[-1] ** -0.5
    visible = np.ones(scores.shape, bool)
    if causal:
        visible &= np.arange(scores.shape[3]) <= np.arange(S - T, S)[t : t + tile, None]
    if mask is not None:
        visible &= mask[:, None, None, s : s + tile]
    return np.where(visible, scores, -np.inf)


def flash_forward(q, k, v, mask, causal, tile, bias=None):
    B, T, H, D = q.shape
    S = k.shape[1]
    out, logsumexp = np.zeros((B, H, T, D)), np.zeros((B, H, T, 1))
    for t in range(0, T, tile):
        rows = slice(t, t + tile)
        largest = np.full((B, H, min(tile, T - t), 1), -1e200)
        total = 0.0
        summed = 0.0
        for s in range(0, keys_seen(t, tile, T, S, causal), tile):  # noqa: F821  given
            scores = tile_scores(q, k, mask, causal, t, s, tile)
            before = largest
            largest = np.maximum(before, scores.max(-1, keepdims=True))
            probs = np.exp(scores - largest)
            shrink = np.exp(before - largest)
            total = shrink * total + probs.sum(-1, keepdims=True)
            summed = shrink * summed + probs @ heads_first(v)[:, :, s : s + tile]
        empty = total == 0
        total = np.where(empty, 1, total)
        out[:, :, rows] = summed / total
        logsumexp[:, :, rows] = np.where(empty, 0, largest + np.log(total))
    return heads_first(out).copy(), logsumexp[..., 0]


def flash_backward(dout, q, k, v, out, logsumexp, mask, causal, tile, bias=None):
    T, S, scale = q.shape[1], k.shape[1], q.shape[-1] ** -0.5
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    delta = heads_first(dout * out).sum(-1, keepdims=True)
    for t in range(0, T, tile):
        rows = slice(t, t + tile)
        g, qt = heads_first(dout[:, rows]), heads_first(q[:, rows])
        for s in range(0, keys_seen(t, tile, T, S, causal), tile):  # noqa: F821  given
            keys = slice(s, s + tile)
            kt, vt = heads_first(k[:, keys]), heads_first(v[:, keys])
            probs = np.exp(tile_scores(q, k, mask, causal, t, s, tile) - logsumexp[:, :, rows, None])
            dprobs = g @ vt.swapaxes(2, 3)
            dscores = probs * (dprobs - delta[:, :, rows])
            dq[:, rows] += heads_first(dscores @ kt) * scale
            dk[:, keys] += heads_first(dscores.swapaxes(2, 3) @ qt) * scale
            dv[:, keys] += heads_first(probs.swapaxes(2, 3) @ g)
    return dq, dk, dv, None
