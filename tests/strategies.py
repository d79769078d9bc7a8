"""What the op tests feed to the ops: named cases by hand, and Hypothesis strategies for shapes, layouts and seeds.

Hypothesis draws the shapes and a seed, never the floats: what it shrinks to is a shape a person can read. The sizes of
one case are distinct primes, so that a wrong axis or a missing transpose cannot go unnoticed.
"""

import inspect
import itertools
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from scratchgpt.check import gradient


@dataclass(frozen=True, repr=False)
class OpCase:
    """One call of an op: `arrays` are its differentiable arguments, in order, `fixed` the others."""

    op: str
    arrays: dict
    fixed: dict

    def __repr__(self):
        arguments = (self.arrays | self.fixed).items()
        shown = (f"{name}={a.shape if isinstance(a, np.ndarray) else a}" for name, a in arguments)
        return f"{self.op}({', '.join(shown)})"

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))  # Hypothesis too prints shapes, not floats

    def forward(self, ops):
        function = getattr(ops, f"{self.op}_forward")
        return lambda **arrays: function(**arrays, **self.fixed)

    def backward(self, ops):
        return getattr(ops, f"{self.op}_backward")

    def dout(self, seed=0):
        """A random upstream gradient of the output's shape and dtype."""
        first = next(iter(self.arrays.values()))
        return np.asarray(normal(np.random.default_rng(seed + 1), *self.out_shape()), first.dtype)

    def out_shape(self):
        shapes = {name: array.shape for name, array in self.arrays.items()}
        match self.op:
            case "linear":
                return (*shapes["x"][:-1], shapes["weight"][0])
            case "embedding":
                return (*self.fixed["ids"].shape, shapes["wte"][1])
            case "attention":
                return (*shapes["q"][:3], shapes["v"][3])
            case "glu":
                return shapes["gate"]
            case "position_bias":
                return (1, shapes["table"][1], self.fixed["T"], self.fixed["S"])
            case "dot":
                return shapes["y"][:2]
            case "softmax_cross_entropy" | "binary_cross_entropy" | "squared_error":
                return ()
            case "cross_entropy" | "load_balance":
                return ()
            case "gate":
                return self.fixed["chosen"].shape
            case "dispatch":
                return (*self.fixed["order"].shape, shapes["x"][1])
            case "grouped_linear":
                return (shapes["x"][0], shapes["weight"][1])
            case "combine":
                return (len(self.fixed["place"]), shapes["y"][1])
        return shapes["x"]

    def run(self, ops, dout=None):
        """(out, gradients): forward and backward, one gradient per array."""
        out, cache = self.forward(ops)(**self.arrays)
        gradients = self.backward(ops)(self.dout() if dout is None else dout, cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return out, gradients[: len(self.arrays)]

    def gradient_report(self, ops, seed=0, dout=None):
        """The check that every backward must pass and every wrong backward must fail. A gradient may be 0 here: some
        shapes make it so (attention over one key)."""
        function = getattr(ops, f"{self.op}_forward")
        names = list(inspect.signature(function).parameters)
        names = names[: 1 + max(map(names.index, self.arrays))]  # up to the last array; the rest go by name
        values = self.arrays | self.fixed
        args = [values.pop(name) for name in names]
        fixed = [name for name in names if name in self.fixed]
        return gradient(
            function, self.backward(ops), *args, seed=seed, dout=dout, may_be_zero=True, constant=fixed, **values
        )

    def map(self, change):
        """The case with change(array) for every array, fixed ones too."""
        fixed = {name: change(a) if isinstance(a, np.ndarray) else a for name, a in self.fixed.items()}
        return replace(self, arrays={name: change(a) for name, a in self.arrays.items()}, fixed=fixed)

    def astype(self, dtype):
        return self.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)


def normal(rng, *shape):
    """Numbers of order 1 with a mean that is not 0: nothing cancels by symmetry."""
    return np.asarray(rng.standard_normal(shape) * 0.9 + 0.2)


def linear(rng, rows, n_in, n_out, bias=True):
    arrays = {"x": normal(rng, *rows, n_in), "weight": normal(rng, n_out, n_in)}
    return OpCase("linear", arrays | ({"bias": normal(rng, n_out)} if bias else {}), {})


