"""A mixture of experts in place of a feed-forward: how it is described, and what it is made of.

`blocks.moe_forward` runs it. Any model whose config has a `moe` may have it in its blocks.
"""

import math
from dataclasses import dataclass, fields

from scratchgpt.errors import InputError
from scratchgpt.params import ZEROS

BALANCE = {"softmax": 0.01, "sigmoid": 0.001}  # Fedus et al. 2022, section 2.2; DeepSeek-AI 2024, section 4.2


@dataclass(frozen=True)
class MoEConfig:
    """The shape of a mixture of experts, and how its load is balanced.

    "softmax" (Switch Transformer, Mixtral): scores that compete, balanced by a loss that is added to the model's.
    "sigmoid" (DeepSeek-V3): scores that do not, balanced by a bias on the choice that is moved after each update:
    up where an expert got too few tokens, down where too many (Wang et al. 2024).
    """

    n_experts: int = 8
    top_k: int = 2  # experts that each token goes to
    n_inner: int | None = None  # width inside an expert; None: as wide that a token costs what it costs without experts
    n_shared: int = 0  # experts that every token goes to besides, as one feed-forward n_shared times as wide
    scores: str = "softmax"  # or "sigmoid"
    n_groups: int = 1  # of experts; a token's experts come from the top_groups best of them
    top_groups: int = 1
    normalise: bool = True  # a token's weights sum to scale
    scale: float = 1.0
    balance: float | None = (
        None  # softmax: the weight of the balancing loss (None: 0.01); sigmoid: how far a bias moves
    )
    # per update (None: 0.001); 0: nothing is balanced
    n_dense: int = 0  # the first blocks, which keep their feed-forward

    def __post_init__(self):
        for name in ("n_experts", "top_k", "n_groups", "top_groups"):
            self.check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("n_shared", "n_dense"):
            self.check(name, getattr(self, name) >= 0, "at least 0")
        self.check("n_inner", self.n_inner is None or self.n_inner >= 1, "at least 1, or None")
        self.check("scores", self.scores in BALANCE, " or ".join(BALANCE))
        self.check("scale", 0 < self.scale < math.inf, "more than 0")
        self.check("balance", self.balance is None or 0 <= self.balance < math.inf, "0 or more, or None")
        self.check("top_groups", self.top_groups <= self.n_groups, f"at most n_groups, {self.n_groups}")
        in_group, rest = divmod(self.n_experts, self.n_groups)
        self.check("n_groups", not rest and (self.n_groups == 1 or in_group >= 2),
                   f"a divisor of n_experts, {self.n_experts}, that leaves two experts to a group")  # fmt: skip
        choice = in_group * self.top_groups
        self.check("top_k", self.top_k <= choice, f"at most the {choice} experts there are to choose from")

    def check(self, name, holds, expected):
        if not holds:
            raise InputError(f"moe {name} is {getattr(self, name)!r}; expected {expected}")

    @property
    def strength(self):
        return BALANCE[self.scores] if self.balance is None else self.balance

    @property
    def loss_weight(self):
        """What the balancing losses are multiplied by in the model's loss."""
        return self.strength if self.scores == "softmax" else 0.0

    @property
    def bias_speed(self):
        """How far the bias on the choice moves after an update."""
        return self.strength if self.scores == "sigmoid" else 0.0

    def inner(self, dense):
        """The width inside an expert, where the feed-forward that it stands for has the width `dense`."""
        return self.n_inner or max(1, dense // (self.top_k + self.n_shared))


def moe_from(value):
    """The MoEConfig of what a configuration says: itself, None, or what JSON keeps of one, a dict."""
    if not isinstance(value, dict):
        return value
    unknown = value.keys() - {each.name for each in fields(MoEConfig)}
    if unknown:
        raise InputError(
            f"moe has {', '.join(sorted(unknown))}; expected {', '.join(f.name for f in fields(MoEConfig))}"
        )
    return MoEConfig(**value)


def moe_spec(at, moe, C, F, std, down_std, gated=False, bias=False):
    """{name: (shape, init)} of the mixture of experts `at` ("blocks.3.mlp") that stands for a feed-forward of the width
    F. std, down_std: functions of a matrix's inputs that give the standard deviation of what reads x, and of what
    writes into the stream. The experts are stacks of matrices; bias: the shared one's maps have biases, as the model's.
    """
    inner = moe.inner(F)
    spec = {f"{at}.router.weight": ((moe.n_experts, C), std(C))}
    if moe.scores == "sigmoid":
        spec[f"{at}.router.balance_bias"] = ((moe.n_experts,), ZEROS)
    maps = [("gate", "CF")] * gated + [("up", "CF"), ("down", "FC")]
    for part, stack, width in (("experts", (moe.n_experts,), inner), ("shared", (), moe.n_shared * inner)):
        for name, ends in maps if width else ():
            n_in, n_out = (C, width) if ends == "CF" else (width, C)
            init = down_std(n_in) if name == "down" else std(n_in)
            spec[f"{at}.{part}.{name}.weight"] = ((*stack, n_out, n_in), init)
            if bias and not stack:
                spec[f"{at}.{part}.{name}.bias"] = ((n_out,), ZEROS)
    return spec
