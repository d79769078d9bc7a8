"""Mixtures of experts against transformers' Mixtral and DeepSeek-V3 blocks: random weights, outputs and gradients.

Both of theirs compute their router's scores in float32 even in a float64 model. That is their precision and not their
definition, so they run here with those casts left out (`without_casts`); then 1e-9 relative is far above the rounding
of float64 and far below any difference of the formulas.
"""

import contextlib

import numpy as np
import pytest
from strategies import normal

from scratchgpt import blocks
from scratchgpt.check.derivatives import relative_error
from scratchgpt.models.moe import MoEConfig, moe_spec
from scratchgpt.ops import table
from scratchgpt.params import ParamStore

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'scratchgpt[compare]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek  # noqa: E402
from transformers.models.mixtral import modeling_mixtral as mixtral  # noqa: E402

pytestmark = pytest.mark.peer
TOLERANCE = 1e-9
C, SHAPE = 6, (3, 7, 6)
TABLES = ("reference", "fast_cpu")


@contextlib.contextmanager
def without_casts():
    """Inside it x.float(), x.type(torch.float32) and torch's "float32" leave a float64 tensor as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", lambda x: x)
        patch.setattr(torch.Tensor, "type", lambda x, dtype: x)
        patch.setattr(torch, "float32", torch.float64)
        yield


def mixture(moe, seed=0):
    """Our parameters, random, with their gradients: a ParamStore of one gated mixture."""
    store = ParamStore(moe_spec("mlp", moe, C, 4 * C, lambda n: 1.0, lambda n: 1.0, gated=True), dtype="float64")
    rng = np.random.default_rng(seed)
    for name in store.names:
        store[name][...] = 0.6 * normal(rng, *store.spec[name][0])
    return store


def parts_of(read):
    """{their parameter: ours}, with the gate and the up projection of all experts in one array."""
    parts = {
        "gate.weight": read("mlp.router.weight"),
        "experts.gate_up_proj": np.concatenate([read("mlp.experts.gate.weight"), read("mlp.experts.up.weight")], 1),
        "experts.down_proj": read("mlp.experts.down.weight"),
    }
    with contextlib.suppress(KeyError):
        parts |= {
            f"shared_experts.{name}_proj.weight": read(f"mlp.shared.{name}.weight") for name in ("gate", "up", "down")
        }
    return parts


def ours(moe, store, x, dout, ops, routing=None, dbalance=0.0):
    """(out, dx, {their parameter: gradient})."""
    config = type("Config", (blocks.BlockConfig,), {"moe": moe, "activation": "silu"})
    store.grad.fill(0)
    out, cache = blocks.moe_forward(table(ops), x, store.p.mlp, config, routing)
    dx = blocks.moe_backward(table(ops), dout, cache, store.g.mlp, dbalance)
    return out, dx, parts_of(store.grad_of)


def theirs(block, store, x, dout):
    block = block.double()
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            parameter.copy_(torch.tensor(parts_of(store.__getitem__)[name]))
    inputs = torch.tensor(x, requires_grad=True)
    with without_casts():
        out = block(inputs)
        out.backward(torch.tensor(dout))
    gradients = {name: parameter.grad.numpy() for name, parameter in block.named_parameters()}
    return out.detach().numpy(), inputs.grad.numpy(), gradients


def assert_equal(a, b):
    assert relative_error(a[0], b[0]) < TOLERANCE and relative_error(a[1], b[1]) < TOLERANCE
    assert a[2].keys() == b[2].keys()
    for name in a[2]:
        assert relative_error(a[2][name], b[2][name]) < TOLERANCE, name


def arrays(seed):
    rng = np.random.default_rng(seed)
    return normal(rng, *SHAPE), normal(rng, *SHAPE)


def mixtral_block(moe):
    config = transformers.MixtralConfig(
        hidden_size=C, intermediate_size=moe.n_inner, num_local_experts=moe.n_experts, num_experts_per_tok=moe.top_k
    )
    return mixtral.MixtralSparseMoeBlock(config)


def deepseek_block(moe):
    config = transformers.DeepseekV3Config(
        hidden_size=C, moe_intermediate_size=moe.n_inner, n_routed_experts=moe.n_experts, n_shared_experts=moe.n_shared,
        num_experts_per_tok=moe.top_k, n_group=moe.n_groups, topk_group=moe.top_groups, norm_topk_prob=moe.normalise,
        routed_scaling_factor=moe.scale,
    )  # fmt: skip
    return deepseek.DeepseekV3MoE(config)


@pytest.mark.parametrize("ops", TABLES)
@pytest.mark.parametrize("E, k", [(8, 2), (5, 1), (4, 4), (7, 3)])
def test_mixtral_s_block_and_its_gradients(ops, E, k):
    moe, (x, dout) = MoEConfig(E, k, 9), arrays(E)
    store = mixture(moe, seed=E)
    assert_equal(ours(moe, store, x, dout, ops), theirs(mixtral_block(moe), store, x, dout))


@pytest.mark.parametrize("ops", TABLES)
@pytest.mark.parametrize("shape", [
    {"n_experts": 8, "top_k": 3, "n_groups": 4, "top_groups": 2, "scale": 2.5},
    {"n_experts": 6, "top_k": 2, "n_shared": 2, "normalise": False},
    {"n_experts": 9, "top_k": 5, "n_groups": 3, "top_groups": 2, "n_shared": 1},
    {"n_experts": 4, "top_k": 1, "n_groups": 2, "top_groups": 1, "scale": 0.5},
])  # fmt: skip
def test_deepseek_v3_s_block_and_its_gradients(ops, shape):
    moe, (x, dout) = MoEConfig(**{"n_inner": 7, "n_shared": 1, "scores": "sigmoid"} | shape), arrays(3)
    store = mixture(moe, seed=4)
    store["mlp.router.balance_bias"][...] *= 0.5  # of the size of the differences of scores: it changes choices
    block = deepseek_block(moe)
    block.gate.e_score_correction_bias = torch.tensor(store["mlp.router.balance_bias"])
    given = theirs(block, store, x, dout)
    assert_equal(ours(moe, store, x, dout, ops), given)
    store["mlp.router.balance_bias"][...] = 0
    assert relative_error(ours(moe, store, x, dout, ops)[0], given[0]) > 0.01


@pytest.mark.parametrize("ops", TABLES)
@pytest.mark.parametrize("E, k", [(8, 2), (5, 1)])
def test_the_balancing_loss_of_a_sequence_and_its_gradient_equal_mixtral_s(ops, E, k):
    moe = MoEConfig(E, k, 9)
    store, (x, _) = mixture(moe, seed=1), arrays(2)
    mask = np.array([[1, 1, 1, 1, 0, 0, 0], [1] * 7, [0, 0, 1, 1, 1, 1, 1]])
    for row in range(3):
        one, weights = x[row : row + 1], mask[row : row + 1] / mask[row].sum()
        routing = blocks.Routing(weights, [], [])
        _, _, gradients = ours(moe, store, one, np.zeros_like(one), ops, routing, dbalance=1.0)
        router = torch.tensor(store["mlp.router.weight"], requires_grad=True)
        logits = torch.tensor(one[0]) @ router.T
        with without_casts():
            loss = mixtral.load_balancing_loss_func((logits,), E, k, torch.tensor(mask[row : row + 1]))
        loss.backward()
        assert float(routing.losses[0]) == pytest.approx(loss.item(), rel=TOLERANCE)
        assert relative_error(gradients["gate.weight"], router.grad.numpy()) < TOLERANCE


@pytest.mark.parametrize("ops", TABLES)
def test_one_sequence_of_all_layers_and_tokens_gives_mixtral_s_loss_of_a_batch(ops):
    # transformers averages over the tokens of all sequences and all layers before it multiplies
    E, k = 6, 2
    logits = [normal(np.random.default_rng(seed), 11, E) for seed in range(3)]
    tensors = tuple(torch.tensor(each, requires_grad=True) for each in logits)
    with without_casts():
        loss = mixtral.load_balancing_loss_func(tensors, E, k)
    loss.backward()
    probs, cache = table(ops).softmax_forward(np.concatenate(logits)[None])
    chosen = table(ops).choose_experts(probs[0], k)[None]
    ours, balance_cache = table(ops).load_balance_forward(probs, chosen, np.full((1, 33), 1 / 33))
    dlogits = table(ops).softmax_backward(table(ops).load_balance_backward(1.0, balance_cache), cache)
    assert float(ours) == pytest.approx(loss.item(), rel=TOLERANCE)
    assert relative_error(dlogits[0], np.concatenate([each.grad.numpy() for each in tensors])) < TOLERANCE
