"""Where the tensors of our Llama, Mixtral and DeepSeek-V3 are in transformers."""

from functools import partial

from scratchgpt.check.lockstep.family import Family
from scratchgpt.check.lockstep.gpt import draw_text, next_token_batch, next_token_loss
from scratchgpt.errors import InputError
from scratchgpt.models.llama import DeepSeekConfig

CASTS = "without transformers' casts to float32 in norms, rotary angles, attention and routers"
BALANCE = "its balancing loss is Fedus et al.'s of each sequence, as ours; transformers' own is of the whole batch"
CHOICES = "in float32 it takes the experts that it took in float64"


def shared_sites(at, theirs):
    """Heads that share keys and values."""
    maps = {f"{at}{mine}": f"{theirs}{mine}_proj" for mine in "qkv"}
    turned = {f"{at}{name}.rotary": {"x": f"{theirs}{name}_proj:out", "out": f"{theirs}taps.{name}:out"}
              for name in "qk"}  # fmt: skip
    return maps | turned


def latent_sites(config, at, theirs):
    """Multi-head latent attention."""
    sites = {
        f"{at}kv_down": f"{theirs}kv_a_proj_with_mqa",
        f"{at}kv_norm": f"{theirs}kv_a_layernorm",
        f"{at}kv_up": f"{theirs}kv_b_proj",
    }
    queries = f"{theirs}q_proj"
    if config.q_rank is None:
        sites[f"{at}q"] = queries
    else:
        names = {"q_down": "q_a_proj", "q_norm": "q_a_layernorm", "q_up": "q_b_proj"}
        sites |= {at + mine: theirs + its for mine, its in names.items()}
        queries = f"{theirs}q_b_proj"
    R, W = config.kv_rank, config.turned_width
    turned = {"x": f"{theirs}kv_a_proj_with_mqa:out:{R}:{R + W}", "out": f"{theirs}taps.turned:out"}
    rotary = {"x": f"{queries}:out", "out": f"{theirs}taps.q:out"}
    return sites | {f"{at}q.rotary": rotary, f"{at}k.rotary": turned}


def attention_sites(config, at, theirs):
    own = latent_sites(config, at, theirs) if isinstance(config, DeepSeekConfig) else shared_sites(at, theirs)
    heads = {name: f"{theirs}taps.{name}:out" for name in ("q", "k", "v", "out")}
    return own | {f"{at}attention": heads, f"{at}out": f"{theirs}o_proj"}


def feed_forward_sites(at, theirs):
    glu = {"gate": f"{theirs}gate_proj:out", "up": f"{theirs}up_proj:out", "out": f"{theirs}down_proj:in"}
    return {f"{at}{name}": f"{theirs}{name}_proj" for name in ("up", "gate", "down")} | {f"{at}glu": glu}


def moe_sites(moe, at, theirs):
    router, gate, experts = f"{at}router", f"{theirs}gate.taps.", f"{theirs}experts.taps."
    sites = {
        router: {"x": f"{theirs}gate:in", "out": f"{gate}logits:out"},
        f"{router}.{moe.scores}": {"x": f"{gate}logits:out", "out": f"{gate}scores:out"},
        f"{router}.choose_experts": {"scores": f"{gate}biased:out", "out": f"{gate}chosen:out"},
        f"{router}.gate": {"scores": f"{gate}gated:out", "out": f"{gate}weights:out"},
        f"{at}dispatch": {"x": f"{theirs}experts:in", "out": f"{experts}rows:out"},
        f"{at}experts.up": {"x": f"{experts}rows_up:out", "out": f"{experts}up:out"},
        f"{at}experts.gate": {"x": f"{experts}rows_gate:out", "out": f"{experts}gate:out"},
        f"{at}experts.glu": {
            "gate": f"{experts}gate:out", "up": f"{experts}up:out", "out": f"{experts}hidden:out",
        },
        f"{at}experts.down": {"x": f"{experts}hidden:out", "out": f"{experts}down:out"},
        f"{at}combine": {
            "y": f"{experts}down:out", "weights": f"{gate}weights:out", "out": f"{theirs}experts:out",
        },
    }  # fmt: skip
    if moe.loss_weight:
        sites[f"{router}.load_balance"] = {"probs": f"{gate}balanced:out", "out": f"{gate}balance:out"}
    if moe.n_shared:
        sites |= feed_forward_sites(f"{at}shared.", f"{theirs}shared_experts.")
    return sites


def llama(config):
    sites = {"embedding": {"out": "model.embed_tokens:out"}}
    for i in range(config.n_layer):
        at, theirs = f"blocks.{i}.", f"model.layers.{i}."
        sites |= {f"{at}ln1": f"{theirs}input_layernorm", f"{at}ln2": f"{theirs}post_attention_layernorm"}
        sites |= attention_sites(config, f"{at}attn.", f"{theirs}self_attn.")
        if config.moe and i >= config.moe.n_dense:
            sites |= moe_sites(config.moe, f"{at}mlp.", f"{theirs}mlp.")
        else:
            sites |= feed_forward_sites(f"{at}mlp.", f"{theirs}mlp.")
    sites |= {"ln_f": "model.norm", "head.cross_entropy": {"x": "lm_head:in", "out": "taps.loss:out"}}
    notes = [CASTS] + [CHOICES] * bool(config.moe) + [BALANCE] * bool(config.moe and config.moe.loss_weight)
    return Family(sites, text_batch, partial(loss, config), draw_text, attention="tapped", notes=tuple(notes))


def text_batch(model, batch):
    full, seen = next_token_batch(model, batch)
    if seen is not None and model.config.moe:
        raise InputError("a row begins with padding; of a mixture of experts pad on the right")
    return full, seen


def loss(config, twin, batch):
    """The next-token loss, and, of a mixture of experts that is balanced by a loss, that loss."""
    from scratchgpt.check.lockstep import definitions
    from scratchgpt.check.lockstep.taps import tap

    loss = tap(twin, "loss", next_token_loss(twin, batch))
    if not (config.moe and config.moe.loss_weight):
        return loss
    counted = (batch["labels"][:, 1:] != -100).to(loss.dtype)
    for layer in twin.model.layers[config.moe.n_dense :]:
        probs, chosen = (x.unflatten(0, counted.shape) for x in layer.mlp.gate.balanced)
        balance = definitions.load_balance(probs, chosen, counted / counted.sum())
        loss = loss + config.moe.loss_weight * tap(layer.mlp.gate, "balance", balance)
    return loss


FAMILIES = {"llama": llama, "mixtral": llama, "deepseek_v3": llama}
