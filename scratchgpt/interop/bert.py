"""The directories of BERT, RoBERTa and SpanBERT: without a head, as pretrained, and with each of the heads."""

from dataclasses import replace

from scratchgpt.interop.layout import Layout, headed, linear
from scratchgpt.models.bert import BERT, BERTConfig, RoBERTaConfig, SpanBERTConfig, parameter_spec

LAYER = "bert.encoder.layer.{i}."
ENCODER = (
    ("wte", "bert.embeddings.word_embeddings.weight", False),
    ("wpe", "bert.embeddings.position_embeddings.weight", False),
    ("wse", "bert.embeddings.token_type_embeddings.weight", False),
    *linear("ln_embed", "bert.embeddings.LayerNorm"),
    *linear("blocks.{i}.attn.q", LAYER + "attention.self.query"),
    *linear("blocks.{i}.attn.k", LAYER + "attention.self.key"),
    *linear("blocks.{i}.attn.v", LAYER + "attention.self.value"),
    *linear("blocks.{i}.attn.out", LAYER + "attention.output.dense"),
    *linear("blocks.{i}.ln1", LAYER + "attention.output.LayerNorm"),
    *linear("blocks.{i}.mlp.up", LAYER + "intermediate.dense"),
    *linear("blocks.{i}.mlp.down", LAYER + "output.dense"),
    *linear("blocks.{i}.ln2", LAYER + "output.LayerNorm"),
)
POOLER = linear("pooler", "bert.pooler.dense")
PRETRAINING = (
    *linear("mlm.transform", "cls.predictions.transform.dense"),
    *linear("mlm.ln", "cls.predictions.transform.LayerNorm"),
    ("mlm.bias", "cls.predictions.bias", False),
    *linear("nsp", "cls.seq_relationship"),
)
LM_HEAD = (  # RoBERTa's
    *linear("mlm.transform", "lm_head.dense"),
    *linear("mlm.ln", "lm_head.layer_norm"),
    ("mlm.bias", "lm_head.bias", False),
)
SPAN_BOUNDARY = (  # under our own names: transformers has no such head, and passes it over
    ("span.places", "span_boundary.places", False),
    *linear("span.up", "span_boundary.up"),
    *linear("span.ln1", "span_boundary.ln1"),
    *linear("span.down", "span_boundary.down"),
    *linear("span.ln2", "span_boundary.ln2"),
    ("span.bias", "span_boundary.bias", False),
)
CLASSIFIER = linear("classifier", "classifier")
POOLED = (*POOLER, *CLASSIFIER)
QUESTION_ANSWERING = linear("classifier", "qa_outputs")
ROBERTA_SENTENCE = (*linear("pooler", "classifier.dense"), *linear("classifier", "classifier.out_proj"))


def also(config, tokenizer):
    return {
        "intermediate_size": config.inner,
        "attention_probs_dropout_prob": 0.0,  # our blocks drop nothing inside attention
        "initializer_range": 0.02,
    }


def also_roberta(config, tokenizer):
    return also(config, tokenizer) | {"max_position_embeddings": config.first_position + config.n_ctx}


def settle_roberta(ours):
    """transformers counts the rows of the position table, the first pad_id + 1 of which are no position of a token."""
    return ours | {"n_ctx": ours["n_ctx"] - ours["pad_id"] - 1}


def as_stored(config, stored):
    """Published checkpoints of BertForMaskedLM and RobertaForMaskedLM also hold a pooler, and BERT's the next sentence
    head; an encoder alone may have a pooler or not."""
    return replace(config, pooler="pooler.dense.weight" in stored, nsp="cls.seq_relationship.weight" in stored)


