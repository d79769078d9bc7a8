"""GPT: a decoder-only transformer language model (Radford et al. 2018, 2019; Brown et al. 2020).

`GPTConfig` says what is built, `parameter_spec` what it is made of, `GPT` runs it: `loss` and `backward` to train,
`logits` to look, `next_logits` with a `KVCache` to sample.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from scratchgpt import blocks
from scratchgpt.backend import get_module
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED, count_targets
from scratchgpt.models.moe import MoEConfig, moe_from, moe_spec
from scratchgpt.ops import default_table
from scratchgpt.params import ONES, ZEROS, ParamStore


@dataclass(frozen=True)
class GPTConfig(blocks.BlockConfig):
    """The shape of a GPT."""

    vocab_size: int = 50257
    n_ctx: int = 1024  # positions: the longest context
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768  # model width C
    n_inner: int | None = None  # width inside the feed-forward; None: 4 n_embd
    norm_first: bool = True  # True: pre-norm, as GPT-2; False: post-norm, as GPT-1
    tied_head: bool = True  # the output head is the token embedding (Press & Wolf 2017)
    activation: str = "gelu_tanh"  # "gelu_tanh", or "gelu" (exact)
    layer_norm_eps: float = 1e-5
    dropout: float = 0.0  # on the embedding and on each residual branch
    init: str = "he"  # "he" (He et al. 2015) or "gpt2" (normal, 0.02)
    moe: MoEConfig | None = None  # mixtures of experts in place of the feed-forwards

    def __post_init__(self):
        object.__setattr__(self, "moe", moe_from(self.moe))  # a dict where it comes from a file
        for name in ("vocab_size", "n_ctx", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.n_inner is not None and self.n_inner < 1:
            raise InputError(f"n_inner is {self.n_inner}; expected at least 1, or None for 4 n_embd")
        if self.n_embd % self.n_head:
            divisors = [h for h in range(1, self.n_embd + 1) if self.n_embd % h == 0]
            nearest = min(divisors, key=lambda h: abs(h - self.n_head))
            raise InputError(
                f"n_embd {self.n_embd} is not divisible by n_head {self.n_head}: each head takes n_embd / n_head "
                f"columns; n_head {nearest} would do"
            )
        for name, allowed in (("activation", ("gelu_tanh", "gelu")), ("init", ("he", "gpt2"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(allowed)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; expected 0 <= dropout < 1")
        if self.moe and self.moe.n_dense >= self.n_layer:
            raise InputError(f"moe n_dense is {self.moe.n_dense}; expected fewer than n_layer, {self.n_layer}")

    @property
    def inner(self):
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def cached(self):
        """((heads, width) of the keys, (heads, width) of the values), as a KVCache keeps them."""
        return ((self.n_head, self.n_embd // self.n_head),) * 2

    @property
    def gelu(self):
        """The `approximate` option of the gelu op."""
        return "tanh" if self.activation == "gelu_tanh" else "none"


GPT2 = GPTConfig(dropout=0.1)
PRESETS = {
    "gpt1": GPTConfig(vocab_size=40478, n_ctx=512, norm_first=False, dropout=0.1),
    "gpt2": GPT2,
    "gpt2-medium": replace(GPT2, n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": replace(GPT2, n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": replace(GPT2, n_layer=48, n_head=25, n_embd=1600),
    "gpt3": replace(GPT2, n_ctx=2048, n_layer=96, n_head=96, n_embd=12288),
}


def parameter_spec(config):
    """{name: (shape, init)} of every parameter, in the order of the forward pass.

    "he": each weight is normal with the variance that makes its output as large as its input (He et al. 2015, section
    2.2): 1 / fan-in where the input comes from a layer norm or attention, 2 / fan-in behind GELU, which like the
    paper's rectifier lets about half of the squares pass.
    The embeddings' standard deviation s is the smaller of 1 / (3 sqrt(C)) and 4 / C. They make the logits too, and
    training should start within 0.1 of ln V: the first bound keeps the variance of the logits, C s^2, below 1/9, the
    second keeps a tied head from betting on the token just read, whose logit is about C s / sqrt(3).
    The 2 L matrices that write into the residual stream are scaled by 1 / sqrt(2 L), because 2 L branches add up in it
    (Radford et al. 2019, section 2.3), and by the size of the stream they add to: s before layer norm is applied to it
    (pre-norm), 1 after (post-norm). Unscaled they would drown the token in what random weights say about it.
    "gpt2": standard deviation 0.02 for all, 0.01 for positions, 0.02 / sqrt(2 L) for those that write into the stream.
    """
    C, F, he = config.n_embd, config.inner, config.init == "he"
    embedding = min(1 / (3 * math.sqrt(C)), 4 / C) if he else 0.02
    residual = (embedding if he and config.norm_first else 1) / math.sqrt(2 * config.n_layer)

    def weight(fan_in, gain=1):
        return math.sqrt(gain / fan_in) if he else 0.02

    spec = {
        "wte": ((config.vocab_size, C), embedding),
        "wpe": ((config.n_ctx, C), embedding if he else 0.01),
    }
    for i in range(config.n_layer):
        at = f"blocks.{i}."
        spec |= norm_spec(at + "ln1", C)
        spec |= linear_spec(at + "attn.qkv", 3 * C, C, weight(C))
        spec |= linear_spec(at + "attn.out", C, C, weight(C) * residual)
        spec |= norm_spec(at + "ln2", C)
        if config.moe and i >= config.moe.n_dense:
            spec |= moe_spec(at + "mlp", config.moe, C, F, weight, lambda n: weight(n, gain=2) * residual, bias=True)
            continue
        spec |= linear_spec(at + "mlp.up", F, C, weight(C))
        spec |= linear_spec(at + "mlp.down", C, F, weight(F, gain=2) * residual)
    if config.norm_first:
        spec |= norm_spec("ln_f", C)
    if not config.tied_head:
        spec["head.weight"] = ((config.vocab_size, C), embedding)
    return spec


def norm_spec(name, C):
    return {f"{name}.weight": ((C,), ONES), f"{name}.bias": ((C,), ZEROS)}


def linear_spec(name, n_out, n_in, std):
    return {f"{name}.weight": ((n_out, n_in), std), f"{name}.bias": ((n_out,), ZEROS)}


def count_parameters(config, active=False):
    """{part: number of parameters}, without allocating: "token embedding", "position embedding", "attention",
    "feed-forward", "layer norms", and "output head" when it is not tied; "router", "experts" and "shared experts" of
    mixtures. The sum of the values is the total. active: of the experts, those alone that one token goes to."""
    return count_parts(parameter_spec(config), config.moe if active else None)


def count_parts(spec, moe=None):
    """{part: number of parameters} of a parameter spec. moe: a MoEConfig, to count of its experts top_k alone."""
    counts = {}
    for name, (shape, _) in spec.items():
        part = next(part for key, part in PARTS.items() if key in name)
        counts[part] = counts.get(part, 0) + math.prod(shape)
    if moe and "experts" in counts:
        counts["experts"] = counts["experts"] // moe.n_experts * moe.top_k
    return counts


PARTS = {
    "wte": "token embedding", "wpe": "position embedding", "attn.": "attention", "mlp.router": "router",
    "mlp.experts": "experts", "mlp.shared": "shared experts", "mlp.": "feed-forward", "ln": "layer norms",
    "head": "output head",
}  # fmt: skip


def training_flops_per_token(config, n_ctx=None):
    """FLOPs of forward and backward per token at context length n_ctx: 6 per weight that multiplies (2 forward, 4
    backward; the head counts once, embedding look-ups not at all) and 12 n_layer n_embd n_ctx for attention's two
    products (Chowdhery et al. 2022, appendix B). The causal half that need not be computed is counted, by custom; of
    experts, those that the token goes to."""
    counts = count_parameters(config, active=True)
    parts = ("attention", "feed-forward", "router", "experts", "shared experts")
    weights = sum(counts.get(part, 0) for part in parts) + config.vocab_size * config.n_embd
    return 6 * weights + 12 * config.n_layer * config.n_embd * (n_ctx or config.n_ctx)


def activation_bytes(config, T, itemsize=4):
    """About what one row of T tokens keeps between forward and backward on the CPU: per token and layer two norms
    (input and output), q, k, v, the heads' output, the feed-forward twice, and attention's probabilities; of a mixture
    of experts also a token's row for each of its experts, and what they make of it."""
    C, n_dense, mixture = config.n_embd, config.n_layer, 0
    if config.moe:
        k, inner, n_dense = config.moe.top_k, config.moe.inner(config.inner), config.moe.n_dense
        mixture = 2 * k * C + 2 * (k + config.moe.n_shared) * inner + 4 * config.moe.n_experts
    attention = 8 * C + config.n_head * min(T, 256) // 2
    floats = config.n_layer * attention + n_dense * 2 * config.inner + (config.n_layer - n_dense) * mixture
    return T * floats * itemsize


