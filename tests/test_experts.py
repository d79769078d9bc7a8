"""Mixtures of experts: who is chosen, what that costs, what it equals, and where its derivative jumps."""

import itertools
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import normal

from scratchgpt import blocks
from scratchgpt.check import gradient
from scratchgpt.check.derivatives import relative_error
from scratchgpt.distributed import Shards
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, IGNORED, GPTConfig, activation_bytes, count_parameters, training_flops_per_token
from scratchgpt.models.moe import MoEConfig, moe_spec
from scratchgpt.ops import table, traced
from scratchgpt.optim import AdamW
from scratchgpt.params import ParamStore, Views

ROUNDING = 1e-12  # two orders of the same float64 sums of a few dozen terms: 1e-15 of the largest
SEEDS = st.integers(0, 2**32 - 1)
REFERENCE = table("reference")
KINDS = {
    "Mixtral": MoEConfig(5, 2, 7),
    "Switch": MoEConfig(5, 1, 7, normalise=False, balance=0.3),
    "DeepSeek-V3": MoEConfig(6, 2, 5, 1, "sigmoid", n_groups=3, top_groups=2, scale=2.5),
    "sigmoid, not normalised": MoEConfig(5, 3, 7, 2, "sigmoid", normalise=False),
}


class Mixture:
    """A mixture of experts on its own, with random parameters: `forward` and `backward` of x (B, T, C)."""

    def __init__(self, moe, C=3, gated=False, seed=0, ops=REFERENCE):
        spec = moe_spec("mlp", moe, C, 4 * C, lambda n: 1.0, lambda n: 1.0, gated, bias=True)
        self.moe, self.ops = moe, ops
        self.store = ParamStore(spec, dtype="float64")
        rng = np.random.default_rng(seed)
        for name in self.store.names:
            self.store[name][...] = 0.5 * normal(rng, *spec[name][0])
        self.config = type("Config", (blocks.BlockConfig,), {"moe": moe, "activation": "silu" if gated else "gelu"})

    def __getattr__(self, name):
        return getattr(self.store.p.mlp, name)  # router, experts, shared

    def forward(self, x, routing=None):
        return blocks.moe_forward(self.ops, x, self.store.p.mlp, self.config, routing)

    def backward(self, dout, cache, dbalance=0.0):
        """(dx, {name: gradient})."""
        flat, g = self.store.new_grad()
        dx = blocks.moe_backward(self.ops, dout, cache, g.mlp, dbalance)
        return dx, {name: self.store.view(flat, name) for name in self.store.names}

    def expert(self, e, x):
        """What expert e alone makes of rows x."""
        p = Views(**{name: Views(weight=stack.weight[e]) for name, stack in vars(self.experts).items()})
        return blocks.feed_forward_forward(self.ops, x, p, self.config.activation)[0]

    def by_hand(self, x):
        """The mixture as its definition says it, a token and an expert at a time."""
        moe, out = self.moe, np.zeros_like(x)
        for place in np.ndindex(x.shape[:2]):
            logits = self.router.weight @ x[place]
            scores = 1 / (1 + np.exp(-logits)) if moe.scores == "sigmoid" else np.exp(logits) / np.exp(logits).sum()
            chosen = choice_by_hand(scores + getattr(self.router, "balance_bias", 0), moe)
            total = sum(scores[e] for e in chosen) if moe.normalise else 1
            for e in chosen:
                out[place] += moe.scale * scores[e] / total * self.expert(e, x[place][None])[0]
        if moe.n_shared:
            out += blocks.feed_forward_forward(self.ops, x, self.shared, self.config.activation)[0]
        return out


def choice_by_hand(scores, moe):
    groups = np.array_split(np.arange(moe.n_experts), moe.n_groups)
    best = sorted(groups, key=lambda group: -sum(sorted(scores[group])[-2:]))[: moe.top_groups]
    allowed = [e for group in best for e in group] if moe.n_groups > 1 else range(moe.n_experts)
    return sorted(allowed, key=lambda e: -scores[e])[: moe.top_k]


def tokens(seed, B=2, T=5, C=3):
    return normal(np.random.default_rng(seed), B, T, C)


# The choice