BERT_LAYOUT = Layout(
    model_type="bert",
    architecture="BertModel",
    model=BERT,
    config=BERTConfig,
    spec=parameter_spec,
    ours={"mlm": False, "nsp": False},
    table=tuple((ours, theirs.removeprefix("bert."), transposed) for ours, theirs, transposed in (*ENCODER, *POOLER)),
    fields={
        "vocab_size": ("vocab_size", 30522), "hidden_size": ("n_embd", 768), "num_hidden_layers": ("n_layer", 12),
        "num_attention_heads": ("n_head", 12), "intermediate_size": ("n_inner", 3072),
        "max_position_embeddings": ("n_ctx", 512), "type_vocab_size": ("n_segments", 2), "pad_token_id": ("pad_id", 0),
        "layer_norm_eps": ("layer_norm_eps", 1e-12), "hidden_dropout_prob": ("dropout", 0.1),
    },
    activation_key="hidden_act",
    activations={
        "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
        "gelu_python_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu",
    },
    unsaid={"init": "bert", "n_inner": None},
    also=also,
    fit=as_stored,
    required={
        "is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
    },
    buffers=r"embeddings\.(position_ids|token_type_ids)",
    renamed={".gamma": ".weight", ".beta": ".bias"},  # in files converted from BERT's own
    prefix="bert.",
)  # fmt: skip
ROBERTA_LAYOUT = replace(
    BERT_LAYOUT,
    model_type="roberta",
    architecture="RobertaModel",
    config=RoBERTaConfig,
    fields=BERT_LAYOUT.fields | {"vocab_size": ("vocab_size", 50265), "pad_token_id": ("pad_id", 1)},
    also=also_roberta,
    settle=settle_roberta,
    prefix="roberta.",
)


def pretrained(layout, architecture, ours, rows, **more):
    """The Layout of an architecture with pretraining heads."""
    table = with_prefix(layout, (*ENCODER, *POOLER, *rows))
    return replace(layout, architecture=architecture, ours=ours, table=table, **more)


def with_heads(layout, sentence):
    """The Layouts of the heads; sentence: the rows of the one for sentences."""
    name = layout.architecture.removesuffix("Model")
    for end, task, rows in (
        ("SequenceClassification", "sentence", sentence), ("TokenClassification", "tag", CLASSIFIER),
        ("QuestionAnswering", "span", QUESTION_ANSWERING), ("MultipleChoice", "choice", POOLED),
    ):  # fmt: skip
        yield headed(layout, f"{name}For{end}", task, with_prefix(layout, (*ENCODER, *rows)))


def with_prefix(layout, table):
    return tuple((ours, theirs.replace("bert.", layout.prefix, 1), transposed) for ours, theirs, transposed in table)


TIED = {"cls.predictions.decoder.weight": "wte", "cls.predictions.decoder.bias": "mlm.bias"}
ROBERTA_TIED = {"lm_head.decoder.weight": "wte", "lm_head.decoder.bias": "mlm.bias"}
MASKED_LM = pretrained(BERT_LAYOUT, "BertForMaskedLM", {"mlm": True, "nsp": False}, PRETRAINING, tied=TIED)
SPANBERT = replace(
    MASKED_LM,
    config=SpanBERTConfig,
    table=(*MASKED_LM.table, *SPAN_BOUNDARY),
    fields=MASKED_LM.fields | {"span_places": ("n_span", 20), "span_place_width": ("span_width", 200)},
    mark="span_places",
)
LAYOUTS = (
    SPANBERT,
    BERT_LAYOUT,
    MASKED_LM,
    pretrained(BERT_LAYOUT, "BertForPreTraining", {"mlm": True, "nsp": True}, PRETRAINING, tied=TIED, fit=Layout.fit),
    pretrained(BERT_LAYOUT, "BertForNextSentencePrediction", {"mlm": False, "nsp": True}, PRETRAINING, fit=Layout.fit),
    *with_heads(BERT_LAYOUT, POOLED),
    ROBERTA_LAYOUT,
    pretrained(ROBERTA_LAYOUT, "RobertaForMaskedLM", {"mlm": True, "nsp": False}, LM_HEAD, tied=ROBERTA_TIED),
    *with_heads(ROBERTA_LAYOUT, ROBERTA_SENTENCE),
)