def embedding(rng, B, T, V, P, C, start=0):
    ids = rng.integers(0, V, (B, T))
    ids[0, 0] = ids[-1, -1] = V - 1  # at least one token twice, if there are two
    return OpCase("embedding", {"wte": normal(rng, V, C), "wpe": normal(rng, P, C)}, {"ids": ids, "start": start})


def lookup(rng, shape, V, C):
    """An embedding without positions."""
    ids = rng.integers(0, V, shape)
    ids.flat[0] = ids.flat[-1] = V - 1
    return OpCase("embedding", {"wte": normal(rng, V, C)}, {"ids": ids})


def layer_norm(rng, rows, C, eps=1e-5):
    arrays = {"x": normal(rng, *rows, C), "weight": normal(rng, C), "bias": normal(rng, C)}
    return OpCase("layer_norm", arrays, {"eps": eps})


def rms_norm(rng, rows, C, eps=1e-6):
    return OpCase("rms_norm", {"x": normal(rng, *rows, C), "weight": normal(rng, C)}, {"eps": eps})


def element_wise(op, rng, shape, spread=2.0):
    """relu, tanh, silu."""
    return OpCase(op, {"x": normal(rng, *shape) * spread}, {})


def glu(rng, shape, activation):
    return OpCase("glu", {"gate": normal(rng, *shape) * 2, "up": normal(rng, *shape)}, {"activation": activation})


def rotary(rng, B, T, H, D, start=0, base=100.0, width=None, interleaved=False):
    fixed = {"start": start, "base": base, "width": width, "interleaved": interleaved}
    return OpCase("rotary", {"x": normal(rng, B, T, H, D)}, fixed)


def position_bias(rng, buckets, H, T, S, start=0, bidirectional=True, max_distance=16):
    fixed = {"T": T, "S": S, "start": start, "bidirectional": bidirectional, "max_distance": max_distance}
    return OpCase("position_bias", {"table": normal(rng, buckets, H)}, fixed)


def gelu(rng, shape, approximate, spread=2.0):
    return OpCase("gelu", {"x": normal(rng, *shape) * spread}, {"approximate": approximate})


def attention(rng, B, T, S, H, D, causal=True, mask=None, bias=None, G=None, Dv=None, scale=None):
    """mask: None, "random" (key 0 stays visible), "row" (sequence 0 sees nothing) or "tail" (padding on the right);
    bias: None or its shape; G: heads of keys and values, H unless given; Dv: their width, D unless given."""
    G, Dv = G or H, Dv or D
    arrays = {"q": normal(rng, B, T, H, D), "k": normal(rng, B, S, G, D), "v": normal(rng, B, S, G, Dv)}
    if bias is not None:
        arrays["bias"] = normal(rng, *bias)
    keys = None
    if mask is not None:
        keys = rng.random((B, S)) < 0.6
        keys[:, 0] = True
        if mask == "row":
            keys[0] = False
        if mask == "tail":
            keys = np.arange(S) < rng.integers(1, S + 1, (B, 1))
    return OpCase("attention", arrays, {"mask": keys, "causal": causal, "scale": scale})


def dropout(rng, shape, p, key=2**63 + 12345, start=0):
    return OpCase("dropout", {"x": normal(rng, *shape)}, {"p": p, "key": key, "start": start})


def residual_dropout(rng, shape, p, key=7, start=2**33):
    arrays = {"x": normal(rng, *shape), "branch": normal(rng, *shape)}
    return OpCase("residual_dropout", arrays, {"p": p, "key": key, "start": start})


def cross_entropy(rng, N, C, V, ignored=0, bias=False):
    arrays = {"x": normal(rng, N, C), "weight": normal(rng, V, C)} | ({"bias": normal(rng, V)} if bias else {})
    targets, token_weights = targets_and_weights(rng, N, V, ignored)
    return OpCase("cross_entropy", arrays, {"targets": targets, "token_weights": token_weights})


def targets_and_weights(rng, N, V, ignored):
    """The first `ignored` rows have target -100 and weight 0; the others have different weights."""
    targets = rng.integers(0, V, N)
    targets[-1] = V - 1
    weights = rng.random(N) + 0.25
    targets[:ignored], weights[:ignored] = -100, 0
    return targets, weights


def softmax_cross_entropy(rng, N, K, ignored=0, masked=False):
    """masked: about half of the classes of each row are hidden, never its target; of the ignored rows, all are."""
    targets, row_weights = targets_and_weights(rng, N, K, ignored)
    mask = None
    if masked:
        mask = (rng.random((N, K)) < 0.5) | (np.arange(K) == targets[:, None])
        mask[:ignored] = False
    fixed = {"targets": targets, "row_weights": row_weights, "mask": mask}
    return OpCase("softmax_cross_entropy", {"logits": normal(rng, N, K) * 2}, fixed)


