"""The directories of Llama."""

from scratchgpt.interop.layout import Layout
from scratchgpt.models.llama import Llama, LlamaConfig, parameter_spec


def weights(names, ours="blocks.{i}.", theirs="model.layers.{i}."):
    """The rows of weights, {our name: theirs}, in each block."""
    return tuple((f"{ours}{mine}.weight", f"{theirs}{its}.weight", False) for mine, its in names.items())


ENDS = (
    ("wte", "model.embed_tokens.weight", False),
    ("ln_f.weight", "model.norm.weight", False),
    ("head.weight", "lm_head.weight", False),
)
NORMS = weights({"ln1": "input_layernorm", "ln2": "post_attention_layernorm"})
HEADS = weights({
    "attn.q": "self_attn.q_proj", "attn.k": "self_attn.k_proj", "attn.v": "self_attn.v_proj",
    "attn.out": "self_attn.o_proj",
})  # fmt: skip
FEED_FORWARD = weights({"mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj"})


def flat(values):
    """Rotary positions under keys of their own: transformers 5 keeps them in rope_parameters; before, rope_theta stood
    by itself, and rope_scaling said what else was done to them, by "type" at first."""
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    rope = rope if isinstance(rope, dict) else {"type": rope}
    theta = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    return values | theta | {"rope_type": rope.get("rope_type", rope.get("type", "default"))}


def also(config, tokenizer):
    """transformers' own bos and eos, 1 and 2, are Llama's tokenizer's."""
    return {
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rotary_base},
        "bos_token_id": None,
        "eos_token_id": None,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
    }


LLAMA = Layout(
    model_type="llama",
    architecture="LlamaForCausalLM",
    model=Llama,
    config=LlamaConfig,
    spec=parameter_spec,
    ours={"moe": None},
    table=(*ENDS, *NORMS, *HEADS, *FEED_FORWARD),
    fields={
        "vocab_size": ("vocab_size", 32000), "max_position_embeddings": ("n_ctx", 2048),
        "num_hidden_layers": ("n_layer", 32), "num_attention_heads": ("n_head", 32),
        "num_key_value_heads": ("n_kv_head", None), "head_dim": ("head_width", None), "hidden_size": ("n_embd", 4096),
        "intermediate_size": ("n_inner", 11008), "rope_theta": ("rotary_base", 10000.0),
        "rms_norm_eps": ("layer_norm_eps", 1e-6), "tie_word_embeddings": ("tied_head", False),
    },
    activation_key="hidden_act",
    activations={
        "silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu": "gelu",
        "relu": "relu",
    },
    unsaid={"dropout": 0.0},
    flat=flat,
    also=also,
    required={"rope_type": "default", "attention_bias": False, "mlp_bias": False},
    tied={"lm_head.weight": "wte"},
    buffers=r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
    prefix="model.",
)  # fmt: skip
LAYOUTS = (LLAMA,)
