"""T5: from text to text (Raffel et al. 2020). An encoder reads the input, a decoder says the output and looks at what
the encoder made of it.

    input_ids                       -> wte -> encoder -> memory
    start, labels but for the last  -> wte -> decoder (self-attention, cross-attention to memory) -> head

`T5Config` says what is built, `T5` runs it: `loss` and `backward` to train, `logits` to look, `next_logits` with a
`DecoderCache` to generate.
"""

import math
from dataclasses import dataclass

import numpy as np

from scratchgpt import blocks
from scratchgpt.backend import get_module
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.models.bert import check_range, judged
from scratchgpt.models.gpt import extend, host_array
from scratchgpt.ops import default_table
from scratchgpt.params import ONES, ParamStore


@dataclass(frozen=True)
class T5Config:
    """The shape of a T5. As it stands it is t5-small; version 1.1 has a gate, and a head of its own."""

    vocab_size: int = 32128
    n_ctx: int = 512  # the longest input, and the longest output; positions are relative, so this is a choice
    n_layer: int = 6  # of the encoder
    n_decoder_layer: int | None = None  # None: as many; 0: there is an encoder alone
    n_head: int = 8
    n_embd: int = 512  # model width C
    head_width: int = 64  # D; H D need not be C
    n_inner: int = 2048  # width inside the feed-forward
    gated: bool = False  # down(act(gate(x)) * up(x)), as version 1.1 has it (Shazeer 2020)
    activation: str = "relu"  # "relu", "gelu_tanh", "gelu" (exact) or "silu"
    tied_head: bool = True  # the output head is the token embedding; it then reads the decoder's output / sqrt(C)
    n_buckets: int = 32  # of distances, each with a learned bias
    max_distance: int = 128  # from where on all distances share a bucket
    layer_norm_eps: float = 1e-6
    dropout: float = 0.0  # on the input and the output of each stack and on each residual branch
    pad_id: int = 0  # what the decoder reads in the place of an ignored label
    start_id: int = 0  # what the decoder reads first
    eos_id: int = 1  # with which an output ends

    def __post_init__(self):
        for name in ("vocab_size", "n_ctx", "n_layer", "n_head", "n_embd", "head_width", "n_inner"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.n_decoder_layer is not None and self.n_decoder_layer < 0:
            raise InputError(f"n_decoder_layer is {self.n_decoder_layer}; expected at least 0, or None for n_layer")
        if self.activation not in ("relu", "gelu_tanh", "gelu", "silu"):
            raise InputError(f"activation is {self.activation!r}; expected relu, gelu_tanh, gelu or silu")
        if not 4 <= self.n_buckets < 2 * self.max_distance:  # half of the encoder's and all of the decoder's must fit
            raise InputError(f"n_buckets is {self.n_buckets} and max_distance {self.max_distance}; expected at least "
                             "4 buckets, and fewer than twice the distance")  # fmt: skip
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; expected 0 <= dropout < 1")
        for name in ("pad_id", "start_id", "eos_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(f"{name} is {getattr(self, name)}; expected a token, 0 to {self.vocab_size - 1}")

    @property
    def decoder_layers(self):
        return self.n_layer if self.n_decoder_layer is None else self.n_decoder_layer

    @property
    def decodes(self):
        return self.decoder_layers > 0

    @property
    def scaled(self):
        """Whether the head reads the decoder's output / sqrt(C): without it the logits of a tied head, whose rows have
        elements of size 1, would have the variance C."""
        return self.tied_head

    def stack(self, name):
        """The Stack called "encoder" or "decoder"."""
        return Stack(self.n_head, name == "decoder", self.activation, self.layer_norm_eps)


@dataclass(frozen=True)
class Stack(blocks.BlockConfig):
    """What the blocks of the encoder, or of the decoder, read."""

    n_head: int
    causal: bool
    activation: str
    layer_norm_eps: float

    attention_scale = 1.0  # no 1 / sqrt(D): the initial queries have it in them


def version_1(n_layer, n_embd, n_inner, n_head, head_width=64):
    return T5Config(n_layer=n_layer, n_embd=n_embd, n_inner=n_inner, n_head=n_head, head_width=head_width, dropout=0.1)


def version_1_1(n_layer, n_embd, n_inner, n_head):
    return T5Config(n_layer=n_layer, n_embd=n_embd, n_inner=n_inner, n_head=n_head, gated=True, tied_head=False,
                    activation="gelu_tanh", dropout=0.1)  # fmt: skip


PRESETS = {
    "t5-small": version_1(6, 512, 2048, 8),
    "t5-base": version_1(12, 768, 3072, 12),
    "t5-large": version_1(24, 1024, 4096, 16),
    "t5-3b": version_1(24, 1024, 16384, 32, 128),
    "t5-11b": version_1(24, 1024, 65536, 128, 128),
    "t5-v1.1-small": version_1_1(8, 512, 1024, 6),
    "t5-v1.1-base": version_1_1(12, 768, 2048, 12),
    "t5-v1.1-large": version_1_1(24, 1024, 2816, 16),
    "t5-v1.1-xl": version_1_1(24, 2048, 5120, 32),
    "t5-v1.1-xxl": version_1_1(24, 4096, 10240, 64),
}


def parameter_spec(config):
    """{name: (shape, init)} of every parameter, in the order of the forward pass.

    T5's own initialization (Mesh TensorFlow, the code of Raffel et al. 2020): standard deviation 1 for the embedding,
    1 / sqrt(fan-in) for each matrix, and another 1 / sqrt(D) for the queries, in place of attention's scale. So each
    logit has a variance of about 1, and the loss starts near ln V + 1/2, the mean of ln sum exp over such logits. An
    untied head has 1 / sqrt(C) too; transformers draws it with standard deviation 1, and starts near ln V + C / 2.
    """
    C, A, F = config.n_embd, config.n_head * config.head_width, config.n_inner
    spec = {"wte": ((config.vocab_size, C), 1.0)}

    def norm(name):
        return {f"{name}.weight": ((C,), ONES)}

    def linear(name, n_out, n_in):
        return {f"{name}.weight": ((n_out, n_in), 1 / math.sqrt(n_in))}

    def attention(name):
        queries = {f"{name}.q.weight": ((A, C), 1 / math.sqrt(C * config.head_width))}
        return queries | linear(name + ".k", A, C) | linear(name + ".v", A, C) | linear(name + ".out", C, A)

    for stack, n_layer in (("encoder", config.n_layer), ("decoder", config.decoder_layers)):
        if n_layer:
            spec[f"{stack}.relative"] = ((config.n_buckets, config.n_head), 1 / math.sqrt(C))
        for i in range(n_layer):
            at = f"{stack}.blocks.{i}."
            spec |= norm(at + "ln1") | attention(at + "attn")
            if stack == "decoder":
                spec |= norm(at + "ln_cross") | attention(at + "cross")
            spec |= norm(at + "ln2") | (linear(at + "mlp.gate", F, C) if config.gated else {})
            spec |= linear(at + "mlp.up", F, C) | linear(at + "mlp.down", C, F)
        if n_layer:
            spec |= norm(stack + ".ln_f")
    if config.decodes and not config.tied_head:
        spec |= linear("head", config.vocab_size, C)
    return spec


PARTS = {
    "wte": "token embedding", "relative": "position biases", "ln": "norms", "cross.": "cross-attention",
    "attn.": "attention", "mlp.": "feed-forward", "head": "output head",
}  # fmt: skip


def count_parameters(config):
    """{part: number of parameters}, without allocating; the sum of the values is the total."""
    counts = {}
    for name, (shape, _) in parameter_spec(config).items():
        part = next(part for key, part in PARTS.items() if key in name)
        if part in ("attention", "feed-forward"):
            part = f"{name.partition('.')[0]} {part}"
        counts[part] = counts.get(part, 0) + math.prod(shape)
    return counts


def training_flops_per_token(config, n_ctx=None):
    """FLOPs of forward and backward per token, of n_ctx tokens of input and n_ctx of output."""
    n_ctx = n_ctx or config.n_ctx
    return training_flops(config, n_ctx, n_ctx) / (2 * n_ctx)


def training_flops(config, S, T):
    """FLOPs of forward and backward for S tokens of input and T of output: as GPT's, but each token goes through one of
    the two stacks, and half of cross-attention's matrices, those that make keys and values, see the input."""
    counts, L = count_parameters(config), config.decoder_layers
    weights = {part: sum(n for name, n in counts.items() if name.startswith(part)) for part in ("encoder", "decoder")}
    products = S * weights["encoder"] + T * (weights["decoder"] + config.vocab_size * config.n_embd)
    products += (S + T) / 2 * counts.get("cross-attention", 0)
    scores = config.n_layer * S * S + L * T * (T + S)
    return 6 * products + 12 * config.n_head * config.head_width * scores


def activation_bytes(config, T, itemsize=4):
    """About what one row of T tokens of input, and as many of output, keeps between forward and backward on the CPU:
    per token and layer the norms, queries, keys, values, the heads' output and whole rows of attention's
    probabilities, twice in the decoder, and the feed-forward, twice as wide with a gate."""
    attention = 2 * config.n_embd + 4 * config.n_head * config.head_width + config.n_head * T
    feed_forward = 2 * config.n_embd + (4 if config.gated else 2) * config.n_inner
    floats = (config.n_layer + 2 * config.decoder_layers) * attention
    floats += (config.n_layer + config.decoder_layers) * feed_forward
    return T * floats * itemsize


def shift_right(labels, start_id, pad_id):
    """What the decoder reads to say labels (B, T): start_id, then all labels but the last.

    >>> shift_right(np.array([[7, 8, 1, -100]]), start_id=0, pad_id=3).tolist()
    [[0, 7, 8, 1]]
    """
    ids = np.full_like(labels, start_id)
    ids[:, 1:] = np.where(labels[:, :-1] == IGNORED, pad_id, labels[:, :-1])
    return ids


class T5:
    """A T5 with its parameters. Everything it computes goes through the op table `ops`.

    >>> model = T5(T5Config(vocab_size=17, n_layer=2, n_head=2, n_embd=6, head_width=5, n_inner=7))
    >>> loss, cache = model.loss({"input_ids": [[5, 16, 6, 1]], "labels": [[16, 2, 3, 15, 1]]})
    >>> model.backward(cache)                       # model.params.grad now holds d loss / d parameters
    """

    def __init__(self, config, seed=0, dtype="float32", device="cpu", ops=None, xp=None):
        """seed: of the initial weights, or None to leave them zero (a checkpoint follows). xp: an array module to use
        instead of device's own."""
        self.config = config
        self.xp = xp or get_module(device)
        self.ops = ops or default_table(device)
        self.params = ParamStore(parameter_spec(config), self.xp, dtype)
        if seed is not None:
            self.params.initialise(seed)

    def loss(self, batch, denominator=None, dropout_key=None, first_row=0):
        """(loss, cache) of a batch in Hugging Face's terms: mean cross-entropy of the output's tokens, in nats.

        batch: "input_ids" (B, S), and "labels" (B, T), the output, -100 where there is no target; the decoder reads
        them shifted right by one, from start_id on. Optionally "attention_mask" (B, S), 0 where the input is padding;
        "decoder_input_ids" (B, T), for the decoder to read something else.
        denominator, dropout_key, first_row: as GPT's.
        """
        ids, mask, decoder_ids, labels = self.read_batch(batch)
        targets = labels.reshape(-1)  # (N,)
        n_targets = int((targets != IGNORED).sum())
        scale = 1 / max(1, n_targets if denominator is None else denominator)
        token_weights = self.xp.asarray(np.where(targets == IGNORED, 0, scale).astype(self.params.dtype))
        dropped = dropout_key is not None and self.config.dropout > 0
        drop = (self.config.dropout, dropout_key, first_row) if dropped else None
        x, caches = self.hidden(ids, mask, decoder_ids, drop)
        rows = self.to_head(x).reshape(-1, self.config.n_embd)
        targets = self.xp.asarray(targets)
        loss, head_cache = self.ops.at("head").cross_entropy_forward(rows, self.head, targets, token_weights)
        return loss, (caches, head_cache, x.shape)

    def backward(self, cache, g=None, scale=1.0):
        """Adds scale * d loss / d parameters into g (model.params.g by default). cache is used up."""
        g = self.params.g if g is None else g
        caches, head_cache, x_shape = cache
        dx, dhead = self.ops.at("head").cross_entropy_backward(scale, head_cache)
        if self.config.tied_head:
            g.wte += dhead
        else:
            g.head.weight += dhead
        del dhead, head_cache
        self.hidden_backward(self.to_head(dx).reshape(x_shape), caches, g)

    @property
    def head(self):
        """The output head's weight (V, C)."""
        return self.params.p.wte if self.config.tied_head else self.params.p.head.weight

    def to_head(self, x):
        """What the head reads of the decoder's output. It only scales, so gradients take the same way back."""
        return x * (1 / math.sqrt(self.config.n_embd)) if self.config.scaled else x

    # ---- to look at, and to generate

    def encode(self, batch):
        """(B, S, C): the encoder's output."""
        return self.stack_forward("encoder", *self.read_inputs(batch))[0]

    def logits(self, batch):
        """(B, T, V): what the decoder says at each position, given "decoder_input_ids" or "labels" up to there."""
        if batch.get("labels") is None:
            batch = batch | {"labels": batch.get("decoder_input_ids")}
        ids, mask, decoder_ids, _ = self.read_batch(batch)
        x, _ = self.hidden(ids, mask, decoder_ids)
        return self.ops.at("head").linear_forward(self.to_head(x), self.head)[0]

    def judge(self, batch):
        """(losses, whether the likeliest token is right) of a batch's targets, both (n,) on the host, in nats; each is
        said from the right ones before it."""
        _, _, _, labels = self.read_batch(batch)
        return judged(self.logits(batch).reshape(-1, self.config.vocab_size), labels.reshape(-1))

    def next_logits(self, ids, cache):
        """(B, V): logits after the last of ids (B, T), the decoder's tokens that follow what `cache`, a DecoderCache,
        holds."""
        ids = self.check_ids("decoder_input_ids", ids)
        if cache.length + ids.shape[1] > self.config.n_ctx:
            self.refuse_length("output", cache.length + ids.shape[1])
        x, _ = self.stack_forward("decoder", ids, None, memory_mask=cache.memory_mask, cache=cache)
        cache.length += ids.shape[1]
        return self.ops.at("head").linear_forward(self.to_head(x[:, -1]), self.head)[0]

    # ---- the two stacks

    def hidden(self, ids, mask, decoder_ids, drop=None):
        """Ids on the host -> what the decoder makes of decoder_ids (B, T), (B, T, C), and the caches of both stacks."""
        memory, encoder_cache = self.stack_forward("encoder", ids, mask, drop)
        x, decoder_cache = self.stack_forward("decoder", decoder_ids, None, drop, memory, mask)
        return x, (encoder_cache, decoder_cache, memory.shape)

    def hidden_backward(self, dx, caches, g):
        encoder_cache, decoder_cache, memory_shape = caches
        dmemory = self.xp.zeros(memory_shape, dx.dtype)  # every block of the decoder adds its share
        self.stack_backward("decoder", dx, decoder_cache, g, dmemory)
        self.stack_backward("encoder", dmemory, encoder_cache, g)

    def stack_forward(self, name, ids, mask, drop=None, memory=None, memory_mask=None, cache=None):
        """ids (B, T) on the host -> norm(blocks(drop(wte[ids]))) (B, T, C), dropped, and the cache for stack_backward.

        mask (B, T) bool: True where there is a token and not padding; memory (B, S, C): what the decoder looks at, and
        its mask. cache: a DecoderCache of the tokens before these ones, and then there is no backward.
        The bias of positions is made once and added to the scores of every block.
        """
        ops, p, config = self.ops.at(name), getattr(self.params.p, name), self.config.stack(name)
        mask, memory_mask = (None if m is None else self.xp.asarray(m) for m in (mask, memory_mask))
        start, T, sites = 0 if cache is None else cache.length, ids.shape[1], self.dropout_sites(name)
        x, embedding_cache = blocks.embed_forward(ops.at("embedding"), self.xp.asarray(ids), self.params.p.wte)
        x, drop_cache = blocks.dropout_forward(ops.at("embedding"), x, drop, sites[0])
        bias, bias_cache = ops.at("relative").position_bias_forward(
            p.relative, T, start + T, start, not config.causal, self.config.max_distance
        )
        caches = [(embedding_cache, drop_cache), (bias.shape, bias_cache)]
        for i, block in enumerate(p.blocks):
            kv, remembered = (None, memory) if cache is None else (cache.layer(i), cache.memory[i])
            x, block_cache = blocks.block_forward(
                ops.at(f"blocks.{i}"), x, block, config, mask, drop, sites[1 + i], kv,
                bias=bias, memory=remembered, memory_mask=memory_mask,
            )  # fmt: skip
            if cache is None:
                caches.append(block_cache)
        x, norm_cache = blocks.norm_forward(ops.at("ln_f"), x, p.ln_f, config.layer_norm_eps)
        x, drop_cache = blocks.dropout_forward(ops.at("ln_f"), x, drop, sites[-1])
        return x, [*caches, (norm_cache, drop_cache)]

    def stack_backward(self, name, dx, caches, g, dmemory=None):
        """The way back through `stack_forward`: caches are popped, so memory falls as the gradient flows down."""
        ops, mine = self.ops.at(name), getattr(g, name)
        norm_cache, drop_cache = caches.pop()
        dx = blocks.dropout_backward(ops.at("ln_f"), dx, drop_cache)
        dx = blocks.norm_backward(ops.at("ln_f"), dx, norm_cache, mine.ln_f)
        bias_shape, bias_cache = caches.pop(1)
        dbias = self.xp.zeros(bias_shape, dx.dtype)  # every block adds its share
        for i in reversed(range(len(mine.blocks))):
            dx = blocks.block_backward(
                ops.at(f"blocks.{i}"), dx, caches.pop(), mine.blocks[i], dbias=dbias, dmemory=dmemory
            )
        mine.relative += ops.at("relative").position_bias_backward(dbias, bias_cache)
        embedding_cache, drop_cache = caches.pop()
        dx = blocks.dropout_backward(ops.at("embedding"), dx, drop_cache)
        blocks.embed_backward(ops.at("embedding"), dx, embedding_cache, g.wte)  # both stacks and a tied head add to it

    def dropout_sites(self, name):
        """The numbers of a stack's places of dropout: its input, the first place of each block, its output."""
        first, n_layer, each = 0, self.config.n_layer, 2
        if name == "decoder":
            first, n_layer, each = 2 + 2 * n_layer, self.config.decoder_layers, 3
        return [first, *range(first + 1, first + 2 + each * n_layer, each)]

    # ---- what comes in

    def read_batch(self, batch):
        """(ids, mask or None, decoder_ids, labels) as host arrays, checked: indices out of range would wrap silently on
        a GPU."""
        if not self.config.decodes:
            raise InputError("this model is an encoder alone (n_decoder_layer is 0); it can encode, and say nothing")
        ids, mask = self.read_inputs(batch)
        if batch.get("labels") is None:
            raise InputError(f"the batch has no labels, which the decoder is to say; its keys are {', '.join(batch)}")
        labels = self.check_ids("labels", batch["labels"], len(ids))
        if labels.shape[1] > self.config.n_ctx:
            self.refuse_length("output", labels.shape[1])
        if batch.get("decoder_input_ids") is None:
            return ids, mask, shift_right(labels, self.config.start_id, self.config.pad_id), labels
        decoder_ids = self.check_ids("decoder_input_ids", batch["decoder_input_ids"], len(ids))
        if decoder_ids.shape != labels.shape:
            raise InputError(f"decoder_input_ids has shape {decoder_ids.shape}; expected labels' shape {labels.shape}")
        return ids, mask, decoder_ids, labels

    def read_inputs(self, batch):
        """(ids, mask or None): what the encoder reads."""
        if batch.get("input_ids") is None:
            raise InputError(f"the batch has no input_ids; its keys are {', '.join(batch) or 'none'}")
        ids = self.check_ids("input_ids", batch["input_ids"])
        if ids.shape[1] > self.config.n_ctx:
            self.refuse_length("input", ids.shape[1])
        mask = batch.get("attention_mask")
        return ids, None if mask is None else host_array("attention_mask", mask, ids.shape) != 0

    def check_ids(self, name, value, rows=None):
        ids = host_array(name, value)
        if ids.ndim != 2 or ids.size == 0 or (rows is not None and len(ids) != rows):
            raise InputError(f"{name} has shape {ids.shape}; expected ({'B' if rows is None else rows}, T)")
        real = ids[ids != IGNORED] if name == "labels" else ids
        check_range(name, real, self.config.vocab_size, "vocabulary is")
        return ids

    def refuse_length(self, what, length):
        raise InputError(f"the {what} has {length} tokens; this model takes n_ctx {self.config.n_ctx}")

    def count_targets(self, batch):
        """How many targets a batch has."""
        return int((np.asarray(batch["labels"]) != IGNORED).sum())

    def activation_bytes(self, T):
        return activation_bytes(self.config, T, self.params.dtype.itemsize)


class DecoderCache:
    """What generating an output for a batch of inputs keeps, so that a new token costs one position instead of all.

    memory: for each layer of the decoder the keys and values (B, S, H, D) that cross-attention reads, made once from
    the encoder's output; memory_mask (B, S) or None. k and v: those of self-attention for the tokens so far.
    """

    def __init__(self, model, batch):
        ids, self.memory_mask = model.read_inputs(batch)
        config, ops = model.config, model.ops.at("decoder")
        memory, _ = model.stack_forward("encoder", ids, self.memory_mask)
        self.memory = [
            blocks.remember(ops.at(f"blocks.{i}").at("cross"), memory, block.cross, config.head_width)[0]
            for i, block in enumerate(model.params.p.decoder.blocks)
        ]
        shape = (config.decoder_layers, len(ids), config.n_head, config.n_ctx, config.head_width)
        self.k = model.xp.empty(shape, model.params.dtype)
        self.v = model.xp.empty(shape, model.params.dtype)
        self.length = 0

    def layer(self, i):
        """A function for blocks.attend_forward: stores new k and v (B, T, H, D), returns all up to now (B, S, H, D)."""
        return lambda k, v: (extend(self.k[i], k, self.length), extend(self.v[i], v, self.length))