def binary_cross_entropy(rng, N, K, ignored=0):
    """Targets of 0 and 1, and one between."""
    targets, row_weights = rng.integers(0, 2, (N, K)).astype(float), targets_and_weights(rng, N, 2, ignored)[1]
    targets[-1, 0] = 0.3
    fixed = {"targets": targets, "row_weights": row_weights}
    return OpCase("binary_cross_entropy", {"logits": normal(rng, N, K) * 3}, fixed)


def squared_error(rng, N, K, ignored=0):
    fixed = {"targets": normal(rng, N, K), "row_weights": targets_and_weights(rng, N, 2, ignored)[1]}
    return OpCase("squared_error", {"x": normal(rng, N, K)}, fixed)


def dot(rng, N, K, C):
    return OpCase("dot", {"x": normal(rng, N, C), "y": normal(rng, N, K, C)}, {})


def softmax(rng, rows, C, spread=2.0):
    return OpCase("softmax", {"x": normal(rng, *rows, C) * spread}, {})


def sigmoid(rng, shape, spread=2.0):
    return OpCase("sigmoid", {"x": normal(rng, *shape) * spread}, {})


def scores_and_choice(rng, *shape, k):
    """Scores of order 1 whose rows sum to 1, shape (..., E), and the k experts with the highest, (..., k)."""
    scores = rng.random(shape) + 0.1
    scores /= scores.sum(-1, keepdims=True)
    return scores, np.argsort(-scores, -1)[..., :k].copy()


def gate(rng, N, E, k, normalise=True, scale=1.0):
    scores, chosen = scores_and_choice(rng, N, E, k=k)
    return OpCase("gate", {"scores": scores}, {"chosen": chosen, "normalise": normalise, "scale": scale})


def load_balance(rng, B, T, E, k, ignored=0):
    """ignored: how many tokens at the start of each sequence do not count; of the first sequence, twice as many."""
    probs, chosen = scores_and_choice(rng, B, T, E, k=k)
    token_weights = rng.random((B, T)) + 0.25
    token_weights[:, :ignored] = token_weights[0, : 2 * ignored] = 0
    return OpCase("load_balance", {"probs": probs}, {"chosen": chosen, "token_weights": token_weights})


def sorted_by_expert(rng, N, E, k):
    """A choice of k of E experts for each of N tokens, as dispatch takes it: {"order": (N k,), "place": (N, k)}."""
    chosen = scores_and_choice(rng, N, E, k=k)[1]
    order = np.argsort(chosen.ravel(), kind="stable")
    return {"order": order, "place": np.argsort(order).reshape(N, k)}


def dispatch(rng, N, C, E, k):
    return OpCase("dispatch", {"x": normal(rng, N, C)}, sorted_by_expert(rng, N, E, k))


def combine(rng, N, C, E, k):
    arrays = {"y": normal(rng, N * k, C), "weights": normal(rng, N, k)}
    return OpCase("combine", arrays, sorted_by_expert(rng, N, E, k))


def grouped_linear(rng, sizes, n_in, n_out):
    """sizes: the rows of each expert."""
    arrays = {"x": normal(rng, sum(sizes), n_in), "weight": normal(rng, len(sizes), n_out, n_in)}
    return OpCase("grouped_linear", arrays, {"edges": (0, *itertools.accumulate(sizes))})


