"""BERT and its kin: encoders that predict what was masked (Devlin et al. 2019; Liu et al. 2019; Joshi et al. 2020).

Every position sees every other, blocks are post-norm, and the loss is about masked positions alone:

    ids, segments, positions -> hidden -> masked LM      which token was here?           all three
                                       -> next sentence  does B follow A?                BERT
                                       -> span boundary  the same, from the span's ends  SpanBERT

`BERTConfig`, `RoBERTaConfig` and `SpanBERTConfig` say what is built, `BERT` runs it.
"""

import math
from dataclasses import dataclass

import numpy as np

from scratchgpt import blocks
from scratchgpt.backend import get_module, to_host
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.models.gpt import host_array, linear_spec, norm_spec
from scratchgpt.ops import default_table
from scratchgpt.params import ParamStore

MASKED_SHARE = 0.15  # of the tokens are predicted; the head runs on these alone


@dataclass(frozen=True)
class BERTConfig(blocks.BlockConfig):
    """The shape of a BERT, and what it is trained to predict."""

    vocab_size: int = 30522
    n_ctx: int = 512  # positions: the longest input
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768  # model width C
    n_inner: int | None = None  # width inside the feed-forward; None: 4 n_embd
    n_segments: int = 2  # kinds of input, as sentence A and sentence B; 0: no segment embedding
    pad_id: int = 0  # the token that fills rows up
    activation: str = "gelu"  # exact; or "gelu_tanh", "relu", "silu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0  # on the embedding and on each residual branch
    init: str = "he"  # "he" (He et al. 2015) or "bert" (normal, 0.02)
    pooler: bool | None = None  # tanh(linear) of the first token, which stands for the whole input; None: if nsp
    mlm: bool = True  # has the masked LM head
    nsp: bool = True  # has the next sentence head, on the pooler

    causal = False
    norm_first = False
    by_padding = False  # whether positions count from the first token that is not padding, behind pad_id
    n_span = 0  # places in a span that the span boundary head knows

    def __post_init__(self):
        if self.pooler is None:
            object.__setattr__(self, "pooler", self.nsp)
        at_least = dict.fromkeys(("vocab_size", "n_ctx", "n_layer", "n_head", "n_embd"), 1) | {"n_segments": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.n_inner is not None and self.n_inner < 1:
            raise InputError(f"n_inner is {self.n_inner}; expected at least 1, or None for 4 n_embd")
        if self.n_embd % self.n_head:
            raise InputError(f"n_embd {self.n_embd} is not divisible by n_head {self.n_head}: each head takes n_embd / "
                             "n_head columns")  # fmt: skip
        if not 0 <= self.pad_id < self.vocab_size:
            raise InputError(f"pad_id is {self.pad_id}; expected a token, 0 to {self.vocab_size - 1}")
        choices = {"activation": ("gelu", "gelu_tanh", "relu", "silu"), "init": ("he", "bert")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(allowed)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; expected 0 <= dropout < 1")
        if self.nsp and not self.pooler:
            raise InputError("nsp is True and pooler is False; next sentences are predicted from the pooler")

    @property
    def inner(self):
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def head_activation(self):
        """Inside the masked LM head."""
        return self.activation

    @property
    def objectives(self):
        """The names of what the loss is the sum of."""
        return tuple(name for name, has in (("mlm", self.mlm), ("nsp", self.nsp), ("span", self.n_span)) if has)

    @property
    def first_position(self):
        """The row of the position table that the first token takes."""
        return self.pad_id + 1 if self.by_padding else 0


@dataclass(frozen=True)
class RoBERTaConfig(BERTConfig):
    """The shape of a RoBERTa (Liu et al. 2019): no next sentences, so no segments; its checkpoints still have one."""

    vocab_size: int = 50265
    n_segments: int = 1
    pad_id: int = 1
    layer_norm_eps: float = 1e-5
    nsp: bool = False

    by_padding = True
    head_activation = "gelu"


@dataclass(frozen=True)
class SpanBERTConfig(BERTConfig):
    """The shape of a SpanBERT (Joshi et al. 2020): one segment of text, and the span boundary head."""

    nsp: bool = False
    n_span: int = 20  # tokens of a span that are predicted from its boundary
    span_width: int = 200  # of the embedding of a token's place in its span


BASE = {"dropout": 0.1, "init": "bert"}
LARGE = BASE | {"n_layer": 24, "n_head": 16, "n_embd": 1024}
PRESETS = {
    "bert-base": BERTConfig(**BASE),
    "bert-large": BERTConfig(**LARGE),
    "roberta-base": RoBERTaConfig(**BASE),
    "roberta-large": RoBERTaConfig(**LARGE),
    "spanbert-base": SpanBERTConfig(vocab_size=28996, **BASE),
    "spanbert-large": SpanBERTConfig(vocab_size=28996, **LARGE),
}


def parameter_spec(config):
    """{name: (shape, init)} of every parameter, in the order of the forward pass.

    "he": the standard deviations are those of GPT's parameter_spec for post-norm blocks, for the same reasons; the
    embeddings' is about the logits alone here, because a layer norm follows them. "bert": 0.02 for all. A head of few
    classes has 0.02 in both.
    """
    C, F, he = config.n_embd, config.inner, config.init == "he"
    embedding = min(1 / (3 * math.sqrt(C)), 4 / C) if he else 0.02
    residual = 1 / math.sqrt(2 * config.n_layer) if he else 1

    def weight(fan_in, gain=1):
        return math.sqrt(gain / fan_in) if he else 0.02

    spec = {"wte": ((config.vocab_size, C), embedding), "wpe": ((config.first_position + config.n_ctx, C), embedding)}
    if config.n_segments:
        spec["wse"] = ((config.n_segments, C), embedding)
    spec |= norm_spec("ln_embed", C)
    for i in range(config.n_layer):
        at = f"blocks.{i}."
        for name in ("q", "k", "v"):
            spec |= linear_spec(f"{at}attn.{name}", C, C, weight(C))
        spec |= linear_spec(at + "attn.out", C, C, weight(C) * residual)
        spec |= norm_spec(at + "ln1", C)
        spec |= linear_spec(at + "mlp.up", F, C, weight(C))
        spec |= linear_spec(at + "mlp.down", C, F, weight(F, gain=2) * residual)
        spec |= norm_spec(at + "ln2", C)
    if config.pooler:
        spec |= linear_spec("pooler", C, C, weight(C))
    return spec | head_spec(config, weight)


def head_spec(config, weight):
    """What the objectives add. The output head of tokens is the token embedding (Press & Wolf 2017), with a bias."""
    C, spec = config.n_embd, {}
    if config.mlm:
        spec |= linear_spec("mlm.transform", C, C, weight(C)) | norm_spec("mlm.ln", C)
        spec["mlm.bias"] = ((config.vocab_size,), "zeros")
    if config.nsp:
        spec |= linear_spec("nsp", 2, C, 0.02)
    if config.n_span:
        spec["span.places"] = ((config.n_span, config.span_width), weight(1))
        spec |= linear_spec("span.up", C, 2 * C + config.span_width, weight(2 * C + config.span_width))
        spec |= norm_spec("span.ln1", C) | linear_spec("span.down", C, C, weight(C)) | norm_spec("span.ln2", C)
        spec["span.bias"] = ((config.vocab_size,), "zeros")
    return spec


PARTS = {
    "wte": "token embedding", "wpe": "position embedding", "wse": "segment embedding", "attn.": "attention",
    "mlp.": "feed-forward", "pooler": "pooler", "mlm.": "masked LM head", "nsp.": "next sentence head",
    "span.": "span boundary head", "ln": "layer norms",
}  # fmt: skip


def count_parameters(config):
    """{part: number of parameters}, without allocating; the sum of the values is the total."""
    counts = {}
    for name, (shape, _) in parameter_spec(config).items():
        part = next(part for key, part in PARTS.items() if key in name)
        counts[part] = counts.get(part, 0) + math.prod(shape)
    return counts


def training_flops_per_token(config, n_ctx=None):
    """FLOPs of forward and backward per token at n_ctx tokens: as GPT's, but the heads run on 15% of the tokens."""
    counts = count_parameters(config)
    heads = [counts[part] - config.vocab_size for part in ("masked LM head", "span boundary head") if part in counts]
    head = sum(heads) + len(heads) * config.vocab_size * config.n_embd
    weights = counts["attention"] + counts["feed-forward"] + MASKED_SHARE * head
    return 6 * weights + 12 * config.n_layer * config.n_embd * (n_ctx or config.n_ctx)


def activation_bytes(config, T, itemsize=4):
    """About what one row of T tokens keeps between forward and backward on the CPU: as GPT's, with whole rows of
    attention's probabilities."""
    return config.n_layer * T * (8 * config.n_embd + 2 * config.inner + config.n_head * T) * itemsize


class BERT:
    """A BERT, RoBERTa or SpanBERT with its parameters. Everything it computes goes through the op table `ops`.

    >>> model = BERT(BERTConfig(vocab_size=17, n_ctx=8, n_layer=2, n_head=2, n_embd=6, nsp=False))
    >>> loss, cache = model.loss({"input_ids": [[1, 2, 3, 4]], "labels": [[-100, 5, -100, -100]]})
    >>> model.backward(cache)                       # model.params.grad now holds d loss / d parameters
    """

    def __init__(self, config, seed=0, dtype="float32", device="cpu", ops=None, xp=None, params=None):
        """seed: of the initial weights, or None to leave them zero (a checkpoint follows). xp: an array module to use
        instead of device's own. params: the ParamStore of a model that this one is a part of, which it then shares."""
        self.config = config
        self.xp = xp or get_module(device)
        self.ops = ops or default_table(device)
        self.params = ParamStore(parameter_spec(config), self.xp, dtype) if params is None else params
        if seed is not None:
            self.params.initialise(seed)

    def loss(self, batch, denominator=None, dropout_key=None, first_row=0):
        """(loss, cache) of a batch in Hugging Face's terms: the sum over config.objectives of their mean cross-entropy,
        in nats.

        batch: "input_ids" (B, T) and "labels" (B, T), the token that was at each masked position and -100 elsewhere
        (nothing is shifted); "next_sentence_label" (B,) if the model predicts it, 0 where B follows A, 1 where it does
        not; optionally "attention_mask" (B, T), 0 where a token is padding, and "token_type_ids" (B, T), the segments.
        denominator: what the summed losses are divided by, their numbers of targets unless given: one number for all,
        or one for each objective; a step made of several batches passes the sum of their count_targets.
        dropout_key, first_row: as GPT's.
        """
        inputs, labels, follows = self.read_batch(batch)
        scales = self.scales(labels, follows, denominator)
        dropped = dropout_key is not None and self.config.dropout > 0
        drop = (self.config.dropout, dropout_key, first_row) if dropped else None
        x, caches = self.hidden(*inputs, drop)
        losses, head_caches = {}, {}
        for name in self.config.objectives:
            forward, targets = getattr(self, f"{name}_forward"), follows if name == "nsp" else labels
            losses[name], head_caches[name] = forward(x, targets, scales[name])
        return sum(losses.values()), (caches, head_caches, x.shape, losses)

    def backward(self, cache, g=None, scale=1.0):
        """Adds scale * d loss / d parameters into g (model.params.g by default). cache is used up."""
        g = self.params.g if g is None else g
        caches, head_caches, x_shape, _ = cache
        dx = self.xp.zeros(x_shape, self.params.dtype)
        for name in self.config.objectives:
            getattr(self, f"{name}_backward")(dx, scale, head_caches.pop(name), g)
        self.hidden_backward(dx, caches, g)

    def losses(self, cache):
        """{objective: its part of the loss, 0-d}, of a cache that `loss` returned."""
        return dict(cache[3])

    def scales(self, labels, follows, denominator):
        """{objective: 1 / what its losses are divided by}."""
        if not self.config.objectives:
            raise InputError("this model predicts nothing by itself: it has neither mlm nor nsp; put a head on it")
        counts = self.count(labels, follows) if denominator is None else denominator
        counts = np.broadcast_to(np.asarray(counts, float), len(self.config.objectives))
        return {name: 1 / max(1.0, count) for name, count in zip(self.config.objectives, counts)}

    def count(self, labels, follows):
        counts = {
            "mlm": lambda: (labels != IGNORED).sum(),
            "nsp": lambda: (follows != IGNORED).sum(),
            "span": lambda: len(span_targets(labels, self.config.n_span)[0]),
        }
        return np.array([int(counts[name]()) for name in self.config.objectives])

    def count_targets(self, batch):
        """How many targets each of config.objectives has in a batch, (n,) ints."""
        _, labels, follows = self.read_batch(batch)
        return self.count(labels, follows)

    # ---- from tokens to vectors

    def hidden(self, ids, mask=None, segments=None, drop=None, layers=None):
        """ids (B, T) on the host -> x (B, T, C), and the cache for hidden_backward.

        mask (B, T) bool, True where there is a token and not padding; segments (B, T), 0 unless given. layers: a list
        that receives what each block reads, and x.
        """
        ops, p, config, asarray = self.ops, self.params.p, self.config, self.xp.asarray
        mask = None if mask is None else asarray(mask)
        x, caches = self.embed_forward(ids, segments, drop)
        caches = [caches]
        for i, block in enumerate(p.blocks):
            if layers is not None:
                layers.append(x)
            x, cache = blocks.block_forward(ops.at(f"blocks.{i}"), x, block, config, mask, drop, 1 + 2 * i)
            caches.append(cache)
        if layers is not None:
            layers.append(x)
        return x, caches

    def hidden_backward(self, dx, caches, g):
        """The way back through `hidden`: caches are popped, so memory falls as the gradient flows down."""
        for i in reversed(range(self.config.n_layer)):
            dx = blocks.block_backward(self.ops.at(f"blocks.{i}"), dx, caches.pop(), g.blocks[i])
        self.embed_backward(dx, caches.pop(), g)

    def embed_forward(self, ids, segments, drop):
        """drop(norm(token + position + segment))."""
        ops, p, config, asarray = self.ops.at("embedding"), self.params.p, self.config, self.xp.asarray
        if config.by_padding:
            x, tokens_cache = blocks.embed_forward(ops, asarray(ids), p.wte)
            positions, positions_cache = blocks.embed_forward(ops, asarray(self.positions(ids)), p.wpe)
            x += positions
        else:
            x, tokens_cache = blocks.embed_forward(ops, asarray(ids), p.wte, p.wpe)
            positions_cache = None
        segments_cache = None
        if config.n_segments:
            segments = np.zeros_like(ids) if segments is None else segments
            each, segments_cache = blocks.embed_forward(self.ops.at("segments"), asarray(segments), p.wse)
            x += each
        x, norm_cache = blocks.norm_forward(self.ops.at("ln_embed"), x, p.ln_embed, config.layer_norm_eps)
        x, drop_cache = blocks.dropout_forward(ops, x, drop, 0)
        return x, (tokens_cache, positions_cache, segments_cache, norm_cache, drop_cache)

    def embed_backward(self, dx, cache, g):
        ops = self.ops.at("embedding")
        tokens_cache, positions_cache, segments_cache, norm_cache, drop_cache = cache
        dx = blocks.dropout_backward(ops, dx, drop_cache)
        dx = blocks.norm_backward(self.ops.at("ln_embed"), dx, norm_cache, g.ln_embed)
        if segments_cache is not None:
            blocks.embed_backward(self.ops.at("segments"), dx, segments_cache, g.wse)
        if positions_cache is not None:
            blocks.embed_backward(ops, dx, positions_cache, g.wpe)
        blocks.embed_backward(ops, dx, tokens_cache, g.wte, g.wpe if positions_cache is None else None)

    def positions(self, ids):
        """The rows of the position table that ids (B, T) take: padding takes pad_id's, and the others count on from
        there, so that a row may be padded on either side (as fairseq's RoBERTa)."""
        real = ids != self.config.pad_id
        return real.cumsum(1) * real + self.config.pad_id

    def pool_forward(self, x):
        """The pooler's output (B, C): tanh(linear) of the first token of x (B, T, C)."""
        ops = self.ops.at("pooler")
        h, linear_cache = blocks.linear_forward(ops, x[:, 0], self.params.p.pooler)
        h, tanh_cache = ops.tanh_forward(h)
        return h, (linear_cache, tanh_cache)

    def pool_backward(self, dx, dpooled, cache, g):
        """Adds into dx (B, T, C), in place."""
        ops = self.ops.at("pooler")
        linear_cache, tanh_cache = cache
        dh = ops.tanh_backward(dpooled, tanh_cache)
        dx[:, 0] += blocks.linear_backward(ops, dh, linear_cache, g.pooler)

    # ---- objectives: forward returns the loss and a cache, backward adds into dx (B, T, C) and g

    def mlm_forward(self, x, labels, scale):
        """Masked LM (Devlin et al. 2019, section 3.1): the head sees the rows that have a target, no others, so the
        logits of the whole batch never exist."""
        ops, p, config = self.ops.at("mlm"), self.params.p.mlm, self.config
        rows = np.flatnonzero(labels != IGNORED)
        h, gather_cache = gather_forward(ops, x, self.xp.asarray(rows))
        h, dense_cache = dense_forward(ops, h, p.transform, p.ln, config.head_activation, config.layer_norm_eps)
        loss, cache = self.predict(ops, h, labels.reshape(-1)[rows], scale, p.bias)
        return loss, (gather_cache, dense_cache, cache)

    def mlm_backward(self, dx, dloss, cache, g):
        ops, (gather_cache, dense_cache, cache) = self.ops.at("mlm"), cache
        dh = self.predict_backward(ops, dloss, cache, g.wte, g.mlm.bias)
        dh = dense_backward(ops, dh, dense_cache, g.mlm.transform, g.mlm.ln)
        gather_backward(ops, dh, gather_cache, dx)

    def nsp_forward(self, x, follows, scale):
        """Next sentence prediction (Devlin et al. 2019, section 3.1), from the pooler."""
        ops, asarray = self.ops.at("nsp"), self.xp.asarray
        pooled, pool_cache = self.pool_forward(x)
        logits, linear_cache = blocks.linear_forward(ops, pooled, self.params.p.nsp)  # (B, 2)
        weights = np.where(follows == IGNORED, 0, scale).astype(self.params.dtype)
        loss, cache = ops.softmax_cross_entropy_forward(logits, asarray(follows), asarray(weights))
        return loss, (pool_cache, linear_cache, cache)

    def nsp_backward(self, dx, dloss, cache, g):
        ops, (pool_cache, linear_cache, cache) = self.ops.at("nsp"), cache
        dlogits = ops.softmax_cross_entropy_backward(dloss, cache)
        self.pool_backward(dx, blocks.linear_backward(ops, dlogits, linear_cache, g.nsp), pool_cache, g)

    def span_forward(self, x, labels, scale):
        """Span boundary objective (Joshi et al. 2020, section 3.2): a masked token is predicted from the tokens just
        outside its span and its place in it, never from its own vector:
        h = norm(gelu(W2 norm(gelu(W1 [left, right, place]))))."""
        ops, p, asarray, eps = self.ops.at("span"), self.params.p.span, self.xp.asarray, self.config.layer_norm_eps
        rows, left, right, places = span_targets(labels, self.config.n_span)
        left, left_cache = gather_forward(ops, x, asarray(left))
        right, right_cache = gather_forward(ops, x, asarray(right))
        place, place_cache = blocks.embed_forward(ops, asarray(places), p.places)
        h = self.xp.concatenate((left, right, place), -1)  # (n, 2C + W)
        h, up_cache = dense_forward(ops.at("up"), h, p.up, p.ln1, "gelu", eps)
        h, down_cache = dense_forward(ops.at("down"), h, p.down, p.ln2, "gelu", eps)
        loss, cache = self.predict(ops, h, labels.reshape(-1)[rows], scale, p.bias)
        return loss, (left_cache, right_cache, place_cache, up_cache, down_cache, cache)

    def span_backward(self, dx, dloss, cache, g):
        ops, C = self.ops.at("span"), self.config.n_embd
        left_cache, right_cache, place_cache, up_cache, down_cache, cache = cache
        dh = self.predict_backward(ops, dloss, cache, g.wte, g.span.bias)
        dh = dense_backward(ops.at("down"), dh, down_cache, g.span.down, g.span.ln2)
        dh = dense_backward(ops.at("up"), dh, up_cache, g.span.up, g.span.ln1)  # (n, 2C + W)
        blocks.embed_backward(ops, dh[:, 2 * C :], place_cache, g.span.places)
        gather_backward(ops, dh[:, :C], left_cache, dx)
        gather_backward(ops, dh[:, C : 2 * C], right_cache, dx)

    def predict(self, ops, h, targets, scale, bias):
        """The loss of tokens that are predicted from h (n, C)."""
        weights = self.xp.full(len(targets), scale, self.params.dtype)
        return ops.cross_entropy_forward(h, self.params.p.wte, self.xp.asarray(targets), weights, bias)

    def predict_backward(self, ops, dloss, cache, dwte, dbias):
        dh, *gradients = ops.cross_entropy_backward(dloss, cache)
        dwte += gradients[0]
        dbias += gradients[1]
        return dh

    # ---- to look at

    def logits(self, batch):
        """(B, T, V): what the masked LM head says of every position."""
        if not self.config.mlm:
            raise InputError("this model has no masked LM head (mlm is False)")
        return self.token_logits(self.hidden(*self.read_inputs(batch))[0])

    def token_logits(self, x):
        """What the masked LM head says of vectors (..., C): (..., V)."""
        ops, p, config = self.ops.at("mlm"), self.params.p, self.config
        h, _ = dense_forward(ops, x, p.mlm.transform, p.mlm.ln, config.head_activation, config.layer_norm_eps)
        return ops.linear_forward(h, p.wte, p.mlm.bias)[0]

    def next_sentence_logits(self, batch):
        """(B, 2): that B follows A, that it does not."""
        if not self.config.nsp:
            raise InputError("this model has no next sentence head (nsp is False)")
        pooled, _ = self.pool_forward(self.hidden(*self.read_inputs(batch))[0])
        return blocks.linear_forward(self.ops.at("nsp"), pooled, self.params.p.nsp)[0]

    def judge(self, batch):
        """{objective: (its losses (n,), whether its likeliest answers are right (n,))} of a batch as `loss` takes it,
        host arrays over the targets that count_targets counts, in nats; of span boundaries there is the sum of losses
        alone, and None."""
        inputs, labels, follows = self.read_batch(batch)
        x, _ = self.hidden(*inputs)
        said = {}
        if self.config.mlm:
            rows = np.flatnonzero(labels != IGNORED)
            logits = self.token_logits(gather_forward(self.ops.at("mlm"), x, self.xp.asarray(rows))[0])
            said["mlm"] = judged(logits, labels.reshape(-1)[rows])
        if self.config.nsp:
            logits = blocks.linear_forward(self.ops.at("nsp"), self.pool_forward(x)[0], self.params.p.nsp)[0]
            said["nsp"] = judged(logits, follows)
        if self.config.n_span:
            said["span"] = to_host(self.span_forward(x, labels, 1.0)[0]).reshape(1), None
        return said

    def layers(self, batch):
        """[(B, T, C)]: the vectors of the tokens before the first block and after each."""
        layers = []
        self.hidden(*self.read_inputs(batch), layers=layers)
        return layers

    # ---- what comes in

    def read_inputs(self, batch):
        """(ids, mask or None, segments or None) as host arrays, checked: indices out of range would wrap silently on a
        GPU."""
        ids = host_array("input_ids", needed(batch, "input_ids"))
        if ids.ndim != 2 or ids.size == 0:
            raise InputError(f"input_ids has shape {ids.shape}; expected (B, T)")
        if ids.shape[1] > self.config.n_ctx:
            raise InputError(f"the input has {ids.shape[1]} tokens; this model has n_ctx {self.config.n_ctx} positions")
        mask, segments = (
            None if batch.get(name) is None else host_array(name, batch[name], ids.shape)
            for name in ("attention_mask", "token_type_ids")
        )
        check_range("input_ids", ids, self.config.vocab_size, "vocabulary is")
        if segments is not None:
            check_range("token_type_ids", segments, max(1, self.config.n_segments), "segments are")
        return ids, None if mask is None else mask != 0, segments

    def read_batch(self, batch):
        """(what read_inputs returns, labels (B, T) or None, next_sentence_label (B,) or None) as host arrays, checked.
        What the model's objectives need must be there."""
        inputs, labels, follows = self.read_inputs(batch), None, None
        shape = inputs[0].shape
        if self.config.mlm or self.config.n_span:
            labels = host_array("labels", needed(batch, "labels"), shape)
            check_range("labels", labels[labels != IGNORED], self.config.vocab_size, "vocabulary is")
        if self.config.nsp:
            follows = host_array("next_sentence_label", needed(batch, "next_sentence_label"))
            if follows.shape != shape[:1]:
                raise InputError(f"next_sentence_label has shape {follows.shape}; expected {shape[:1]}")
            check_range("next_sentence_label", follows[follows != IGNORED], 2, "answers are")
        return inputs, labels, follows

    def activation_bytes(self, T):
        return activation_bytes(self.config, T, self.params.dtype.itemsize)


def gather_forward(ops, x, rows):
    """Rows (n,) of x (B, T, C), as if it were (B T, C)."""
    return ops.embedding_forward(rows, x.reshape(-1, x.shape[-1]))


def gather_backward(ops, dout, cache, dx):
    """Adds into dx (B, T, C), in place."""
    dx += ops.embedding_backward(dout, cache)[0].reshape(dx.shape)


def dense_forward(ops, h, linear, norm, activation, eps):
    """norm(activation(linear(h))), what comes before tokens are predicted."""
    h, linear_cache = blocks.linear_forward(ops, h, linear)
    h, act_cache = blocks.activation_forward(ops, h, activation)
    h, norm_cache = blocks.norm_forward(ops, h, norm, eps)
    return h, (linear_cache, act_cache, norm_cache, activation)


def dense_backward(ops, dh, cache, dlinear, dnorm):
    linear_cache, act_cache, norm_cache, activation = cache
    dh = blocks.norm_backward(ops, dh, norm_cache, dnorm)
    dh = blocks.activation_backward(ops, dh, act_cache, activation)
    return blocks.linear_backward(ops, dh, linear_cache, dlinear)


def judged(logits, targets):
    """(-log p of the targets (n,), whether they are the likeliest (n,)) for logits (n, V), on the host, in float64."""
    logits, kept = to_host(logits).astype(np.float64), targets != IGNORED
    logits, targets = logits[kept], targets[kept]
    largest = logits.max(1)
    total = largest + np.log(np.exp(logits - largest[:, None]).sum(1))
    return total - logits[np.arange(len(targets)), targets], logits.argmax(1) == targets


def needed(batch, name):
    """What a batch has under a name that the model cannot do without."""
    if batch.get(name) is None:
        raise InputError(f"the batch has no {name}; its keys are {', '.join(batch) or 'none'}")
    return batch[name]


def check_range(name, array, end, what):
    if array.size and not 0 <= array.min() <= array.max() < end:
        worst = array.min() if array.min() < 0 else array.max()
        raise InputError(f"{name} holds {worst}; this model's {what} 0 to {end - 1}")


def span_targets(labels, n_span):
    """What the span boundary objective predicts: rows, left, right and places, each (n,).

    A span is a run of positions of labels (B, T) that have a target. rows, left and right are indices into
    labels.reshape(-1): of a target, of the position before its span and of the one after it; places: which of its
    span's tokens it is, from 0. Targets beyond a span's first n_span, and spans that begin or end a row, are left out.

    >>> labels = np.array([[-100, 7, 8, -100, 9]])
    >>> [array.tolist() for array in span_targets(labels, 20)]
    [[1, 2], [0, 0], [3, 3], [0, 1]]
    """
    T = labels.shape[1]
    free = np.pad(labels == IGNORED, ((0, 0), (1, 1)))  # (B, T + 2): positions that may be a boundary
    columns = np.arange(T + 2)
    left = np.maximum.accumulate(np.where(free, columns, 0), 1)[:, 1:-1] - 1  # (B, T): -1 if there is none
    right = np.minimum.accumulate(np.where(free, columns, T + 1)[:, ::-1], 1)[:, ::-1][:, 1:-1] - 1
    places = np.arange(T) - left - 1
    chosen = (labels != IGNORED) & (left >= 0) & (right < T) & (places < n_span)
    row, column = np.nonzero(chosen)
    return row * T + column, row * T + left[chosen], row * T + right[chosen], places[chosen]
