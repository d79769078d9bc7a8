"""Every op against PyTorch, forward and backward, in float64.

Both sides compute the same formula in float64 and differ by the order of their sums: about 1e-15 of the largest
element, so 1e-12 leaves room for any BLAS and still shows every mistake in a constant beyond its twelfth digit.
"""

import numpy as np
import pytest
from strategies import CASES, cross_entropy, make_case, normal

from scratchgpt.ops import table
from scratchgpt.ops.reference import distance_buckets
from scratchgpt.optim import AdamW
from scratchgpt.params import ParamStore

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'scratchgpt[compare]'")
F = torch.nn.functional
pytestmark = pytest.mark.peer
TOLERANCE = 1e-12


def torch_linear(x, weight, bias=None):
    return F.linear(x, weight, bias)


def torch_embedding(ids, wte, wpe=None, start=0):
    tokens = F.embedding(ids, wte)
    return tokens if wpe is None else tokens + F.embedding(start + torch.arange(ids.shape[1]), wpe)


def torch_layer_norm(x, weight, bias, eps):
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def torch_rms_norm(x, weight, eps):
    return F.rms_norm(x, weight.shape, weight, eps)


def torch_gelu(x, approximate):
    return F.gelu(x, approximate=approximate)


def torch_glu(gate, up, activation):
    approximate = "tanh" if activation == "gelu_tanh" else "none"
    act = {"silu": F.silu, "relu": F.relu}.get(activation, lambda x: F.gelu(x, approximate=approximate))
    return act(gate) * up


def torch_rotary(x, start, base, width, interleaved):
    """Each pair as a complex number, times exp(i angle)."""
    width = width or x.shape[-1]
    rest, turned = x[..., : x.shape[-1] - width], x[..., x.shape[-1] - width :]
    pairs = turned.unflatten(-1, (-1, 2) if interleaved else (2, -1))
    a, b = pairs.unbind(-1 if interleaved else -2)
    angle = (start + torch.arange(x.shape[1]))[:, None] * base ** -(torch.arange(0, width, 2).double() / width)
    z = torch.complex(a, b) * torch.polar(torch.ones_like(angle), angle)[:, None]
    return torch.cat([rest, torch.stack([z.real, z.imag], -1 if interleaved else -2).flatten(-2)], -1)


def torch_position_bias(table, T, S, start, bidirectional, max_distance):
    """With the buckets of transformers' T5."""
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(S) - (start + torch.arange(T))[:, None]
    buckets = T5Attention._relative_position_bucket(distance, bidirectional, len(table), max_distance)
    return F.embedding(buckets, table).permute(2, 0, 1)[None]


def torch_attention(q, k, v, bias=None, mask=None, causal=True, scale=None):
    """Masks become one additive mask, as PyTorch's own is_causal aligns T < S at the top left; ours at the bottom
    right. A row that sees nothing is NaN in PyTorch's definition: its output is set to 0, which blocks its gradient."""
    T, S = q.shape[1], k.shape[1]
    visible = torch.ones(q.shape[0], 1, T, S, dtype=torch.bool)
    if causal:
        visible = visible & torch.ones(T, S, dtype=torch.bool).tril(S - T)
    if mask is not None:
        visible = visible & mask[:, None, None, :]
    added = torch.zeros(q.shape[0], q.shape[2], T, S, dtype=q.dtype)
    if bias is not None:
        added = added + bias
    empty = ~visible.any(-1, keepdim=True)  # (B, 1, T, 1)
    added = added.masked_fill(~visible & ~empty, -torch.inf)
    heads = (a.transpose(1, 2) for a in (q, k, v))
    out = F.scaled_dot_product_attention(*heads, attn_mask=added, scale=scale, enable_gqa=True)
    return out.masked_fill(empty, 0).transpose(1, 2)


def torch_cross_entropy(x, weight, targets, token_weights, bias=None):
    nll = F.cross_entropy(F.linear(x, weight, bias), targets, ignore_index=-100, reduction="none")
    return (nll * token_weights).sum()


def torch_softmax_cross_entropy(logits, targets, row_weights, mask=None):
    if mask is not None:
        logits = logits.masked_fill(~mask & (row_weights != 0)[:, None], -torch.inf)  # a row of -inf would be NaN
    return (F.cross_entropy(logits, targets, ignore_index=-100, reduction="none") * row_weights).sum()


def torch_binary_cross_entropy(logits, targets, row_weights):
    return F.binary_cross_entropy_with_logits(logits, targets, row_weights[:, None], reduction="sum")


def torch_squared_error(x, targets, row_weights):
    return (F.mse_loss(x, targets, reduction="none") * row_weights[:, None]).sum()


def torch_dot(x, y):
    return torch.einsum("nc,nkc->nk", x, y)


def torch_gate(scores, chosen, normalise, scale):
    picked = scores.gather(1, chosen)
    return scale * (picked / picked.sum(-1, keepdim=True) if normalise else picked)


def torch_load_balance(probs, chosen, token_weights):
    """Each sequence's loss as transformers' load_balancing_loss_func states it, with its attention mask for weights."""
    loss = 0.0
    for p, hits, w in zip(probs, F.one_hot(chosen, probs.shape[2]).sum(2).to(probs.dtype), token_weights):
        if w.sum() > 0:
            f, P = ((w[:, None] * each).sum(0) / w.sum() for each in (hits, p))
            loss = loss + w.sum() * probs.shape[2] * (f * P).sum()
    return loss


