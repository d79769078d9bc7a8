"""The parts of a transformer, each a forward and a backward over an op table.

`p` is a namespace of parameter views and `g` the namespace of gradient views of the same shapes. A backward *adds*
into g (``g.weight += dweight``), so tied weights and gradient accumulation need no special case.

The parameters say what is built: a linear map without a bias, a norm without one (then it is RMSNorm), a feed-forward
with a gate, a block with cross-attention, fewer heads of keys than of queries, a mixture of experts with a router. A
`BlockConfig` says the rest.
"""

from typing import Any, NamedTuple

from scratchgpt.backend import array_module, to_host

LATENT_EPS = 1e-6  # of the norms inside latent attention, whatever the other norms have


class BlockConfig:
    """What a block reads of a model's configuration, which inherits this and gives its own values to what differs. What
    has no value here (n_head) every configuration has."""

    causal = True  # a position sees itself and what is before it; False: everything (an encoder)
    norm_first = True  # pre-norm, as GPT-2; False: post-norm, as GPT-1 and BERT
    layer_norm_eps = 1e-5  # of layer norms and RMSNorms
    activation = "gelu_tanh"  # "gelu_tanh", "gelu" (exact), "relu" or "silu"
    attention_scale = None  # of the scores; None: 1 / sqrt(D)
    rotary_base = None  # of rotary positions; None: there are none
    rotary_interleaved = False  # turns columns (2i, 2i + 1), not (i, i + D/2)
    moe = None  # a MoEConfig where blocks have mixtures of experts


class Routing(NamedTuple):
    """What the mixtures of experts of one forward pass share and leave behind.

    token_weights (B, T): how much each token counts in the loss, 0 for padding. Each mixture appends to losses its
    balancing loss, 0-d (where it has one), and to loads how many of the tokens that count each expert got, (E,) ints.
    """

    token_weights: Any
    losses: list
    loads: list


def linear_forward(ops, x, p, edges=None):
    """edges: None, or, where p holds a matrix for each expert, (E, O, I), the rows of x that each multiplies."""
    if edges is not None:
        return ops.grouped_linear_forward(x, p.weight, edges)
    return ops.linear_forward(x, p.weight, getattr(p, "bias", None))


def linear_backward(ops, dout, cache, g):
    if g.weight.ndim == 3:
        dx, dweight = ops.grouped_linear_backward(dout, cache)
        g.weight += dweight
        return dx
    dx, dweight, dbias = ops.linear_backward(dout, cache)
    g.weight += dweight
    if dbias is not None:
        g.bias += dbias
    return dx


def norm_forward(ops, x, p, eps):
    """Layer norm, or RMSNorm where there is no bias."""
    if hasattr(p, "bias"):
        return ops.layer_norm_forward(x, p.weight, p.bias, eps)
    return ops.rms_norm_forward(x, p.weight, eps)


def norm_backward(ops, dout, cache, g):
    if hasattr(g, "bias"):
        dx, dweight, dbias = ops.layer_norm_backward(dout, cache)
        g.bias += dbias
    else:
        dx, dweight = ops.rms_norm_backward(dout, cache)
    g.weight += dweight
    return dx


def dropout_forward(ops, x, drop, site):
    """drop: None (no dropout) or (p, key, first_row), x's first row in the whole batch; site numbers the places in the
    model where dropout is applied."""
    if drop is None:
        return x, None
    p, key, first_row = drop
    return ops.dropout_forward(x, p, key + site, first_row * x[0].size)


def dropout_backward(ops, dout, cache):
    return dout if cache is None else ops.dropout_backward(dout, cache)


def add_forward(ops, x, branch, drop, site):
    """x + dropout(branch), the end of a residual connection; drop and site as above. branch may be overwritten."""
    if drop is None:
        branch += x
        return branch, None
    p, key, first_row = drop
    return ops.residual_dropout_forward(x, branch, p, key + site, first_row * x[0].size)


def add_backward(ops, dout, cache):
    """Returns dx, dbranch."""
    return (dout, dout) if cache is None else ops.residual_dropout_backward(dout, cache)


def embed_forward(ops, ids, wte, wpe=None, start=0):
    return ops.embedding_forward(ids, wte, wpe, start)


