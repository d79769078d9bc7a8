"""What stands in the twin in the place of transformers' own, because of two things.

Some tensors pass between no two modules, rotated queries for one: a place in the map then is a tap. And some numbers
transformers computes in float32 whatever the model's type is: the mean of the squares in RMSNorm, the angles of rotary
positions, attention's softmax, the router's scores. That is its precision and not its definition; with it the twin in
float64 would be no truth. Tests compare each model of these parts with transformers' own in float32.

Imported only where PyTorch and transformers are installed.
"""

from functools import cache

import torch
import transformers
from torch.nn import functional as F
from transformers.masking_utils import eager_mask

from scratchgpt.check.lockstep import definitions


def tap(module, name, x):
    """x, by way of the place "MODULE.taps.name" where the map has it."""
    taps = getattr(module, "taps", {})
    return taps[name](x) if name in taps else x


def install(module, places):
    """Makes the taps that places name."""
    for place in places:
        path, _, name = place.partition(":")[0].rpartition(".")
        parent, _, last = path.rpartition(".")
        if last != "taps":
            continue
        owner = module.get_submodule(parent)
        if not hasattr(owner, "taps"):
            owner.taps = torch.nn.ModuleDict()
        owner.taps[name] = torch.nn.Identity()


def attention(module, query, key, value, attention_mask, scaling=None, position_bias=None, **_):
    """transformers' attention interface: heads (B, H, T, D), an added mask (B, 1, T, S) or None -> (B, T, H, Dv)."""
    if getattr(module.config, "rope_interleave", False):
        W = module.qk_rope_head_dim
        query = torch.cat((query[..., :-W], interleaved(query[..., -W:])), -1)
    heads = zip(("q", "k", "v"), (query, key, value))
    q, k, v = (tap(module, name, x.transpose(1, 2)) for name, x in heads)
    visible = torch.ones(len(q), 1, q.shape[1], k.shape[1], dtype=torch.bool)
    if attention_mask is not None:
        visible = visible & (attention_mask >= 0)
    bias = None if position_bias is None else tap(module, "bias", position_bias)
    return tap(module, "out", definitions.attend(q, k, v, visible, bias, scaling)), None


transformers.AttentionInterface.register("tapped", attention)
transformers.AttentionMaskInterface.register("tapped", eager_mask)


def rms_norm(self, x):
    return F.rms_norm(x, self.weight.shape, self.weight, self.variance_epsilon)


def angles(self, x, position_ids):
    """(cos, sin) of the angles, (1, T, D), each twice."""
    width = 2 * len(self.inv_freq)
    speeds = self.config.rope_parameters["rope_theta"] ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    turned = position_ids[..., None].to(x.dtype) * torch.cat((speeds, speeds))
    return turned.cos(), turned.sin()


def compute_bias(self, *args, **kwargs):
    return tap(self, "relative", super(type(self), self).compute_bias(*args, **kwargs))


def expand_kv(self, kv_nope, k_rot):
    if self.config.rope_interleave:
        k_rot = interleaved(k_rot)
    return super(type(self), self).expand_kv(kv_nope, tap(self, "turned", k_rot))


def interleaved(x):
    """Pairs side by side again: where transformers turns columns 2i and 2i + 1 it puts them into i and i + W / 2, of
    queries and keys alike, so that no score changes."""
    return torch.stack(x.chunk(2, -1), -1).flatten(-2)


def route(self, x):
    """Mixtral's router: softmax, the best k, weights that sum to 1."""
    logits = tap(self, "logits", F.linear(x.flatten(0, -2), self.weight))
    return choose(self, logits, torch.softmax(logits, -1), self.top_k)


def route_by_group(self, x):
    """DeepSeek-V3's: sigmoid, the best k of the best groups, after a bias that is in the choice alone."""
    logits = tap(self, "logits", F.linear(x.flatten(0, -2), self.weight))
    options = self.top_k, self.num_group, self.topk_group
    return choose(self, logits, logits.sigmoid(), *options, bias=self.e_score_correction_bias,
                  normalise=self.norm_topk_prob, scale=self.routed_scaling_factor)  # fmt: skip


def choose(self, logits, scores, *options, bias=None, normalise=True, scale=1.0):
    """(logits, weights, chosen), as a router of transformers gives them. `replayed`: the choices of another run, which
    are taken in the place of its own; `choices`: those that were made."""
    scores = tap(self, "scores", scores)
    biased = tap(self, "biased", scores if bias is None else scores + bias)
    replayed = getattr(self, "replayed", ())
    chosen = replayed.pop(0) if replayed else definitions.choose_experts(biased.detach(), *options)
    self.choices = [*getattr(self, "choices", ()), chosen]
    self.balanced = tap(self, "balanced", scores), chosen
    weights = definitions.gate(tap(self, "gated", scores), tap(self, "chosen", chosen), normalise, scale)
    return logits, tap(self, "weights", weights), chosen


def run_experts(self, x, chosen, weights):
    """The experts' rows in the order of the experts, each expert's in the order of the tokens, as ours has them."""
    N, k = chosen.shape
    order = chosen.flatten().argsort(stable=True)
    place = order.argsort().view(N, k)
    sizes = chosen.flatten().bincount(minlength=self.num_experts).tolist()
    w_gate, w_up = self.gate_up_proj.chunk(2, 1)

    def each(rows, weight):
        return torch.cat([F.linear(part, matrix) for part, matrix in zip(rows.split(sizes), weight)])

    rows = tap(self, "rows", x[order // k])
    up = tap(self, "up", each(tap(self, "rows_up", rows), w_up))
    gate = tap(self, "gate", each(tap(self, "rows_gate", rows), w_gate))
    hidden = tap(self, "hidden", self.act_fn(gate) * up)
    down = tap(self, "down", each(hidden, self.down_proj))
    return (down[place] * weights[..., None]).sum(1)


IN_PLACE = {  # how the name of a class ends -> {method: what stands in its place}
    "RMSNorm": {"forward": rms_norm},
    "T5LayerNorm": {"forward": rms_norm},
    "RotaryEmbedding": {"forward": angles},
    "T5Attention": {"compute_bias": compute_bias},
    "DeepseekV3Attention": {"expand_kv": expand_kv},
    "MixtralTopKRouter": {"forward": route},
    "DeepseekV3TopkRouter": {"forward": route_by_group},
    "MixtralExperts": {"forward": run_experts},
    "DeepseekV3Experts": {"forward": run_experts},
}


def replace_parts(module):
    """Puts the functions above in their places, in this model alone; and every row of an embedding gets its gradient,
    that of padding too."""
    for part in module.modules():
        kind = type(part)
        methods = next((methods for end, methods in IN_PLACE.items() if kind.__name__.endswith(end)), None)
        if methods is not None:
            part.__class__ = with_methods(kind)
        if isinstance(part, torch.nn.Embedding):
            part.padding_idx = None


@cache
def with_methods(kind):
    methods = next(methods for end, methods in IN_PLACE.items() if kind.__name__.endswith(end))
    return type(kind.__name__, (kind,), methods)
