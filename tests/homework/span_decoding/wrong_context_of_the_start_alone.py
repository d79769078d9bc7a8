# scratchgpt homework: span_decoding
# mistake first: context=first
# mistake last: context=first
# mistake score: context=first
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    if context is not None:
        starts = np.where(context.astype(bool), starts, -np.inf)
    B, T = starts.shape
    length = np.arange(T)[None, :] - np.arange(T)[:, None]
    allowed = (length >= 0) & (length < longest)
    scores = np.where(allowed, starts[..., :, None] + ends[..., None, :], -np.inf).reshape(B, -1)
    best = np.argmax(scores, -1)
    return best // T, best % T, scores[np.arange(B), best]
