"""The directories of DeepSeek-V3. How far an update moves the biases on the choice of experts, transformers has no key
for: it stands under one of ours, bias_update_speed."""

from dataclasses import replace

from scratchgpt.interop import llama
from scratchgpt.interop.mixtral import experts, settle
from scratchgpt.models.llama import DeepSeekConfig

LATENT = llama.weights({
    "attn.q": "self_attn.q_proj", "attn.q_down": "self_attn.q_a_proj", "attn.q_norm": "self_attn.q_a_layernorm",
    "attn.q_up": "self_attn.q_b_proj", "attn.kv_down": "self_attn.kv_a_proj_with_mqa",
    "attn.kv_norm": "self_attn.kv_a_layernorm", "attn.kv_up": "self_attn.kv_b_proj", "attn.out": "self_attn.o_proj",
})  # fmt: skip
MAPS = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


def flat(values):
    """A q_lora_rank that is null says that there is no such latent; one that is not there, the published width."""
    return llama.flat({"q_lora_rank": 1536} | values)


def also(config, tokenizer):
    return llama.also(config, tokenizer) | {"num_key_value_heads": config.n_head, "num_nextn_predict_layers": 0}


DEEPSEEK = replace(
    llama.LLAMA,
    model_type="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    config=DeepSeekConfig,
    ours={"moe.scores": "sigmoid"},
    table=(
        *llama.ENDS, *llama.NORMS, *LATENT, *llama.FEED_FORWARD, *llama.weights({"mlp.router": "mlp.gate"}),
        ("blocks.{i}.mlp.router.balance_bias", "model.layers.{i}.mlp.gate.e_score_correction_bias", False),
        *experts({name: f"mlp.experts.{{e}}.{theirs}" for name, theirs in MAPS.items()}),
        *llama.weights({f"mlp.shared.{name}": f"mlp.shared_experts.{theirs}" for name, theirs in MAPS.items()}),
    ),
    fields={
        "vocab_size": ("vocab_size", 129280), "max_position_embeddings": ("n_ctx", 4096),
        "num_hidden_layers": ("n_layer", 61), "num_attention_heads": ("n_head", 128), "hidden_size": ("n_embd", 7168),
        "intermediate_size": ("n_inner", 18432), "rope_theta": ("rotary_base", 10000.0),
        "rope_interleave": ("rotary_interleaved", True), "rms_norm_eps": ("layer_norm_eps", 1e-6),
        "tie_word_embeddings": ("tied_head", False), "q_lora_rank": ("q_rank", None), "kv_lora_rank": ("kv_rank", 512),
        "qk_nope_head_dim": ("still_width", 128), "qk_rope_head_dim": ("turned_width", 64),
        "v_head_dim": ("value_width", 128), "n_routed_experts": ("moe.n_experts", 256),
        "num_experts_per_tok": ("moe.top_k", 8), "moe_intermediate_size": ("moe.n_inner", 2048),
        "n_shared_experts": ("moe.n_shared", 1), "n_group": ("moe.n_groups", 8), "topk_group": ("moe.top_groups", 4),
        "norm_topk_prob": ("moe.normalise", True), "routed_scaling_factor": ("moe.scale", 2.5),
        "first_k_dense_replace": ("moe.n_dense", 3), "bias_update_speed": ("moe.balance", 0.001),
    },
    flat=flat,
    settle=settle,
    also=also,
    required={"rope_type": "default", "attention_bias": False},
)  # fmt: skip
LAYOUTS = (DEEPSEEK,)
