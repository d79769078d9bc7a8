"""The directories of Mixtral."""

from dataclasses import replace

from scratchgpt.interop import llama


def settle(ours):
    """What is said of the mixture, "moe.top_k", is a configuration of its own."""
    moe = {name.removeprefix("moe."): value for name, value in ours.items() if name.startswith("moe.")}
    return {name: value for name, value in ours.items() if not name.startswith("moe.")} | {"moe": moe}


def experts(names):
    """The rows of the experts' weights, {our name: theirs}: each is a tensor of its own."""
    return tuple((f"blocks.{{i}}.mlp.experts.{mine}.weight[{{e}}]", f"model.layers.{{i}}.{theirs}.weight", False)
                 for mine, theirs in names.items())  # fmt: skip


MIXTRAL = replace(
    llama.LLAMA,
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    ours={"moe.scores": "softmax", "moe.n_shared": 0, "moe.n_groups": 1, "moe.top_groups": 1, "moe.normalise": True,
          "moe.scale": 1.0, "moe.n_dense": 0},
    table=(
        *llama.ENDS, *llama.NORMS, *llama.HEADS, *llama.weights({"mlp.router": "block_sparse_moe.gate"}),
        *experts({name: f"block_sparse_moe.experts.{{e}}.{theirs}"
                  for name, theirs in {"gate": "w1", "up": "w3", "down": "w2"}.items()}),
    ),
    fields=llama.LLAMA.fields | {
        "max_position_embeddings": ("n_ctx", 131072), "num_key_value_heads": ("n_kv_head", 8),
        "intermediate_size": ("moe.n_inner", 14336), "rope_theta": ("rotary_base", 1e6),
        "rms_norm_eps": ("layer_norm_eps", 1e-5), "num_local_experts": ("moe.n_experts", 8),
        "num_experts_per_tok": ("moe.top_k", 2), "router_aux_loss_coef": ("moe.balance", 0.001),
    },
    unsaid={"dropout": 0.0, "n_inner": 14336},  # every feed-forward is a mixture
    settle=settle,
    also=lambda config, tokenizer: llama.also(config, tokenizer) | {"output_router_logits": bool(config.moe.balance)},
    required={"rope_type": "default", "sliding_window": None, "router_jitter_noise": 0.0},
)  # fmt: skip
LAYOUTS = (MIXTRAL,)