class GPT:
    """A GPT with its parameters. Everything it computes goes through the op table `ops`.

    >>> model = GPT(GPTConfig(vocab_size=17, n_ctx=8, n_layer=2, n_head=2, n_embd=6))
    >>> loss, cache = model.loss({"input_ids": [[1, 2, 3, 4]]})
    >>> model.backward(cache)                       # model.params.grad now holds d loss / d parameters
    """

    spec = staticmethod(parameter_spec)  # of the family's models

    def __init__(self, config, seed=0, dtype="float32", device="cpu", ops=None, xp=None, params=None):
        """seed: of the initial weights, or None to leave them zero (a checkpoint follows). xp: an array module to use
        instead of device's own. params: the ParamStore of a model that this one is a part of, which it then shares."""
        self.config = config
        self.xp = xp or get_module(device)
        self.ops = ops or default_table(device)
        self.params = ParamStore(self.spec(config), self.xp, dtype) if params is None else params
        if seed is not None:
            self.params.initialise(seed)

    @property
    def head(self):
        """The output head's weight (V, C)."""
        return self.params.p.wte if self.config.tied_head else self.params.p.head.weight

    def loss(self, batch, denominator=None, dropout_key=None, first_row=0, balance=True):
        """(loss, cache) of a batch in Hugging Face's terms: mean next-token cross-entropy in nats, to which mixtures of
        experts add their balancing losses.

        batch: "input_ids" (B, T); optionally "attention_mask" (B, T), 0 where a token is padding, and "labels" (B, T),
        aligned with input_ids (the shift by one happens here), -100 where there is no target; by default input_ids.
        The last position predicts nothing, so it is never run: T may be up to n_ctx + 1. Without any target the loss is
        0. A position that may see no key, before the first token of a left-padded row, attends to nothing and still
        predicts: give the token after it the label -100.
        denominator: what the summed loss is divided by, the number of targets unless given; a step made of several
        batches passes the number of targets in all of them.
        dropout_key: an int that fixes the dropout masks, None for none; first_row: the number of the batch's first row
        in the whole batch, so that a part of a batch draws the part of the masks.
        balance: False leaves the balancing losses out, to measure a model. Each counts a sequence by its share of the
        targets, and is about the sequence alone, so the losses of the parts of a batch add up to that of the whole,
        however its rows are divided: between threads, between micro-batches.
        """
        ids, labels, mask = self.read_batch(batch)
        targets = labels[:, 1:].reshape(-1)  # (N,)
        n_targets = int((targets != IGNORED).sum())
        scale = 1 / max(1, n_targets if denominator is None else denominator)
        token_weights = self.xp.asarray(np.where(targets == IGNORED, 0, scale).astype(self.params.dtype))
        dropped = dropout_key is not None and self.config.dropout > 0
        drop = (self.config.dropout, dropout_key, first_row) if dropped else None
        mask = None if mask is None else mask[:, :-1]
        routing = None
        if self.config.moe and balance:
            routing = blocks.Routing(token_weights.reshape(len(ids), -1), [], [])
        x, cache = self.hidden(ids[:, :-1], mask, drop, routing=routing)
        loss, head_cache = self.ops.at("head").cross_entropy_forward(
            x.reshape(-1, self.config.n_embd), self.head, self.xp.asarray(targets), token_weights
        )
        if routing is not None and routing.losses:
            loss = loss + self.config.moe.loss_weight * sum(routing.losses)
        return loss, (cache, head_cache, x.shape, routing)

    def backward(self, cache, g=None, scale=1.0):
        """Adds scale * d loss / d parameters into g (model.params.g by default). cache is used up."""
        g = self.params.g if g is None else g
        caches, head_cache, x_shape, _ = cache
        dx, dhead = self.ops.at("head").cross_entropy_backward(scale, head_cache)
        if self.config.tied_head:
            g.wte += dhead
        else:
            g.head.weight += dhead
        del dhead, head_cache
        dbalance = scale * self.config.moe.loss_weight if self.config.moe else 0.0
        self.hidden_backward(dx.reshape(x_shape), caches, g, dbalance)

    def routed(self, cache):
        """What a loss's cache says of a model with mixtures of experts: (load, balance). load (mixtures, E): the tokens
        with a target that each expert got; balance, 0-d: what balancing added to the loss. Both add up over batches."""
        routing = cache[3]
        balance = sum(routing.losses, self.xp.zeros((), self.params.dtype))
        return self.xp.stack(routing.loads), self.config.moe.loss_weight * balance

    def move_biases(self, load):
        """Moves the biases on the choice of experts by moe.bias_speed: up for an expert that got fewer tokens than the
        mean, down for one that got more (Wang et al. 2024, algorithm 1). load: of a whole update, as `routed` gives it.
        """
        moe = self.config.moe
        if not moe.bias_speed:
            return
        for i in range(moe.n_dense, self.config.n_layer):
            ops, bias = self.ops.at(f"blocks.{i}.mlp.router"), self.params.p.blocks[i].mlp.router.balance_bias
            bias[...] = ops.moved_bias(bias, load[i - moe.n_dense], moe.bias_speed)

    def logits(self, batch):
        """(B, T, V): what each position predicts for the next token."""
        ids, _, mask = self.read_batch(batch)
        x, _ = self.hidden(ids, mask)
        return self.ops.at("head").linear_forward(x, self.head)[0]

    def next_logits(self, ids, cache):
        """(B, V): logits after the last of ids (B, T), the tokens that follow what `cache` (a KVCache) holds."""
        ids, _, _ = self.read_batch({"input_ids": ids})
        x, _ = self.hidden(ids, None, kv=cache)
        cache.length += ids.shape[1]
        return self.ops.at("head").linear_forward(x[:, -1], self.head)[0]

    def hidden(self, ids, mask, drop=None, kv=None, routing=None):
        """ids (B, T) on the host -> x (B, T, C), what the output head reads, and the cache for hidden_backward."""
        ops, p, config = self.ops, self.params.p, self.config
        start = 0 if kv is None else kv.length
        self.check_length(start + ids.shape[1])
        mask = None if mask is None else self.xp.asarray(mask)
        wpe = getattr(p, "wpe", None)  # none where positions are rotary
        x, embedding_cache = blocks.embed_forward(ops.at("embedding"), self.xp.asarray(ids), p.wte, wpe, start)
        x, drop_cache = blocks.dropout_forward(ops.at("embedding"), x, drop, 0)
        caches = [(embedding_cache, drop_cache)]
        for i, block in enumerate(p.blocks):
            layer = None if kv is None else kv.layer(i)
            x, cache = blocks.block_forward(
                ops.at(f"blocks.{i}"), x, block, config, mask, drop, 1 + 2 * i, layer, start=start, routing=routing
            )
            if kv is None:
                caches.append(cache)
        if config.norm_first:
            x, cache = blocks.norm_forward(ops.at("ln_f"), x, p.ln_f, config.layer_norm_eps)
            caches.append(cache)
        return x, caches

    def hidden_backward(self, dx, caches, g, dbalance=0.0):
        """The way back through `hidden`: caches are popped, so memory falls as the gradient flows down."""
        ops = self.ops
        if self.config.norm_first:
            dx = blocks.norm_backward(ops.at("ln_f"), dx, caches.pop(), g.ln_f)
        for i in reversed(range(self.config.n_layer)):
            dx = blocks.block_backward(ops.at(f"blocks.{i}"), dx, caches.pop(), g.blocks[i], dbalance=dbalance)
        embedding_cache, drop_cache = caches.pop()
        dx = blocks.dropout_backward(ops.at("embedding"), dx, drop_cache)
        dwpe = getattr(g, "wpe", None)
        blocks.embed_backward(ops.at("embedding"), dx, embedding_cache, g.wte, dwpe)  # a tied head's is already there

    def read_batch(self, batch):
        """(ids, labels, mask or None) as host arrays, checked: indices out of range would wrap silently on a GPU."""
        if batch.get("input_ids") is None:
            raise InputError(f"the batch has no input_ids; its keys are {', '.join(batch) or 'none'}")
        ids = host_array("input_ids", batch["input_ids"])
        if ids.ndim != 2 or ids.size == 0:
            raise InputError(f"input_ids has shape {ids.shape}; expected (B, T)")
        labels, mask = (None if batch.get(name) is None else host_array(name, batch[name], ids.shape)
                        for name in ("labels", "attention_mask"))  # fmt: skip
        labels = ids if labels is None else labels
        for name, array in (("input_ids", ids), ("labels", labels[labels != IGNORED])):
            if array.size and not 0 <= array.min() <= array.max() < self.config.vocab_size:
                worst = array.min() if array.min() < 0 else array.max()
                raise InputError(f"{name} holds {worst}; this model's vocabulary is 0 to {self.config.vocab_size - 1}")
        return ids, labels, None if mask is None else mask != 0

    def count_targets(self, batch):
        """How many targets a batch has."""
        return count_targets(np.asarray(batch.get("labels", batch["input_ids"])))

    def activation_bytes(self, T):
        return activation_bytes(self.config, T, self.params.dtype.itemsize)

    def check_length(self, length):
        if length > self.config.n_ctx:
            raise InputError(f"the input has {length} tokens; this model has n_ctx {self.config.n_ctx} positions")


