"""What transformers has not, in PyTorch: SpanBERT's span boundary head, and word2vec. Parameters are called as in our
checkpoints.

Imported only where PyTorch is installed.
"""

import torch
from torch import nn
from torch.nn import functional as F

from scratchgpt.check.lockstep.taps import tap
from scratchgpt.models import IGNORED


class SpanBoundary(nn.Module):
    """Joshi et al. 2020, section 3.2."""

    def __init__(self, config):
        super().__init__()
        C, W, eps = config.hidden_size, config.span_place_width, config.layer_norm_eps
        self.places = nn.Parameter(torch.empty(config.span_places, W))
        self.up, self.ln1 = nn.Linear(2 * C + W, C), nn.LayerNorm(C, eps)
        self.down, self.ln2 = nn.Linear(C, C), nn.LayerNorm(C, eps)
        self.bias = nn.Parameter(torch.empty(config.vocab_size))

    def forward(self, twin, x, labels, words):
        """The mean cross-entropy of the tokens in the spans of labels (B, T), each predicted from x (B, T, C) at both
        positions just outside its span and from its place in it; words: the token embedding (V, C)."""
        targets = span_targets(labels.tolist(), len(self.places))
        rows, lefts, rights, places, tokens = torch.tensor(targets).T
        left = tap(self, "left", tap(twin, "left", x)[rows, lefts])
        right = tap(self, "right", tap(twin, "right", x)[rows, rights])
        place = tap(self, "place", F.embedding(places, self.places))
        h = self.ln1(F.gelu(self.up(torch.cat((left, right, place), -1))))
        h = self.ln2(F.gelu(self.down(h)))
        return F.cross_entropy(F.linear(h, words, self.bias), tokens)


def span_targets(labels, n_places):
    """[(row, position before its span, position after it, place in it, token)] of each token to be predicted."""
    found = []
    for row, line in enumerate(labels):
        start = 0
        while start < len(line):
            if line[start] == IGNORED:
                start += 1
                continue
            end = start
            while end < len(line) and line[end] != IGNORED:
                end += 1
            if start > 0 and end < len(line):
                span = enumerate(line[start : min(end, start + n_places)])
                found += [(row, start - 1, end, place, token) for place, token in span]
            start = end
    return found


class SkipGram(nn.Module):
    """Skip-gram with negative sampling (Mikolov et al. 2013b, eq. 4)."""

    def __init__(self, vocab_size, width):
        super().__init__()
        self.centre, self.context = (nn.Parameter(torch.empty(vocab_size, width)) for _ in range(2))

    def forward(self, ids, candidates):
        """The mean loss of pairs: ids (B,), candidates (B, 1 + K), the first of which stood beside it."""
        centre = tap(self, "centre", F.embedding(ids, self.centre))
        context = tap(self, "context", F.embedding(candidates, self.context))
        scores = tap(self, "scores", torch.einsum("bc,bkc->bk", centre, context))
        return -(F.logsigmoid(scores[:, 0]) + F.logsigmoid(-scores[:, 1:]).sum(1)).mean()
