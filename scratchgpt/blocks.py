"""The parts of a transformer, each a forward and a backward over an op table.

`p` is a namespace of parameter views and `g` the namespace of gradient views of the same shapes. A backward *adds*
into g (``g.weight += dweight``), so tied weights and gradient accumulation need no special case.
"""

from scratchgpt.backend import array_module


def linear_forward(ops, x, p):
    return ops.linear_forward(x, p.weight, p.bias)


def linear_backward(ops, dout, cache, g):
    dx, dweight, dbias = ops.linear_backward(dout, cache)
    g.weight += dweight
    g.bias += dbias
    return dx


def norm_forward(ops, x, p, eps):
    return ops.layer_norm_forward(x, p.weight, p.bias, eps)


def norm_backward(ops, dout, cache, g):
    dx, dweight, dbias = ops.layer_norm_backward(dout, cache)
    g.weight += dweight
    g.bias += dbias
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


def embed_forward(ops, ids, wte, wpe, start=0):
    return ops.embedding_forward(ids, wte, wpe, start)


def embed_backward(ops, dout, cache, dwte, dwpe):
    """Adds the gradients of the token table (V, C) and the position table (P, C) into dwte and dwpe, in place.

    A head tied to the token table (Press & Wolf 2017) has put its own share into dwte before: the gradient of a
    parameter that is used twice is the sum over both uses.
    """
    tokens, positions = ops.embedding_backward(dout, cache)
    dwte += tokens
    dwpe += positions


def attend_forward(ops, x, p, n_head, mask=None, causal=True, kv=None):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2). x (B, T, C) -> (B, T, C).

    mask (B, S) bool: True where a key may be seen. kv: None, or a function that takes this call's keys and values and
    returns them with the past before them (generation with a cache; such a call has no backward).
    """
    B, T, C = x.shape
    qkv, qkv_cache = linear_forward(ops.at("qkv"), x, p.qkv)  # (B, T, 3C)
    qkv = qkv.reshape(B, T, 3, n_head, C // n_head)
    q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # (B, T, H, D) each, no copy
    if kv is not None:
        k, v = kv(k, v)  # (B, S, H, D)
    heads, attention_cache = ops.attention_forward(q, k, v, mask=mask, causal=causal)
    out, out_cache = linear_forward(ops.at("out"), heads.reshape(B, T, C), p.out)
    return out, (qkv_cache, attention_cache, out_cache, heads.shape)


def attend_backward(ops, dout, cache, g):
    qkv_cache, attention_cache, out_cache, heads_shape = cache
    dheads = linear_backward(ops.at("out"), dout, out_cache, g.out).reshape(heads_shape)  # (B, T, H, D)
    dq, dk, dv, _ = ops.attention_backward(dheads, attention_cache)
    B, T, H, D = heads_shape
    dqkv = array_module(dq).stack((dq, dk, dv), 2).reshape(B, T, 3 * H * D)
    return linear_backward(ops.at("qkv"), dqkv, qkv_cache, g.qkv)


def feed_forward_forward(ops, x, p, approximate):
    """down(GELU(up(x))) (Vaswani et al. 2017, eq. 2, with GELU for ReLU). x (B, T, C) -> (B, T, C)."""
    hidden, up_cache = linear_forward(ops.at("up"), x, p.up)  # (B, T, 4C)
    hidden, gelu_cache = ops.gelu_forward(hidden, approximate)
    out, down_cache = linear_forward(ops.at("down"), hidden, p.down)
    return out, (up_cache, gelu_cache, down_cache)


def feed_forward_backward(ops, dout, cache, g):
    up_cache, gelu_cache, down_cache = cache
    dhidden = linear_backward(ops.at("down"), dout, down_cache, g.down)  # (B, T, 4C)
    dhidden = ops.gelu_backward(dhidden, gelu_cache)
    return linear_backward(ops.at("up"), dhidden, up_cache, g.up)


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


def block_forward(ops, x, p, config, mask=None, drop=None, site=0, kv=None):
    """One transformer block: attention, then the feed-forward, each inside a residual connection.

    config gives n_head, layer_norm_eps, norm_first and gelu; drop and site are dropout_forward's (a block takes two
    sites).
    """

    def attend(h):
        return attend_forward(ops.at("attn"), h, p.attn, config.n_head, mask, kv=kv)

    def feed_forward(h):
        return feed_forward_forward(ops.at("mlp"), h, p.mlp, config.gelu)

    x, attend_cache = residual_forward(ops, x, p, "ln1", attend, config, drop, site)
    x, feed_forward_cache = residual_forward(ops, x, p, "ln2", feed_forward, config, drop, site + 1)
    return x, [attend_cache, feed_forward_cache]


def block_backward(ops, dx, cache, g):
    """cache is used up: each half of it is freed as soon as it has been used."""

    def attend(dout, cache):
        return attend_backward(ops.at("attn"), dout, cache, g.attn)

    def feed_forward(dout, cache):
        return feed_forward_backward(ops.at("mlp"), dout, cache, g.mlp)

    dx = residual_backward(ops, dx, cache.pop(), g, "ln2", feed_forward)
    return residual_backward(ops, dx, cache.pop(), g, "ln1", attend)
