"""Llama (Touvron et al. 2023), and what was made of it: Mixtral (Jiang et al. 2024) and DeepSeek-V3 (DeepSeek-AI 2024).

They are GPTs: only their configurations differ, and what parameters these make. None has biases; each has RMSNorm,
rotary positions in the place of learned ones, and a gate in the feed-forward.

    Llama        heads of keys and values that several heads of queries share
    Mixtral      that, with a mixture of experts in each block: a LlamaConfig with `moe`
    DeepSeek-V3  keys and values from a narrow latent, and after the first blocks a mixture of many small experts
"""

import math
from dataclasses import dataclass, replace

from scratchgpt import blocks
from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, count_parts
from scratchgpt.models.moe import MoEConfig, moe_from, moe_spec
from scratchgpt.params import ONES


@dataclass(frozen=True)
class DecoderConfig(blocks.BlockConfig):
    """What the configurations of this family have in common."""

    vocab_size: int = 32000
    n_ctx: int = 2048  # the longest context; positions are relative, so this is a choice
    n_layer: int = 32
    n_head: int = 32
    n_embd: int = 4096  # model width C
    n_inner: int = 11008  # width inside the feed-forward
    activation: str = "silu"  # of the gate: "silu", "gelu_tanh", "gelu" (exact) or "relu"
    rotary_base: float = 10000.0
    layer_norm_eps: float = 1e-6  # of the RMSNorms
    tied_head: bool = False  # the output head is the token embedding
    dropout: float = 0.0  # on the embedding and on each residual branch
    moe: MoEConfig | None = None  # mixtures of experts in place of the feed-forwards

    def __post_init__(self):
        for name in ("vocab_size", "n_ctx", "n_layer", "n_head", "n_embd", "n_inner", *self.widths):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.activation not in ("silu", "gelu_tanh", "gelu", "relu"):
            raise InputError(f"activation is {self.activation!r}; expected silu, gelu_tanh, gelu or relu")
        if not self.rotary_base > 0:
            raise InputError(f"rotary_base is {self.rotary_base}; expected more than 0")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; expected 0 <= dropout < 1")
        moe = moe_from(self.moe)  # a dict where it comes from a file
        if moe and moe.n_dense >= self.n_layer:
            raise InputError(f"moe n_dense is {moe.n_dense}; expected fewer than n_layer, {self.n_layer}")
        if moe:
            moe = replace(moe, n_inner=moe.inner(self.n_inner), balance=moe.strength)
        object.__setattr__(self, "moe", moe)

    @property
    def inner(self):
        return self.n_inner


