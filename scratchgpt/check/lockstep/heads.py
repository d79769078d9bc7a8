"""Heads of finetuning: what stands on a BERT, a RoBERTa or a GPT, see models/heads.py."""

import numpy as np

from scratchgpt.check.lockstep.family import check_names, check_padding, draw_tokens, integers
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LABELS = ("labels", "start_positions", "end_positions", "context_mask")


def head_sites(config, classifier):
    """The map of a head; classifier: the module that gives its logits."""
    if config.task == "span":
        names = {"loss": ("0:1", "start_loss"), "loss[2]": ("1:2", "end_loss")}
        losses = {site: {"logits": f"{classifier}:out:{column}", "out": f"taps.{loss}:out"}
                  for site, (column, loss) in names.items()}  # fmt: skip
    else:
        logits = "x" if config.problem == "regression" else "logits"
        losses = {"loss": {logits: f"{classifier}:out", "out": "taps.loss:out"}}
    return {"classifier": classifier} | losses


def head_batch(model, batch):
    """The batch as arrays, checked by the model itself; every position is compared."""
    check_names(batch, *INPUTS, *LABELS)
    (ids, mask, segments), _, _ = model.read_inputs(batch)
    if model.count_targets(batch) == 0:
        raise InputError("the batch has no target; give a label other than -100")
    check_padding(mask)
    shape = np.shape(batch["input_ids"])
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    full = integers(**{name: None if array is None else array.reshape(shape) for name, array in inputs.items()})
    for name in LABELS:
        if batch.get(name) is not None:
            labels = np.asarray(batch[name])
            full[name] = labels if labels.dtype.kind == "f" else labels.astype(np.int64)
    if model.on_gpt and mask is not None and (np.diff(mask.astype(int), axis=1) > 0).any():
        raise InputError("a row begins with padding, where a GPT attends to nothing; pad on the right")
    return full, None


def draw_labelled(config, length, rng, draw=draw_tokens):
    """A batch with labels for the task, one of them ignored."""
    R, B = (2, 2) if config.task == "choice" else (1, 3)
    length = min(length, config.n_ctx)
    ids, mask = draw(config, (B * R, length), rng)
    batch = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "n_segments", 0) > 1:
        batch["token_type_ids"] = (np.arange(length) >= length // 2) * mask
    if config.task == "choice":
        batch = {name: array.reshape(B, R, length) for name, array in batch.items()}
        return batch | {"labels": np.array([1, IGNORED])}
    if config.task == "span":
        context = (np.arange(length) > 0) * mask
        starts, ends = np.array([1, 1, IGNORED]), np.array([1, length // 2, IGNORED])
        return batch | {"start_positions": starts, "end_positions": ends, "context_mask": context}
    if config.task == "tag":
        labels = rng.integers(0, config.n_outputs, ids.shape)
        return batch | {"labels": np.where((rng.random(ids.shape) < 0.3) | (mask == 0), IGNORED, labels)}
    labels = {
        "single": lambda: np.array([IGNORED, *rng.integers(0, config.n_outputs, B - 1)]),
        "multi": lambda: rng.integers(0, 2, (B, config.n_outputs)),
        "regression": lambda: rng.standard_normal((B, config.n_outputs)).round(2),
    }
    return batch | {"labels": labels[config.problem]()}


def flat_inputs(batch):
    """{name: (B R, T)} of what the backbone reads."""
    return {name: batch[name].flatten(0, -2) for name in INPUTS if name in batch}


def task_loss(twin, config, logits, batch):
    """The loss of logits, as they come from the classifier: (B, n), (B, T, n) or (B R, 1)."""
    from torch.nn import functional as F

    from scratchgpt.check.lockstep.taps import tap

    def mean(logits, targets):
        total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        return total / (targets != IGNORED).sum()

    if config.task == "span":
        columns = zip(("start", "end"), logits.unbind(-1))
        hidden = batch["context_mask"] == 0 if "context_mask" in batch else None
        return sum(
            tap(twin, f"{end}_loss", mean_span(each, batch[f"{end}_positions"], hidden) / 2) for end, each in columns
        )
    labels = batch["labels"]
    if config.problem == "single":
        loss = mean(logits.reshape(labels.numel(), -1), labels.flatten())
    else:
        of = F.binary_cross_entropy_with_logits if config.problem == "multi" else F.mse_loss
        loss = of(logits, labels.reshape(logits.shape).to(logits.dtype))
    return tap(twin, "loss", loss)


def mean_span(logits, targets, hidden):
    """Cross-entropy over positions, in the rows that have an answer."""
    from torch.nn import functional as F

    if hidden is not None:
        logits = logits.masked_fill(hidden, float("-inf"))
    answered = targets != IGNORED
    return F.cross_entropy(logits[answered], targets[answered])
