"""One block, every family: its gradients, generation in pieces, padding, the device double and the fast table."""

from types import SimpleNamespace

import numpy as np
import pytest
import strict_device
from strategies import normal

from scratchgpt import blocks
from scratchgpt.check import gradient
from scratchgpt.ops import table
from scratchgpt.params import ParamStore

B, T, S, C, F = 2, 3, 5, 6, 7  # batch, queries, keys of a memory, width, width inside the feed-forward
HIDDEN_KEYS = np.array([[True, True, False], [True, False, False]])
HIDDEN_MEMORY = np.array([[True] * 5, [True, True, False, False, False]])


def linear(name, n_out, n_in, bias=True):
    return {f"{name}.weight": (n_out, n_in)} | ({f"{name}.bias": (n_out,)} if bias else {})


def norm(name, n=C, bias=True):
    return {f"{name}.weight": (n,)} | ({f"{name}.bias": (n,)} if bias else {})


def heads(name, q, kv, v, bias=True):
    """Linear maps to q columns of queries, kv of keys and v of values."""
    maps = (("q", q, C), ("k", kv, C), ("v", v, C), ("out", q, None))
    return {k: s for m, n, n_in in maps for k, s in linear(f"{name}.{m}", n if n_in else C, n_in or n, bias).items()}


def feed_forward(gate=False, bias=True):
    up = linear("mlp.up", F, C, bias) | (linear("mlp.gate", F, C, bias) if gate else {})
    return up | linear("mlp.down", C, F, bias)


def family(shapes, mask=None, n_head=2, **options):
    """(shapes of the parameters, config, mask)."""
    return shapes, SimpleNamespace(**{k: getattr(blocks.BlockConfig, k) for k in vars(blocks.BlockConfig)
                                      if not k.startswith("_")} | {"n_head": n_head} | options), mask  # fmt: skip


NORMS = norm("ln1") | norm("ln2")
RMS = norm("ln1", bias=False) | norm("ln2", bias=False)
FUSED = linear("attn.qkv", 3 * C, C) | linear("attn.out", C, C)
CROSS = heads("cross", 10, 10, 10, bias=False) | norm("ln_cross", bias=False)
# two heads of queries and keys of 3 + 4 columns, the last 4 with a position, and of values of 5
LATENT = (
    linear("attn.kv_down", 5 + 4, C, bias=False)
    | norm("attn.kv_norm", 5, bias=False)
    | linear("attn.kv_up", 2 * (3 + 5), 5, bias=False)
    | linear("attn.out", C, 2 * 5, bias=False)
)
LATENT_Q = (
    linear("attn.q_down", 3, C, False) | norm("attn.q_norm", 3, bias=False) | linear("attn.q_up", 2 * 7, 3, False)
)
ROTARY = {"rotary_base": 100.0, "layer_norm_eps": 1e-2}
FAMILIES = {
    "GPT-2": family(NORMS | FUSED | feed_forward()),
    "GPT-1": family(NORMS | FUSED | feed_forward(), HIDDEN_KEYS, norm_first=False, activation="gelu"),
    "BERT": family(
        NORMS | heads("attn", C, C, C) | feed_forward(), HIDDEN_KEYS, causal=False, norm_first=False, activation="gelu"
    ),
    "T5, encoder": family(
        RMS | heads("attn", 10, 10, 10, bias=False) | feed_forward(bias=False), HIDDEN_KEYS,
        causal=False, activation="relu", attention_scale=1.0,
    ),
    "T5 1.1, decoder": family(
        RMS | CROSS | heads("attn", 10, 10, 10, bias=False) | feed_forward(gate=True, bias=False),
        attention_scale=1.0,
    ),
    "Llama": family(
        RMS | heads("attn", 16, 8, 8, bias=False) | feed_forward(gate=True, bias=False), n_head=4,
        activation="silu", **ROTARY,
    ),
    "DeepSeek-V3": family(
        RMS | LATENT | LATENT_Q | feed_forward(gate=True, bias=False), activation="silu", rotary_interleaved=True,
        **ROTARY,
    ),
    "DeepSeek-V3, whole queries": family(
        RMS | LATENT | linear("attn.q", 2 * 7, C, bias=False) | feed_forward(gate=True, bias=False), activation="silu",
        **ROTARY,
    ),
}  # fmt: skip
DECODERS = ["GPT-2", "T5 1.1, decoder", "Llama", "DeepSeek-V3", "DeepSeek-V3, whole queries"]


