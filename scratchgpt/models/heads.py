"""Heads: what finetuning puts on a pretrained model (Radford et al. 2018, section 3.3; Devlin et al. 2019, figure 4).

    sentence  one answer about the whole input: a class, several labels, or a number
    tag       a class for each token
    span      where in the input the answer begins and ends
    choice    which of several inputs is right

The backbone is a BERT, RoBERTa or GPT without its pretraining heads. The whole input is read off BERT's pooler, and off
the last token of a GPT, which has seen all the others (GPT-1 puts a token there for this, Extract).
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from scratchgpt import blocks
from scratchgpt.backend import array_module, get_module
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.models import bert as berts
from scratchgpt.models import gpt as gpts
from scratchgpt.models.bert import BERT, BERTConfig, check_range, gather_backward, gather_forward, needed
from scratchgpt.models.gpt import GPT, GPTConfig, host_array
from scratchgpt.ops import default_table
from scratchgpt.params import ZEROS, ParamStore

TASKS = ("sentence", "tag", "span", "choice")
PROBLEMS = ("single", "multi", "regression")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class HeadConfig:
    """A backbone and the head on it. What the backbone's configuration says, vocab_size for one, this one says too."""

    backbone: BERTConfig | GPTConfig  # kept without its pretraining heads
    task: str  # one of TASKS
    labels: tuple = ()  # names of the classes, tags or numbers, in the order of their ids; none for span and choice
    problem: str = "single"  # what a sentence has: a "single" label, "multi" labels, or numbers, "regression"
    lm_weight: float = 0.0  # of the language model's loss, which a GPT may add (Radford et al. 2018, eq. 5)

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "backbone", bare(self.backbone, self.task, self.lm_weight))
        for name, allowed in (("task", TASKS), ("problem", PROBLEMS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {', '.join(allowed)}")
        if self.task in ("span", "choice") and (self.labels or self.problem != "single"):
            raise InputError(f"a {self.task} head has no labels, and one problem; leave them out")
        if self.task == "tag" and self.problem != "single":
            raise InputError(f"problem is {self.problem!r}; a token has a single tag")
        fewest = 2 if self.problem == "single" else 1
        if self.task in ("sentence", "tag") and len(self.labels) < fewest:
            raise InputError(f"there are {len(self.labels)} labels; this head expects at least {fewest}")
        if len(set(self.labels)) < len(self.labels):
            raise InputError(f"labels are {', '.join(self.labels)}; expected each once")
        if self.lm_weight and (self.lm_weight < 0 or isinstance(self.backbone, BERTConfig)):
            raise InputError(f"lm_weight is {self.lm_weight}; expected 0 or more, and 0 unless the backbone is a GPT")

    def __getattr__(self, name):
        if name.startswith("__") or name == "backbone":
            raise AttributeError(name)
        return getattr(self.backbone, name)

    @property
    def n_outputs(self):
        """Numbers that the head gives for what it reads: a start and an end, or one for each label, or a choice's."""
        return {"span": 2, "choice": 1}.get(self.task, len(self.labels))


def bare(config, task, lm_weight=0.0):
    """A pretrained model's configuration as a backbone's: without what only pretraining needs."""
    if isinstance(config, GPTConfig):
        return config
    kind = BERTConfig if isinstance(config, berts.SpanBERTConfig) else type(config)
    values = {each.name: getattr(config, each.name) for each in fields(kind)}
    return kind(**values | {"mlm": False, "nsp": False, "pooler": task in ("sentence", "choice")})


def parameter_spec(config):
    """{name: (shape, init)}: the backbone's parameters, then "classifier", whose bias the GPTs' sentence head lacks."""
    on_gpt = isinstance(config.backbone, GPTConfig)
    spec = dict((gpts if on_gpt else berts).parameter_spec(config.backbone))
    if on_gpt and not config.lm_weight:
        spec.pop("head.weight", None)  # an untied output head, which nothing would train
    spec["classifier.weight"] = ((config.n_outputs, config.n_embd), 0.02)
    if not (on_gpt and config.task == "sentence"):
        spec["classifier.bias"] = ((config.n_outputs,), ZEROS)
    return spec


def put_head(model, task, labels=(), problem="single", lm_weight=0.0, seed=0):
    """A head on a pretrained BERT, RoBERTa, SpanBERT or GPT: a new model with a copy of its weights. seed: of the
    weights that the pretrained model does not have."""
    config = HeadConfig(model.config, task, labels, problem, lm_weight)
    headed = MODELS[task](config, seed, model.params.dtype, ops=model.ops, xp=model.xp)
    for name in headed.params.names:
        if name in model.params.spec:
            headed.params[name][...] = model.params[name]
    return headed


class Head:
    """A backbone and a head; the tasks are its subclasses. The surface is GPT's: config, params, loss, backward."""

    def __init__(self, config, seed=0, dtype="float32", device="cpu", ops=None, xp=None):
        self.config = config
        self.xp = xp or get_module(device)
        self.params = ParamStore(parameter_spec(config), self.xp, dtype)
        self.on_gpt = isinstance(config.backbone, GPTConfig)
        kind, ops = GPT if self.on_gpt else BERT, ops or default_table(device)
        self.backbone = kind(config.backbone, None, dtype, ops=ops, xp=self.xp, params=self.params)
        if seed is not None:
            self.params.initialise(seed)

    @property
    def ops(self):
        return self.backbone.ops

    @ops.setter
    def ops(self, ops):
        self.backbone.ops = ops

    def loss(self, batch, denominator=None, dropout_key=None, first_row=0):
        """(loss, cache) of a batch in Hugging Face's terms: the mean loss of the rows (tag: tokens) that have a label.

        batch: "input_ids" and optionally "attention_mask" and "token_type_ids", (B, T), or (B, R, T) where a row is
        several inputs, and what the task is about (see the subclass). denominator: what the summed loss is divided by,
        count_targets unless given. dropout_key, first_row: as GPT's.
        """
        inputs, B, R = self.read_inputs(batch)
        targets = self.read_targets(batch)
        scale = 1 / max(1, self.count_targets(batch) if denominator is None else denominator)
        dropped = dropout_key is not None and self.config.dropout > 0
        drop = (self.config.dropout, dropout_key, first_row * R) if dropped else None
        x, backbone_cache = self.hidden(inputs, drop)
        logits, logits_cache = self.logits_forward(x, inputs, B, drop)
        loss, loss_cache = self.task_loss(logits, targets, scale)
        lm_cache = None
        if self.config.lm_weight:
            lm_loss, lm_cache = self.lm_forward(x, inputs, self.lm_scale(targets, scale) / R)
            loss = loss + lm_loss
        return loss, (backbone_cache, logits_cache, loss_cache, lm_cache, x.shape)

    def backward(self, cache, g=None, scale=1.0):
        """Adds scale * d loss / d parameters into g (model.params.g by default). cache is used up."""
        g = self.params.g if g is None else g
        backbone_cache, logits_cache, loss_cache, lm_cache, x_shape = cache
        dx = self.xp.zeros(x_shape, self.params.dtype)
        if lm_cache is not None:
            self.lm_backward(dx, scale, lm_cache, g)
        self.logits_backward(dx, self.task_loss_backward(scale, loss_cache), logits_cache, g)
        self.backbone.hidden_backward(dx, backbone_cache, g)

    def logits(self, batch):
        """What the head says: (B, n) of a sentence, (B, T, n) of tags, (B, T) twice of a span, (B, R) of a choice."""
        inputs, B, _ = self.read_inputs(batch)
        return self.logits_forward(self.hidden(inputs)[0], inputs, B)[0]

    # ---- the backbone

    def read_inputs(self, batch):
        """(ids, mask or None, segments or None) of B R inputs on the host, checked; B; R."""
        shape = host_array("input_ids", needed(batch, "input_ids")).shape
        expected = {2} if self.config.task in ("tag", "span") else {3} if self.config.task == "choice" else {2, 3}
        if len(shape) not in expected:
            wanted = " or ".join({2: "(B, T)", 3: "(B, R, T), several inputs to a row"}[n] for n in sorted(expected))
            raise InputError(f"input_ids has shape {shape}; a {self.config.task} head expects {wanted}")
        present = (name for name in INPUTS if batch.get(name) is not None)
        flat = {name: host_array(name, batch[name], shape).reshape(-1, shape[-1]) for name in present}
        if self.on_gpt:
            ids, _, mask = self.backbone.read_batch(flat)
            inputs = ids, mask, None
        else:
            inputs = self.backbone.read_inputs(flat)
        return inputs, shape[0], len(inputs[0]) // shape[0]

    def hidden(self, inputs, drop=None):
        ids, mask, segments = inputs
        if self.on_gpt:
            return self.backbone.hidden(ids, mask, drop)
        return self.backbone.hidden(ids, mask, segments, drop)

    def whole_forward(self, x, inputs):
        """A vector for each input, (B R, C): what the pooler makes of the first token, or a GPT's last."""
        if not self.on_gpt:
            return self.backbone.pool_forward(x)
        ids, mask, _ = inputs
        n, T = ids.shape
        last = np.full(n, T - 1) if mask is None else T - 1 - mask[:, ::-1].argmax(1)
        return gather_forward(self.ops.at("gather"), x, self.xp.asarray(np.arange(n) * T + last))

    def whole_backward(self, dx, dwhole, cache, g):
        """Adds into dx (B R, T, C), in place."""
        if self.on_gpt:
            gather_backward(self.ops.at("gather"), dwhole, cache, dx)
        else:
            self.backbone.pool_backward(dx, dwhole, cache, g)

    def classify_forward(self, h, drop):
        """classifier(drop(h))."""
        ops, site = self.ops.at("classifier"), 1 + 2 * self.config.n_layer
        h, drop_cache = blocks.dropout_forward(ops, h, drop, site)
        logits, linear_cache = blocks.linear_forward(ops, h, self.params.p.classifier)
        return logits, (drop_cache, linear_cache)

    def classify_backward(self, dlogits, cache, g):
        ops, (drop_cache, linear_cache) = self.ops.at("classifier"), cache
        dh = blocks.linear_backward(ops, dlogits, linear_cache, g.classifier)
        return blocks.dropout_backward(ops, dh, drop_cache)

    # ---- the language model's loss beside the task's

    def lm_scale(self, targets, scale):
        """What an input's mean next-token loss counts, a number or (n, 1), where a target of the task counts scale."""
        return scale

    def lm_forward(self, x, inputs, scale):
        """lm_weight times the mean over the inputs of each one's mean next-token loss, as GPT-1's code has it."""
        ids, mask, _ = inputs
        real = np.ones(ids.shape, bool) if mask is None else mask
        targets, counted = ids[:, 1:], real[:, 1:]
        weights = self.config.lm_weight * scale * counted / np.maximum(1, counted.sum(1, keepdims=True))  # (n, T - 1)
        weights = self.xp.asarray(weights.reshape(-1).astype(self.params.dtype))
        rows = x[:, :-1].reshape(-1, x.shape[-1])
        targets = self.xp.asarray(targets.reshape(-1))
        return self.ops.at("head").cross_entropy_forward(rows, self.backbone.head, targets, weights)

    def lm_backward(self, dx, dloss, cache, g):
        drows, dhead = self.ops.at("head").cross_entropy_backward(dloss, cache)
        dx[:, :-1] += drows.reshape(len(dx), -1, dx.shape[-1])
        if self.config.tied_head:
            g.wte += dhead
        else:
            g.head.weight += dhead

    # ---- labels

    def read_labels(self, batch, shape, end, what):
        """labels as integers of a shape, -100 or 0 to end - 1."""
        labels = host_array("labels", needed(batch, "labels"))
        if labels.shape != shape:
            raise InputError(f"labels has shape {labels.shape}; expected {shape}")
        check_range("labels", labels[labels != IGNORED], end, what)
        return labels

    def count_targets(self, batch):
        """How many rows (tag: tokens) have a label."""
        return int((self.read_targets(batch) != IGNORED).sum())

    def softmax_loss(self, logits, targets, scale, mask=None):
        """Cross-entropy of logits (N, K) with targets (N,) on the host, scale times its sum."""
        weights = np.where(targets == IGNORED, 0, scale).astype(self.params.dtype)
        return self.ops.at("loss").softmax_cross_entropy_forward(
            logits, self.xp.asarray(targets), self.xp.asarray(weights), mask
        )

    def activation_bytes(self, T):
        return self.backbone.activation_bytes(T)


class SentenceHead(Head):
    """Labels of a whole input: "labels" (B,) ints, -100 where there is none; for "multi" (B, K), 0 or 1 each; for
    "regression" (B,) or (B, K) numbers. Of inputs (B, R, T) the R vectors are added, as GPT-1 does with the two orders
    of two similar sentences."""

    def logits_forward(self, x, inputs, B, drop=None):
        whole, whole_cache = self.whole_forward(x, inputs)
        n, C = whole.shape
        whole = whole.reshape(B, n // B, C).sum(1)
        if drop is not None:
            drop = (*drop[:2], drop[2] // (n // B))  # rows of the batch, no longer of the inputs
        logits, cache = self.classify_forward(whole, drop)
        return logits, (whole_cache, cache, n // B)

    def logits_backward(self, dx, dlogits, cache, g):
        whole_cache, cache, R = cache
        dwhole = self.classify_backward(dlogits, cache, g)
        self.whole_backward(dx, dwhole.repeat(R, 0), whole_cache, g)

    def task_loss(self, logits, targets, scale):
        if self.config.problem == "single":
            return self.softmax_loss(logits, targets, scale)
        weights = self.xp.full(len(targets), scale / self.config.n_outputs, self.params.dtype)
        targets = self.xp.asarray(targets.astype(self.params.dtype))
        forward = "binary_cross_entropy" if self.config.problem == "multi" else "squared_error"
        return getattr(self.ops.at("loss"), f"{forward}_forward")(logits, targets, weights)

    def task_loss_backward(self, dloss, cache):
        name = {"single": "softmax_cross_entropy", "multi": "binary_cross_entropy", "regression": "squared_error"}
        return getattr(self.ops.at("loss"), f"{name[self.config.problem]}_backward")(dloss, cache)

    def read_targets(self, batch):
        B, K = len(needed(batch, "input_ids")), self.config.n_outputs
        if self.config.problem == "single":
            return self.read_labels(batch, (B,), K, "labels are")
        labels = np.asarray(needed(batch, "labels"))
        if labels.dtype.kind not in "iubf" or labels.shape not in ((B, K), *([(B,)] if K == 1 else [])):
            raise InputError(f"labels has shape {labels.shape} and type {labels.dtype}; expected numbers, {(B, K)}")
        labels = labels.reshape(B, K).astype(np.float64)
        if self.config.problem == "multi" and not np.isin(labels, (0, 1)).all():
            raise InputError("labels holds something else than 0 and 1, for each label whether it applies")
        if not np.isfinite(labels).all():
            raise InputError("labels holds a number that is not finite")
        return labels

    def count_targets(self, batch):
        if self.config.problem == "single":
            return super().count_targets(batch)
        return len(self.read_targets(batch))


class TagHead(Head):
    """A class for each token: "labels" (B, T), -100 where a token has none: padding, special tokens, the later pieces
    of a word."""

    def logits_forward(self, x, inputs, B, drop=None):
        return self.classify_forward(x, drop)

    def logits_backward(self, dx, dlogits, cache, g):
        dx += self.classify_backward(dlogits, cache, g)

    def task_loss(self, logits, targets, scale):
        loss, cache = self.softmax_loss(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), scale)
        return loss, (cache, logits.shape)

    def task_loss_backward(self, dloss, cache):
        cache, shape = cache
        return self.ops.at("loss").softmax_cross_entropy_backward(dloss, cache).reshape(shape)

    def lm_scale(self, targets, scale):
        """An input counts as its tags do together, so that the whole is a mean over inputs here too."""
        return scale * (targets != IGNORED).sum(1, keepdims=True)

    def read_targets(self, batch):
        return self.read_labels(batch, np.shape(needed(batch, "input_ids")), self.config.n_outputs, "tags are")


class SpanHead(Head):
    """The answer's first and last token: "start_positions" and "end_positions" (B,), both -100 in a row without an
    answer, and optionally "context_mask" (B, T), 1 where an answer may be. Without it every position may be one, as in
    transformers. The loss is the mean of the two cross-entropies over positions (Devlin et al. 2019, section 4.2)."""

    def logits_forward(self, x, inputs, B, drop=None):
        logits, cache = self.classify_forward(x, None)  # BERT's has no dropout here
        return (logits[..., 0].copy(), logits[..., 1].copy()), cache

    def logits_backward(self, dx, dlogits, cache, g):
        dx += self.classify_backward(self.xp.stack(dlogits, -1), cache, g)

    def task_loss(self, logits, targets, scale):
        starts, ends, context = targets
        mask = None if context is None else self.xp.asarray(context)
        start_loss, start_cache = self.softmax_loss(logits[0], starts, scale / 2, mask)
        end_loss, end_cache = self.softmax_loss(logits[1], ends, scale / 2, mask)
        return start_loss + end_loss, (start_cache, end_cache)

    def task_loss_backward(self, dloss, cache):
        return tuple(self.ops.at("loss").softmax_cross_entropy_backward(dloss, each) for each in cache)

    def read_targets(self, batch):
        """(starts (B,), ends (B,), context (B, T) bool or None)."""
        B, T = np.shape(needed(batch, "input_ids"))
        starts, ends = (host_array(name, needed(batch, name)) for name in ("start_positions", "end_positions"))
        context = batch.get("context_mask")
        context = None if context is None else host_array("context_mask", context, (B, T)) != 0
        for name, array in (("start_positions", starts), ("end_positions", ends)):
            if array.shape != (B,):
                raise InputError(f"{name} has shape {array.shape}; expected {(B,)}")
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
            if start == end == IGNORED:
                continue
            inside = 0 <= start <= end < T and (context is None or (context[row, start] and context[row, end]))
            if not inside:
                raise InputError(f"row {row}: the answer is from token {start} to {end}, outside its context; a row "
                                 f"without an answer has {IGNORED} twice")  # fmt: skip
        return starts, ends, context

    def count_targets(self, batch):
        return int((self.read_targets(batch)[0] != IGNORED).sum())


class ChoiceHead(Head):
    """One of R inputs, (B, R, T): "labels" (B,), the right one's number, -100 where there is none."""

    def logits_forward(self, x, inputs, B, drop=None):
        whole, whole_cache = self.whole_forward(x, inputs)
        logits, cache = self.classify_forward(whole, drop)
        return logits.reshape(B, -1), (whole_cache, cache)

    def logits_backward(self, dx, dlogits, cache, g):
        whole_cache, cache = cache
        self.whole_backward(dx, self.classify_backward(dlogits.reshape(-1, 1), cache, g), whole_cache, g)

    def task_loss(self, logits, targets, scale):
        return self.softmax_loss(logits, targets, scale)

    def task_loss_backward(self, dloss, cache):
        return self.ops.at("loss").softmax_cross_entropy_backward(dloss, cache)

    def read_targets(self, batch):
        shape = np.shape(needed(batch, "input_ids"))
        return self.read_labels(batch, shape[:1], shape[1], "choices are")


MODELS = {"sentence": SentenceHead, "tag": TagHead, "span": SpanHead, "choice": ChoiceHead}


def best_spans(starts, ends, context=None, longest=30):
    """(first, last, score), (B,) each: the span of at most `longest` tokens inside the context with the largest
    starts[first] + ends[last], first <= last (Devlin et al. 2019, section 4.2); of equal ones the first and shortest.

    starts, ends (B, T): what a span head's `logits` gives; context (B, T), 1 where an answer may be, or None.
    """
    xp = array_module(starts)
    B, T = starts.shape
    length = xp.arange(T) - xp.arange(T)[:, None] + 1  # (T, T): of the span from first (row) to last (column)
    allowed = (length >= 1) & (length <= longest)
    if context is not None:
        context = xp.asarray(context) != 0
        allowed = allowed & context[:, :, None] & context[:, None, :]  # (B, T, T)
    scores = xp.where(allowed, starts[:, :, None] + ends[:, None, :], -math.inf).reshape(B, T * T)
    best = scores.argmax(1)  # the first of equal ones
    return best // T, best % T, scores[xp.arange(B), best]
