"""A step is a sum over shards.

Micro-batches in time (accumulation) and parts of a batch on several threads are one idea: each shard adds its
gradient, weighted by its share of all the step's targets. Because the loss is divided by the number of targets of the
*whole* step, the sum equals the full batch exactly; averaging the shards' means would weight a short shard's tokens
more than a long one's.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from scratchgpt.backend import available_cores, blas_threads
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import IGNORED


def dropout_key(seed, step, micro_batch=0):
    """A 64-bit key for the dropout masks of one micro-batch: a pure function, so a resumed run draws them again."""
    digest = hashlib.blake2b(f"dropout {seed} {step} {micro_batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


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
        self.extra = []                                               # gradients of shards 1, 2, ...: (flat, views)

    def loss_and_grad(self, micro_batches, seed=None, step=0):
        """The mean loss over all targets of `micro_batches` (batches as GPT.loss takes them, each small enough to run at
        once); its gradient is left in model.params.grad.

        seed and step fix the dropout masks; seed None runs without dropout. The loss stays on the device.
        """
        store = self.model.params
        for flat in (store.grad, *(flat for flat, _ in self.extra)):
            flat.fill(0)
        targets = sum(count_targets(batch) for batch in micro_batches)
        loss = 0.0
        for index, batch in enumerate(micro_batches):
            key = None if seed is None else dropout_key(seed, step, index)
            for part in self.run(split_rows(batch, self.threads), targets, key):
                loss = loss + part
        grad = store.grad
        for flat, _ in self.extra:
            grad += flat
        return loss

    def run(self, parts, denominator, key):
        """Losses of [(first row, batch)], in order; gradients are added to the shards' own arrays."""
        store = self.model.params
        while len(self.extra) < len(parts) - 1:
            self.extra.append(store.new_grad())
        gradients = [store.g, *(views for _, views in self.extra)]

        def shard(i):
            first_row, batch = parts[i]
            loss, cache = self.model.loss(batch, denominator, key, first_row)
            self.model.backward(cache, gradients[i])
            return loss

        with blas_threads(1):
            return list(map(shard, range(len(parts))) if self.pool is None else self.pool.map(shard, range(len(parts))))


def count_targets(batch):
    labels = np.asarray(batch.get("labels", batch["input_ids"]))
    return int((labels[:, 1:] != IGNORED).sum())


def split_rows(batch, n):
    """[(first row, part of the batch)], at most n parts of nearly equal size."""
    rows = len(batch["input_ids"])
    n = min(n, rows)
    edges = [rows * i // n for i in range(n + 1)]
    return [(a, {name: array[a:b] for name, array in batch.items()}) for a, b in pairwise(edges)]
