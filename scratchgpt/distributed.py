"""A step is a sum over shards.

Micro-batches in time (accumulation) and parts of a batch on several threads are one idea: each shard adds its
gradient, weighted by its share of all the step's targets. Because the loss is divided by the number of targets of the
*whole* step, the sum equals the full batch exactly; averaging the shards' means would weight a short shard's tokens
more than a long one's.
"""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from scratchgpt.backend import available_cores, blas_threads, silence_float_warnings
from scratchgpt.errors import InputError

ACTIVATION_BYTES = 1 << 29  # what a shard keeps between forward and backward; beyond it, it takes fewer rows at a time


def dropout_key(seed, step, micro_batch=0):
    """A 64-bit key for the dropout masks of one micro-batch: a pure function, so a resumed run draws them again."""
    digest = hashlib.blake2b(f"dropout {seed} {step} {micro_batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def accumulate(micro_batches, count, run):
    """The mean loss over the targets of all micro-batches, and its gradient, from one micro-batch at a time.

    count(batch) is how many targets a batch has. run(batch, denominator) returns the sum of the batch's losses divided
    by the denominator, and adds the gradient of that to what it has gathered so far.
    """
    denominator = sum(count(batch) for batch in micro_batches)  # of all: every target weighs the same
    loss = 0.0
    for batch in micro_batches:
        loss = loss + run(batch, denominator)
    return loss


class Shards:
    """Runs training steps of a model with the rows of each batch split over threads.

    Each thread takes its rows through the whole step on one BLAS thread (NumPy releases the GIL inside its loops),
    which keeps threads out of the ops. On a GPU there is one shard. The same number of threads gives the same bits.
    """

    def __init__(self, model, threads=None):
        threads = available_cores() if threads is None else threads
        if threads < 1:
            raise InputError(f"threads is {threads}; expected at least 1")
        self.model = model
        self.threads = threads if model.xp is np else 1
        self.pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self.extra = []  # gradients of shards 1, 2, ...: (flat, views)
        self.losses = {}  # {objective: its part of the last step's loss}, of models that have several
        self.routed = []  # what model.routed says of each piece of the last step, where there are mixtures of experts

    def loss_and_grad(self, micro_batches, seed=None, step=0):
        """The mean loss over all targets of `micro_batches`, a list of batches as model.loss takes them; its gradient
        is left in model.params.grad.

        seed and step fix the dropout masks; seed None runs without dropout. The loss stays on the device.
        """
        store = self.model.params
        micro_batches = [{name: array for name, array in batch.items() if array is not None} for batch in micro_batches]
        gradients = [(store.grad, store.g), *self.extra]
        self.losses, self.routed = {}, []
        for flat, _ in gradients:
            flat.fill(0)
        whole = [
            Part(batch, 0, None if seed is None else dropout_key(seed, step, index))
            for index, batch in enumerate(micro_batches)
        ]
        loss = accumulate(whole, lambda part: self.model.count_targets(part.batch), self.run)
        for flat, _ in self.extra:
            gradients[0][0][...] += flat
        return loss

    def run(self, part, denominator):
        """The loss of a micro-batch, its rows split over the threads; each adds its gradient to its own array."""
        parts = split_rows(part, self.threads)
        store = self.model.params
        while len(self.extra) < len(parts) - 1:
            self.extra.append(store.new_grad())
        gradients = [store.g, *(views for _, views in self.extra)]
        mixtures = getattr(self.model.config, "moe", None) is not None
        objectives = hasattr(self.model, "losses")

        def shard(part, g):
            loss, said, routed = 0.0, [], []
            with silence_float_warnings(self.model.xp):  # per thread; the caller looks at the results
                for piece in split_rows(part, -(-len(part.batch["input_ids"]) // self.rows_at_once(part.batch))):
                    piece_loss, cache = self.model.loss(piece.batch, denominator, piece.key, piece.first_row)
                    if objectives:
                        said.append(self.model.losses(cache))
                    if mixtures:
                        routed.append(self.model.routed(cache))
                    self.model.backward(cache, g)
                    loss = loss + piece_loss
            return loss, said, routed

        with blas_threads(1):
            losses, said, routed = zip(*(map if self.pool is None else self.pool.map)(shard, parts, gradients))
        for name, loss in (part for each in chain(*said) for part in each.items()):
            self.losses[name] = self.losses.get(name, 0.0) + loss
        self.routed += chain(*routed)
        return sum(losses)

    def routing(self):
        """(load, balance) of the last step, as model.routed gives them: sums over its shards, exact however it was
        divided, because a load counts tokens and a balancing loss is about one sequence."""
        return tuple(map(sum, zip(*self.routed)))

    def rows_at_once(self, batch):
        """How many rows a shard takes through forward and backward together: as many as keep ACTIVATION_BYTES."""
        T = math.prod(np.shape(batch["input_ids"])[1:])  # (B, R, T): a row is R inputs
        return max(1, ACTIVATION_BYTES // self.model.activation_bytes(T))


class Part(NamedTuple):
    """Rows of a micro-batch: where they begin in it, and the key of its dropout masks or None."""

    batch: dict
    first_row: int
    key: int | None


def split_rows(part, n):
    """The part as at most n Parts of nearly equal size."""
    rows = len(part.batch["input_ids"])
    n = min(n, rows)
    edges = [rows * i // n for i in range(n + 1)]
    return [
        Part({name: array[a:b] for name, array in part.batch.items()}, part.first_row + a, part.key)
        for a, b in pairwise(edges)
    ]