# Every case by name: what it is about, and how to make it from a random generator.
CASES = {
    "linear, rows in two axes": lambda rng: linear(rng, (2, 3), 5, 7),
    "linear without bias": lambda rng: linear(rng, (2, 3), 5, 7, bias=False),
    "linear, one row": lambda rng: linear(rng, (1,), 3, 2),
    "linear, one row of one sequence": lambda rng: linear(rng, (1, 1), 2, 3),
    "embedding, repeated ids": lambda rng: embedding(rng, 2, 5, 3, 11, 7),
    "embedding, later positions": lambda rng: embedding(rng, 2, 3, 7, 11, 5, start=4),
    "embedding, one token": lambda rng: embedding(rng, 1, 1, 3, 5, 2),
    "embedding without positions": lambda rng: lookup(rng, (2, 5), 3, 7),
    "embedding without positions, ids in one axis": lambda rng: lookup(rng, (5,), 7, 3),
    "layer_norm": lambda rng: layer_norm(rng, (2, 3), 5),
    "layer_norm, one row": lambda rng: layer_norm(rng, (1,), 7),
    "layer_norm, eps that shows": lambda rng: layer_norm(rng, (3,), 5, eps=0.3),
    "rms_norm": lambda rng: rms_norm(rng, (2, 3), 5),
    "rms_norm, one row": lambda rng: rms_norm(rng, (1,), 7),
    "rms_norm, eps that shows": lambda rng: rms_norm(rng, (3,), 5, eps=0.3),
    "gelu tanh": lambda rng: gelu(rng, (2, 3, 5), "tanh"),
    "gelu tanh, one element": lambda rng: gelu(rng, (1,), "tanh"),
    "gelu exact": lambda rng: gelu(rng, (2, 3, 5), "none"),
    "gelu exact, both formulas": lambda rng: gelu(rng, (31,), "none", spread=4.0),
    "relu": lambda rng: element_wise("relu", rng, (2, 3, 5)),
    "tanh": lambda rng: element_wise("tanh", rng, (2, 3, 5)),
    "silu": lambda rng: element_wise("silu", rng, (2, 3, 5)),
    "silu, both tails": lambda rng: element_wise("silu", rng, (31,), spread=20.0),
    "glu, silu": lambda rng: glu(rng, (2, 3, 5), "silu"),
    "glu, gelu_tanh": lambda rng: glu(rng, (2, 3, 5), "gelu_tanh"),
    "glu, gelu": lambda rng: glu(rng, (3, 5), "gelu"),
    "glu, relu": lambda rng: glu(rng, (7,), "relu"),
    "rotary": lambda rng: rotary(rng, 2, 5, 3, 6),
    "rotary, later positions": lambda rng: rotary(rng, 2, 3, 1, 4, start=5, base=10000.0),
    "rotary, interleaved": lambda rng: rotary(rng, 2, 5, 3, 6, interleaved=True),
    "rotary, the last columns": lambda rng: rotary(rng, 2, 3, 2, 7, width=4),
    "rotary, interleaved, the last columns": lambda rng: rotary(rng, 1, 3, 2, 7, 2, width=4, interleaved=True),
    "position_bias, both ways": lambda rng: position_bias(rng, 8, 3, 7, 11),
    "position_bias, behind only": lambda rng: position_bias(rng, 6, 2, 11, 11, bidirectional=False, max_distance=7),
    "position_bias, one query": lambda rng: position_bias(rng, 4, 3, 1, 13, start=12, bidirectional=False),
    "position_bias, an odd number of buckets": lambda rng: position_bias(rng, 7, 2, 5, 3),
    "attention, causal": lambda rng: attention(rng, 2, 5, 5, 3, 7),
    "attention, not causal": lambda rng: attention(rng, 2, 5, 3, 1, 7, causal=False),
    "attention, cache: more keys than queries": lambda rng: attention(rng, 2, 3, 7, 1, 5),
    "attention, one query": lambda rng: attention(rng, 2, 1, 7, 3, 5),
    "attention, fewer keys than queries": lambda rng: attention(rng, 2, 5, 3, 1, 7),
    "attention, one key": lambda rng: attention(rng, 3, 2, 1, 2, 5, causal=False),
    "attention, one of everything": lambda rng: attention(rng, 1, 1, 1, 1, 1),
    "attention, padded": lambda rng: attention(rng, 3, 5, 7, 2, 2, mask="tail", causal=False),
    "attention, causal and masked": lambda rng: attention(rng, 3, 5, 7, 2, 2, mask="random"),
    "attention, a row that sees nothing": lambda rng: attention(rng, 2, 5, 7, 3, 2, mask="row", causal=False),
    "attention, causal, a row that sees nothing": lambda rng: attention(rng, 2, 5, 5, 3, 2, mask="row"),
    "attention, bias per head": lambda rng: attention(rng, 2, 5, 7, 3, 2, bias=(1, 3, 5, 7)),
    "attention, bias of T and S": lambda rng: attention(rng, 2, 3, 5, 1, 7, bias=(3, 5), causal=False),
    "attention, bias per batch and key": lambda rng: attention(rng, 2, 3, 5, 1, 7, bias=(2, 1, 1, 5)),
    "attention, full bias and mask": lambda rng: attention(rng, 2, 3, 5, 3, 2, bias=(2, 3, 3, 5), mask="row"),
    "attention, values of another width": lambda rng: attention(rng, 2, 3, 5, 2, 7, Dv=3),
    "attention, scale 1": lambda rng: attention(rng, 2, 5, 5, 3, 2, scale=1.0),
    "attention, grouped": lambda rng: attention(rng, 2, 5, 7, 6, 3, G=2),
    "attention, one head of keys": lambda rng: attention(rng, 2, 3, 5, 3, 2, G=1, Dv=7, mask="tail", causal=False),
    "attention, everything": lambda rng: attention(rng, 3, 2, 5, 4, 3, True, "row", (1, 4, 2, 5), G=2, Dv=7, scale=0.7),
    "dropout": lambda rng: dropout(rng, (2, 3, 5), 0.3),
    "dropout, p 0": lambda rng: dropout(rng, (3, 5), 0.0),
    "dropout, most": lambda rng: dropout(rng, (7, 5), 0.9, key=1, start=2**32 - 11),
    "residual_dropout": lambda rng: residual_dropout(rng, (2, 3, 5), 0.3),
    "residual_dropout, p 0": lambda rng: residual_dropout(rng, (3, 5), 0.0),
    "cross_entropy": lambda rng: cross_entropy(rng, 5, 3, 7),
    "cross_entropy, ignored targets": lambda rng: cross_entropy(rng, 5, 3, 7, ignored=2),
    "cross_entropy, one row": lambda rng: cross_entropy(rng, 1, 2, 3),
    "cross_entropy, all ignored": lambda rng: cross_entropy(rng, 3, 2, 5, ignored=3),
    "cross_entropy, bias": lambda rng: cross_entropy(rng, 5, 3, 7, ignored=1, bias=True),
    "softmax_cross_entropy": lambda rng: softmax_cross_entropy(rng, 5, 3),
    "softmax_cross_entropy, ignored rows": lambda rng: softmax_cross_entropy(rng, 5, 7, ignored=2),
    "softmax_cross_entropy, masked": lambda rng: softmax_cross_entropy(rng, 5, 7, ignored=2, masked=True),
    "softmax_cross_entropy, one row": lambda rng: softmax_cross_entropy(rng, 1, 2),
    "binary_cross_entropy": lambda rng: binary_cross_entropy(rng, 5, 3),
    "binary_cross_entropy, ignored rows": lambda rng: binary_cross_entropy(rng, 5, 2, ignored=2),
    "binary_cross_entropy, one number": lambda rng: binary_cross_entropy(rng, 1, 1),
    "squared_error": lambda rng: squared_error(rng, 5, 3),
    "squared_error, ignored rows": lambda rng: squared_error(rng, 5, 1, ignored=2),
    "dot": lambda rng: dot(rng, 3, 2, 5),
    "dot, one candidate": lambda rng: dot(rng, 3, 1, 2),
    "softmax": lambda rng: softmax(rng, (2, 3), 5),
    "softmax, one row": lambda rng: softmax(rng, (1,), 3),
    "sigmoid": lambda rng: sigmoid(rng, (2, 3, 5)),
    "sigmoid, both tails": lambda rng: sigmoid(rng, (31,), spread=20.0),
    "gate": lambda rng: gate(rng, 5, 7, 3),
    "gate, scaled": lambda rng: gate(rng, 5, 3, 2, scale=2.5),
    "gate, not normalised": lambda rng: gate(rng, 3, 5, 1, normalise=False, scale=0.5),
    "gate, one expert": lambda rng: gate(rng, 3, 5, 1),
    "gate, all experts": lambda rng: gate(rng, 2, 3, 3),
    "load_balance": lambda rng: load_balance(rng, 2, 5, 7, 3),
    "load_balance, one expert": lambda rng: load_balance(rng, 3, 2, 5, 1),
    "load_balance, tokens that do not count": lambda rng: load_balance(rng, 2, 5, 3, 2, ignored=1),
    "load_balance, a sequence that does not count": lambda rng: load_balance(rng, 3, 4, 5, 2, ignored=2),
    "dispatch": lambda rng: dispatch(rng, 5, 3, 7, 2),
    "dispatch, one expert": lambda rng: dispatch(rng, 7, 2, 3, 1),
    "dispatch, all experts": lambda rng: dispatch(rng, 5, 2, 3, 3),
    "grouped_linear": lambda rng: grouped_linear(rng, (3, 1, 4), 5, 7),
    "grouped_linear, experts without rows": lambda rng: grouped_linear(rng, (0, 2, 0, 3, 0), 5, 7),
    "grouped_linear, one expert": lambda rng: grouped_linear(rng, (3,), 5, 2),
    "combine": lambda rng: combine(rng, 5, 3, 7, 2),
    "combine, one expert": lambda rng: combine(rng, 7, 2, 3, 1),
    "combine, all experts": lambda rng: combine(rng, 5, 2, 3, 3),
}


