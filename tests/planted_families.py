"""Small models of every family, and faults of one line in what they are made of: what `compare` is tried on."""

from dataclasses import replace

import numpy as np
from planted import Fault

from scratchgpt import blocks, interop
from scratchgpt.check.lockstep import family_of
from scratchgpt.models import bert, heads
from scratchgpt.models.bert import BERT, BERTConfig, RoBERTaConfig, SpanBERTConfig
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.models.heads import HeadConfig
from scratchgpt.models.llama import DeepSeekConfig, LlamaConfig
from scratchgpt.models.moe import MoEConfig
from scratchgpt.models.t5 import T5, T5Config
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig
from scratchgpt.ops import reference, table

SHAPE = {"vocab_size": 37, "n_ctx": 13, "n_layer": 2, "n_head": 3, "n_embd": 12, "n_inner": 17}
WIDE = SHAPE | {"n_head": 4, "n_embd": 24}
BUCKETS = {"head_width": 5, "n_buckets": 8, "max_distance": 9}
LATENT = {"kv_rank": 5, "still_width": 3, "turned_width": 6, "value_width": 4}
LABELS = ("red", "green", "blue")
BERT_SHAPE, ROBERTA_SHAPE, GPT_SHAPE = BERTConfig(**SHAPE), RoBERTaConfig(**SHAPE), GPTConfig(**SHAPE)
GPT1_SHAPE = GPTConfig(**SHAPE | {"n_inner": None}, norm_first=False)
MIXTURE = MoEConfig(4, 2, 9)
SIGMOID = MoEConfig(6, 3, 9, 1, "sigmoid", n_groups=3, top_groups=2, scale=2.5, n_dense=1)
FAMILIES = {
    "bert": BERT_SHAPE,
    "roberta": ROBERTA_SHAPE,
    "spanbert": SpanBERTConfig(**SHAPE, n_span=2, span_width=5),
    "t5": T5Config(**SHAPE, **BUCKETS, n_decoder_layer=3),
    "t5 1.1": T5Config(**SHAPE, **BUCKETS, gated=True, tied_head=False, activation="gelu_tanh"),
    "llama": LlamaConfig(**WIDE, n_kv_head=2),
    "mixtral": LlamaConfig(**WIDE, n_kv_head=2, moe=MIXTURE),
    "deepseek": DeepSeekConfig(**WIDE, **LATENT, q_rank=7, moe=SIGMOID),
    "word2vec": Word2VecConfig(vocab_size=37, n_embd=7),
}
OTHERS = {
    "bert, masked LM": BERTConfig(**SHAPE, nsp=False),
    "bert, masked LM and a pooler that nothing trains": BERTConfig(**SHAPE, nsp=False, pooler=True),
    "bert, next sentences": BERTConfig(**SHAPE, mlm=False),
    "bert, relu": replace(BERT_SHAPE, activation="relu"),
    "roberta, silu": replace(ROBERTA_SHAPE, activation="silu"),
    "bert, encoder": BERTConfig(**SHAPE, mlm=False, nsp=False),
    "bert, encoder with pooler": BERTConfig(**SHAPE, mlm=False, nsp=False, pooler=True),
    "roberta, encoder with pooler": RoBERTaConfig(**SHAPE, mlm=False, pooler=True),
    "t5, encoder": T5Config(**SHAPE, **BUCKETS, n_decoder_layer=0),
    "t5, one layer to speak": T5Config(**SHAPE, **BUCKETS, n_decoder_layer=1, layer_norm_eps=1e-3),
    "llama, tied": LlamaConfig(**WIDE, tied_head=True, activation="gelu_tanh", head_width=10, rotary_base=300.0),
    "mixtral, not balanced": LlamaConfig(**WIDE, n_kv_head=1, moe=replace(MIXTURE, balance=0.0, top_k=3)),
    "deepseek, queries of x": DeepSeekConfig(**WIDE, **LATENT, q_rank=None, rotary_interleaved=False,
                                             moe=MoEConfig(6, 3, 9, 2, "sigmoid", normalise=False)),
}  # fmt: skip
HEADS = {
    f"{name}, {task}": HeadConfig(config, task, LABELS if task in ("sentence", "tag") else ())
    for name, config in {"bert": BERT_SHAPE, "roberta": ROBERTA_SHAPE, "gpt": GPT_SHAPE, "gpt1": GPT1_SHAPE}.items()
    for task in (("sentence", "choice") if name == "gpt1" else ("sentence", "tag", "span", "choice"))
} | {
    "bert, multi": HeadConfig(BERT_SHAPE, "sentence", LABELS, "multi"),
    "roberta, regression": HeadConfig(ROBERTA_SHAPE, "sentence", LABELS, "regression"),
    "gpt, sentence and lm": HeadConfig(GPT_SHAPE, "sentence", LABELS, lm_weight=0.5),
    "gpt, choice and lm": HeadConfig(GPT_SHAPE, "choice", lm_weight=0.5),
    "gpt, tag and lm": HeadConfig(GPT_SHAPE, "tag", LABELS, lm_weight=0.5),
}
CONFIGS = FAMILIES | OTHERS | HEADS