def host_array(name, value, shape=None):
    """value, an array or nested lists, as a NumPy array of integers (or booleans) of the shape expected."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} has rows of different lengths; pad them and mask the padding") from None
    if array.size and array.dtype.kind not in "iub":
        raise InputError(f"{name} has type {array.dtype}; expected integers")
    if shape is not None and array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; expected input_ids' shape {shape}")
    return array


class KVCache:
    """The keys and values of every layer for the tokens seen so far, (B, G, n_ctx, D) each, so that a new token costs
    one position instead of all of them."""

    def __init__(self, model, batch_size=1):
        config = model.config
        self.k, self.v = (
            model.xp.empty((config.n_layer, batch_size, heads, config.n_ctx, width), model.params.dtype)
            for heads, width in config.cached
        )
        self.length = 0

    def layer(self, i):
        """A function for blocks.attend_forward: stores new k and v (B, T, G, D), returns all up to now (B, S, G, D)."""
        return lambda k, v: (extend(self.k[i], k, self.length), extend(self.v[i], v, self.length))


def extend(store, new, length):
    """Writes new (B, T, H, D), the keys or the values of the T tokens that follow the first `length`, into store
    (B, H, n_ctx, D), in place; returns those of all tokens up to now, (B, length + T, H, D)."""
    end = length + new.shape[1]
    store[:, :, length:end] = new.transpose(0, 2, 1, 3)
    return store[:, :, :end].transpose(0, 2, 1, 3)
