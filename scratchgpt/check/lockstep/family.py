"""What a family of models brings to be compared: its map, and what both sides are given.

A map has one entry for each op of the model: its name, `place` or `place.op` (with a number behind it, "loss[2]", where
the same op is called there again), and where transformers has the same. That is a module, whose input is the op's x and
whose output is the op's out; or, where no module does just that, a place for each tensor:

    "MODULE:in"  "MODULE:out"  what goes into a module, what comes out
    "MODULE:out:1/3"           the second third of its columns; "MODULE:out:0:5" the first five
    "MODULE:out + MODULE:out"  the sum
    "MODULE.taps.NAME:out"     what `taps.tap(module, NAME, tensor)` lets through, where no module ends
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED


def train_pass(model, batch):
    """A forward and a backward pass of ours: the gradient is added into model.params.grad."""
    _, cache = model.loss(batch)
    model.backward(cache)


class Family(NamedTuple):
    sites: dict  # op's name -> module, or {"out" or an argument's name: place}
    batch: Callable  # (our model, a batch as given) -> (it as arrays, the positions that are compared or None for all)
    loss: Callable  # (transformers' model, that batch as tensors) -> the loss that `train` computes
    draw: Callable  # (config, length, generator) -> a batch with rows of so many tokens
    train: Callable = train_pass  # (our model, batch): forward and backward, through model.ops
    attention: str = "eager"  # transformers' name of how attention is computed, or "tapped", see taps.py
    build: Callable | None = None  # (config) -> the twin in PyTorch, where transformers has no such model
    lacks: Mapping = MappingProxyType({})  # where transformers lacks a module of ours -> (its model) -> the module
    sums: Mapping = MappingProxyType({})  # site -> the names (a pattern) of gradients that add up to what it is given
    notes: tuple = ()  # what a reader of the report must know of the twin


def written_out(sites, n_layer):
    """A map with {i} in the place of the layer, for each layer."""

    def of_layer(i):
        return {site.format(i=i): changed(where, lambda place: place.format(i=i)) for site, where in sites.items()}

    return {site: where for i in range(n_layer) for site, where in of_layer(i).items()}


def changed(where, change):
    """An entry of a map with each of its places changed."""
    return change(where) if isinstance(where, str) else {name: change(place) for name, place in where.items()}


# ---- batches


def check_names(batch, *known):
    """Raises InputError when the batch has something that a comparison would pass over."""
    unknown = sorted(batch.keys() - set(known))
    if unknown:
        raise InputError(f"the batch has {', '.join(unknown)}; expected {', '.join(known)}")


def integers(**arrays):
    """{name: the array as int64} of those that are there."""
    return {name: np.asarray(array).astype(np.int64) for name, array in arrays.items() if array is not None}


def check_padding(mask):
    """Raises InputError for a row that is all padding: ours attends to nothing there, transformers to everything."""
    if mask is not None and not mask.any(-1).all():
        raise InputError("a row of the batch is all padding; leave it out")


def draw_tokens(config, shape, rng):
    """(ids, mask) of a shape (rows, tokens): a few ids come often, and the second row ends in padding."""
    often = rng.integers(0, config.vocab_size, 5)
    ids = np.where(rng.random(shape) < 0.5, rng.choice(often, shape), rng.integers(0, config.vocab_size, shape))
    mask = np.ones(shape, int)
    mask[1, shape[1] - shape[1] // 4 :] = 0
    return ids, mask


def draw_padded(config, shape, rng):
    """(ids, mask) as draw_tokens, where padding has pad_id, and nothing else has."""
    ids, mask = draw_tokens(config, shape, rng)
    ids = np.where(ids == config.pad_id, (config.pad_id + 1) % config.vocab_size, ids)
    return np.where(mask == 1, ids, config.pad_id), mask


def ignore_some(ids, mask, rng):
    """Labels: the ids, but for every tenth and for padding."""
    return np.where((rng.random(ids.shape) < 0.1) | (mask == 0), IGNORED, ids)


# ---- models without a loss of their own


def outside(shape):
    """A gradient for what an encoder alone gives: random numbers, the same for both sides, exact in float32."""
    return (np.random.default_rng(11).standard_normal(shape) / np.prod(shape)).astype(np.float32)


OUTSIDE = "it has no loss of its own: its output is multiplied by random numbers, the same on both sides, and summed"