def embed_backward(ops, dout, cache, dwte, dwpe=None):
    """Adds the gradients of the token table (V, C) and the position table (P, C) into dwte and dwpe, in place.

    A head tied to the token table (Press & Wolf 2017) has put its own share into dwte before: the gradient of a
    parameter that is used twice is the sum over both uses.
    """
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    if dwpe is not None:
        dwpe += positions


def attend_forward(ops, x, p, config, mask=None, kv=None, start=0, bias=None, memory=None):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2). x (B, T, C) -> (B, T, C).

    mask (B, S) bool: True where a key may be seen. kv: None, or a function that takes this call's keys and values and
    returns them with the past before them (generation with a cache; such a call has no backward). start: the position
    of x's first token, for rotary positions. bias: what is added to the scores, (1, H, T, S), or None.
    memory: None, or what cross-attention reads instead of x: (B, S, C), or the keys and values that `remember` made of
    it. p has the linear maps q, k, v and out, or qkv, the first three in one, or those of latent attention.
    """
    if hasattr(p, "kv_down"):
        (q, k, v), heads_cache = latent_heads_forward(ops, x, p, config, start)
    else:
        (q, k, v), heads_cache = heads_forward(ops, x, p, config, start, memory)
    if kv is not None:
        k, v = kv(k, v)  # (B, S, G, D)
    options = {} if config.attention_scale is None else {"scale": config.attention_scale}
    if bias is not None:
        options["bias"] = bias
    causal = config.causal and memory is None
    heads, attention_cache = ops.attention_forward(q, k, v, mask=mask, causal=causal, **options)
    B, T, H, D = heads.shape
    out, out_cache = linear_forward(ops.at("out"), heads.reshape(B, T, H * D), p.out)
    return out, (heads_cache, attention_cache, out_cache, heads.shape)


def attend_backward(ops, dout, cache, g, dbias=None, dmemory=None):
    """The gradients of bias and memory, where attention had them, are added into dbias and dmemory, in place."""
    heads_cache, attention_cache, out_cache, heads_shape = cache
    dheads = linear_backward(ops.at("out"), dout, out_cache, g.out).reshape(heads_shape)  # (B, T, H, D)
    dq, dk, dv, dscores = ops.attention_backward(dheads, attention_cache)
    if dbias is not None:
        dbias += dscores
    if hasattr(g, "kv_down"):
        return latent_heads_backward(ops, dq, dk, dv, heads_cache, g)
    return heads_backward(ops, dq, dk, dv, heads_cache, g, dmemory)


def heads_forward(ops, x, p, config, start=0, memory=None):
    """Returns (q (B, T, H, D), k, v (B, S, G, D)), and a cache. The arguments are attend_forward's."""
    B, T, _ = x.shape
    if hasattr(p, "qkv"):
        qkv, cache = linear_forward(ops.at("qkv"), x, p.qkv)  # (B, T, 3C)
        qkv = qkv.reshape(B, T, 3, config.n_head, qkv.shape[2] // (3 * config.n_head))
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # (B, T, H, D) each, no copy
    else:
        q, cache = linear_forward(ops.at("q"), x, p.q)
        q = q.reshape(B, T, config.n_head, q.shape[2] // config.n_head)
        if isinstance(memory, tuple):
            return (q, *memory), None  # generation: no backward
        (k, v), kv_caches = remember(ops, x if memory is None else memory, p, q.shape[-1])
        cache = (cache, *kv_caches)
    turns = None
    if config.rotary_base is not None:
        q, q_turn = rotary_forward(ops.at("q"), q, config, start)
        k, k_turn = rotary_forward(ops.at("k"), k, config, start)
        turns = q_turn, k_turn
    return (q, k, v), (cache, turns)


def remember(ops, memory, p, D):
    """The keys and values (B, S, G, D) of memory (B, S, C), and their caches; D: the head width of the queries."""
    k, k_cache = linear_forward(ops.at("k"), memory, p.k)
    v, v_cache = linear_forward(ops.at("v"), memory, p.v)
    k = k.reshape(*k.shape[:2], k.shape[2] // D, D)
    return (k, v.reshape(k.shape)), (k_cache, v_cache)


def heads_backward(ops, dq, dk, dv, cache, g, dmemory=None):
    """Returns dx; the gradient of memory is added into dmemory, in place."""
    cache, turns = cache
    if turns is not None:
        dq = ops.at("q").rotary_backward(dq, turns[0])
        dk = ops.at("k").rotary_backward(dk, turns[1])
    if hasattr(g, "qkv"):
        B, T, H, D = dq.shape
        dqkv = array_module(dq).stack((dq, dk, dv), 2).reshape(B, T, 3 * H * D)
        return linear_backward(ops.at("qkv"), dqkv, cache, g.qkv)
    q_cache, k_cache, v_cache = cache
    dx = linear_backward(ops.at("q"), joined(dq), q_cache, g.q)
    dread = dx if dmemory is None else dmemory  # of what the keys and values were made from
    dread += linear_backward(ops.at("k"), joined(dk), k_cache, g.k)
    dread += linear_backward(ops.at("v"), joined(dv), v_cache, g.v)
    return dx


def joined(x):
    """The heads side by side: (B, T, H, D) -> (B, T, H D)."""
    B, T, H, D = x.shape
    return x.reshape(B, T, H * D)


def rotary_forward(ops, x, config, start, width=None):
    return ops.rotary_forward(x, start, config.rotary_base, width, config.rotary_interleaved)


def latent_heads_forward(ops, x, p, config, start=0):
    """The queries (B, T, H, D), keys (B, T, H, D) and values (B, T, H, Dv) of multi-head latent attention (DeepSeek-AI
    2024, DeepSeek-V2, section 2.1), and a cache.

    Keys and values are made from a narrow latent, kv_up(norm(kv_down(x))), and so are the queries where p has q_down.
    What a latent gives knows no position. Rotary positions are in the last W columns of a query and a key, and those of
    the key come from x directly, one for all heads.
    """
    xp, (B, T, _), H = array_module(x), x.shape, config.n_head
    both, down_cache = linear_forward(ops.at("kv_down"), x, p.kv_down)  # (B, T, R + W)
    R = len(p.kv_norm.weight)
    latent, norm_cache = norm_forward(ops.at("kv_norm"), both[..., :R], p.kv_norm, LATENT_EPS)
    kv, up_cache = linear_forward(ops.at("kv_up"), latent, p.kv_up)
    kv = kv.reshape(B, T, H, kv.shape[2] // H)  # (B, T, H, D - W + Dv)
    q, q_caches = latent_queries_forward(ops, x, p)
    q = q.reshape(B, T, H, q.shape[2] // H)
    W = both.shape[-1] - R
    still = q.shape[-1] - W  # columns without a position
    q, q_turn = rotary_forward(ops.at("q"), q, config, start, W)
    k, k_turn = rotary_forward(ops.at("k"), both[:, :, None, R:], config, start)  # (B, T, 1, W)
    k = xp.concatenate((kv[..., :still], xp.broadcast_to(k, (B, T, H, W))), -1)
    return (q, k, kv[..., still:]), (down_cache, norm_cache, up_cache, q_caches, q_turn, k_turn, still)


def latent_heads_backward(ops, dq, dk, dv, cache, g):
    """Returns dx."""
    xp = array_module(dq)
    down_cache, norm_cache, up_cache, q_caches, q_turn, k_turn, still = cache
    dq = ops.at("q").rotary_backward(dq, q_turn)
    dx = latent_queries_backward(ops, joined(dq), q_caches, g)
    dkv = joined(xp.concatenate((dk[..., :still], dv), -1))
    dlatent = linear_backward(ops.at("kv_up"), dkv, up_cache, g.kv_up)
    dlatent = norm_backward(ops.at("kv_norm"), dlatent, norm_cache, g.kv_norm)  # (B, T, R)
    dturned = ops.at("k").rotary_backward(dk[..., still:].sum(2, keepdims=True), k_turn)  # (B, T, 1, W)
    dboth = xp.concatenate((dlatent, dturned[:, :, 0]), -1)
    dx += linear_backward(ops.at("kv_down"), dboth, down_cache, g.kv_down)
    return dx


def latent_queries_forward(ops, x, p):
    """q(x), or q_up(norm(q_down(x))) where p has q_down."""
    if not hasattr(p, "q_down"):
        return linear_forward(ops.at("q"), x, p.q)
    h, down_cache = linear_forward(ops.at("q_down"), x, p.q_down)
    h, norm_cache = norm_forward(ops.at("q_norm"), h, p.q_norm, LATENT_EPS)
    q, up_cache = linear_forward(ops.at("q_up"), h, p.q_up)
    return q, (down_cache, norm_cache, up_cache)


def latent_queries_backward(ops, dq, cache, g):
    if not hasattr(g, "q_down"):
        return linear_backward(ops.at("q"), dq, cache, g.q)
    down_cache, norm_cache, up_cache = cache
    dh = linear_backward(ops.at("q_up"), dq, up_cache, g.q_up)
    dh = norm_backward(ops.at("q_norm"), dh, norm_cache, g.q_norm)
    return linear_backward(ops.at("q_down"), dh, down_cache, g.q_down)


def feed_forward_forward(ops, x, p, activation, edges=None):
    """down(act(up(x))) (Vaswani et al. 2017, eq. 2), or, where p has a gate, down(act(gate(x)) * up(x)) (Shazeer 2020,
    eq. 6). x (..., C) -> (..., C). edges: linear_forward's, for many experts at once."""
    hidden, up_cache = linear_forward(ops.at("up"), x, p.up, edges)  # (..., 4C)
    gate_cache = None
    if hasattr(p, "gate"):
        gate, gate_cache = linear_forward(ops.at("gate"), x, p.gate, edges)
        hidden, act_cache = ops.glu_forward(gate, hidden, activation)
    else:
        hidden, act_cache = activation_forward(ops, hidden, activation)
    out, down_cache = linear_forward(ops.at("down"), hidden, p.down, edges)
    return out, (up_cache, gate_cache, act_cache, down_cache, activation)


def feed_forward_backward(ops, dout, cache, g):
    up_cache, gate_cache, act_cache, down_cache, activation = cache
    dhidden = linear_backward(ops.at("down"), dout, down_cache, g.down)  # (..., 4C)
    if gate_cache is None:
        dhidden = activation_backward(ops, dhidden, act_cache, activation)
        return linear_backward(ops.at("up"), dhidden, up_cache, g.up)
    dgate, dhidden = ops.glu_backward(dhidden, act_cache)
    dx = linear_backward(ops.at("up"), dhidden, up_cache, g.up)
    dx += linear_backward(ops.at("gate"), dgate, gate_cache, g.gate)
    return dx


def activation_forward(ops, x, activation):
    """activation: a BlockConfig's, or "tanh"."""
    if activation in ("gelu_tanh", "gelu"):
        return ops.gelu_forward(x, "tanh" if activation == "gelu_tanh" else "none")
    return getattr(ops, f"{activation}_forward")(x)


def activation_backward(ops, dout, cache, activation):
    name = "gelu" if activation == "gelu_tanh" else activation
    return getattr(ops, f"{name}_backward")(dout, cache)


def moe_forward(ops, x, p, config, routing=None):
    """Mixture of experts (Shazeer et al. 2017, eq. 1): the feed-forwards of the k experts that the router chooses for a
    token, times its weights for them, plus the shared experts, which take every token (DeepSeek-AI 2024, eq. 12).
    x (B, T, C) -> (B, T, C).

    p: router; experts, whose weights are (E, ..., ...); shared, one feed-forward, where there are any. Only the chosen
    experts are computed: rows are sorted by expert and each expert multiplies all of its rows at once. On a GPU the
    host waits once, for the sizes of these groups.
    """
    rows = x.reshape(-1, x.shape[-1])  # (N, C)
    chosen, weights, route_cache = route_forward(ops.at("router"), x, p.router, config.moe, routing)
    order, place, edges = sort_by_expert(chosen, config.moe.n_experts)
    hidden, dispatch_cache = ops.dispatch_forward(rows, order, place)  # (N k, C)
    hidden, experts_cache = feed_forward_forward(ops.at("experts"), hidden, p.experts, config.activation, edges)
    out, combine_cache = ops.combine_forward(hidden, weights, order, place)  # (N, C)
    shared_cache = None
    if hasattr(p, "shared"):
        shared, shared_cache = feed_forward_forward(ops.at("shared"), rows, p.shared, config.activation)
        out += shared
    return out.reshape(x.shape), (route_cache, dispatch_cache, experts_cache, combine_cache, shared_cache)


def moe_backward(ops, dout, cache, g, dbalance=0.0):
    """dbalance: d loss / d this mixture's balancing loss."""
    route_cache, dispatch_cache, experts_cache, combine_cache, shared_cache = cache
    rows = dout.reshape(-1, dout.shape[-1])  # (N, C)
    dhidden, dweights = ops.combine_backward(rows, combine_cache)  # (N k, C), (N, k)
    dhidden = feed_forward_backward(ops.at("experts"), dhidden, experts_cache, g.experts)
    dx = ops.dispatch_backward(dhidden, dispatch_cache)
    dx += route_backward(ops.at("router"), dweights, route_cache, g.router, dbalance)
    if shared_cache is not None:
        dx += feed_forward_backward(ops.at("shared"), rows, shared_cache, g.shared)
    return dx.reshape(dout.shape)


def route_forward(ops, x, p, moe, routing=None):
    """Which experts, and how much of each. x (B, T, C) -> chosen (N, k) ints, weights (N, k), cache; N = B T.

    moe: a MoEConfig. p: the router's weight (E, C), and where its load is balanced by a bias that is moved, not
    learned, balance_bias (E,): it takes part in the choice alone, never in the weights (Wang et al. 2024, eq. 3).
    """
    B, T, C = x.shape
    logits, logits_cache = linear_forward(ops, x.reshape(B * T, C), p)  # (N, E)
    scores, scores_cache = getattr(ops, f"{moe.scores}_forward")(logits)  # softmax or sigmoid
    biased = scores + p.balance_bias if hasattr(p, "balance_bias") else scores
    chosen = ops.choose_experts(biased, moe.top_k, moe.n_groups, moe.top_groups)
    weights, gate_cache = ops.gate_forward(scores, chosen, moe.normalise, moe.scale)
    balance_cache = None
    if routing is not None:
        routing.loads.append(load_of(chosen, routing.token_weights, moe.n_experts))
        if moe.loss_weight:
            by_sequence = scores.reshape(B, T, moe.n_experts), chosen.reshape(B, T, moe.top_k), routing.token_weights
            loss, balance_cache = ops.load_balance_forward(*by_sequence)
            routing.losses.append(loss)
    return chosen, weights, (logits_cache, moe.scores, scores_cache, gate_cache, balance_cache)


def route_backward(ops, dweights, cache, g, dbalance=0.0):
    """Returns dx (N, C)."""
    logits_cache, kind, scores_cache, gate_cache, balance_cache = cache
    dscores = ops.gate_backward(dweights, gate_cache)  # (N, E)
    if balance_cache is not None:  # the scores were used twice
        dscores += ops.load_balance_backward(dbalance, balance_cache).reshape(dscores.shape)
    dlogits = getattr(ops, f"{kind}_backward")(dscores, scores_cache)
    return linear_backward(ops, dlogits, logits_cache, g)


def sort_by_expert(chosen, n_experts):
    """chosen (N, k) -> order (N k,) and place (N, k), as ops.dispatch_forward takes them, and the edges of the experts'
    groups of rows as E + 1 Python ints, for which the host waits."""
    xp = array_module(chosen)
    experts = chosen.reshape(-1)  # (N k,)
    order = xp.argsort(experts, kind="stable")
    place = xp.empty_like(order)
    place[order] = xp.arange(len(order))
    edges = xp.searchsorted(experts[order], xp.arange(n_experts + 1))  # (E + 1,)
    return order, place.reshape(chosen.shape), tuple(to_host(edges).tolist())


def load_of(chosen, token_weights, n_experts):
    """How many of the tokens that count each expert got, (E,) ints. chosen (N, k), token_weights (B, T)."""
    xp = array_module(chosen)
    load = xp.zeros(n_experts, xp.int32)
    counted = (token_weights.reshape(-1) != 0).astype(xp.int32)  # (N,)
    xp.add.at(load, chosen.reshape(-1), counted.repeat(chosen.shape[1]))
    return load


def residual_forward(ops, x, p, norm, f, config, drop=None, site=0):
    """f, a function h -> (out, cache), with dropout inside a residual connection. x (B, T, C) -> (B, T, C).

    Pre-norm (GPT-2): x + drop(f(norm(x))); post-norm (GPT-1): norm(x + drop(f(x))). norm: the layer norm's name in p.
    """
    norm_ops, norm_p, eps = ops.at(norm), getattr(p, norm), config.layer_norm_eps
    h = x
    if config.norm_first:
        h, norm_cache = norm_forward(norm_ops, h, norm_p, eps)
    h, f_cache = f(h)
    h, drop_cache = add_forward(ops, x, h, drop, site)  # h is ours to overwrite; x is the caller's
    if not config.norm_first:
        h, norm_cache = norm_forward(norm_ops, h, norm_p, eps)
    return h, (norm_cache, f_cache, drop_cache, config.norm_first)


def residual_backward(ops, dx, cache, g, norm, f_backward):
    """f_backward: a function dout, cache -> dh."""
    norm_cache, f_cache, drop_cache, norm_first = cache
    norm_ops, norm_g = ops.at(norm), getattr(g, norm)
    if not norm_first:
        dx = norm_backward(norm_ops, dx, norm_cache, norm_g)
    dx, dh = add_backward(ops, dx, drop_cache)
    dh = f_backward(dh, f_cache)
    if norm_first:
        dh = norm_backward(norm_ops, dh, norm_cache, norm_g)
    dh += dx  # x was used twice: in the branch and past it
    return dh


def block_forward(
    ops, x, p, config, mask=None, drop=None, site=0, kv=None, *, start=0, bias=None, memory=None, memory_mask=None,
    routing=None,
):  # fmt: skip
    """One transformer block: attention, cross-attention where p has it, then the feed-forward, each inside a residual
    connection.

    config: a BlockConfig; drop and site are dropout_forward's (a block takes two sites, three with cross-attention);
    mask, kv, start, bias and memory are attend_forward's, memory_mask (B, S) is memory's mask; routing: a Routing, or
    None where nothing is to be balanced.
    """

    def attend(h):
        return attend_forward(ops.at("attn"), h, p.attn, config, mask, kv, start, bias)

    def cross(h):
        return attend_forward(ops.at("cross"), h, p.cross, config, memory_mask, memory=memory)

    def feed_forward(h):
        if hasattr(p.mlp, "router"):
            return moe_forward(ops.at("mlp"), h, p.mlp, config, routing)
        return feed_forward_forward(ops.at("mlp"), h, p.mlp, config.activation)

    x, attend_cache = residual_forward(ops, x, p, "ln1", attend, config, drop, site)
    caches = [attend_cache]
    if hasattr(p, "cross"):
        x, cross_cache = residual_forward(ops, x, p, "ln_cross", cross, config, drop, site + 2)
        caches.append(cross_cache)
    x, feed_forward_cache = residual_forward(ops, x, p, "ln2", feed_forward, config, drop, site + 1)
    return x, [*caches, feed_forward_cache]


def block_backward(ops, dx, cache, g, *, dbias=None, dmemory=None, dbalance=0.0):
    """cache is used up: each part of it is freed as soon as it has been used. The gradients of bias and memory are
    added into dbias and dmemory, in place. dbalance: d loss / d the balancing loss of a mixture of experts."""

    def attend(dout, cache):
        return attend_backward(ops.at("attn"), dout, cache, g.attn, dbias)

    def cross(dout, cache):
        return attend_backward(ops.at("cross"), dout, cache, g.cross, dmemory=dmemory)

    def feed_forward(dout, cache):
        if hasattr(g.mlp, "router"):
            return moe_backward(ops.at("mlp"), dout, cache, g.mlp, dbalance)
        return feed_forward_backward(ops.at("mlp"), dout, cache, g.mlp)

    dx = residual_backward(ops, dx, cache.pop(), g, "ln2", feed_forward)
    if hasattr(g, "cross"):
        dx = residual_backward(ops, dx, cache.pop(), g, "ln_cross", cross)
    return residual_backward(ops, dx, cache.pop(), g, "ln1", attend)