def make_case(name, seed=0):
    return CASES[name](np.random.default_rng(seed))


def cases_of(op):
    return [name for name in CASES if make_case(name).op == op]


def primes(n, largest=13):
    """n distinct sizes."""
    pool = [p for p in (1, 2, 3, 5, 7, 11, 13) if p <= largest]
    return st.permutations(pool).map(lambda sizes: sizes[:n])


generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def linear_cases(draw):
    B, T, n_in, n_out = draw(primes(4))
    rows = draw(st.sampled_from([(B,), (B, T)]))
    return linear(draw(generators), rows, n_in, n_out, bias=draw(st.booleans()))


@st.composite
def embedding_cases(draw):
    B, T, V, C, more = draw(primes(5, 11))
    if draw(st.booleans()):
        return lookup(draw(generators), draw(st.sampled_from([(B,), (B, T)])), V, C)
    start = draw(st.integers(0, more))
    return embedding(draw(generators), B, T, V, T + more, C, start)


@st.composite
def layer_norm_cases(draw):
    B, T, C = draw(primes(3))
    # a visible eps: on a row of two nearly equal numbers a small one would amplify every rounding a hundredfold
    return layer_norm(draw(generators), draw(st.sampled_from([(B,), (B, T)])), C, draw(st.sampled_from([0.1, 1.0])))


