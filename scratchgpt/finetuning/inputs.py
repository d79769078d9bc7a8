"""How texts become what a model reads: each family's special tokens, segments, lengths, and windows over long texts.

BERT     [CLS] a [SEP]              [CLS] a [SEP] b [SEP], the second part in segment 1
RoBERTa  <s> a </s>                 <s> a </s></s> b </s>
GPT      Start a Extract            Start a Delim b Extract            (Radford et al. 2018, figure 1)
"""

from dataclasses import replace
from typing import NamedTuple

from scratchgpt.errors import InputError
from scratchgpt.models.gpt import GPT, GPTConfig
from scratchgpt.objectives import Marks, Vocabulary, pack
from scratchgpt.objectives.gpt1 import one_sequence
from scratchgpt.tokenizers.formats import END_OF_TEXT

MARKS = ("<|start|>", "<|delim|>", "<|extract|>")  # what finetuning adds to a GPT's vocabulary
LEAST = 8  # tokens of a window over a context


class Input(NamedTuple):
    """One sequence: its ids, and the segment of each, or None where the model has no segments."""

    ids: list
    segments: list | None


class Inputs:
    """Lays out texts for one model.

    config: the backbone's; tokenizer: the model's, for a GPT with MARKS. truncate: cut what is longer than the model's
    positions, of two texts the longer one, instead of refusing it. Raises InputError when tokenizer and model do not
    fit, or a special token is missing.
    """

    def __init__(self, config, tokenizer, truncate=False):
        self.config, self.tokenizer, self.truncate = config, tokenizer, truncate
        if tokenizer.vocab_size > config.vocab_size:
            raise InputError(f"the tokenizer has {tokenizer.vocab_size} ids, the model {config.vocab_size}; "
                             "use the tokenizer the model was trained with")  # fmt: skip
        self.on_gpt = isinstance(config, GPTConfig)
        self.double = getattr(config, "by_padding", False)  # RoBERTa's two separators between two texts
        specials = tokenizer.special_tokens
        if self.on_gpt:
            missing = [name for name in MARKS if name not in specials]
            if missing:
                raise InputError(f"the tokenizer lacks {', '.join(missing)}, which finetuning a GPT adds: this model "
                                 "was not finetuned here")  # fmt: skip
            self.pad = specials.get(END_OF_TEXT, 0)
            self.marks = Marks(config.vocab_size, *(specials[name] for name in MARKS), self.pad)
        else:
            self.pad, self.vocabulary = config.pad_id, Vocabulary.of(tokenizer)
            for name in ("cls", "sep"):
                self.vocabulary.need(name)

    def around(self, n_texts):
        """How many special tokens stand around n_texts texts."""
        return 1 + n_texts + (self.double and n_texts == 2)

    def ids(self, text, where):
        """The ids of a text. Raises InputError when it has none: it may hold nothing but control characters."""
        ids = self.tokenizer.encode(text)
        if not ids:
            raise InputError(f"{where}: the text {text[:30]!r} has no tokens; every text needs one")
        return ids

    def lay_out(self, texts, where):
        """The Input of one text or two, given as ids. Raises InputError when it is too long (see truncate)."""
        n = sum(map(len, texts)) + self.around(len(texts))
        if n > self.config.n_ctx and not self.truncate:
            raise InputError(f"{where}: {n} tokens; this model has {self.config.n_ctx} positions: shorten it, or have "
                             "it cut with --truncate")  # fmt: skip
        if self.on_gpt:
            return Input(one_sequence(texts, where, self.marks, self.config.n_ctx), None)
        first, second = texts if len(texts) == 2 else (texts[0], None)
        if self.double and second is not None:
            second = [self.vocabulary.sep, *second]
        ids, segments = pack(first, second, self.vocabulary, self.config.n_ctx)
        return Input(ids.tolist(), segments.tolist() if self.config.n_segments > 1 else None)

    def windows(self, n, others, where):
        """[(start, end)] of the windows over n tokens that are read beside `others`, the lengths of other texts: one if
        they fit, else as long as there is room, each beginning half a window after the one before it."""
        room = self.config.n_ctx - sum(others) - self.around(1 + len(others))
        if room < min(n, LEAST):
            raise InputError(f"{where}: of this model's {self.config.n_ctx} positions {max(0, room)} are left for the "
                             f"context beside {sum(others)} tokens; shorten these")  # fmt: skip
        if n <= room:
            return [(0, n)]
        starts = [*range(0, n - room, room // 2), n - room]
        return [(start, start + room) for start in starts]


def with_marks(model, tokenizer, seed=0):
    """(GPT, tokenizer) that know MARKS too: new special tokens, whose rows of the embedding are drawn by `seed`; the
    other weights are copied. The same two if they know them already."""
    grown = tokenizer.with_special_tokens(MARKS)
    if grown.vocab_size <= model.config.vocab_size:
        return model, grown
    config = replace(model.config, vocab_size=grown.vocab_size)
    larger = GPT(config, seed, model.params.dtype, ops=model.ops, xp=model.xp)
    for name in larger.params.names:
        old = model.params[name]
        larger.params[name][: len(old)] = old
    return larger, grown