@given(seed=SEEDS, data=st.data())
def test_the_choice_is_the_k_best_of_the_best_groups(seed, data):
    n_groups = data.draw(st.sampled_from([1, 2, 3, 4]))
    top_groups, in_group = data.draw(st.integers(1, n_groups)), data.draw(st.integers(2, 4))
    k = data.draw(st.integers(1, top_groups * in_group))
    moe = MoEConfig(n_groups * in_group, k, n_groups=n_groups, top_groups=top_groups)
    scores = np.random.default_rng(seed).standard_normal((7, moe.n_experts))
    chosen = REFERENCE.choose_experts(scores, k, n_groups, top_groups)
    assert chosen.tolist() == [choice_by_hand(row, moe) for row in scores]


def test_of_equal_scores_the_first_expert_is_chosen():
    scores = np.array([[1.0, 3, 3, 2, 3], [0, 0, 0, 0, 0]])
    assert REFERENCE.choose_experts(scores, 2).tolist() == [[1, 2], [0, 1]]
    grouped = np.array([[1.0, 1, 1, 1, 1, 1]])
    assert REFERENCE.choose_experts(grouped, 3, 3, 2).tolist() == [[0, 1, 2]]


@given(seed=SEEDS)
def test_the_bias_takes_part_in_the_choice_alone(seed):
    mixture, x = Mixture(KINDS["sigmoid, not normalised"], seed=seed), tokens(seed)
    mixture.router.balance_bias[...] = 0
    chosen, weights, _ = blocks.route_forward(REFERENCE, x, mixture.router, mixture.moe)
    mixture.router.balance_bias[...] = [9, 0, 0, 9, 9]  # more than any score
    forced, others, cache = blocks.route_forward(REFERENCE, x, mixture.router, mixture.moe)
    assert {frozenset(row) for row in forced.tolist()} == {frozenset({0, 3, 4})}
    scores = 1 / (1 + np.exp(-x.reshape(-1, 3) @ mixture.router.weight.T))
    assert relative_error(others, np.take_along_axis(scores, forced, 1)) < ROUNDING
    assert relative_error(weights, np.take_along_axis(scores, chosen, 1)) < ROUNDING
    _, gradients = mixture.backward(x, mixture.forward(x)[1])
    assert not gradients["mlp.router.balance_bias"].any() and gradients["mlp.router.weight"].any()
    assert len(cache) == 5


# What a mixture computes


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("moe", KINDS.values(), ids=KINDS)
def test_a_mixture_is_its_definition(moe, gated):
    mixture, x = Mixture(moe, gated=gated), tokens(1)
    assert relative_error(mixture.forward(x)[0], mixture.by_hand(x)) < ROUNDING


@given(seed=SEEDS, data=st.data())
def test_renumbering_the_experts_changes_nothing(seed, data):
    name = data.draw(st.sampled_from(["Mixtral", "sigmoid, not normalised"]))
    mixture, x = Mixture(KINDS[name], seed=seed), tokens(seed)
    dout = tokens(seed + 1)
    out, cache = mixture.forward(x)
    dx, gradients = mixture.backward(dout, cache)
    order = np.random.default_rng(seed).permutation(mixture.moe.n_experts)
    of_experts = [n for n in mixture.store.names if "experts" in n or "router" in n]
    for each in of_experts:
        mixture.store[each][...] = mixture.store[each][order]
    again, cache = mixture.forward(x)
    dx_again, gradients_again = mixture.backward(dout, cache)
    assert relative_error(out, again) < ROUNDING and relative_error(dx, dx_again) < ROUNDING
    for each in of_experts:
        assert relative_error(gradients[each][order], gradients_again[each]) < ROUNDING


@given(seed=SEEDS, data=st.data())
def test_tokens_do_not_see_each_other(seed, data):
    mixture = Mixture(KINDS[data.draw(st.sampled_from(list(KINDS)))], seed=seed)
    x, dout = tokens(seed, 1, 9), tokens(seed + 1, 1, 9)
    out, cache = mixture.forward(x)
    dx, gradients = mixture.backward(dout, cache)
    order = np.random.default_rng(seed).permutation(9)
    shuffled, cache = mixture.forward(x[:, order])
    dx_shuffled, gradients_shuffled = mixture.backward(dout[:, order], cache)
    assert relative_error(out[:, order], shuffled) < ROUNDING
    assert relative_error(dx[:, order], dx_shuffled) < ROUNDING
    assert all(relative_error(gradients[n], gradients_shuffled[n]) < ROUNDING for n in gradients)
    alone, _ = mixture.forward(x[:, 3:4])
    assert relative_error(out[:, 3:4], alone) < ROUNDING


