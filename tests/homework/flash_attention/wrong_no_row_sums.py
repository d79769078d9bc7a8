# scratchgpt homework: flash_attention
# mistake dq: p * rowsum(dout * out):0
# mistake dk: p * rowsum(dout * out):0
import numpy as np

NO = -1e30


def tile_scores(q, k, mask, causal, t, s, tile, bias=None):
    offset = k.shape[1] - q.shape[1]
    q, k = q[:, t : t + tile].transpose(0, 2, 1, 3), k[:, s : s + tile].transpose(0, 2, 3, 1)
    scores = q @ k / q.shape[-1] ** 0.5
    if mask is not None:
        scores += np.where(mask[:, s : s + tile], 0, NO)[:, None, None]
    if causal:
        scores += np.triu(np.full(scores.shape[2:], NO), t + offset - s + 1)
    return scores


def flash_forward(q, k, v, mask, causal, tile, bias=None):
    B, T, H, D = q.shape
    S = k.shape[1]
    out, lse = np.zeros((B, T, H, D)), np.zeros((B, H, T))
    for t in range(T):
        top, total, mean = np.full((B, H, 1), NO / 2), np.zeros((B, H, 1)), np.zeros((B, H, D))
        for s in range(0, S, tile):
            scores = tile_scores(q, k, mask, causal, t, s, tile)[:, :, 0]
            new = np.maximum(top, scores.max(-1, keepdims=True))
            e = np.exp(scores - new)
            grown = total * np.exp(top - new) + e.sum(-1, keepdims=True)
            some = np.where(grown == 0, 1, grown)
            mean = (mean * total * np.exp(top - new) + np.einsum("bhs,bshd->bhd", e, v[:, s : s + tile])) / some
            top, total = new, grown
        out[:, t] = mean
        lse[:, :, t] = np.where(total == 0, 0, top + np.log(np.where(total == 0, 1, total)))[..., 0]
    return out, lse


def flash_backward(dout, q, k, v, out, logsumexp, mask, causal, tile, bias=None):
    B, T, H, D = q.shape
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for t in range(T):
        for s in range(0, k.shape[1], tile):
            part = slice(s, s + tile)
            p = np.exp(tile_scores(q, k, mask, causal, t, s, tile)[:, :, 0] - logsumexp[:, :, t, None])
            ds = p * np.einsum("bhd,bshd->bhs", dout[:, t], v[:, part]) / D**0.5
            dq[:, t] += np.einsum("bhs,bshd->bhd", ds, k[:, part])
            dk[:, part] += np.einsum("bhs,bhd->bshd", ds, q[:, t])
            dv[:, part] += np.einsum("bhs,bhd->bshd", p, dout[:, t])
    return dq, dk, dv, None
