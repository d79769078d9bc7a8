"""word2vec: skip-gram with negative sampling (Mikolov et al. 2013a, 2013b), one vector for each word.

Every word w has two vectors: centre[w], when it predicts the words around it, and context[w], when it is one of them.
A word that stood in the window should have a larger product with the centre than words that were drawn at random:

    loss of a pair = -log sigmoid(context[c] . centre[w]) - sum_k log sigmoid(-context[n_k] . centre[w])

Where this is lowest, context[c] . centre[w] = log(p(w, c) / (p(w) q(c))) - log K, with q the distribution that the K
negatives are drawn from (Levy & Goldberg 2014, eq. 7-11): the two tables factor the matrix of what words say about each
other. Afterwards centre holds the word vectors, and context is thrown away.
"""

import math
from dataclasses import dataclass

import numpy as np

from scratchgpt.backend import get_module
from scratchgpt.errors import InputError
from scratchgpt.models.bert import check_range, needed
from scratchgpt.models.gpt import host_array
from scratchgpt.ops import default_table
from scratchgpt.params import ZEROS, ParamStore


@dataclass(frozen=True)
class Word2VecConfig:
    """The shape of a word2vec."""

    vocab_size: int = 10000
    n_embd: int = 100  # length C of a vector

    def __post_init__(self):
        for name in ("vocab_size", "n_embd"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")


def parameter_spec(config):
    """{name: (shape, init)} of the two tables.

    The paper's program starts centre uniform in (-1/2C, 1/2C), whose standard deviation is 1 / (C sqrt 12), and context
    at zero: all products are 0 at first, so no pair is taken for likely or unlikely before anything was read, and the
    loss is (K + 1) ln 2 whatever the seed. Both at zero would never move: each one's gradient is a sum of the other.
    """
    shape = (config.vocab_size, config.n_embd)
    return {"centre": (shape, 1 / (config.n_embd * math.sqrt(12))), "context": (shape, ZEROS)}


def count_parameters(config):
    """{part: number of parameters}."""
    return {name: math.prod(shape) for name, (shape, _) in parameter_spec(config).items()}


def activation_bytes(config, T, itemsize=4):
    """About what T pairs keep between forward and backward, of a few dozen negatives at most."""
    return T * 32 * (config.n_embd + 4) * itemsize


def training_flops_per_pair(config, negatives):
    """FLOPs of forward and backward for a pair and its negatives: 2 C a product forward, 4 C backward."""
    return 6 * config.n_embd * (1 + negatives)


class Word2Vec:
    """A word2vec with its parameters. Everything it computes goes through the op table `ops`.

    >>> model = Word2Vec(Word2VecConfig(vocab_size=7, n_embd=3))
    >>> loss, cache = model.loss({"input_ids": [4, 4], "context_ids": [[1, 6, 0], [5, 2, 2]]})
    >>> model.backward(cache)                       # model.params.grad now holds d loss / d parameters
    >>> round(float(loss), 4)                       # 3 ln 2: nothing is learned yet
    2.0794
    """

    def __init__(self, config, seed=0, dtype="float32", device="cpu", ops=None, xp=None):
        """seed: of the initial weights, or None to leave them zero (a checkpoint follows). xp: an array module to use
        instead of device's own."""
        self.config = config
        self.xp = xp or get_module(device)
        self.ops = ops or default_table(device)
        self.params = ParamStore(parameter_spec(config), self.xp, dtype)
        if seed is not None:
            self.params.initialise(seed)

    def loss(self, batch, denominator=None, dropout_key=None, first_row=0, balance=True):
        """(loss, cache) of a batch: the mean over its pairs of a pair's loss, in nats.

        batch: "input_ids" (B,), the centres; "context_ids" (B, 1 + K), of each pair the context, then K negatives.
        denominator: what the summed loss is divided by, B unless given; a step made of several batches passes the
        number of pairs in all of them. The rest is there for other models: nothing is dropped or balanced here.
        """
        ids, candidates = self.read_batch(batch)
        scores, caches = self.scores(ids, candidates)
        targets = self.xp.asarray((np.arange(candidates.shape[1]) == 0).astype(scores.real.dtype))  # (1 + K,)
        scale = 1 / (len(ids) if denominator is None else denominator)
        weights = self.xp.full(len(ids), scale, scores.real.dtype)
        loss, loss_cache = self.ops.at("loss").binary_cross_entropy_forward(scores, targets, weights)
        return loss, (caches, loss_cache)

    def backward(self, cache, g=None, scale=1.0):
        """Adds scale * d loss / d parameters into g (model.params.g by default)."""
        g = self.params.g if g is None else g
        (centre_cache, context_cache, dot_cache), loss_cache = cache
        dscores = self.ops.at("loss").binary_cross_entropy_backward(scale, loss_cache)  # (B, 1 + K)
        dcentre, dcontext = self.ops.at("scores").dot_backward(dscores, dot_cache)  # (B, C), (B, 1 + K, C)
        g.centre += self.ops.at("centre").embedding_backward(dcentre, centre_cache)[0]
        g.context += self.ops.at("context").embedding_backward(dcontext, context_cache)[0]

    def scores(self, ids, candidates):
        """(context[candidates] . centre[ids] (B, 1 + K), caches) of host arrays ids (B,) and candidates (B, 1 + K)."""
        ops, p, xp = self.ops, self.params.p, self.xp
        centre, centre_cache = ops.at("centre").embedding_forward(xp.asarray(ids), p.centre)  # (B, C)
        context, context_cache = ops.at("context").embedding_forward(xp.asarray(candidates), p.context)
        scores, dot_cache = ops.at("scores").dot_forward(centre, context)  # (B, 1 + K)
        return scores, (centre_cache, context_cache, dot_cache)

    def logits(self, batch):
        """(B, 1 + K): the product of each centre with each of its candidates; sigmoid of it is the probability that the
        candidate stood beside the centre and was not drawn."""
        return self.scores(*self.read_batch(batch))[0]

    def read_batch(self, batch):
        """(input_ids (B,), context_ids (B, 1 + K)) as host arrays, checked: indices out of range would wrap silently on
        a GPU."""
        ids = host_array("input_ids", needed(batch, "input_ids"))
        candidates = host_array("context_ids", needed(batch, "context_ids"))
        if ids.ndim != 1 or ids.size == 0:
            raise InputError(f"input_ids has shape {ids.shape}; expected (B,): one centre for each pair")
        if candidates.ndim != 2 or len(candidates) != len(ids) or candidates.shape[1] < 2:
            raise InputError(
                f"context_ids has shape {candidates.shape}; expected ({len(ids)}, 1 + K): of each pair the context, "
                "then K negatives, at least one"
            )
        for name, array in (("input_ids", ids), ("context_ids", candidates)):
            check_range(name, array, self.config.vocab_size, "vocabulary is")
        return ids, candidates

    def count_targets(self, batch):
        """How many pairs a batch has: what its loss is the mean of."""
        return len(batch["input_ids"])

    def activation_bytes(self, T):
        return activation_bytes(self.config, T, self.params.dtype.itemsize)