def make_model(name, dtype="float32", ops="reference"):
    """A model with every parameter random: zero biases and unit weights would hide faults."""
    config = CONFIGS[name]
    model = interop.layout_of(config).model(config, seed=3, dtype=dtype)
    model.ops = table(ops)
    model.params.data += (0.2 * np.random.default_rng(4).standard_normal(model.params.size)).astype(dtype)
    return model


def make_batch(name):
    """Drawn: eleven tokens to a row, fewer than there are positions."""
    return family_of(CONFIGS[name]).draw(CONFIGS[name], 11, np.random.default_rng(0))


class At:
    """Makes the faults of one model."""

    def __init__(self, model):
        self.model = model

    def op(self, function, old, new, where, guilty=None, owner=reference):
        return Fault(owner, function, old, new, "op", where, guilty or function, self.model)

    def between(self, function, old, new, where, op, owner=blocks):
        return Fault(owner, function, old, new, "between", where, op, self.model)

    def asked(self, function, old, new, where, op, owner=blocks):
        return Fault(owner, function, old, new, "asked", where, op, self.model)

    def added(self, function, old, new, parameter, owner=blocks):
        return Fault(owner, function, old, new, "sum", parameter, "", self.model)


BERT_SHAPE, ROBERTA_SHAPE, GPT_SHAPE = BERTConfig(**SHAPE), RoBERTaConfig(**SHAPE), GPTConfig(**SHAPE)
a = At("bert")
BERT_FAULTS = (
    a.between("embed_forward", "x += each", "x += 0 * each", "segments -> ln_embed", "layer_norm_forward", BERT),
    a.asked("embed_forward", "np.zeros_like(ids) if segments is None else segments", "np.zeros_like(ids)", "segments",
            "embedding_forward", BERT),
    a.asked("hidden", "config, mask, drop", "config, None, drop", "blocks.0.attn.attention", "attention_forward", BERT),
    a.asked("mlm_forward", "labels != IGNORED)", "labels != IGNORED) - 1", "mlm.embedding", "embedding_forward", BERT),
    a.asked("mlm_forward", "config.head_activation", '"gelu_tanh"', "mlm.gelu", "gelu_forward", BERT),
    a.between("pool_forward", "x[:, 0]", "x[:, 1]", "blocks.1.ln2 -> pooler", "linear_forward", BERT),
    a.asked("nsp_forward", "0, scale)", "0, 2 * scale)", "nsp.softmax_cross_entropy", "softmax_cross_entropy_forward",
            BERT),
    a.op("tanh_forward", "1 - out * out", "1 - out", "pooler.tanh", "tanh_backward"),
    a.op("softmax_cross_entropy_backward", "-= 1", "-= 0.9", "nsp.softmax_cross_entropy"),
    a.between("dense_backward", "blocks.activation_backward(ops, dh, act_cache, activation)", "2 * dh",
              "mlm.layer_norm -> mlm.linear", "linear_backward", bert),
    a.between("pool_backward", "dx[:, 0] +=", "dx[:, 1] +=", "pooler -> blocks.1.ln2", "layer_norm_backward", BERT),
    a.added("predict_backward", "dbias += gradients[1]", "dbias += 2 * gradients[1]", "mlm.bias", BERT),
    a.added("predict_backward", "dwte += gradients[0]", "dwte += 0 * gradients[0]", "wte", BERT),
    a.added("embed_backward", "dwpe += positions", "dwpe -= positions", "wpe"),
)  # fmt: skip
a = At("roberta")
ROBERTA_FAULTS = (
    a.asked("positions", "* real + self.config.pad_id", "* real + self.config.pad_id + 1", "embedding[2]",
            "embedding_forward", BERT),
    a.asked("embed_forward", "config.layer_norm_eps", "1e-2", "ln_embed", "layer_norm_forward", BERT),
    a.between("heads_forward", "(k, v), kv_caches =", "(v, k), kv_caches =",
              "blocks.0.attn.k -> blocks.0.attn.attention", "attention_forward"),
    a.asked("attend_forward", "config.causal and memory is None", "memory is None", "blocks.0.attn.attention",
            "attention_forward"),
    a.op("normal_cdf", "0.5 - density * series", "0.5 - density * series * 1.001", "blocks.0.mlp.gelu", "gelu_forward"),
    a.asked("mlm_forward", "labels.reshape(-1)[rows]", "labels.reshape(-1)[rows] - 1", "mlm.cross_entropy",
            "cross_entropy_forward", BERT),
    a.op("gelu_backward", "xp.exp(-0.5 * x * x)", "xp.exp(-x * x)", "mlm.gelu"),
    a.op("cross_entropy_backward", "dbias += dlogits.sum(0)", "dbias += dlogits.mean(0)", "mlm.cross_entropy"),
    a.between("joined", "x.reshape(", "x.swapaxes(1, 2).reshape(", "blocks.1.attn.attention -> blocks.1.attn.q",
              "linear_backward"),
    a.between("heads_backward", 'dread += linear_backward(ops.at("v")', 'dread += 0 * linear_backward(ops.at("v")',
              "blocks.1.attn.v -> blocks.0.ln2", "layer_norm_backward"),
    a.between("embed_backward", "ops, dx, positions_cache", "ops, 2 * dx, positions_cache", "ln_embed -> embedding[2]",
              "embedding_backward", BERT),
    a.added("linear_backward", "g.weight += dweight\n    if", "g.weight += 2 * dweight\n    if",
            "blocks.0.attn.q.weight"),
)  # fmt: skip
a = At("spanbert")
SPANBERT_FAULTS = (
    a.asked("span_forward", "asarray(left))", "asarray(left + 1))", "span", "embedding_forward", BERT),
    a.asked("span_targets", "np.arange(T) - left - 1", "0 * left", "span[3]", "embedding_forward", bert),
    a.between("span_forward", "(left, right, place), -1", "(right, left, place), -1", "span[3] -> span.up",
              "linear_forward", BERT),
    a.asked("span_forward", 'p.up, p.ln1, "gelu"', 'p.up, p.ln1, "gelu_tanh"', "span.up.gelu", "gelu_forward", BERT),
    a.asked("span_forward", "labels.reshape(-1)[rows]", "labels.reshape(-1)[rows] - 1", "span.cross_entropy",
            "cross_entropy_forward", BERT),
    a.asked("predict", "scale, self.params.dtype", "2 * scale, self.params.dtype", "mlm.cross_entropy",
            "cross_entropy_forward", BERT),
    a.between("span_backward", "dh[:, 2 * C :]", "dh[:, 2 * C :] * 2", "span.up -> span[3]", "embedding_backward",
              BERT),
    a.between("span_backward", "dh[:, :C], left_cache", "dh[:, C : 2 * C], left_cache", "span.up -> span",
              "embedding_backward", BERT),
    a.between("gather_backward", "dx += ops", "dx[...] = ops", "span[2] -> blocks.1.ln2", "layer_norm_backward", bert),
    a.added("predict_backward", "dwte += gradients[0]", "dwte[...] = gradients[0]", "wte", BERT),
    a.op("layer_norm_backward", "dweight, dbias = (dout * xhat).sum(rows)", "dweight, dbias = (dout * xhat).mean(rows)",
         "mlm.layer_norm"),
)  # fmt: skip
a = At("t5")
T5_FAULTS = (
    a.asked("stack_forward", "start, not config.causal", "start, config.causal", "encoder.relative",
            "position_bias_forward", T5),
    a.asked("attend_forward", '{} if config.attention_scale is None else {"scale": config.attention_scale}', "{}",
            "encoder.blocks.0.attn.attention", "attention_forward"),
    a.asked("stack_forward", "bias=bias, memory=remembered", "bias=None, memory=remembered",
            "encoder.blocks.0.attn.attention", "attention_forward", T5),
    a.op("rms_norm_forward", "keepdims=True) + eps)", "keepdims=True) + 100 * eps)", "encoder.blocks.0.ln1"),
    a.op("relu_forward", "x.real < 0, 0, x", "x.real < 0, 0.01 * x, x", "encoder.blocks.0.mlp.relu"),
    a.between("heads_forward", "x if memory is None else memory", "x", "encoder.ln_f -> decoder.blocks.0.cross.k",
              "linear_forward"),
    a.asked("block_forward", "p.cross, config, memory_mask", "p.cross, config, None",
            "decoder.blocks.0.cross.attention", "attention_forward"),
    a.between("to_head", "1 / math.sqrt(self.config.n_embd)", "1 / self.config.n_embd",
              "decoder.ln_f -> head.cross_entropy", "cross_entropy_forward", T5),
    a.between("backward", "self.to_head(dx)", "dx", "head.cross_entropy -> decoder.ln_f", "rms_norm_backward", T5),
    a.op("rms_norm_backward", " - xhat * (dxhat * xhat).mean(-1, keepdims=True)", "", "decoder.ln_f"),
    a.op("attention_backward", "dbias = None if bias_shape is None else sum_to(",
         "dbias = None if bias_shape is None " "else 2 * sum_to(", "decoder.blocks.2.attn.attention"),
    a.between("attend_backward", "dbias += dscores", "dbias[...] = dscores", "decoder.blocks.0.ln1 -> decoder.relative",
              "position_bias_backward"),
    a.op("position_bias_backward", "xp.add.at(dtable, buckets, dout[0].transpose(1, 2, 0))",
         "dtable[buckets] = dout[0].transpose(1, 2, 0)", "decoder.relative"),
    a.between("block_backward", "g.cross, dmemory=dmemory", "g.cross, dmemory=dmemory.copy()",
              "decoder.embedding -> encoder.ln_f", "rms_norm_backward"),
    a.between("heads_backward", 'dread += linear_backward(ops.at("k")', 'dread[...] = linear_backward(ops.at("k")',
              "decoder.blocks.2.attn.v -> decoder.blocks.2.ln1", "rms_norm_backward"),
    a.added("stack_backward", "mine.relative += ", "mine.relative += 2 * ", "encoder.relative", T5),
)  # fmt: skip
a = At("t5 1.1")
T5_1_1_FAULTS = (
    a.between("feed_forward_forward", "glu_forward(gate, hidden,", "glu_forward(hidden, gate,",
              "encoder.blocks.0.mlp.gate -> encoder.blocks.0.mlp.glu", "glu_forward"),
    a.op("glu_forward", '"tanh" if', '"none" if', "encoder.blocks.0.mlp.glu"),
    a.asked("residual_forward", "config.layer_norm_eps", "1e-2", "encoder.blocks.0.ln1", "rms_norm_forward"),
    a.asked("hidden", "drop, memory, mask)", "drop, memory, None)", "decoder.blocks.0.cross.attention",
            "attention_forward", T5),
    a.between("loss", "self.to_head(x)", "0.5 * x", "decoder.ln_f -> head.cross_entropy", "cross_entropy_forward", T5),
    a.op("glu_backward", "dout * hidden", "dout * up", "decoder.blocks.1.mlp.glu"),
    a.between("feed_forward_backward", "dgate, dhidden =", "dhidden, dgate =",
              "decoder.blocks.1.mlp.glu -> decoder.blocks.1.mlp.up", "linear_backward"),
    a.between("feed_forward_backward", 'dx += linear_backward(ops.at("gate")', 'dx = linear_backward(ops.at("gate")',
              "decoder.blocks.1.mlp.gate -> decoder.blocks.1.ln2", "rms_norm_backward"),
    a.between("hidden_backward", '"encoder", dmemory', '"encoder", 2 * dmemory', "decoder.embedding -> encoder.ln_f",
              "rms_norm_backward", T5),
    a.added("norm_backward", "g.weight += dweight", "g.weight += 2 * dweight", "encoder.blocks.0.ln1.weight"),
    a.added("backward", "g.head.weight += dhead", "g.head.weight -= dhead", "head.weight", T5),
    a.added("embed_backward", "dwte += tokens", "dwte[...] = tokens", "wte"),
)  # fmt: skip
a = At("llama")
LLAMA_FAULTS = (
    a.op("rotary_forward", "xp.arange(start, start + x.shape[1]", "xp.arange(start + 1, start + 1 + x.shape[1]",
         "blocks.0.attn.q.rotary"),
    a.op("turned", "a * cos - b * sin", "a * cos + b * sin", "blocks.0.attn.q.rotary", "rotary_forward"),
    a.asked("heads_forward", "k, config, start)", "k, config, start + 1)", "blocks.0.attn.k.rotary", "rotary_forward"),
    a.asked("rotary_forward", "config.rotary_base", "500.0", "blocks.0.attn.q.rotary", "rotary_forward"),
    a.op("by_group", ".reshape(B, G, H // G, T, D)", ".reshape(B, H // G, G, T, D).swapaxes(1, 2)",
         "blocks.0.attn.attention", "attention_forward"),
    a.op("silu_forward", "x * gate, (x", "x * gate * gate, (x", "blocks.0.mlp.glu", "glu_forward"),
    a.op("rotary_backward", "cos, -sin", "cos, sin", "blocks.1.attn.q.rotary"),
    a.op("attention_backward", "dk, dv = sum_to(dk, kg.shape)", "dk, dv = sum_to(dk, kg.shape) / 2",
         "blocks.1.attn.attention"),
    a.op("silu_backward", "(1 + x * (1 - gate))", "(1 + x - gate)", "blocks.1.mlp.glu", "glu_backward"),
    a.between("heads_backward", 'dq = ops.at("q").rotary_backward(dq', 'dk = ops.at("q").rotary_backward(dk',
              "blocks.1.attn.attention -> blocks.1.attn.q.rotary", "rotary_backward"),
    a.between("residual_backward", "dh += dx", "dh += 0 * dx", "blocks.1.ln2 -> blocks.1.attn.out", "linear_backward"),
    a.added("backward", "g.head.weight += dhead", "g.head.weight += 2 * dhead", "head.weight", GPT),
)  # fmt: skip
a = At("mixtral")
ROUTER, LAST_ROUTER, LAST_MIXTURE = "blocks.0.mlp.router", "blocks.1.mlp.router", "blocks.1.mlp"
MIXTRAL_FAULTS = (
    a.op("choose_experts", "[:, :k]", "[:, 1 : k + 1]", f"{ROUTER}.choose_experts"),
    a.asked("route_forward", "biased, moe.top_k", "biased, moe.top_k - 1", f"{ROUTER}.choose_experts",
            "choose_experts"),
    a.op("gate_forward", "scale * picked / total", "scale * picked", f"{ROUTER}.gate"),
    a.op("load_balance_forward", "(share[:, :, None] * probs).sum(1)", "probs.mean(1)", f"{ROUTER}.load_balance"),
    a.asked("loss", "token_weights.reshape(len(ids), -1)", "2 * token_weights.reshape(len(ids), -1)",
            f"{ROUTER}.load_balance", "load_balance_forward", GPT),
    a.asked("sort_by_expert", "place[order] = xp.arange(len(order))", "place[...] = order", "blocks.0.mlp.combine",
            "combine_forward"),
    a.op("grouped_linear_forward", "@ weight[e].T", "@ weight[0].T", "blocks.0.mlp.experts.up"),
    a.op("gate_backward", " - (dpicked * picked).sum(-1, keepdims=True) / total", "", f"{LAST_ROUTER}.gate"),
    a.op("load_balance_backward", "f.shape[1] * ", "", f"{LAST_ROUTER}.load_balance"),
    a.op("softmax_backward", "dout - (dout * probs).sum(-1, keepdims=True)", "dout", f"{LAST_ROUTER}.softmax"),
    a.op("combine_backward", "weights.reshape(-1)[order]", "weights.reshape(-1)", f"{LAST_MIXTURE}.combine"),
    a.op("dispatch_backward", "dout[place].sum(1)", "dout[place].mean(1)", f"{LAST_MIXTURE}.dispatch"),
    a.op("grouped_linear_backward", "dweight[e] = dout[start:stop].T @ x[start:stop]",
         "dweight[e] = (e > 0) * (dout[start:stop].T @ x[start:stop])", f"{LAST_MIXTURE}.experts.down"),
    a.between("route_backward", "dscores += ops", "dscores = ops",
              f"{LAST_ROUTER}.load_balance -> " f"{LAST_ROUTER}.softmax", "softmax_backward"),
    a.between("moe_backward", 'dx += route_backward(ops.at("router")', 'dx += 0 * route_backward(ops.at("router")',
              f"{LAST_ROUTER} -> blocks.1.ln2", "rms_norm_backward"),
    a.asked("backward", "dbalance = scale", "dbalance = 2 * scale", f"{LAST_ROUTER}.load_balance",
            "load_balance_backward", GPT),
)  # fmt: skip
a = At("deepseek")
ATTN, LAST_ATTN, CHOICE = "blocks.0.attn", "blocks.1.attn", "blocks.1.mlp.router"
DEEPSEEK_FAULTS = (
    a.between("latent_heads_forward", "both[..., :R], p", "both[..., -R:], p", f"{ATTN}.kv_down -> {ATTN}.kv_norm",
              "rms_norm_forward"),
    a.asked("latent_queries_forward", "LATENT_EPS", "1e-2", f"{ATTN}.q_norm", "rms_norm_forward"),
    a.asked("rotary_forward", "config.rotary_interleaved", "False", f"{ATTN}.q.rotary", "rotary_forward"),
    a.between("latent_heads_forward", "(kv[..., :still], xp.broadcast_to(k, (B, T, H, W)))",
              "(xp.broadcast_to(k, (B, T, H, W)), kv[..., :still])", f"{ATTN}.k.rotary -> {ATTN}.attention",
              "attention_forward"),
    a.between("route_forward", "scores + p.balance_bias", "scores - p.balance_bias",
              f"{CHOICE}.sigmoid -> {CHOICE}.choose_experts", "choose_experts"),
    a.op("choose_experts", "[..., -2:].sum(-1)", "[..., -1:].sum(-1)", f"{CHOICE}.choose_experts"),
    a.between("route_forward", "gate_forward(scores, chosen", "gate_forward(biased, chosen",
              f"{CHOICE}.sigmoid -> {CHOICE}.gate", "gate_forward"),
    a.asked("route_forward", "moe.normalise, moe.scale", "moe.normalise, 1.0", f"{CHOICE}.gate", "gate_forward"),
    a.between("moe_forward", "out += shared", "out -= shared", "blocks.1.mlp.shared.down -> ln_f", "rms_norm_forward"),
    a.op("sigmoid_forward", "out * (1 - out)", "out * (1 + out)", f"{CHOICE}.sigmoid", "sigmoid_backward"),
    a.between("moe_backward", 'dx += feed_forward_backward(ops.at("shared")',
              'dx = feed_forward_backward(ops.at("shared")', "blocks.1.mlp.shared.gate -> blocks.1.ln2",
              "rms_norm_backward"),
    a.between("latent_heads_backward", "dk[..., still:].sum(", "dk[..., still:].mean(",
              f"{LAST_ATTN}.kv_norm -> {LAST_ATTN}.k.rotary", "rotary_backward"),
    a.between("latent_heads_backward", "(dk[..., :still], dv), -1", "(dv, dk[..., :still]), -1",
              f"{LAST_ATTN}.q_down -> {LAST_ATTN}.kv_up", "linear_backward"),
    a.between("latent_heads_backward", 'dx += linear_backward(ops.at("kv_down")',
              'dx = linear_backward(ops.at("kv_down")', f"{LAST_ATTN}.kv_down -> blocks.1.ln1", "rms_norm_backward"),
)  # fmt: skip
a = At("word2vec")
WORD2VEC_FAULTS = (
    a.asked("scores", "embedding_forward(xp.asarray(ids)", "embedding_forward(xp.asarray(ids[::-1])", "centre",
            "embedding_forward", Word2Vec),
    a.asked("scores", "xp.asarray(candidates), p.context", "xp.asarray(candidates), p.centre", "context",
            "embedding_forward", Word2Vec),
    a.op("dot_forward", "(y @ x[:, :, None])[..., 0]", "(y @ x[:, :, None])[..., 0] / 2", "scores"),
    a.asked("loss", "== 0).astype", "== 1).astype", "loss", "binary_cross_entropy_forward", Word2Vec),
    a.asked("loss", "len(ids) if denominator", "candidates.size if denominator", "loss", "binary_cross_entropy_forward",
            Word2Vec),
    a.op("binary_cross_entropy_forward", "softplus - targets * logits", "softplus - targets", "loss"),
    a.op("binary_cross_entropy_forward", "sigmoid_forward(logits)[0] - targets", "sigmoid_forward(logits)[0] + targets",
         "loss", "binary_cross_entropy_backward"),
    a.op("dot_backward", "dout[:, :, None] * x[:, None, :]", "dout[:, :, None] * x[:, None, :] * 0.9", "scores"),
    a.between("backward", "embedding_backward(dcentre", "embedding_backward(-dcentre", "scores -> centre",
              "embedding_backward", Word2Vec),
    a.op("embedding_backward", "xp.add.at(dwte, ids, dout)", "dwte[ids] = dout", "centre"),
    a.added("backward", "g.context += ", "g.context -= ", "context", Word2Vec),
    a.added("backward", "g.centre += ", "g.centre += 2 * ", "centre", Word2Vec),
)  # fmt: skip
del a
HEAD_FAULTS = (
    At("bert, sentence").between("logits_forward", "whole.reshape(B, n // B, C).sum(1)",
                                 "whole.reshape(B, n // B, C).sum(1) / 2", "pooler.tanh -> classifier",
                                 "linear_forward", heads.SentenceHead),
    At("roberta, sentence").between("classify_forward", "ops, h, self.params.p.classifier)",
                                    "ops, h[::-1], self.params.p.classifier)", "pooler.tanh -> classifier",
                                    "linear_forward", heads.Head),
    At("bert, multi").asked("task_loss", "scale / self.config.n_outputs", "scale", "loss",
                            "binary_cross_entropy_forward", heads.SentenceHead),
    At("bert, multi").op("binary_cross_entropy_backward", "errors * (dloss * row_weights)[:, None]",
                         "errors * row_weights.mean()/2", "loss"),
    At("roberta, regression").op("squared_error_backward", "2 * errors", "errors", "loss"),
    At("bert, tag").between("logits_backward", "dx += self", "dx -= self", "classifier -> blocks.1.ln2",
                            "layer_norm_backward", heads.TagHead),
    At("roberta, tag").asked("task_loss", "targets.reshape(-1), scale", "targets[::-1].reshape(-1), scale", "loss",
                             "softmax_cross_entropy_forward", heads.TagHead),
    At("bert, span").between("logits_forward", "logits[..., 1].copy()", "logits[..., 0].copy()",
                             "classifier -> loss[2]", "softmax_cross_entropy_forward", heads.SpanHead),
    At("roberta, span").asked("task_loss", "(logits[1], ends", "(logits[1], starts", "loss[2]",
                              "softmax_cross_entropy_forward", heads.SpanHead),
    At("gpt, span").between("task_loss_backward", "for each in cache)", "for each in cache[::-1])",
                            "loss -> classifier", "linear_backward", heads.SpanHead),
    At("bert, choice").between("logits_forward", "logits.reshape(B, -1)", "logits.reshape(-1, B).T",
                               "classifier -> loss", "softmax_cross_entropy_forward", heads.ChoiceHead),
    At("gpt, sentence").asked("whole_forward", "T - 1 - mask[:, ::-1].argmax(1)", "np.full(n, T - 1)", "gather",
                              "embedding_forward", heads.Head),
    At("gpt1, choice").between("whole_backward", '("gather"), dwhole', '("gather"), 2 * dwhole', "classifier -> gather",
                               "embedding_backward", heads.Head),
    At("gpt, tag").between("classify_backward", "ops, dlogits, linear_cache", "ops, -dlogits, linear_cache",
                           "loss -> classifier", "linear_backward", heads.Head),
    At("gpt, sentence and lm").between("lm_forward", "x[:, :-1]", "x[:, 1:]", "ln_f -> head.cross_entropy",
                                       "cross_entropy_forward", heads.Head),
    At("gpt, choice and lm").asked("lm_forward", "np.maximum(1, counted.sum(1, keepdims=True))", "10",
                                   "head.cross_entropy", "cross_entropy_forward", heads.Head),
    At("gpt, sentence and lm").added("lm_backward", "g.wte += dhead", "g.wte -= dhead", "wte", heads.Head),
)  # fmt: skip
FAULTS = (
    *BERT_FAULTS, *ROBERTA_FAULTS, *SPANBERT_FAULTS, *T5_FAULTS, *T5_1_1_FAULTS, *LLAMA_FAULTS, *MIXTRAL_FAULTS,
    *DEEPSEEK_FAULTS, *WORD2VEC_FAULTS, *HEAD_FAULTS,
)  # fmt: skip
