"""Our word2vec beside a skip-gram in PyTorch."""

import numpy as np

from scratchgpt.check.lockstep.family import Family, check_names, integers

SITES = {
    "centre": {"out": "taps.centre:out"},
    "context": {"out": "taps.context:out"},
    "scores": {"x": "taps.centre:out", "y": "taps.context:out", "out": "taps.scores:out"},
    "loss": {"logits": "taps.scores:out", "out": "loss"},
}
NEGATIVES, PAIRS = 5, 48


def word2vec(config):
    return Family(SITES, pairs_batch, pairs_loss, draw_pairs, build=skip_gram)


def skip_gram(config):
    from scratchgpt.check.lockstep.absent import SkipGram

    return SkipGram(config.vocab_size, config.n_embd)


def pairs_batch(model, batch):
    check_names(batch, "input_ids", "context_ids")
    ids, candidates = model.read_batch(batch)
    return integers(input_ids=ids, context_ids=candidates), None


def pairs_loss(twin, batch):
    return twin(batch["input_ids"], batch["context_ids"])


def draw_pairs(config, length, rng):
    """Pairs of words, of which some come often; length is no matter."""
    often = rng.integers(0, config.vocab_size, 5)
    ids = np.where(rng.random(PAIRS) < 0.5, rng.choice(often, PAIRS), rng.integers(0, config.vocab_size, PAIRS))
    return {"input_ids": ids, "context_ids": rng.integers(0, config.vocab_size, (PAIRS, 1 + NEGATIVES))}


FAMILIES = {"word2vec": word2vec}
