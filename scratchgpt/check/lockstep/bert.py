"""Where the tensors of our BERT, RoBERTa and SpanBERT, and of heads on them, are in transformers."""

from functools import partial

import numpy as np

from scratchgpt.check.lockstep import family
from scratchgpt.check.lockstep.family import (
    Family,
    changed,
    check_names,
    check_padding,
    draw_padded,
    integers,
    written_out,
)
from scratchgpt.check.lockstep.heads import draw_labelled, flat_inputs, head_batch, head_sites, task_loss
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.models.heads import HeadConfig

WORDS, POSITIONS = "embeddings.word_embeddings:out", "embeddings.position_embeddings:out"
LAYER = "encoder.layer.{i}."
SELF = LAYER + "attention.self."
BLOCK_SITES = {
    "blocks.{i}.attn.q": SELF + "query",
    "blocks.{i}.attn.k": SELF + "key",
    "blocks.{i}.attn.v": SELF + "value",
    "blocks.{i}.attn.attention": {name: SELF + f"taps.{name}:out" for name in ("q", "k", "v", "out")},
    "blocks.{i}.attn.out": LAYER + "attention.output.dense",
    "blocks.{i}.ln1": LAYER + "attention.output.LayerNorm",
    "blocks.{i}.mlp.up": LAYER + "intermediate.dense",
    "blocks.{i}.mlp.ACT": {"x": LAYER + "intermediate.dense:out", "out": LAYER + "output.dense:in"},
    "blocks.{i}.mlp.down": LAYER + "output.dense",
    "blocks.{i}.ln2": LAYER + "output.LayerNorm",
}
BOUNDARY = "span_boundary."
SPAN_SITES = {  # left, right, and the place in the span; then two dense layers
    "span": {"wte": "taps.left:out", "out": BOUNDARY + "taps.left:out"},
    "span[2]": {"wte": "taps.right:out", "out": BOUNDARY + "taps.right:out"},
    "span[3]": {"out": BOUNDARY + "taps.place:out"},
    "span.up": BOUNDARY + "up",
    "span.up.gelu": {"x": BOUNDARY + "up:out", "out": BOUNDARY + "ln1:in"},
    "span.up.layer_norm": BOUNDARY + "ln1",
    "span.down": BOUNDARY + "down",
    "span.down.gelu": {"x": BOUNDARY + "down:out", "out": BOUNDARY + "ln2:in"},
    "span.down.layer_norm": BOUNDARY + "ln2",
    "span.cross_entropy": {"x": BOUNDARY + "ln2:out", "out": "taps.span_loss:out"},
}
NO_TWIN = "transformers has no span boundary head: its twin is one in PyTorch, check/lockstep/absent.py"


def act(activation):
    """The op of an activation."""
    return "gelu" if activation == "gelu_tanh" else activation


def prefixed(sites, prefix):
    """A map of a base model, where that stands in another under a name."""

    def within(place):
        return " + ".join(prefix + part for part in place.split(" + "))

    return {site: changed(where, within) for site, where in sites.items()}


def body_sites(config, prefix):
    """The embeddings and the blocks."""
    if config.by_padding:
        sites = {"embedding": {"out": WORDS}, "embedding[2]": {"out": POSITIONS}}
    else:
        sites = {"embedding": {"out": f"{WORDS} + {POSITIONS}"}}
    if config.n_segments:
        sites["segments"] = {"out": "embeddings.token_type_embeddings:out"}
    sites["ln_embed"] = "embeddings.LayerNorm"
    blocks = {site.replace("ACT", act(config.activation)): where for site, where in BLOCK_SITES.items()}
    return prefixed(sites | written_out(blocks, config.n_layer), prefix)


def dense_sites(at, dense, activation, norm):
    """A linear map, an activation and a norm that stand at one place; at: its name."""
    return {
        f"{at}.linear": dense,
        f"{at}.{act(activation)}": {"x": f"{dense}:out", "out": f"{norm}:in"},
        f"{at}.layer_norm": norm,
    }


