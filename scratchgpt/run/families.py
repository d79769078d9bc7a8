"""The families that `scratchgpt train --model NAME` makes: all that differs between them, in one table.

To add one: write its dataset (scratchgpt/data/__init__.py says what that is), the functions of a Family, and a line of
FAMILIES; mark the options in RunConfig (scratchgpt/run/__init__.py) that are for it, or not for it, with `of`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType

from scratchgpt.data import NextTokens, split_documents, split_text
from scratchgpt.data.corrupted import Corrupted, Corruption
from scratchgpt.data.corrupted import HeldOut as HeldOutCorrupted
from scratchgpt.data.masked import HeldOut, Masked, Pairs, Sentences, Spans, encoded
from scratchgpt.data.skipgrams import Draws, SkipGrams
from scratchgpt.data.skipgrams import HeldOut as HeldOutPairs
from scratchgpt.errors import InputError
from scratchgpt.evaluation import as_ids, evaluate
from scratchgpt.models import bert, gpt, t5, word2vec
from scratchgpt.models.moe import MoEConfig
from scratchgpt.objectives import raw_length
from scratchgpt.objectives.t5 import span_counts
from scratchgpt.run import examples
from scratchgpt.tokenizers import BPETokenizer, WordPieceTokenizer, WordTokenizer

SENTINELS = 32  # of a T5's tokenizer at least: what one text may have of blanks, and one more


@dataclass(frozen=True)
class Family:
    """A family of models. `config` below is the RunConfig; tokenizer may be None before there is one."""

    title: str  # what it is called in sentences
    model: type  # model(shape, seed, dtype, device)
    shape_type: type  # of its configuration, shape
    sizes: ModuleType  # whose count_parameters(shape) and activation_bytes(shape, T, itemsize) hold for it
    shape: Callable  # (config, vocab_size, special tokens {str: id}) -> shape
    train_tokenizer: Callable  # (text, config) -> tokenizer
    dataset: Callable  # (train_text, val_text, tokenizer, shape, config) -> dataset
    examine: Callable  # (model, tokenizer, text, config, threads) -> how well the model does on a text: eval's result
    show: Callable  # (trainer): prints what the trained model says
    split: Callable = split_documents  # text -> (train_text, val_text)
    defaults: dict = field(default_factory=dict)  # what an option is unless given, where it is not RunConfig's default


# ---- GPT


def gpt_shape(config, vocab_size, specials):
    base, moe = gpt.PRESETS[config.preset] if config.preset else gpt.GPTConfig(), None
    if config.moe_experts:
        moe = MoEConfig(
            n_experts=config.moe_experts, top_k=config.moe_top_k, n_shared=config.moe_shared,
            scores=config.moe_scores, balance=config.moe_balance,
        )  # fmt: skip
    return replace(base, vocab_size=vocab_size, moe=moe, **{name: getattr(config, name) for name in SHAPE})


def gpt_tokenizer(text, config):
    return BPETokenizer.train(text, config.vocab_size)


def gpt_dataset(train_text, val_text, tokenizer, shape, config):
    val_ids = tokenizer.encode_array(val_text)
    n_bytes = len(tokenizer.decode_bytes(val_ids))
    return NextTokens(tokenizer.encode_array(train_text), val_ids, shape, config, n_bytes)


def gpt_examine(model, tokenizer, text, config, threads):
    return evaluate(model, tokenizer.encode_array(text), len(text.encode("utf-8")), threads)


# ---- BERT, RoBERTa, SpanBERT


def bert_shape(kind, pad, **more):
    """A Family's shape for a kind of BERTConfig; pad: what its tokenizers call padding."""

    def shape(config, vocab_size, specials):
        same = {name: getattr(config, name) for name in SHAPE}
        own = {name: value(config) for name, value in more.items()}
        return kind(vocab_size=vocab_size, pad_id=specials.get(pad, kind.pad_id), **same, **own)

    return shape


def wordpiece(text, config):
    return WordPieceTokenizer.train(text, config.vocab_size)


def roberta_tokenizer(text, config):
    """BPE with RoBERTa's special tokens, padding at 1: the rows of the position table up to it are never read."""
    return bpe_between(text, config.vocab_size, ("<s>", "<pad>", "</s>", "<mask>"))