@given(seed=SEEDS)
def test_with_all_experts_chosen_it_is_the_dense_mixture(seed):
    mixture, x = Mixture(MoEConfig(4, 4, 5), seed=seed), tokens(seed)
    logits = x @ mixture.router.weight.T
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)  # (B, T, E)
    dense = sum(probs[..., e, None] * mixture.expert(e, x) for e in range(4))
    assert relative_error(mixture.forward(x)[0], dense) < ROUNDING


@given(seed=SEEDS)
def test_one_expert_is_a_feed_forward(seed):
    mixture, x, dout = Mixture(MoEConfig(1, 1, 5), seed=seed), tokens(seed), tokens(seed + 1)
    out, cache = mixture.forward(x)
    dx, gradients = mixture.backward(dout, cache)
    assert relative_error(out, mixture.expert(0, x)) < ROUNDING
    assert not gradients["mlp.router.weight"].any()  # its weight is 1, whatever the router says
    assert gradients["mlp.experts.up.weight"].any() and dx.any()


@given(seed=SEEDS, data=st.data())
def test_every_token_reaches_its_k_experts_and_none_is_dropped(seed, data):
    E = data.draw(st.integers(1, 6))
    k, n = data.draw(st.integers(1, E)), data.draw(st.integers(0, 9))
    chosen = np.argsort(np.random.default_rng(seed).random((n, E)))[:, :k]
    if data.draw(st.booleans()):
        chosen = np.broadcast_to(np.arange(k), (n, k)).copy()  # all to the same: no expert has a capacity
    order, place, edges = blocks.sort_by_expert(chosen, E)
    assert edges[0] == 0 and edges[-1] == n * k and len(edges) == E + 1
    assert np.array_equal(order[place.ravel()], np.arange(n * k))
    for e in range(E):
        group = order[edges[e] : edges[e + 1]]
        assert (chosen.ravel()[group] == e).all() and (np.diff(group) > 0).all()


def test_an_expert_without_tokens_has_no_gradient_and_no_say():
    mixture, x = Mixture(KINDS["Mixtral"]), tokens(0)
    x[...] = x[0, 0]  # all alike, so all to the same two
    out, cache = mixture.forward(x)
    _, gradients = mixture.backward(tokens(1), cache)
    used = [bool(g.any()) for g in gradients["mlp.experts.up.weight"]]
    assert sum(used) == 2
    for e in np.flatnonzero(~np.array(used)):
        mixture.experts.up.weight[e] = np.nan
    assert np.array_equal(mixture.forward(x)[0], out)


@pytest.mark.parametrize("n_experts", [2, 8, 32])
def test_the_work_does_not_grow_with_the_number_of_experts(n_experts):
    ops, calls = traced(REFERENCE)
    mixture, x = Mixture(MoEConfig(n_experts, 2, 5), ops=ops), tokens(0)
    mixture.backward(x, mixture.forward(x)[1])
    rows = [call.args["x"].shape[0] for call in calls if call.op == "grouped_linear_forward"]
    assert rows == [2 * 10, 2 * 10]  # k rows for each of the 10 tokens, in up and in down


# Derivatives: inside a cell, and at its edge


def block_pair(moe, gated=False, ops=REFERENCE):
    """forward and backward of a mixture and its balancing loss, with the arrays as arguments."""
    mixture = Mixture(moe, gated=gated, ops=ops)
    names = [name for name in mixture.store.names if not name.endswith("balance_bias")]
    token_weights = np.random.default_rng(5).random((2, 5))

    def forward(x, *weights):
        p = mixture.store.namespace(mixture.store.data)
        for name, weight in zip(names, weights):
            *path, leaf = name.split(".")
            node = p
            for part in path:
                node = getattr(node, part)
            setattr(node, leaf, weight)
        routing = blocks.Routing(token_weights, [], [])
        out, cache = blocks.moe_forward(ops, x, p.mlp, mixture.config, routing)
        balance = moe.loss_weight * sum(routing.losses, 0.0)
        return np.concatenate([out.ravel(), np.reshape(balance, 1)]), cache

    def backward(dout, cache):
        dx, gradients = mixture.backward(dout[:-1].reshape(2, 5, 3), cache, dout[-1] * moe.loss_weight)
        return dx, *(gradients[name] for name in names)

    return forward, backward, [tokens(3), *(mixture.store[name].copy() for name in names)]


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("moe", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["reference", "fast_cpu"])
def test_backward_is_the_derivative_inside_a_cell(name, moe, gated):
    forward, backward, arrays = block_pair(moe, gated, table(name))
    report = gradient(forward, backward, *arrays)
    assert report.ok and not any(row.kinks for row in report), f"\n{report}"


