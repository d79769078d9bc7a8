"""The directories of T5, versions 1.0 and 1.1: the whole model, and the encoder alone."""

from dataclasses import replace

from scratchgpt.interop.layout import Layout
from scratchgpt.models.t5 import T5, T5Config, parameter_spec


def weight(ours, theirs):
    return (f"{ours}.weight", f"{theirs}.weight", False)


def stack(name, parts):
    """The rows of the encoder or the decoder; parts: their names of a block's layers, in order, by ours."""
    rows = [
        (f"{name}.relative", f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", False),
        weight(f"{name}.ln_f", f"{name}.final_layer_norm"),
    ]
    for number, (norm, part, theirs, maps) in enumerate(parts):
        ours, layer = f"{name}.blocks.{{i}}", f"{name}.block.{{i}}.layer.{number}"
        rows.append(weight(f"{ours}.{norm}", f"{layer}.layer_norm"))
        rows += [weight(f"{ours}.{part}.{mine}", f"{layer}.{theirs}.{its}") for mine, its in maps.items()]
    return tuple(rows)


HEADS = {"q": "q", "k": "k", "v": "v", "out": "o"}
SELF = ("ln1", "attn", "SelfAttention", HEADS)
CROSS = ("ln_cross", "cross", "EncDecAttention", HEADS)
PLAIN = ("ln2", "mlp", "DenseReluDense", {"up": "wi", "down": "wo"})
GATED = ("ln2", "mlp", "DenseReluDense", {"gate": "wi_0", "up": "wi_1", "down": "wo"})


def table(feed_forward):
    encoder, decoder = stack("encoder", (SELF, feed_forward)), stack("decoder", (SELF, CROSS, feed_forward))
    return (("wte", "shared.weight", False), *encoder, *decoder, weight("head", "lm_head"))


def settle(ours):
    """A head of its own is said by either of two keys: tie_word_embeddings, or, where transformers 5 wrote the file and
    forced that one to be true, scale_decoder_outputs. Nothing else need be said of an encoder alone."""
    settled = ours | {"tied_head": ours["tied_head"] and ours["scaled"]}
    if not ours["decodes"]:
        settled["n_decoder_layer"] = 0
    del settled["scaled"], settled["decodes"]
    return settled


def also(config, tokenizer):
    return {"is_encoder_decoder": config.decodes, "initializer_factor": 1.0}


PLAIN_MODEL = Layout(
    model_type="t5",
    architecture="T5ForConditionalGeneration",
    model=T5,
    config=T5Config,
    spec=parameter_spec,
    ours={"gated": False, "decodes": True},
    table=table(PLAIN),
    fields={
        "vocab_size": ("vocab_size", 32128), "n_positions": ("n_ctx", 512), "num_layers": ("n_layer", 6),
        "num_decoder_layers": ("n_decoder_layer", None), "num_heads": ("n_head", 8), "d_model": ("n_embd", 512),
        "d_kv": ("head_width", 64), "d_ff": ("n_inner", 2048), "relative_attention_num_buckets": ("n_buckets", 32),
        "relative_attention_max_distance": ("max_distance", 128), "layer_norm_epsilon": ("layer_norm_eps", 1e-6),
        "dropout_rate": ("dropout", 0.1), "pad_token_id": ("pad_id", 0), "eos_token_id": ("eos_id", 1),
        "decoder_start_token_id": ("start_id", 0), "tie_word_embeddings": ("tied_head", True),
        "scale_decoder_outputs": ("scaled", True),
    },
    activation_key="feed_forward_proj",
    activations={"relu": "relu", "gelu_new": "gelu_tanh", "gelu": "gelu", "silu": "silu"},
    settle=settle,
    also=also,
    required={"is_decoder": False},
    tied={"encoder.embed_tokens.weight": "wte", "decoder.embed_tokens.weight": "wte", "lm_head.weight": "wte"},
    buffers=r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
)  # fmt: skip
GATED_MODEL = replace(
    PLAIN_MODEL,
    ours={"gated": True, "decodes": True},
    table=table(GATED),
    activations={  # "gated-gelu" is the tanh one
        "gated-gelu": "gelu_tanh", "gated-gelu_new": "gelu_tanh", "gated-gelu_python": "gelu", "gated-silu": "silu",
        "gated-relu": "relu",
    },
)  # fmt: skip
ENCODERS = tuple(
    replace(layout, architecture="T5EncoderModel", ours=layout.ours | {"decodes": False})
    for layout in (PLAIN_MODEL, GATED_MODEL)
)
LAYOUTS = (PLAIN_MODEL, GATED_MODEL, *ENCODERS)