def objective_sites(config):
    """What the objectives add."""
    head, dense, norm = "cls.predictions.", "transform.dense", "transform.LayerNorm"
    if config.by_padding:
        head, dense, norm = "lm_head.", "dense", "layer_norm"
    sites = {}
    if config.mlm:
        sites["mlm.embedding"] = {"wte": "taps.mlm:out", "out": f"{head}{dense}:in"}
        sites |= dense_sites("mlm", head + dense, config.head_activation, head + norm)
        sites["mlm.cross_entropy"] = {"x": f"{head}decoder:in", "out": "taps.mlm_loss:out"}
    if config.nsp:
        logits = "cls.seq_relationship"
        sites |= {"nsp": logits}
        sites["nsp.softmax_cross_entropy"] = {"logits": f"{logits}:out", "out": "taps.nsp_loss:out"}
    return sites | (SPAN_SITES if config.n_span else {})


def pooler_sites(dense, out):
    return {"pooler": dense, "pooler.tanh": {"x": f"{dense}:out", "out": out}}


def bert(config):
    """The Family of a BERT, RoBERTa or SpanBERT: an encoder alone, as pretrained, or with a head."""
    alone = not isinstance(config, HeadConfig) and not config.objectives
    prefix = "" if alone else "roberta." if config.by_padding else "bert."
    sites = body_sites(config, prefix)
    if isinstance(config, HeadConfig):
        return with_head(config, sites, prefix)
    if config.pooler:
        sites |= pooler_sites(f"{prefix}pooler.dense", f"{prefix}pooler.activation:out")
    if alone:
        return Family(
            sites, encoder_batch, encoder_loss, draw_encoded, encoder_pass, "tapped",
            lacks={} if config.pooler else {"pooler": no_pooler}, notes=(family.OUTSIDE,),
        )  # fmt: skip
    sites |= objective_sites(config)
    lacks = {f"{prefix}pooler": new_pooler} if config.pooler and not config.nsp else {}
    lacks |= {"span_boundary": new_boundary} if config.n_span else {}
    if config.pooler and not config.nsp:
        sites = {site: where for site, where in sites.items() if not site.startswith("pooler")}  # ours never runs it
    notes = (NO_TWIN,) if config.n_span else ()
    return Family(sites, pretraining_batch, pretraining_loss, draw_masked, attention="tapped", lacks=lacks, notes=notes)


def with_head(config, sites, prefix):
    classifier = "qa_outputs" if config.task == "span" else "classifier"
    if config.task == "sentence" and config.by_padding:
        classifier = "classifier.out_proj"
        sites |= pooler_sites("classifier.dense", "classifier.out_proj:in")
    elif config.pooler:
        sites |= pooler_sites(f"{prefix}pooler.dense", f"{prefix}pooler.activation:out")
    if config.task == "sentence":  # the inputs of a row are added before the classifier sees them
        sites["pooler.tanh"]["out"] = "taps.pooled:out"
    sites |= head_sites(config, classifier)
    draw = partial(draw_labelled, draw=draw_padded)
    return Family(sites, head_batch, partial(head_loss, config), draw, attention="tapped")


# ---- as pretrained


def pretraining_batch(model, batch):
    check_names(batch, "input_ids", "attention_mask", "token_type_ids", "labels", "next_sentence_label")
    (ids, mask, segments), labels, follows = model.read_batch(batch)
    check_padding(mask)
    if not model.count(labels, follows).all():
        raise InputError(f"the batch has no target for {' or '.join(model.config.objectives)}; give labels other than "
                         "-100 for each" + (", with a token on both sides" if model.config.n_span else ""))  # fmt: skip
    full = integers(input_ids=ids, attention_mask=mask, token_type_ids=segments, labels=labels)
    return full | integers(next_sentence_label=follows), None


