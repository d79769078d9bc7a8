"""The state of a model: named parameters laid out in flat arrays.

One flat array each for the weights and the gradient (and, in the optimizer, Adam's m and v) makes zero-grad one fill,
the clip norm one dot product, AdamW one op, and sharding a slice. Matrices come first, so weight decay is one slice.
"""

import math
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from scratchgpt.backend import to_host

ONES, ZEROS = "ones", "zeros"


class Views(SimpleNamespace):
    """Named views of one flat array: p.blocks[3].attn.qkv.weight. Layers are lists, everything else attributes."""


class ParamStore:
    """Parameters in flat arrays. spec: {"blocks.0.mlp.up.weight": (shape, init)}, init a standard deviation, "ones" or
    "zeros".

    The arrays hold tensors of two and more dimensions first (the ones that weight decay applies to), then the rest,
    each in spec's order. `p` and `g` are namespaces of views of `data` and `grad`; `store[name]` is one view.
    """

    def __init__(self, spec, xp=np, dtype="float32"):
        self.spec, self.xp, self.dtype = dict(spec), xp, np.dtype(dtype)
        matrices = [name for name, (shape, _) in spec.items() if len(shape) >= 2]
        vectors = [name for name, (shape, _) in spec.items() if len(shape) < 2]
        self.names = matrices + vectors
        self.offsets, end = {}, 0
        for name in self.names:
            self.offsets[name] = end
            end += math.prod(spec[name][0])
        self.size = end
        self.n_decay = self.offsets[vectors[0]] if vectors else end
        self.data = xp.zeros(self.size, self.dtype)
        self.p = self.namespace(self.data)

    def initialise(self, seed):
        """Draws every parameter on the host, in spec's order, so that CPU and GPU start from the same numbers."""
        rng = np.random.default_rng(seed)
        for name, (shape, init) in self.spec.items():
            if init == ONES:
                self[name][...] = 1
            elif init != ZEROS:
                values = rng.standard_normal(shape, np.float32)  # float32 at any dtype: the same weights
                values *= init
                self[name][...] = self.xp.asarray(values.astype(self.dtype))
        return self

    @cached_property
    def _gradient(self):
        return self.new_grad()

    @property
    def grad(self):
        """The flat gradient, made on first use: a model that only samples never pays for it."""
        return self._gradient[0]

    @property
    def g(self):
        return self._gradient[1]

    def new_grad(self):
        """(flat zeros, namespace of views): another gradient of the same layout, for another shard."""
        flat = self.xp.zeros(self.size, self.dtype)
        return flat, self.namespace(flat)

    def view(self, flat, name):
        start, shape = self.offsets[name], self.spec[name][0]
        return flat[start : start + math.prod(shape)].reshape(shape)

    def __getitem__(self, name):
        return self.view(self.data, name)

    def grad_of(self, name):
        return self.view(self.grad, name)

    def namespace(self, flat):
        """Nested Views of a flat array, one attribute per part of the dotted names."""
        root = Views()
        for name in self.spec:
            *path, leaf = name.split(".")
            node = root
            for part, following in zip(path, [*path[1:], leaf]):
                node = self._child(node, part, is_list=following.isdigit())
            setattr(node, leaf, self.view(flat, name))
        return root

    @staticmethod
    def _child(node, part, is_list):
        if isinstance(node, list):
            if int(part) == len(node):
                node.append(Views())
            return node[int(part)]
        if not hasattr(node, part):
            setattr(node, part, [] if is_list else Views())
        return getattr(node, part)

    def to_dict(self):
        """{name: NumPy array}, copied to the host."""
        return {name: to_host(self[name]) for name in self.spec}
