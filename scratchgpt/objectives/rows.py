"""Rows of ids: what an objective must know of a vocabulary, and rows that are checked, cut to length and filled up."""

from dataclasses import dataclass

import numpy as np

from scratchgpt.errors import InputError

NAMES = {  # what the special tokens are called by BERT, and by RoBERTa
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "pad": ("[PAD]", "<pad>"),
}


@dataclass(frozen=True)
class Vocabulary:
    """size ids, 0 to size - 1, of which special_ids are special; cls, sep, mask and pad are among these, or None."""

    size: int
    special_ids: tuple
    cls: int | None = None
    sep: int | None = None
    mask: int | None = None
    pad: int | None = None

    def __post_init__(self):
        check_ids(self.special_ids, self.size, "special_ids")
        for name in NAMES:
            if getattr(self, name) not in (None, *self.special_ids):
                raise InputError(f"{name} is {getattr(self, name)}, which is not one of special_ids {self.special_ids}")
        if len(set(self.special_ids)) >= self.size:
            raise InputError(f"all {self.size} ids are special; expected ordinary tokens beside them")

    @classmethod
    def of(cls, tokenizer):
        """The Vocabulary of a tokenizer, its special tokens known by BERT's names or RoBERTa's."""
        specials = tokenizer.special_tokens
        named = {name: next((specials[text] for text in texts if text in specials), None)
                 for name, texts in NAMES.items()}  # fmt: skip
        return cls(tokenizer.vocab_size, tuple(specials.values()), **named)

    def need(self, name):
        """The id of a special token. Raises InputError when the vocabulary has none."""
        if getattr(self, name) is None:
            raise InputError(f"the vocabulary has no {name} token; use a tokenizer with {' or '.join(NAMES[name])}")
        return getattr(self, name)

    def is_special(self, ids):
        """Where ids are special tokens: bools of the same shape."""
        table = np.zeros(self.size, bool)
        table[list(self.special_ids)] = True
        return table[ids]

    def ordinary_ids(self):
        """The ids that are not special, in order."""
        return np.flatnonzero(~self.is_special(np.arange(self.size))).astype(np.int32)


def check_ids(ids, size, what="ids"):
    """Ids as an int32 array of their own shape. Raises InputError when one is not a whole number from 0 to size - 1."""
    try:
        ids = np.asarray(ids)
    except ValueError:
        raise InputError(f"{what} are rows of different lengths; fill them up with pad_rows") from None
    if ids.size and ids.dtype.kind not in "iu":
        raise InputError(f"{what} are {ids.dtype}; expected whole numbers")
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        wrong = int(ids.min() if ids.min() < 0 else ids.max())
        raise InputError(f"{what} hold {wrong}, which is out of range; the vocabulary has the ids 0 to {size - 1}")
    return ids.astype(np.int32)


def check_rate(rate):
    """Raises InputError unless rate is a share of the tokens."""
    if not 0 < rate < 1:
        raise InputError(f"the rate is {rate}; expected a share of the tokens, above 0 and below 1")


def check_rows(ids, size, what="ids"):
    """Ids as an int32 array (B, T). Raises InputError for another shape, no ids, or one out of range."""
    ids = check_ids(ids, size, what)
    if ids.ndim != 2 or not ids.size:
        raise InputError(f"{what} have shape {ids.shape}; expected (rows, tokens), at least one of each")
    return ids


def choose(keys, counts):
    """In each row the `counts` places with the smallest keys: keys (B, T) floats, counts (B,) from 1 -> (B, T) bool.

    With keys drawn uniformly every set of that many places is equally likely; infinite keys are not chosen.
    """
    return keys <= np.take_along_axis(np.sort(keys, -1), counts[:, None] - 1, -1)


def truncate_pair(a, b, most, rng=None):
    """(a, b) cut to `most` tokens together, one token at a time from the longer side, from b where both are as long
    (Devlin et al. 2018, create_pretraining_data.py).

    The tokens go from the end of a side, or with rng each from the front or the end with equal chances, as BERT's
    pretraining does. Raises InputError when a side would be left without a token.
    """
    n_b = min(len(b), max(most // 2, most - len(a)))
    n_a = min(len(a), most - n_b)
    if n_a < 1 or n_b < 1:
        raise InputError(f"two texts of {len(a)} and {len(b)} tokens and a limit of {most} for both leave one empty; "
                         "give texts that are not empty, and a longer limit")  # fmt: skip
    return _part(a, n_a, rng), _part(b, n_b, rng)


def _part(ids, n, rng):
    front = 0 if rng is None else int(rng.binomial(len(ids) - n, 0.5))
    return ids[front : front + n]


def pack(a, b, vocabulary, max_length=512, rng=None):
    """(ids, token_type_ids) of [CLS] a [SEP], or of [CLS] a [SEP] b [SEP] with type 1 from b on, max_length at most
    (Devlin et al. 2018, section 3).

    b None: one text, cut at its end. Two are cut by truncate_pair. Raises InputError when nothing of a text is left.
    """
    cls, sep = vocabulary.need("cls"), vocabulary.need("sep")
    if b is None:
        a, b = a[: max(0, max_length - 2)], []
        if not len(a):
            raise InputError(
                f"an empty text, or a limit of {max_length}, which leaves no room for one; expected 3 or more"
            )
    else:
        a, b = truncate_pair(a, b, max_length - 3, rng)
    first, second = [cls, *a, sep], [*b, sep] if len(b) else []
    return np.array(first + second, np.int32), np.array([0] * len(first) + [1] * len(second), np.int32)


def pad_rows(rows, fill, length=None):
    """Rows of ids, each followed by `fill`, and where they are: two (B, T) int32, T being length or the longest row's.

    pad_rows([[5, 6, 7], [8]], 0) -> [[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]]. Raises InputError when a row is
    longer than length.
    """
    lengths = np.array(list(map(len, rows)), int)
    length = int(lengths.max(initial=0)) if length is None else length
    if lengths.max(initial=0) > length:
        raise InputError(f"a row has {lengths.max()} tokens, more than {length}; cut it first")
    present = np.arange(length) < lengths[:, None]  # (B, T)
    padded = np.full(present.shape, fill, np.int32)
    padded[present] = np.concatenate(rows) if len(rows) else []
    return padded, present.astype(np.int32)