@st.composite
def rms_norm_cases(draw):
    B, T, C = draw(primes(3))
    return rms_norm(draw(generators), draw(st.sampled_from([(B,), (B, T)])), C, draw(st.sampled_from([0.1, 1.0])))


@st.composite
def element_wise_cases(draw, op):
    return element_wise(op, draw(generators), draw(primes(2)))


@st.composite
def glu_cases(draw):
    activation = draw(st.sampled_from(["silu", "gelu_tanh", "gelu", "relu"]))
    return glu(draw(generators), draw(primes(2)), activation)


@st.composite
def rotary_cases(draw):
    B, T, H = draw(st.permutations([1, 2, 3, 5]))[:3]
    half, rest = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    width = draw(st.sampled_from([None, 2 * half])) if rest == 0 else 2 * half
    start, interleaved = draw(st.integers(0, 50)), draw(st.booleans())
    return rotary(draw(generators), B, T, H, 2 * half + rest, start, 100.0, width, interleaved)


@st.composite
def position_bias_cases(draw):
    buckets, H, T, S = draw(primes(4, 11).filter(lambda sizes: sizes[0] > 4))
    fixed = draw(st.integers(0, 9)), draw(st.booleans()), draw(st.integers(8, 20))
    return position_bias(draw(generators), buckets, H, T, S, *fixed)


@st.composite
def gelu_cases(draw):
    return gelu(draw(generators), draw(primes(2)), draw(st.sampled_from(["tanh", "none"])))


@st.composite
def attention_cases(draw):
    B, H = draw(st.permutations([1, 2, 3]))[:2]  # small: keeps the numeric gradients quick
    T, S, D = draw(st.permutations([1, 5, 7, 11]))[:3]
    bias = draw(st.sampled_from([None, (T, S), (1, H, T, S), (B, 1, 1, S), (H, 1, 1), (B, H, T, 1)]))
    mask = draw(st.sampled_from([None, "random", "row", "tail"]))
    G, R = H, 1
    if draw(st.booleans()):  # grouped: H heads of keys, each for R of queries
        R = draw(st.sampled_from([2, 3]))
        bias = (1, H * R, T, S) if bias is not None else None
    Dv, scale = draw(st.sampled_from([None, 2, 3])), draw(st.sampled_from([None, 0.3, 1.0]))
    return attention(draw(generators), B, T, S, H * R, D, draw(st.booleans()), mask, bias, G, Dv, scale)