def bpe_between(text, vocab_size, first, last=()):
    """A BPE tokenizer of vocab_size ids: the special tokens `first`, bytes and merges, the special tokens `last`."""
    n_special = len(first) + len(last)
    least = 256 + n_special
    if vocab_size < least:
        raise InputError(f"vocab_size {vocab_size} is below {least}: byte-level BPE starts from 256 byte tokens plus "
                         f"{n_special} special tokens; ask for at least {least}")  # fmt: skip
    plain = BPETokenizer.train(text, max(257, vocab_size - n_special), special_tokens=())
    ids = {token: len(first) + number for number, token in plain.vocab.items()}
    specials = {token: number for number, token in enumerate(first)}
    specials |= {token: len(first) + len(ids) + number for number, token in enumerate(last)}
    return BPETokenizer(plain.merges, specials, ids)


def masked_dataset(rows):
    """A Family's dataset; rows(documents, tokenizer, shape, config) -> Pairs, Sentences or Spans; config None: of the
    validation text."""

    def dataset(train_text, val_text, tokenizer, shape, config):
        documents = encoded(train_text, tokenizer), encoded(val_text, tokenizer)
        train, held_out = rows(documents[0], tokenizer, shape, config), rows(documents[1], tokenizer, shape, None)
        return Masked(train, held_out, documents, shape, config)

    return dataset


def masked_examine(rows):
    def examine(model, tokenizer, text, config, threads):
        if not model.config.mlm:
            raise InputError("this model has no masked LM head: there are no masked tokens for it to predict")
        return HeldOut(rows(encoded(text, tokenizer), tokenizer, model.config, None)).evaluate(model, threads)

    return examine


def pairs(documents, tokenizer, shape, config):
    return (Pairs if shape.nsp else Sentences)(documents, tokenizer, shape.n_ctx)


def sentences(documents, tokenizer, shape, config):
    return Sentences(documents, tokenizer, shape.n_ctx, config and config.masks)


def spans(documents, tokenizer, shape, config):
    return Spans(documents, tokenizer, shape.n_ctx)


def masked_family(title, shape_type, shape, train_tokenizer, rows, defaults):
    return Family(
        title, bert.BERT, shape_type, bert, shape, train_tokenizer, masked_dataset(rows), masked_examine(rows),
        examples.guesses, defaults=defaults,
    )  # fmt: skip


# ---- T5


def t5_shape(config, vocab_size, specials):
    names = ("n_layer", "n_head", "n_embd", "n_ctx", "dropout")
    if config.n_embd % config.n_head:
        raise InputError(f"n_embd {config.n_embd} is not divisible by n_head {config.n_head}: each head takes n_embd / "
                         "n_head columns")  # fmt: skip
    return t5.T5Config(
        vocab_size=vocab_size, head_width=config.n_embd // config.n_head, n_inner=4 * config.n_embd,
        pad_id=specials.get("<pad>", 0), start_id=specials.get("<pad>", 0), eos_id=specials.get("</s>", 1),
        **{name: getattr(config, name) for name in names},
    )  # fmt: skip


def t5_tokenizer(text, config):
    """BPE with T5's special tokens, the sentinels as many as a row of n_ctx tokens takes, and SENTINELS at least."""
    needed = span_counts(raw_length(config.n_ctx))[1] + 1
    sentinels = [f"<extra_id_{number}>" for number in range(max(SENTINELS, needed))]
    return bpe_between(text, config.vocab_size, ("<pad>", "</s>"), sentinels)


def t5_dataset(train_text, val_text, tokenizer, shape, config):
    need_end(tokenizer)
    ids = tokenizer.encode_array(train_text), tokenizer.encode_array(val_text)
    return Corrupted(*ids, tokenizer, shape, config, config.objective)


def t5_examine(model, tokenizer, text, config, threads):
    need_end(tokenizer)
    corruption = Corruption(tokenizer, model.config, config.objective)
    return HeldOutCorrupted(tokenizer.encode_array(text), corruption).evaluate(model, threads)


def need_end(tokenizer):
    if "</s>" not in tokenizer.special_tokens:
        raise InputError("the tokenizer has no </s>, with which a T5's texts end; give another --tokenizer")