def gates(logits, k=2):
    """The router as a function of its logits alone: (N, E), each token's weight for each expert, 0 where not chosen."""
    probs, softmax_cache = REFERENCE.softmax_forward(logits)
    chosen = REFERENCE.choose_experts(probs, k)
    weights, gate_cache = REFERENCE.gate_forward(probs, chosen)
    out = np.zeros_like(probs)
    np.put_along_axis(out, chosen, weights, 1)
    return out, (softmax_cache, chosen, gate_cache)


def gates_backward(dout, cache):
    softmax_cache, chosen, gate_cache = cache
    dprobs = REFERENCE.gate_backward(np.take_along_axis(dout, chosen, 1), gate_cache)
    return REFERENCE.softmax_backward(dprobs, softmax_cache)


def wrong_gates_backward(dout, cache):
    return gates_backward(dout, cache) + 1e-3 * dout.std()


LOGITS = np.array([[0.3, -1.2, 0.9, 0.1], [1.5, 0.7, -0.4, 0.2], [-0.8, 0.6, 0.5, 1.1]])


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-5])
def test_the_check_of_a_router_stays_inside_its_cell(gap):
    logits = LOGITS.copy()
    logits[1, 3] = logits[1, 1] - gap  # the third best is this close to the second
    report = gradient(gates, gates_backward, logits)
    assert report.ok and not report.rows[0].kinks, f"\n{report}"
    assert not gradient(gates, wrong_gates_backward, logits).ok


def test_a_tie_of_the_last_chosen_and_the_first_not_chosen_is_reported_as_a_jump():
    logits = LOGITS.copy()
    logits[1, 3] = logits[1, 1]
    row = gradient(gates, gates_backward, logits).rows[0]
    assert row.ok and set(row.kinks) == {(1, 1), (1, 3)}
    assert "a kink at (1, 1), where there is no derivative: it jumps" in str(row)
    wrong = gradient(gates, wrong_gates_backward, logits).rows[0]
    assert wrong.verdict == "wrong"  # all other elements are inside their cells


def test_a_tie_among_the_chosen_is_no_kink():
    logits = LOGITS.copy()
    logits[1, 1] = logits[1, 0]
    report = gradient(gates, gates_backward, logits)
    assert report.ok and not report.rows[0].kinks


def between_two_experts(x, router):
    """x (C,) moved to where the second best expert and the third best have one score, and these two."""
    for pair in itertools.combinations(range(len(router)), 2):
        across = router[pair[0]] - router[pair[1]]
        moved = x - across * (x @ across) / (across @ across)
        logits = router @ moved
        if set(np.argsort(-logits)[1:3]) == set(pair) and abs(logits[pair[0]] - logits[pair[1]]) < 1e-15:
            return moved, pair


def test_a_jump_of_a_whole_mixture_is_reported_where_it_is():
    forward, backward, (x, *weights) = block_pair(KINDS["Mixtral"])
    x[0, 2], tied = between_two_experts(x[0, 2], weights[0])
    dx, drouter, *others = gradient(forward, backward, x, *weights)
    assert dx.ok and set(dx.kinks) == {(0, 2, c) for c in range(3)}
    assert drouter.ok and set(drouter.kinks) == {(e, c) for e in tied for c in range(3)}
    assert all(row.ok and not row.kinks for row in others)


# Scores


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
def test_sigmoid_is_exact_in_both_tails(ops):
    x = np.concatenate([np.linspace(-700, 700, 2801), [-745.0, 1e4, -1e4]])
    out, _ = table(ops).sigmoid_forward(x)
    expected = np.array([math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v)) for v in x])
    assert np.abs(out - expected).max() <= 2.0**-52 and np.array_equal(out == 0, expected == 0)
    seen = expected > 0
    assert np.abs(out[seen] / expected[seen] - 1).max() < 1e-14  # a router compares and divides small scores too


