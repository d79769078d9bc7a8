"""Where the tensors of our GPT are in transformers' GPT-2 and OpenAI-GPT.

Another family joins with such a map, under its model_type in FAMILIES. A map has one entry for each op of the model:
its name, `place` or `place.op` (layers are {i}), and where transformers has the same. That is a module, whose input is
the op's x and whose output is the op's out; or, where no module does just that, a place for each tensor: "MODULE:in",
"MODULE:out", or "MODULE:out:1/3", the second third of an output's columns.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED


class Family(NamedTuple):
    sites: dict  # op's name -> module, or {"out" or an argument's name: place}
    batch: Callable  # (our model, a batch as given) -> (it as arrays, the positions that are compared or None for all)
    loss: Callable  # (transformers' model, that batch as tensors) -> the loss that our model.loss computes


def next_token_batch(model, batch):
    """The batch as arrays, with its labels, and which positions (B, T - 1) see a token; None if all do. Those that see
    none, before the first token of a row, are filled with different numbers by ours and by transformers."""
    unknown = sorted(batch.keys() - {"input_ids", "attention_mask", "labels"})
    if unknown:
        raise InputError(f"the batch has {', '.join(unknown)}; expected input_ids, attention_mask, labels")
    ids, labels, mask = model.read_batch(batch)
    model.check_length(ids.shape[1] - 1)
    if not (labels[:, 1:] != IGNORED).any():
        raise InputError("the batch has no target: give rows of two tokens or more, and a label other than -100 after "
                         "the first")  # fmt: skip
    full = {"input_ids": ids.astype(np.int64), "labels": labels.astype(np.int64)}
    if mask is None:
        return full, None
    seen = np.maximum.accumulate(mask, 1)[:, :-1]
    if (labels[:, 1:] != IGNORED)[~seen].any():
        raise InputError("a row begins with padding and its first token is a target, predicted from nothing: "
                         "give it the label -100, or pad on the right")  # fmt: skip
    return full | {"attention_mask": mask.astype(np.int64)}, None if seen.all() else seen


def next_token_loss(twin, batch):
    """Mean next-token cross-entropy, in the model's own precision (transformers' own loss rounds logits to float32).
    Like ours, it does not run the last position."""
    from torch.nn.functional import cross_entropy

    mask = batch.get("attention_mask")
    logits = twin(input_ids=batch["input_ids"][:, :-1], attention_mask=None if mask is None else mask[:, :-1]).logits
    return cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED)


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

FAMILIES = {
    "gpt2": Family(EMBEDDING | BLOCK_SITES | {"ln_f": "transformer.ln_f"} | HEAD, next_token_batch, next_token_loss),
    "openai-gpt": Family(EMBEDDING | BLOCK_SITES | HEAD, next_token_batch, next_token_loss),
}
