"""Where the tensors of our GPT, and of a head on one, are in transformers' GPT-2 and OpenAI-GPT."""

from functools import partial

import numpy as np

from scratchgpt.check.lockstep.family import Family, check_names, draw_tokens, ignore_some, integers, written_out
from scratchgpt.check.lockstep.heads import draw_labelled, flat_inputs, head_batch, head_sites, task_loss
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED


def next_token_batch(model, batch):
    """The batch as arrays, with its labels, and which positions (B, T - 1) see a token; None if all do. Those that see
    none, before the first token of a row, are filled with different numbers by ours and by transformers."""
    check_names(batch, "input_ids", "attention_mask", "labels")
    ids, labels, mask = model.read_batch(batch)
    model.check_length(ids.shape[1] - 1)
    if not (labels[:, 1:] != IGNORED).any():
        raise InputError("the batch has no target: give rows of two tokens or more, and a label other than -100 after "
                         "the first")  # fmt: skip
    full = integers(input_ids=ids, labels=labels, attention_mask=mask)
    if mask is None:
        return full, None
    seen = np.maximum.accumulate(mask, 1)[:, :-1]
    if (labels[:, 1:] != IGNORED)[~seen].any():
        raise InputError("a row begins with padding and its first token is a target, predicted from nothing: "
                         "give it the label -100, or pad on the right")  # fmt: skip
    return full, None if seen.all() else seen


def next_token_loss(twin, batch):
    """Mean next-token cross-entropy, in the model's own precision (transformers' own loss rounds logits to float32).
    Like ours, it does not run the last position."""
    from torch.nn.functional import cross_entropy

    mask = batch.get("attention_mask")
    logits = twin(input_ids=batch["input_ids"][:, :-1], attention_mask=None if mask is None else mask[:, :-1]).logits
    return cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED)


def draw_text(config, length, rng):
    """Three rows of a token more than are run: a row ends in padding, some labels are ignored."""
    ids, mask = draw_tokens(config, (3, min(length, config.n_ctx) + 1), rng)
    labels = ignore_some(ids, mask, rng)
    labels[0, 1] = ids[0, 1]  # one target at least
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


BLOCK = "transformer.h.{i}."
BLOCK_SITES = {
    "blocks.{i}.ln1": BLOCK + "ln_1",
    "blocks.{i}.attn.qkv": BLOCK + "attn.c_attn",
    "blocks.{i}.attn.attention": {
        "q": BLOCK + "attn.c_attn:out:0/3",
        "k": BLOCK + "attn.c_attn:out:1/3",
        "v": BLOCK + "attn.c_attn:out:2/3",
        "out": BLOCK + "attn.c_proj:in",
    },
    "blocks.{i}.attn.out": BLOCK + "attn.c_proj",
    "blocks.{i}.ln2": BLOCK + "ln_2",
    "blocks.{i}.mlp.up": BLOCK + "mlp.c_fc",
    "blocks.{i}.mlp.gelu": {"x": BLOCK + "mlp.c_fc:out", "out": BLOCK + "mlp.c_proj:in"},
    "blocks.{i}.mlp.down": BLOCK + "mlp.c_proj",
}
EMBEDDING = {"embedding": {"out": "transformer.drop:in"}}
HEAD = {"head.cross_entropy": {"x": "lm_head:in", "out": "loss"}}


def body_sites(config):
    last = {"ln_f": "transformer.ln_f"} if config.norm_first else {}
    return EMBEDDING | written_out(BLOCK_SITES, config.n_layer) | last


CLASSIFIERS = {"sentence": "score", "tag": "classifier", "span": "qa_outputs", "choice": "multiple_choice_head.summary"}
GATHER = {"gather": {"wte": "taps.whole:out", "out": "taps.rows:out"}}
LM_LOSS = {"head.cross_entropy": {"x": "taps.lm:out", "out": "taps.lm_loss:out"}}


def gpt(config):
    if getattr(config, "task", None) is None:
        return Family(body_sites(config) | HEAD, next_token_batch, next_token_loss, draw_text)
    sites = body_sites(config) | (GATHER if config.task in ("sentence", "choice") else {})
    sites |= head_sites(config, CLASSIFIERS[config.task]) | (LM_LOSS if config.lm_weight else {})
    return Family(sites, head_batch, partial(head_loss, config), draw_labelled)


def head_loss(config, twin, batch):
    """The head's loss, and lm_weight times the language model's. The whole input is read off its last token that is not
    padding; transformers takes the last that is not pad_token_id, which need not be said of every model."""
    import torch

    from scratchgpt.check.lockstep.taps import tap

    inputs = flat_inputs(batch)
    x = twin.transformer(**inputs).last_hidden_state  # (B R, T, C)
    head = twin.get_submodule(CLASSIFIERS[config.task])
    if config.task in ("tag", "span"):
        logits = head(x)
    else:
        n, T = inputs["input_ids"].shape
        mask = inputs.get("attention_mask", torch.ones(n, T))
        last = T - 1 - mask.flip(1).argmax(1)
        rows = tap(twin, "rows", tap(twin, "whole", x)[torch.arange(n), last])  # (B R, C)
        if config.task == "sentence":
            rows = rows.view(len(batch["input_ids"]), -1, rows.shape[-1]).sum(1)
        logits = head(rows)
    loss = task_loss(twin, config, logits, batch)
    return loss + lm_loss(twin, config, x, inputs, batch) if config.lm_weight else loss


def lm_loss(twin, config, x, inputs, batch):
    """lm_weight times the mean over the inputs of each one's mean next-token loss. It is divided by the number of rows
    that have a label of the task, and each row's inputs share its part; of tags, an input counts as its tags do."""
    from torch.nn import functional as F

    from scratchgpt.check.lockstep.taps import tap

    ids = inputs["input_ids"]
    counted = inputs["attention_mask"][:, 1:] if "attention_mask" in inputs else (ids[:, 1:] >= 0).long()
    weight = twin.transformer.get_input_embeddings().weight if config.tied_head else twin.lm_head.weight
    logits = F.linear(tap(twin, "lm", x[:, :-1]), weight)
    losses = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none") * counted
    each = losses.sum(1) / counted.sum(1).clamp(min=1)  # (B R,)
    if config.task == "tag":
        each = each * (batch["labels"] != IGNORED).sum(1)
    mean = each.sum() / (len(ids) // len(batch["input_ids"]))
    return tap(twin, "lm_loss", config.lm_weight * mean / n_targets(config, batch))


def n_targets(config, batch):
    if config.task != "span" and config.problem != "single":
        return len(batch["input_ids"])
    return int((batch["start_positions" if config.task == "span" else "labels"] != IGNORED).sum())


FAMILIES = {"gpt2": gpt, "openai-gpt": gpt}
