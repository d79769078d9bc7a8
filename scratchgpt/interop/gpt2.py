"""The directories of GPT-2 and of OpenAI-GPT (GPT-1), and of a GPT with mixtures of experts, which is ours alone."""

from dataclasses import asdict, replace

from scratchgpt.errors import InputError
from scratchgpt.interop.layout import Layout, headed, linear
from scratchgpt.models.gpt import GPT, GPTConfig, parameter_spec
from scratchgpt.tokenizers.formats import END_OF_TEXT

BLOCK = (  # transformers' Conv1D keeps (in, out), so weights of linear maps are transposed
    ("blocks.{i}.ln1.weight", "transformer.h.{i}.ln_1.weight", False),
    ("blocks.{i}.ln1.bias", "transformer.h.{i}.ln_1.bias", False),
    ("blocks.{i}.attn.qkv.weight", "transformer.h.{i}.attn.c_attn.weight", True),
    ("blocks.{i}.attn.qkv.bias", "transformer.h.{i}.attn.c_attn.bias", False),
    ("blocks.{i}.attn.out.weight", "transformer.h.{i}.attn.c_proj.weight", True),
    ("blocks.{i}.attn.out.bias", "transformer.h.{i}.attn.c_proj.bias", False),
    ("blocks.{i}.ln2.weight", "transformer.h.{i}.ln_2.weight", False),
    ("blocks.{i}.ln2.bias", "transformer.h.{i}.ln_2.bias", False),
    ("blocks.{i}.mlp.up.weight", "transformer.h.{i}.mlp.c_fc.weight", True),
    ("blocks.{i}.mlp.up.bias", "transformer.h.{i}.mlp.c_fc.bias", False),
    ("blocks.{i}.mlp.down.weight", "transformer.h.{i}.mlp.c_proj.weight", True),
    ("blocks.{i}.mlp.down.bias", "transformer.h.{i}.mlp.c_proj.bias", False),
)
FIELDS = {
    "vocab_size": ("vocab_size", 50257), "n_positions": ("n_ctx", 1024), "n_layer": ("n_layer", 12),
    "n_head": ("n_head", 12), "n_embd": ("n_embd", 768), "layer_norm_epsilon": ("layer_norm_eps", 1e-5),
    "resid_pdrop": ("dropout", 0.1), "tie_word_embeddings": ("tied_head", True),
}  # fmt: skip
UNSAID = {"init": "gpt2", "n_inner": None}


def also(config, tokenizer):
    end_of_text = None if tokenizer is None else tokenizer.special_tokens.get(END_OF_TEXT)
    return {
        "embd_pdrop": config.dropout,
        "attn_pdrop": 0.0,  # our blocks drop nothing inside attention
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "initializer_range": 0.02,
    }


def check_gpt1(config):
    if config.inner != 4 * config.n_embd:
        raise InputError(f"n_inner is {config.n_inner}: openai-gpt directories have n_inner 4 n_embd = "
                         f"{4 * config.n_embd}; use that, or norm_first=True")  # fmt: skip


GPT2 = Layout(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    model=GPT,
    config=GPTConfig,
    spec=parameter_spec,
    ours={"norm_first": True, "moe": None},
    table=(
        ("wte", "transformer.wte.weight", False),
        ("wpe", "transformer.wpe.weight", False),
        *BLOCK,
        ("ln_f.weight", "transformer.ln_f.weight", False),
        ("ln_f.bias", "transformer.ln_f.bias", False),
        ("head.weight", "lm_head.weight", False),
    ),
    fields=FIELDS | {"n_inner": ("n_inner", None)},
    activation_key="activation_function",
    activations={
        "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh",
        "gelu_fast": "gelu_tanh", "gelu_accurate": "gelu_tanh", "gelu": "gelu", "gelu_python": "gelu",
    },
    unsaid=UNSAID,
    also=also,
    required={
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    },
    tied={"lm_head.weight": "wte"},
    buffers=r"h\.\d+\.attn\.(bias|masked_bias)",
)  # fmt: skip
OPENAI_GPT = Layout(
    model_type="openai-gpt",
    architecture="OpenAIGPTLMHeadModel",
    model=GPT,
    config=GPTConfig,
    spec=parameter_spec,
    ours={"norm_first": False, "moe": None},
    table=(
        ("wte", "transformer.tokens_embed.weight", False),
        ("wpe", "transformer.positions_embed.weight", False),
        *BLOCK,
        ("head.weight", "lm_head.weight", False),
    ),
    fields=FIELDS | {"vocab_size": ("vocab_size", 40478), "n_positions": ("n_ctx", 512)},
    activation_key="afn",
    activations={"gelu": "gelu_tanh"},  # this family's "gelu" is the tanh one
    unsaid=UNSAID,
    also=also,
    check=check_gpt1,
    tied={"lm_head.weight": "wte"},
    buffers=r"h\.\d+\.attn\.bias|position_ids",
)
# transformers has no GPT-2 with mixtures of experts: GPT-2's keys where there are such, ours for the mixtures. What the
# mixtures are is read from the config that is kept beside the weights.
EXPERTS = (
    "router.weight", "router.balance_bias", "experts.up.weight", "experts.down.weight", "shared.up.weight",
    "shared.up.bias", "shared.down.weight", "shared.down.bias",
)  # fmt: skip
GPT_MOE = replace(
    GPT2,
    model_type="scratchgpt_moe",
    architecture="GPT",
    ours={},
    table=GPT2.table
    + tuple((f"blocks.{{i}}.mlp.{name}", f"transformer.h.{{i}}.mlp.{name}", False) for name in EXPERTS),
    fields=GPT2.fields | {"norm_first": ("norm_first", True)},
    unsaid=UNSAID | {"moe": None},
    also=lambda config, tokenizer: also(config, tokenizer) | {"moe": asdict(config.moe)},
    required={},
    buffers=r"(?!)",
)


def also_head(config, tokenizer):
    """transformers reads a sentence off its last token that is not pad_token_id."""
    values = also(config, tokenizer)
    return values | {"pad_token_id": values["eos_token_id"]}


def gpt_head(layout, architecture, task, rows):
    return headed(layout, architecture, task, (*layout.table, *rows), ours=layout.ours, also=also_head)


SCORE = (("classifier.weight", "score.weight", False),)
CHOICE = linear("classifier", "multiple_choice_head.summary")
LAYOUTS = (
    GPT2,
    gpt_head(GPT2, "GPT2ForSequenceClassification", "sentence", SCORE),
    gpt_head(GPT2, "GPT2ForTokenClassification", "tag", linear("classifier", "classifier")),
    gpt_head(GPT2, "GPT2ForQuestionAnswering", "span", linear("classifier", "qa_outputs")),
    gpt_head(GPT2, "GPT2DoubleHeadsModel", "choice", CHOICE),
    OPENAI_GPT,
    gpt_head(OPENAI_GPT, "OpenAIGPTForSequenceClassification", "sentence", SCORE),
    gpt_head(OPENAI_GPT, "OpenAIGPTDoubleHeadsModel", "choice", CHOICE),
    GPT_MOE,
)
