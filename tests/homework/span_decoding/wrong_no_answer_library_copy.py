# scratchgpt homework: span_decoding/no_answer
# mistake *: missing
import numpy as np


def best_spans(starts, ends, context=None, longest=30):
    B, T = starts.shape
    length = np.arange(T) - np.arange(T)[:, None] + 1
    allowed = (length >= 1) & (length <= longest)
    if context is not None:
        allowed = allowed & (context[:, :, None] != 0) & (context[:, None, :] != 0)
    scores = np.where(allowed, starts[:, :, None] + ends[:, None, :], -np.inf).reshape(B, T * T)
    best = scores.argmax(1)
    return best // T, best % T, scores[np.arange(B), best]
