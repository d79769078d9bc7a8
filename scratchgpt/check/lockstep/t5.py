"""Where the tensors of our T5, version 1.0 and 1.1, are in transformers: the whole model, or the encoder alone."""

from functools import partial

import numpy as np

from scratchgpt.check.lockstep import family
from scratchgpt.check.lockstep.bert import act
from scratchgpt.check.lockstep.family import Family, check_names, check_padding, draw_padded, integers, written_out
from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED

NOTE = "without transformers' casts to float32 in the norms"


def attention_sites(ours, theirs, bias):
    """bias: whether its scores have one."""
    maps = {f"{ours}.{mine}": f"{theirs}.{its}" for mine, its in zip(("q", "k", "v", "out"), "qkvo")}
    tapped = ("q", "k", "v", "out") + (("bias",) if bias else ())
    return maps | {f"{ours}.attention": {name: f"{theirs}.taps.{name}:out" for name in tapped}}


def block_sites(stack, config):
    """A block of the encoder or the decoder: their layers of a block have numbers."""
    ours, theirs = f"{stack}.blocks.{{i}}.", f"{stack}.block.{{i}}.layer."
    sites = {ours + "ln1": theirs + "0.layer_norm"} | attention_sites(ours + "attn", theirs + "0.SelfAttention", True)
    number = 1
    if stack == "decoder":
        sites[ours + "ln_cross"] = theirs + "1.layer_norm"
        sites |= attention_sites(ours + "cross", theirs + "1.EncDecAttention", False)
        number = 2
    sites[ours + "ln2"] = f"{theirs}{number}.layer_norm"
    mlp = f"{theirs}{number}.DenseReluDense."
    if config.gated:
        sites |= {ours + "mlp.up": mlp + "wi_1", ours + "mlp.gate": mlp + "wi_0"}
        sites[ours + "mlp.glu"] = {"gate": mlp + "wi_0:out", "up": mlp + "wi_1:out", "out": mlp + "wo:in"}
    else:
        sites[ours + "mlp.up"] = mlp + "wi"
        sites[f"{ours}mlp.{act(config.activation)}"] = {"x": mlp + "wi:out", "out": mlp + "wo:in"}
    return sites | {ours + "mlp.down": mlp + "wo"}


def stack_sites(stack, config, n_layer):
    return {
        f"{stack}.embedding": {"out": f"{stack}.embed_tokens:out"},
        f"{stack}.relative": {"out": f"{stack}.block.0.layer.0.SelfAttention.taps.relative:out"},
        **written_out(block_sites(stack, config), n_layer),
        f"{stack}.ln_f": f"{stack}.final_layer_norm",
    }


SUMS = {  # every block adds its share
    "encoder.relative": r"encoder\.blocks\.\d+\.attn\.attention\.bias",
    "decoder.relative": r"decoder\.blocks\.\d+\.attn\.attention\.bias",
    "encoder.ln_f": r"decoder\.blocks\.\d+\.cross\.[kv]\.x",
}


def t5(config):
    sites = stack_sites("encoder", config, config.n_layer)
    if not config.decodes:
        return Family(sites, encoder_batch, encoder_loss, draw_encoded, encoder_pass, "tapped",
                      sums=SUMS, notes=(NOTE, family.OUTSIDE))  # fmt: skip
    sites |= stack_sites("decoder", config, config.decoder_layers)
    sites |= {"head.cross_entropy": {"x": "lm_head:in", "out": "loss"}}
    loss = partial(output_loss, config)
    return Family(sites, output_batch, loss, draw_output, attention="tapped", sums=SUMS, notes=(NOTE,))


def output_batch(model, batch):
    check_names(batch, "input_ids", "attention_mask", "labels", "decoder_input_ids")
    ids, mask, _, labels = model.read_batch(batch)
    check_padding(mask)
    if not (labels != IGNORED).any():
        raise InputError("the batch has no target: give a label other than -100")
    return integers(input_ids=ids, attention_mask=mask, labels=labels,
                    decoder_input_ids=batch.get("decoder_input_ids")), None  # fmt: skip


def output_loss(config, twin, batch):
    from torch.nn.functional import cross_entropy

    labels = batch["labels"]
    inputs = {name: array for name, array in batch.items() if name != "labels"}
    inputs.setdefault("decoder_input_ids", twin._shift_right(labels))
    return cross_entropy(twin(**inputs).logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def draw_encoded(config, length, rng):
    ids, mask = draw_padded(config, (3, min(length, config.n_ctx)), rng)
    return {"input_ids": ids, "attention_mask": mask}


def draw_output(config, length, rng):
    """An output shorter than the input, and one that ends early."""
    labels = rng.integers(0, config.vocab_size, (3, max(2, min(length, config.n_ctx) * 2 // 3)))
    labels[2, labels.shape[1] // 2 :] = IGNORED
    return draw_encoded(config, length, rng) | {"labels": labels}


# ---- the encoder alone


def encoder_batch(model, batch):
    check_names(batch, "input_ids", "attention_mask")
    ids, mask = model.read_inputs(batch)
    check_padding(mask)
    return integers(input_ids=ids, attention_mask=mask), None


def encoder_pass(model, batch):
    x, caches = model.stack_forward("encoder", *model.read_inputs(batch))
    dx = family.outside(x.shape).astype(model.params.dtype)
    model.stack_backward("encoder", dx, caches, model.params.g)


def encoder_loss(twin, batch):
    import torch

    x = twin(**batch).last_hidden_state
    return (x * torch.from_numpy(family.outside(np.shape(x)))).sum()


FAMILIES = {"t5": t5}