class Block:
    """One block of a family with random parameters and inputs, and its forward and backward as functions of arrays."""

    def __init__(self, name, ops=None, xp=np, dtype="float64"):
        shapes, self.config, mask = FAMILIES[name]
        self.ops, self.xp = ops or table("reference"), xp
        rng = np.random.default_rng(0)
        self.store = ParamStore({key: (shape, 0.0) for key, shape in shapes.items()}, xp, dtype)
        inputs = [normal(rng, B, T, C), normal(rng, self.store.size)]
        self.options = {"mask": mask}
        if name.startswith("T5"):
            inputs.append(normal(rng, 1, 2, T, T))
        if "decoder" in name:
            inputs.append(normal(rng, B, S, C))
            self.options["memory_mask"] = HIDDEN_MEMORY
        self.inputs = [xp.asarray(array.astype(dtype)) for array in inputs]
        self.dout = xp.asarray(normal(rng, B, T, C).astype(dtype))
        self.options = {k: None if m is None else xp.asarray(m) for k, m in self.options.items()}

    def forward(self, x, flat, bias=None, memory=None, **more):
        p = self.store.namespace(flat)
        options = self.options | {"bias": bias, "memory": memory} | more
        out, cache = blocks.block_forward(self.ops, x, p, self.config, **options)
        return out, (cache, bias, memory)

    def backward(self, dout, cache, grad=None, g=None):
        cache, *more = cache
        if grad is None:
            grad, g = self.store.new_grad()
        dbias, dmemory = (None if a is None else self.xp.zeros_like(a) for a in more)
        dx = blocks.block_backward(self.ops, dout, cache, g, dbias=dbias, dmemory=dmemory)
        return tuple(d for d in (dx, grad, dbias, dmemory) if d is not None)

    def run(self):
        out, cache = self.forward(*self.inputs)
        return out, *self.backward(self.dout, cache)