@dataclass(frozen=True)
class LlamaConfig(DecoderConfig):
    """The shape of a Llama, or, with `moe`, of a Mixtral. As it stands it is the 7B model."""

    n_kv_head: int | None = None  # heads of keys and values; None: as many as of queries
    head_width: int | None = None  # D; None: n_embd / n_head

    widths = ("n_kv_head", "head_width")

    def __post_init__(self):
        if self.n_kv_head is None:
            object.__setattr__(self, "n_kv_head", self.n_head)
        if self.head_width is None:
            object.__setattr__(self, "head_width", self.n_embd // max(1, self.n_head))
        super().__post_init__()
        if self.n_head % self.n_kv_head:
            raise InputError(f"n_kv_head is {self.n_kv_head}; expected a divisor of n_head, {self.n_head}")
        if self.head_width % 2:
            raise InputError(f"head_width is {self.head_width}; rotary positions turn pairs: expected an even number")

    @property
    def cached(self):
        return (self.n_kv_head, self.head_width), (self.n_kv_head, self.head_width)


DEEPSEEK_MOE = MoEConfig(256, 8, 2048, 1, "sigmoid", n_groups=8, top_groups=4, scale=2.5, n_dense=3)


@dataclass(frozen=True)
class DeepSeekConfig(DecoderConfig):
    """The shape of a DeepSeek-V3, without the module that predicts a second token. As it stands: the published one."""

    vocab_size: int = 129280
    n_ctx: int = 4096
    n_layer: int = 61
    n_head: int = 128
    n_embd: int = 7168
    n_inner: int = 18432  # of the feed-forwards that are no mixtures
    moe: MoEConfig = DEEPSEEK_MOE
    q_rank: int | None = 1536  # width of the latent that the queries are made from; None: they are made from x
    kv_rank: int = 512  # width of the latent that keys and values are made from
    still_width: int = 128  # columns of a query and of a key that know no position
    turned_width: int = 64  # columns that rotary positions turn
    value_width: int = 128  # of a head's values
    rotary_interleaved: bool = True

    widths = ("kv_rank", "still_width", "turned_width", "value_width")

    def __post_init__(self):
        super().__post_init__()
        if self.q_rank is not None and self.q_rank < 1:
            raise InputError(f"q_rank is {self.q_rank}; expected at least 1, or None")
        if self.turned_width % 2:
            raise InputError(
                f"turned_width is {self.turned_width}; rotary positions turn pairs: expected an even number"
            )
        if self.moe is None:
            raise InputError(
                "moe is None; expected a MoEConfig: a DeepSeek-V3 without mixtures of experts there is not"
            )

    @property
    def cached(self):
        return (self.n_head, self.still_width + self.turned_width), (self.n_head, self.value_width)


LLAMA = LlamaConfig()
PRESETS = {
    "llama-7b": LLAMA,
    "llama-13b": replace(LLAMA, n_layer=40, n_head=40, n_kv_head=40, n_embd=5120, n_inner=13824),
    "llama-33b": replace(LLAMA, n_layer=60, n_head=52, n_kv_head=52, n_embd=6656, n_inner=17920),
    "llama-65b": replace(LLAMA, n_layer=80, n_head=64, n_kv_head=64, n_embd=8192, n_inner=22016),
    "mixtral-8x7b": LlamaConfig(
        n_ctx=32768, n_kv_head=8, n_inner=14336, rotary_base=1e6, layer_norm_eps=1e-5, moe=MoEConfig(8, 2, 14336)
    ),
    "deepseek-v3": DeepSeekConfig(),
}


def parameter_spec(config):
    """{name: (shape, init)} of every parameter, in the order of the forward pass.

    The standard deviations are a GPT's (models/gpt.py, "he"), but the gain behind a gate is 3: the product
    silu(z) u of two unit normals has 0.36 of their squares.
    """
    C, F = config.n_embd, config.n_inner
    embedding = min(1 / (3 * math.sqrt(C)), 4 / C)
    residual = embedding / math.sqrt(2 * config.n_layer)

    def std(n_in):
        return 1 / math.sqrt(n_in)

    def down_std(n_in):
        return math.sqrt(3 / n_in) * residual

    spec = {"wte": ((config.vocab_size, C), embedding)}
    for i in range(config.n_layer):
        at = f"blocks.{i}"
        spec[f"{at}.ln1.weight"] = ((C,), ONES)
        spec |= attention_spec(f"{at}.attn", config, std, residual)
        spec[f"{at}.ln2.weight"] = ((C,), ONES)
        if config.moe and i >= config.moe.n_dense:
            spec |= moe_spec(f"{at}.mlp", config.moe, C, F, std, down_std, gated=True)
            continue
        for name, shape in (("gate", (F, C)), ("up", (F, C)), ("down", (C, F))):
            spec[f"{at}.mlp.{name}.weight"] = (shape, down_std(F) if name == "down" else std(C))
    spec["ln_f.weight"] = ((C,), ONES)
    if not config.tied_head:
        spec["head.weight"] = ((config.vocab_size, C), embedding)
    return spec


def attention_spec(at, config, std, residual):
    """The shapes of attention's maps, and of the norms of its latents."""
    shapes = latent_shapes(config) if isinstance(config, DeepSeekConfig) else shared_shapes(config)
    spec = {}
    for name, shape in shapes.items():
        init = ONES if len(shape) == 1 else std(shape[1]) * (residual if name == "out" else 1)
        spec[f"{at}.{name}.weight"] = (shape, init)
    return spec


def shared_shapes(config):
    """Heads that share keys and values (Ainslie et al. 2023)."""
    C, D = config.n_embd, config.head_width
    width, shared = config.n_head * D, config.n_kv_head * D
    return {"q": (width, C), "k": (shared, C), "v": (shared, C), "out": (C, width)}


def latent_shapes(config):
    """Multi-head latent attention (DeepSeek-AI 2024, DeepSeek-V2, section 2.1)."""
    C, H, R, Q = config.n_embd, config.n_head, config.kv_rank, config.q_rank
    D, values = config.still_width + config.turned_width, config.value_width
    queries = {"q": (H * D, C)} if Q is None else {"q_down": (Q, C), "q_norm": (Q,), "q_up": (H * D, Q)}
    return queries | {
        "kv_down": (R + config.turned_width, C), "kv_norm": (R,), "kv_up": (H * (config.still_width + values), R),
        "out": (C, H * values),
    }  # fmt: skip


def count_parameters(config, active=False):
    """{part: number of parameters}, as gpt.count_parameters."""
    return count_parts(parameter_spec(config), config.moe if active else None)


def training_flops_per_token(config, n_ctx=None):
    """FLOPs of forward and backward per token at context length n_ctx, counted as gpt.training_flops_per_token does."""
    counts = count_parameters(config, active=True)
    parts = ("attention", "feed-forward", "router", "experts", "shared experts")
    weights = sum(counts.get(part, 0) for part in parts) + config.vocab_size * config.n_embd
    (_, D), (_, Dv) = config.cached
    return 6 * weights + 6 * config.n_layer * config.n_head * (D + Dv) * (n_ctx or config.n_ctx)


class Llama(GPT):
    """A Llama, Mixtral or DeepSeek-V3 with its parameters: a GPT in all that it does."""

    spec = staticmethod(parameter_spec)

    def activation_bytes(self, T):
        """About what one row of T tokens keeps between forward and backward on the CPU, as gpt.activation_bytes."""
        config, moe, C, F = self.config, self.config.moe, self.config.n_embd, self.config.n_inner
        (heads, D), (_, Dv) = config.cached
        attention = 4 * C + (heads + config.n_head) * (D + Dv) + config.n_head * min(T, 256) // 2
        n_dense = moe.n_dense if moe else config.n_layer
        floats = config.n_layer * attention + n_dense * 3 * F
        if moe:
            mixture = 2 * moe.top_k * C + 3 * (moe.top_k + moe.n_shared) * moe.inner(F) + 4 * moe.n_experts
            floats += (config.n_layer - n_dense) * mixture
        return T * floats * self.params.dtype.itemsize