@st.composite
def dropout_cases(draw, make=dropout):
    key, start = draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 2**40))
    return make(draw(generators), draw(primes(2)), draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])), key, start)


@st.composite
def cross_entropy_cases(draw):
    N, C, V = draw(primes(3))
    return cross_entropy(draw(generators), N, C, V, ignored=draw(st.integers(0, N - 1)), bias=draw(st.booleans()))


@st.composite
def softmax_cross_entropy_cases(draw):
    N, K = draw(primes(2))
    return softmax_cross_entropy(draw(generators), N, K, draw(st.integers(0, N - 1)), draw(st.booleans()))


@st.composite
def row_loss_cases(draw, make):
    N, K = draw(primes(2))
    return make(draw(generators), N, K, draw(st.integers(0, N - 1)))


@st.composite
def dot_cases(draw):
    return dot(draw(generators), *draw(primes(3)))


@st.composite
def softmax_cases(draw):
    B, T, C = draw(primes(3))
    return softmax(draw(generators), draw(st.sampled_from([(B,), (B, T)])), C)


@st.composite
def sigmoid_cases(draw):
    return sigmoid(draw(generators), draw(primes(2)), draw(st.sampled_from([1.0, 10.0])))


@st.composite
def expert_sizes(draw, n=2):
    """(n sizes, E, k)."""
    *sizes, E = draw(primes(n + 1, 11))
    return (*sizes, E, draw(st.integers(1, min(E, 3))))


@st.composite
def gate_cases(draw):
    N, E, k = draw(expert_sizes(1))
    return gate(draw(generators), N, E, k, draw(st.booleans()), draw(st.sampled_from([1.0, 2.5])))


@st.composite
def load_balance_cases(draw):
    B, T, E, k = draw(expert_sizes())
    return load_balance(draw(generators), B, T, E, k, ignored=draw(st.integers(0, T)))


@st.composite
def dispatch_cases(draw, make=dispatch):
    return make(draw(generators), *draw(expert_sizes()))


@st.composite
def grouped_linear_cases(draw):
    n_in, n_out = draw(primes(2))
    return grouped_linear(
        draw(generators), draw(st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any)), n_in, n_out
    )


OP_CASES = {
    "linear": linear_cases(),
    "embedding": embedding_cases(),
    "layer_norm": layer_norm_cases(),
    "gelu": gelu_cases(),
    "rms_norm": rms_norm_cases(),
    "relu": element_wise_cases("relu"),
    "tanh": element_wise_cases("tanh"),
    "silu": element_wise_cases("silu"),
    "glu": glu_cases(),
    "rotary": rotary_cases(),
    "position_bias": position_bias_cases(),
    "attention": attention_cases(),
    "dropout": dropout_cases(),
    "residual_dropout": dropout_cases(residual_dropout),
    "cross_entropy": cross_entropy_cases(),
    "softmax_cross_entropy": softmax_cross_entropy_cases(),
    "binary_cross_entropy": row_loss_cases(binary_cross_entropy),
    "squared_error": row_loss_cases(squared_error),
    "dot": dot_cases(),
    "softmax": softmax_cases(),
    "sigmoid": sigmoid_cases(),
    "gate": gate_cases(),
    "load_balance": load_balance_cases(),
    "dispatch": dispatch_cases(),
    "grouped_linear": grouped_linear_cases(),
    "combine": dispatch_cases(combine),
}


def strided(array):
    """Every second element of an array twice as large in each axis."""
    memory = np.zeros([2 * n for n in array.shape], array.dtype)
    memory[tuple(slice(None, None, 2) for _ in array.shape)] = array
    return memory[tuple(slice(None, None, 2) for _ in array.shape)]


def transposed(array):
    """The first axis varies fastest in memory."""
    return np.ascontiguousarray(array.T).T if array.ndim else array


def reversed_in_memory(array):
    """Negative strides."""
    every_axis = tuple(slice(None, None, -1) for _ in array.shape)
    return array[every_axis].copy()[every_axis]


def broadcast(array):
    """Size-1 axes get stride 0, as broadcasting and slicing leave them."""
    strides = [0 if n == 1 else s for n, s in zip(array.shape, array.strides)]
    return np.lib.stride_tricks.as_strided(array, array.shape, strides)


LAYOUTS = {"strided": strided, "transposed": transposed, "negative": reversed_in_memory, "broadcast": broadcast}
layouts = st.sampled_from(list(LAYOUTS.values()))