def pretraining_loss(twin, batch):
    """The sum of what the model predicts. transformers runs the masked LM head on every position; here it sees the rows
    that have a target, as ours does."""
    from torch.nn.functional import cross_entropy

    from scratchgpt.check.lockstep.taps import tap

    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
    out, losses = twin.base_model(**inputs), []
    x, cls, labels = out.last_hidden_state, getattr(twin, "cls", None), batch.get("labels")
    predict = getattr(twin, "lm_head", None) or getattr(cls, "predictions", None)
    if predict is not None:
        chosen = labels != IGNORED
        loss = cross_entropy(predict(tap(twin, "mlm", x)[chosen]), labels[chosen])
        losses.append(tap(twin, "mlm_loss", loss))
    if hasattr(cls, "seq_relationship"):
        logits = cls.seq_relationship(out.pooler_output)
        loss = cross_entropy(logits, batch["next_sentence_label"], ignore_index=IGNORED)
        losses.append(tap(twin, "nsp_loss", loss))
    if hasattr(twin, "span_boundary"):
        loss = twin.span_boundary(twin, x, labels, twin.get_input_embeddings().weight)
        losses.append(tap(twin, "span_loss", loss))
    return sum(losses)


def draw_encoded(config, length, rng):
    length = min(length, config.n_ctx)
    ids, mask = draw_padded(config, (3, length), rng)
    batch = {"input_ids": ids, "attention_mask": mask}
    if config.n_segments > 1:
        batch["token_type_ids"] = (np.arange(length) >= length // 2) * mask
    return batch


def draw_masked(config, length, rng):
    """With two masked spans in each row, the second of one token, and the answers to next sentence prediction."""
    batch = draw_encoded(config, length, rng)
    ids, n = batch["input_ids"], min(length, config.n_ctx)
    columns = np.arange(n)
    masked = ((columns >= 1) & (columns <= n // 4)) | (columns == n // 2)
    if config.mlm or config.n_span:
        batch["labels"] = np.where(masked & (batch["attention_mask"] == 1), ids, IGNORED)
        batch["input_ids"] = np.where(masked & (rng.random(ids.shape) < 0.8), config.vocab_size - 1, ids)
    if config.nsp:
        batch["next_sentence_label"] = np.array([1, 0, 1])
    return batch


def new_pooler(twin):
    """Published files of masked language models hold a pooler, which ours loads, transformers passes over, and nothing
    trains."""
    from transformers.models.bert.modeling_bert import BertPooler

    return BertPooler(twin.config)


def no_pooler(twin):
    """transformers gives every encoder a pooler; a file need not have one."""


def new_boundary(twin):
    from scratchgpt.check.lockstep.absent import SpanBoundary

    return SpanBoundary(twin.config)


# ---- with a head


def head_loss(config, twin, batch):
    from torch import tanh

    from scratchgpt.check.lockstep.taps import tap

    out = twin.base_model(**flat_inputs(batch))
    if config.task in ("tag", "span"):
        head = twin.qa_outputs if config.task == "span" else twin.classifier
        return task_loss(twin, config, head(out.last_hidden_state), batch)
    if config.task == "choice":
        return task_loss(twin, config, twin.classifier(out.pooler_output), batch)
    head = twin.classifier
    if config.by_padding:  # RoBERTa's pooler stands in its head
        pooled, head = tanh(head.dense(out.last_hidden_state[:, 0])), head.out_proj
    else:
        pooled = out.pooler_output
    pooled = tap(twin, "pooled", pooled).view(len(batch["input_ids"]), -1, pooled.shape[-1]).sum(1)
    return task_loss(twin, config, head(pooled), batch)


# ---- an encoder alone


def encoder_batch(model, batch):
    check_names(batch, "input_ids", "attention_mask", "token_type_ids")
    ids, mask, segments = model.read_inputs(batch)
    check_padding(mask)
    return integers(input_ids=ids, attention_mask=mask, token_type_ids=segments), None


def encoder_pass(model, batch):
    x, caches = model.hidden(*model.read_inputs(batch))
    dx = outside_of(model, x)
    if model.config.pooler:
        pooled, cache = model.pool_forward(x)
        model.pool_backward(dx, outside_of(model, pooled), cache, model.params.g)
    model.hidden_backward(dx, caches, model.params.g)


def outside_of(model, x):
    return family.outside(x.shape).astype(model.params.dtype)


def encoder_loss(twin, batch):
    import torch

    out = twin(**batch)
    given = [out.last_hidden_state] + ([out.pooler_output] if twin.pooler is not None else [])
    return sum((x * torch.from_numpy(family.outside(x.shape))).sum() for x in given)


FAMILIES = {"bert": bert, "roberta": bert}