def torch_dispatch(x, order, place):
    return x.repeat_interleave(place.shape[1], 0)[order]


def torch_grouped_linear(x, weight, edges):
    return torch.cat([F.linear(x[a:b], w) for w, a, b in zip(weight, edges, edges[1:])])


def torch_combine(y, weights, order, place):
    tokens = order // place.shape[1]
    return torch.zeros(len(place), y.shape[1]).to(y).index_add(0, tokens, y * weights.ravel()[order, None])


PEERS = {
    "linear": torch_linear,
    "embedding": torch_embedding,
    "layer_norm": torch_layer_norm,
    "rms_norm": torch_rms_norm,
    "relu": lambda x: F.relu(x),
    "tanh": lambda x: torch.tanh(x),
    "silu": lambda x: F.silu(x),
    "glu": torch_glu,
    "rotary": torch_rotary,
    "position_bias": torch_position_bias,
    "softmax_cross_entropy": torch_softmax_cross_entropy,
    "binary_cross_entropy": torch_binary_cross_entropy,
    "squared_error": torch_squared_error,
    "dot": torch_dot,
    "gelu": torch_gelu,
    "attention": torch_attention,
    "cross_entropy": torch_cross_entropy,
    "softmax": lambda x: F.softmax(x, -1),
    "sigmoid": torch.sigmoid,
    "gate": torch_gate,
    "load_balance": torch_load_balance,
    "dispatch": torch_dispatch,
    "grouped_linear": torch_grouped_linear,
    "combine": torch_combine,
}


def close(ours, theirs):
    """Within TOLERANCE of the largest element, or of 1, which the inputs are like."""
    theirs = theirs.detach().numpy()
    return np.abs(ours - theirs).max(initial=0) <= TOLERANCE * max(1, np.abs(theirs).max(initial=0))


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
@pytest.mark.parametrize("name", [name for name in CASES if make_case(name).op in PEERS])
def test_op_and_gradients_equal_pytorch(name, ops):
    case = make_case(name, seed=1)
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in case.arrays.items()}
    fixed = {n: torch.tensor(a) if isinstance(a, np.ndarray) else a for n, a in case.fixed.items()}
    theirs = PEERS[case.op](**tensors, **fixed)
    theirs.backward(torch.tensor(case.dout()))
    out, gradients = case.run(table(ops))
    assert close(out, theirs)
    for tensor, gradient in zip(tensors.values(), gradients, strict=True):
        assert close(gradient, tensor.grad)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("n_buckets", "max_distance"), [(32, 128), (16, 100), (8, 20), (64, 1000)])
def test_distance_buckets_equal_transformers_t5(n_buckets, max_distance, bidirectional):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = np.arange(-2000, 2001)  # theirs are computed in float32: no distance may fall on the other side
    theirs = T5Attention._relative_position_bucket(torch.tensor(distance), bidirectional, n_buckets, max_distance)
    assert np.array_equal(distance_buckets(distance, n_buckets, bidirectional, max_distance), theirs.numpy())


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
def test_square_causal_attention_equals_is_causal(ops):
    case = make_case("attention, causal")
    q, k, v = (torch.tensor(a).transpose(1, 2) for a in case.arrays.values())
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    out, _ = case.run(table(ops))
    assert close(out, theirs)


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
def test_mean_over_targets_equals_cross_entropy_with_ignore_index(ops):
    case = cross_entropy(np.random.default_rng(0), 7, 3, 11, ignored=2)
    targets = case.fixed["targets"]
    mean = (targets != -100) / 5
    loss, _ = table(ops).cross_entropy_forward(**case.arrays, targets=targets, token_weights=mean)
    x, weight = (torch.tensor(a) for a in case.arrays.values())
    assert close(loss, F.cross_entropy(x @ weight.T, torch.tensor(targets), ignore_index=-100))


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
@pytest.mark.parametrize("max_norm", [None, 1.0, 1e6])
def test_ten_adamw_steps_with_clipping_equal_pytorch(ops, max_norm):
    rng = np.random.default_rng(0)
    spec = {"matrix": ((7, 5), 1.0), "vector": ((11,), 1.0), "second": ((3, 2), 1.0)}
    store = ParamStore(spec, dtype="float64").initialise(0)
    ours = AdamW(store, table(ops), beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)
    weights = {name: torch.nn.Parameter(torch.tensor(store[name])) for name in spec}
    groups = [
        {"params": [weights["matrix"], weights["second"]], "weight_decay": 0.1},
        {"params": [weights["vector"]], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    for step in range(10):
        for name in spec:
            gradient = normal(rng, *spec[name][0])
            store.grad_of(name)[...] = gradient
            weights[name].grad = torch.tensor(gradient)
        lr = 1e-2 / (1 + step)
        for group in theirs.param_groups:
            group["lr"] = lr
        bound = float("inf") if max_norm is None else max_norm
        norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), bound)
        theirs.step()
        # the norm before clipping; in float64 the two sums differ in their last digits
        assert float(ours.step(lr, max_norm)) == pytest.approx(norm.item(), rel=1e-14)
    for name in spec:
        # ten steps of the same formula, factored differently: 1e-15 each, far below the 1e-10 asked for
        assert np.abs(store[name] - weights[name].detach().numpy()).max() < 1e-10