@pytest.mark.parametrize("name", FAMILIES)
def test_backward_is_the_derivative_of_forward(name):
    block = Block(name)
    report = gradient(block.forward, block.backward, *block.inputs)
    assert report.ok, f"\n{report}"
    assert {row.method for row in report} == {"complex step"}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_has_a_gradient(name):
    block = Block(name)
    grad = block.run()[2]
    for key in block.store.names:
        view = block.store.view(grad, key)
        if not key.endswith(("k.bias", "qkv.bias")):  # a number added to all scores of a query changes nothing
            assert np.abs(view).max() > 1e-6, key


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_add_to_what_is_there(name):
    block = Block(name)
    _, _, expected, *_ = block.run()
    grad, g = block.store.new_grad()
    for _ in range(2):
        _, cache = block.forward(*block.inputs)
        block.backward(block.dout, cache, grad, g)
    assert np.array_equal(grad, 2 * expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_inputs_and_parameters_are_left_as_they_are(name):
    block = Block(name)
    expected = block.run()
    for array in (*block.inputs, block.dout):
        array.flags.writeable = False
    for a, b in zip(expected, block.run(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", FAMILIES)
def test_fast_table_gives_what_reference_gives(name):
    for a, b in zip(Block(name).run(), Block(name, table("fast_cpu")).run(), strict=True):
        assert np.abs(a - b).max() < 1e-12  # sums of a few dozen products of order 1 to 10, in another order


@pytest.mark.parametrize("name", FAMILIES)
def test_device_double_gives_the_bits_of_numpy(name):
    host, device = Block(name, dtype="float32").run(), Block(name, xp=strict_device, dtype="float32").run()
    for a, b in zip(host, device, strict=True):
        assert a.dtype == b.dtype == "float32" and np.array_equal(a, b.get())


@pytest.mark.parametrize("name", DECODERS)
def test_tokens_one_at_a_time_give_what_they_give_together(name):
    block = Block(name)
    x, flat, *more = block.inputs
    bias, memory = (*more, None, None)[:2]
    whole, _ = block.forward(*block.inputs)
    if memory is not None:  # the keys and values of the memory are made once
        p = block.store.namespace(flat).cross
        memory, _ = blocks.remember(block.ops, memory, p, p.q.weight.shape[0] // block.config.n_head)
    past = []
    for t in range(T):
        kv = remembering(past)
        row = None if bias is None else bias[:, :, t : t + 1, : t + 1]
        out, _ = block.forward(x[:, t : t + 1], flat, row, memory, kv=kv, start=t)
        assert np.abs(out - whole[:, t : t + 1]).max() < 1e-13


def remembering(past):
    """A cache as a list of the keys and values so far."""

    def kv(*new):
        past.append(new)
        return tuple(np.concatenate(each, 1) for each in zip(*past))

    return kv


@pytest.mark.parametrize("name", ["BERT", "T5, encoder"])
def test_encoder_sees_both_sides_but_no_padding(name):
    block = Block(name)
    before, _ = block.forward(*block.inputs)
    x = block.inputs[0]
    x[1, 1:] += 1.0  # sequence 1 has one token and padding
    x[0, 1] += 1.0
    after, _ = block.forward(*block.inputs)
    assert np.array_equal(before[1, 0], after[1, 0])
    assert not np.allclose(before[0, 0], after[0, 0])  # the first position sees the second


def test_decoder_reads_no_padding_of_its_memory():
    block = Block("T5 1.1, decoder")
    before, _ = block.forward(*block.inputs)
    block.inputs[3][~HIDDEN_MEMORY] += 1.0
    after, cache = block.forward(*block.inputs)
    assert np.array_equal(before, after)
    *_, dmemory = block.backward(block.dout, cache)
    assert not dmemory[~HIDDEN_MEMORY].any() and dmemory[HIDDEN_MEMORY].all()


@pytest.mark.parametrize("name", ["Llama", "DeepSeek-V3"])
def test_rotary_positions_are_relative(name):
    block = Block(name)
    here, _ = block.forward(*block.inputs)
    far, _ = block.forward(*block.inputs, start=1000)
    turned, _ = block.forward(block.inputs[0][:, ::-1], *block.inputs[1:])
    assert np.abs(here - far).max() < 1e-11  # angles of 1000 lose three digits
    assert not np.allclose(here, turned[:, ::-1])


def test_attention_scale_stands_in_the_place_of_the_root_of_the_head_width():
    block = Block("T5, encoder")  # scale 1, heads of 5 columns
    with_scale, _ = block.forward(*block.inputs)
    block.config.attention_scale = None
    try:
        block.store.namespace(block.inputs[1]).attn.q.weight[...] *= np.sqrt(5)
        assert np.abs(with_scale - block.forward(*block.inputs)[0]).max() < 1e-13
    finally:
        block.config.attention_scale = 1.0


@pytest.mark.parametrize(
    ("activation", "at_one"),
    [("gelu_tanh", 0.84119), ("gelu", 0.84134), ("relu", 1.0), ("silu", 0.73106), ("tanh", 0.76159)],
)
def test_activations_by_name(activation, at_one):
    ops = table("reference")
    out, cache = blocks.activation_forward(ops, np.ones(1), activation)
    assert out[0] == pytest.approx(at_one, abs=5e-6)  # Phi(1) = 0.84134, 1 / (1 + 1/e) = 0.73106
    slope = (blocks.activation_forward(ops, np.full(1, 1 + 1e-6), activation)[0] - out) / 1e-6
    assert blocks.activation_backward(ops, np.ones(1), cache, activation) == pytest.approx(slope, abs=1e-5)


def test_block_of_a_gpt_asks_attention_for_nothing_that_a_student_did_not_write():
    right, seen = table("reference"), []

    def attention(q, k, v, bias=None, mask=None, causal=True):
        seen.append((q, mask, causal))
        return right.attention_forward(q, k, v, bias, mask, causal)

    block = Block("GPT-1", right.replace(attention_forward=attention))
    block.run()
    assert len(seen) == 1