@pytest.mark.parametrize("ops", ["reference", "fast_cpu"])
def test_softmax_of_large_scores_does_not_overflow(ops):
    x = np.array([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    out, cache = table(ops).softmax_forward(x)
    assert out[1] == pytest.approx([1 / 3] * 3) and out[0] == pytest.approx(
        [1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0]
    )
    assert np.isfinite(table(ops).softmax_backward(x, cache)).all()


def test_weights_of_scores_that_all_underflow_are_0_and_not_nan():
    weights, cache = REFERENCE.gate_forward(np.zeros((1, 4)), np.array([[1, 2]]))
    assert weights.tolist() == [[0, 0]] and np.isfinite(REFERENCE.gate_backward(np.ones((1, 2)), cache)).all()


# The balancing loss


def test_the_balancing_loss_is_k_where_all_experts_are_used_alike_and_e_where_two_do_everything():
    E, T = 6, 9
    weights = np.full((1, T), 1 / T)
    even, evenly = np.full((1, T, E), 1 / E), np.tile(np.arange(E).reshape(3, 2), (3, 1))[None]  # (1, T, 2)
    assert REFERENCE.load_balance_forward(even, evenly, weights)[0] == pytest.approx(2)
    certain, the_same = np.zeros((1, T, E)), np.broadcast_to([0, 1], (1, T, 2))
    certain[..., :2] = 0.5
    assert REFERENCE.load_balance_forward(certain, the_same, weights)[0] == pytest.approx(E)


@given(seed=SEEDS)
def test_the_balancing_loss_pushes_towards_experts_with_few_tokens(seed):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(5), (1, 11))
    chosen = np.argsort(-probs, -1)[..., :2]
    _, cache = REFERENCE.load_balance_forward(probs, chosen, np.full((1, 11), 1 / 11))
    dprobs = REFERENCE.load_balance_backward(1.0, cache)
    load = np.bincount(chosen.ravel(), minlength=5)
    assert (np.diff(dprobs[0, 0][np.argsort(load, kind="stable")]) >= 0).all()  # more tokens, more to be lowered


# In a GPT


def small_gpt(moe, seed=0, dtype="float64", ops="reference", **options):
    config = GPTConfig(
        **{"vocab_size": 13, "n_ctx": 9, "n_layer": 2, "n_head": 2, "n_embd": 6, "n_inner": 14, "moe": moe} | options
    )
    model = GPT(config, seed=None, dtype=dtype, ops=table(ops))
    rng = np.random.default_rng(seed)
    for name in model.params.names:
        is_norm_weight = "ln" in name and name.endswith("weight")
        model.params[name][...] = is_norm_weight + 0.4 * rng.standard_normal(model.params[name].shape)
    return model


def small_batch(seed=0, rows=5, T=8):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 13, (rows, T))
    labels = np.where(rng.random(ids.shape) < np.linspace(0, 0.7, rows)[:, None], IGNORED, ids)
    labels[:, 1] = ids[:, 1]
    return {"input_ids": ids, "labels": labels}


def loss_and_grad(model, batch, **options):
    model.params.grad.fill(0)
    loss, cache = model.loss(batch, **options)
    routed = model.routed(cache)
    model.backward(cache)
    return float(loss), model.params.grad.copy(), *routed


@pytest.mark.parametrize("moe", KINDS.values(), ids=KINDS)
def test_every_gradient_of_a_gpt_with_experts_is_the_derivative_by_complex_step(moe):
    model, batch = small_gpt(moe), small_batch()
    _, grad, _, _ = loss_and_grad(model, batch)
    model.params.data = model.params.data.astype(complex)
    model.params.p = model.params.namespace(model.params.data)
    expected = np.empty(model.params.size)
    for i in range(model.params.size):
        model.params.data[i] += 1e-30j
        expected[i] = model.loss(batch)[0].imag / 1e-30
        model.params.data[i] = model.params.data[i].real
    assert relative_error(grad, expected) < ROUNDING


@pytest.mark.parametrize("moe", KINDS.values(), ids=KINDS)
def test_the_tables_agree_on_a_gpt_with_experts(moe):
    batch = small_batch()
    (a, da, load, _), (b, db, other_load, _) = (
        loss_and_grad(small_gpt(moe, ops=t), batch) for t in ("reference", "fast_cpu")
    )
    assert a == pytest.approx(b, rel=ROUNDING) and relative_error(da, db) < ROUNDING
    assert np.array_equal(load, other_load)


