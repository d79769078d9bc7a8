"""AdamW over flat arrays, gradient clipping, and the learning-rate schedule."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from scratchgpt.backend import silence_float_warnings
from scratchgpt.errors import InputError


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) with decay on matrices only, and clipping by global norm.

    store: the ParamStore to train. m and v are flat arrays of its layout, t counts the updates made.
    """

    def __init__(self, store, ops, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, threads=1):
        """threads: how many share the update, each a slice of the flat arrays; it changes no bit."""
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise InputError(f"{name} is {beta}; expected 0 <= {name} < 1")
        self.store, self.ops = store, ops
        self.beta1, self.beta2, self.eps, self.weight_decay = beta1, beta2, eps, weight_decay
        self.m, self.v = store.xp.zeros_like(store.data), store.xp.zeros_like(store.data)
        self.t = 0
        self.threads = threads if store.xp is np else 1
        self.pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def norm(self):
        """The gradient's global norm, 0-d."""
        with silence_float_warnings(self.store.xp):  # infinite is an answer; the caller looks
            return self.ops.global_norm(self.store.grad)

    def step(self, lr, max_norm=None, norm=None):
        """Updates the weights from store.grad and returns its norm before clipping.

        max_norm: the gradient is scaled by min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does.
        norm: the gradient's norm as a float, where the caller has it already.
        """
        store = self.store
        norm = self.norm() if norm is None else norm
        scale = 1.0
        if max_norm is not None:
            smaller = min if isinstance(norm, float) else store.xp.minimum
            scale = smaller(max_norm / (norm + 1e-6), 1)
        self.t += 1
        slices = [(a, b, self.weight_decay) for a, b in self.cuts(0, store.n_decay)]
        slices += [(a, b, 0.0) for a, b in self.cuts(store.n_decay, store.size)]

        def update(a, b, decay):
            with silence_float_warnings(store.xp):  # per thread
                self.ops.adamw_step(
                    store.data[a:b], store.grad[a:b], self.m[a:b], self.v[a:b], self.t,
                    lr, self.beta1, self.beta2, self.eps, decay, scale,
                )  # fmt: skip

        list((map if self.pool is None else self.pool.map)(update, *zip(*slices)))
        return norm

    def cuts(self, start, stop):
        """start .. stop in as many slices as there are threads."""
        edges = [start + (stop - start) * i // self.threads for i in range(self.threads + 1)]
        return list(pairwise(edges))


def cosine_schedule(step, lr, warmup_steps, steps, min_lr=0.0):
    """The learning rate of update `step` (from 0): linear warm-up to lr, then half a cosine down to min_lr at the last
    of `steps` (Radford et al. 2018, section 4.1; Loshchilov & Hutter 2017, eq. 5)."""
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps))
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