# ---- word2vec


def words_shape(config, vocab_size, specials):
    return word2vec.Word2VecConfig(vocab_size=vocab_size, n_embd=config.n_embd)


def words_tokenizer(text, config):
    return WordTokenizer.train(text, config.min_count)


def words_dataset(train_text, val_text, tokenizer, shape, config):
    draws = words_draws(tokenizer, config)
    return SkipGrams(tokenizer.encode_array(train_text), tokenizer.encode_array(val_text), shape, config, draws)


def words_examine(model, tokenizer, text, config, threads):
    ids = as_ids(tokenizer.encode_array(text), model.config.vocab_size)
    return HeldOutPairs(ids, words_draws(tokenizer, config)).evaluate(model, threads)


def words_draws(tokenizer, config):
    if not isinstance(tokenizer, WordTokenizer):
        raise InputError("a word2vec reads whole words, with their counts; give a --tokenizer directory that has "
                         "words.json, or none")  # fmt: skip
    return Draws(tokenizer.counts, config.window, config.negatives, config.subsample)


SHAPE = ("n_layer", "n_head", "n_embd", "n_ctx", "dropout", "init")  # of a RunConfig
PROSE = {"data": "addresses"}
ENCODER = PROSE | {  # small, in small pieces and short rows: nothing helps until attention has found the neighbours of
    # a masked place; at 512 pieces that took 300,000 masked tokens in rows of 32, and more than 400,000 in rows of 64
    "vocab_size": 512, "n_layer": 2, "n_head": 4, "n_embd": 64, "lr": 3e-3, "beta2": 0.98, "warmup_steps": 200,
    "eval_every": 500, "checkpoint_every": 500,
}  # fmt: skip
FAMILIES = {
    "gpt": Family(
        "GPT", gpt.GPT, gpt.GPTConfig, gpt, gpt_shape, gpt_tokenizer, gpt_dataset, gpt_examine, examples.continuation,
        split_text,
    ),
    "bert": masked_family(
        "BERT", bert.BERTConfig, bert_shape(bert.BERTConfig, "[PAD]"), wordpiece, pairs,
        ENCODER | {"steps": 5600, "n_ctx": 64, "batch_size": 32},
    ),
    "roberta": masked_family(
        "RoBERTa", bert.RoBERTaConfig, bert_shape(bert.RoBERTaConfig, "<pad>"), roberta_tokenizer, sentences,
        ENCODER | {"steps": 5400, "n_ctx": 32, "batch_size": 64},
    ),
    "spanbert": masked_family(
        "SpanBERT", bert.SpanBERTConfig,
        bert_shape(bert.SpanBERTConfig, "[PAD]", span_width=lambda config: min(200, config.n_embd)), wordpiece, spans,
        ENCODER | {"steps": 5400, "n_ctx": 32, "batch_size": 64},
    ),
    "t5": Family(
        "T5", t5.T5, t5.T5Config, t5, t5_shape, t5_tokenizer, t5_dataset, t5_examine, examples.filled_in,
        defaults=PROSE | {"vocab_size": 512, "steps": 4800, "lr": 1e-2, "n_layer": 2, "n_head": 4, "n_embd": 64,
                          "n_ctx": 64, "batch_size": 32, "warmup_steps": 200, "eval_every": 500,
                          "checkpoint_every": 500},
    ),
    "word2vec": Family(
        "word2vec", word2vec.Word2Vec, word2vec.Word2VecConfig, word2vec, words_shape, words_tokenizer, words_dataset,
        words_examine, examples.neighbours,
        defaults=PROSE | {"n_embd": 64, "steps": 820, "batch_size": 2048, "lr": 0.01, "weight_decay": 0.0},
    ),
}  # fmt: skip


def family_of(model):
    """The name of a loaded model's family. Raises InputError for one that `train` does not make."""
    if isinstance(model, gpt.GPT):  # Llama and its kin too
        return "gpt"
    name = next((name for name, family in FAMILIES.items() if type(model.config) is family.shape_type), None)
    if name is None:
        raise InputError(f"a {type(model).__name__} predicts no text by itself; expected a model as pretrained")
    return name