@pytest.mark.parametrize("moe", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("threads, cut", [(1, 2), (3, 5), (2, 1)])
def test_loss_load_and_gradient_do_not_depend_on_how_a_step_is_divided(moe, threads, cut):
    model, batch = small_gpt(moe), small_batch()
    loss, grad, load, balance = loss_and_grad(model, batch)
    assert (balance > 0.01) == (moe.scores == "softmax")  # the loss would differ otherwise
    shards = Shards(model, threads)
    parts = [{name: array[rows] for name, array in batch.items()} for rows in (slice(0, cut), slice(cut, 5)) if cut]
    parts = [part for part in parts if len(part["input_ids"])]
    divided = shards.loss_and_grad(parts)
    assert divided == pytest.approx(loss, rel=ROUNDING)
    assert relative_error(model.params.grad, grad) < ROUNDING
    total_load, total_balance = shards.routing()
    assert np.array_equal(total_load, load) and float(total_balance) == pytest.approx(float(balance), rel=ROUNDING)
    assert load.sum() == 2 * moe.top_k * (batch["labels"][:, 1:] != IGNORED).sum()


def test_backward_scales_the_balancing_loss_too():
    model, batch = small_gpt(KINDS["Switch"]), small_batch()
    _, once, _, _ = loss_and_grad(model, batch)
    model.params.grad.fill(0)
    model.backward(model.loss(batch)[1], scale=-0.5)
    assert relative_error(model.params.grad, -0.5 * once) < ROUNDING


def test_the_balancing_loss_of_a_step_is_the_mean_over_its_sequences_weighted_by_their_targets():
    model, batch = small_gpt(KINDS["Mixtral"]), small_batch()
    _, _, _, balance = loss_and_grad(model, batch)
    expected, n_targets = 0.0, (batch["labels"][:, 1:] != IGNORED).sum(1)
    for row, n in enumerate(n_targets):
        alone = {name: array[row : row + 1] for name, array in batch.items()}
        expected += n / n_targets.sum() * float(model.routed(model.loss(alone)[1])[1])
    assert float(balance) == pytest.approx(expected, rel=ROUNDING)


def test_the_loss_without_balancing_is_the_cross_entropy():
    model, batch = small_gpt(KINDS["Mixtral"]), small_batch()
    loss, cache = model.loss(batch)
    assert model.loss(batch, balance=False)[0] == pytest.approx(float(loss - model.routed(cache)[1]), rel=ROUNDING)
    without = small_gpt(replace(KINDS["Mixtral"], balance=0.0))
    assert float(without.loss(batch)[0]) == float(model.loss(batch, balance=False)[0])


def test_padding_does_not_count_as_load():
    model = small_gpt(KINDS["DeepSeek-V3"])
    ids = small_batch(T=8)["input_ids"]
    _, _, load, _ = loss_and_grad(model, {"input_ids": ids[:, :6]})
    real = np.arange(8)[None, :] < np.full((5, 1), 6)
    padded = {"input_ids": ids, "attention_mask": real.astype(int), "labels": np.where(real, ids, IGNORED)}
    assert np.array_equal(loss_and_grad(model, padded)[2], load)


def test_a_bias_moves_up_where_tokens_are_missing_and_nothing_else_moves_it():
    moe = replace(KINDS["DeepSeek-V3"], balance=0.25)
    model = small_gpt(moe)
    before = model.params.data.copy()
    model.move_biases(np.array([[1, 2, 3, 4, 5, 3], [2, 2, 2, 2, 2, 2]]))
    first, second = (model.params[f"blocks.{i}.mlp.router.balance_bias"] for i in range(2))
    start = model.params.offsets["blocks.0.mlp.router.balance_bias"]
    assert (first - before[start : start + 6]).round(12).tolist() == [0.25, 0.25, 0, -0.25, -0.25, 0]
    moved = model.params.data != before
    assert moved.sum() == 4 and second.shape == (6,)
    frozen = small_gpt(replace(moe, balance=0.0))
    frozen.move_biases(np.array([[1, 2, 3, 4, 5, 3]] * 2))
    assert np.array_equal(frozen.params.data, before)


def test_the_optimizer_leaves_the_bias_alone():
    model = small_gpt(KINDS["DeepSeek-V3"], dtype="float32", ops="fast_cpu")
    names = [name for name in model.params.names if name.endswith("balance_bias")]
    before = [model.params[name].copy() for name in names]
    assert len(names) == 2 and all(model.params.offsets[name] >= model.params.n_decay for name in names)
    optimizer = AdamW(model.params, model.ops, weight_decay=0.5)
    for _ in range(3):
        loss_and_grad(model, small_batch())
        optimizer.step(0.1, max_norm=0.01)
    assert all(np.array_equal(model.params[name], old) for name, old in zip(names, before))


def test_sampling_with_a_cache_routes_as_the_whole_window_does():
    from scratchgpt.models.gpt import KVCache

    model, ids = small_gpt(KINDS["DeepSeek-V3"]), small_batch()["input_ids"][:2, :7]
    whole, cache = model.logits({"input_ids": ids}), KVCache(model, 2)
    pieces = [model.next_logits(ids[:, a:b], cache) for a, b in ((0, 3), (3, 4), (4, 7))]
    assert relative_error(pieces[-1], whole[:, -1]) < ROUNDING and relative_error(pieces[0], whole[:, 2]) < ROUNDING


@pytest.mark.parametrize("moe", [KINDS["Mixtral"], KINDS["DeepSeek-V3"]], ids=["Mixtral", "DeepSeek-V3"])
def test_sequences_of_one_token_route_nothing(moe):
    model = small_gpt(moe)
    shards = Shards(model, 2)
    assert shards.loss_and_grad([{"input_ids": np.array([[3], [1], [4]])}]) == 0
    assert not model.params.grad.any() and not shards.routing()[0].any()


# What it is made of


def test_a_gpt_of_equal_active_width_has_more_parameters_and_costs_as_much():
    dense = GPTConfig(vocab_size=512, n_ctx=128, n_layer=4, n_head=4, n_embd=128)
    sparse = replace(dense, moe=MoEConfig(8, 2))
    counts, active = count_parameters(sparse), count_parameters(sparse, active=True)
    feed_forward = 4 * 2 * 128 * 512
    assert counts["experts"] == 4 * feed_forward and active["experts"] == feed_forward
    assert counts["router"] == active["router"] == 4 * 8 * 128
    assert sum(counts.values()) == GPT(sparse, seed=None).params.size
    assert training_flops_per_token(sparse) == pytest.approx(training_flops_per_token(dense), rel=0.01)
    assert activation_bytes(sparse, 128) > activation_bytes(dense, 128)


def test_the_first_blocks_may_stay_dense():
    config = GPTConfig(31, 8, 3, 2, 6, moe=MoEConfig(4, 2, n_dense=1, n_shared=1, scores="sigmoid"))
    blocks_of = GPT(config, seed=0).params.p.blocks
    assert [hasattr(block.mlp, "router") for block in blocks_of] == [False, True, True]
    assert blocks_of[1].mlp.shared.up.bias.shape == (8,) and blocks_of[1].mlp.experts.up.weight.shape == (4, 8, 6)
    assert not hasattr(blocks_of[1].mlp.experts.up, "bias")


def test_a_config_comes_back_from_json():
    config = GPTConfig(31, 8, 3, 2, 6, moe=KINDS["DeepSeek-V3"])
    assert GPTConfig(**asdict(config)) == config and hash(config) == hash(GPTConfig(**asdict(config)))


WRONG_SHAPES = {
    "n_experts": {"n_experts": 0},
    "top_k": {"top_k": 9},
    "n_groups": {"n_groups": 3},
    "n_groups of one expert": {"n_groups": 8, "top_groups": 4},
    "top_groups": {"n_groups": 2, "top_groups": 3},
    "top_k of the best groups": {"n_groups": 4, "top_groups": 1, "top_k": 3},
    "n_inner": {"n_inner": 0},
    "n_shared": {"n_shared": -1},
    "scores": {"scores": "tanh"},
    "scale": {"scale": math.nan},
    "balance": {"balance": -0.1},
    "n_dense": {"n_dense": -1},
}


@pytest.mark.parametrize("name, changes", WRONG_SHAPES.items())
def test_a_shape_that_cannot_be_is_refused_by_name(name, changes):
    with pytest.raises(InputError, match=rf"^moe {name.split()[0]} is .*; expected "):
        MoEConfig(**changes)


def test_other_keys_and_too_many_dense_blocks_are_refused():
    with pytest.raises(InputError, match="moe has width; expected n_experts, top_k"):
        GPTConfig(moe={"n_experts": 4, "width": 3})
    with pytest.raises(InputError, match="moe n_dense is 3; expected fewer than n_layer, 3"):
        GPTConfig(31, 8, 3, 2, 6, moe=MoEConfig(n_dense=3))
