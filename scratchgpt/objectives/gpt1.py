"""GPT-1's inputs for finetuning (Radford et al. 2018, section 3.3, figure 1): every task as sequences of tokens.

classification   Start text Extract
entailment       Start premise Delim hypothesis Extract
similarity       Start a Delim b Extract   and   Start b Delim a Extract, whose vectors at Extract are added
multiple choice  Start context Delim answer Extract for each answer, whose scores are compared
"""

from dataclasses import dataclass

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.objectives.rows import check_ids, pad_rows, truncate_pair


@dataclass(frozen=True)
class Marks:
    """The tokens that finetuning adds, among the `size` ids that the model knows; pad is never attended to."""

    size: int
    start: int
    delim: int
    extract: int
    pad: int = 0

    def __post_init__(self):
        for name in ("start", "delim", "extract", "pad"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} is {getattr(self, name)!r}; expected the id of a special token")
            check_ids(getattr(self, name), self.size, f"the id of {name}")
        if len({self.start, self.delim, self.extract}) < 3:
            raise InputError("start, delim and extract are not three different ids; add a token for each")


@dataclass(frozen=True)
class Sequences:
    """N examples of K sequences each: K is 1, or 2 for similarity, or the number of answers.

    input_ids, attention_mask and labels: (N, K, T) int32; labels are those of the auxiliary language model, the same
    tokens, which the model shifts, -100 where there is padding (loss = task + lambda * LM, section 3.2, equation 5).
    extract: (N, K) int32, where in its sequence Extract stands.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    labels: np.ndarray
    extract: np.ndarray


def classification(texts, marks, max_length=512):
    """Start text Extract for each text, a sequence of ids; cut at its end to max_length tokens. Returns Sequences."""
    return lay_out([[(text,)] for text in texts], marks, max_length)


def entailment(premises, hypotheses, marks, max_length=512):
    """Start premise Delim hypothesis Extract; the longer of the two is cut at its end. Returns Sequences."""
    return lay_out([[pair] for pair in paired(premises, hypotheses)], marks, max_length)


def similarity(firsts, seconds, marks, max_length=512):
    """Both orders, since neither text comes first by nature: K = 2. Returns Sequences."""
    return lay_out([[(a, b), (b, a)] for a, b in paired(firsts, seconds)], marks, max_length)


def multiple_choice(contexts, answers, marks, max_length=512):
    """Start context Delim answer Extract for each of an example's answers, a list of K sequences of ids; the context
    holds the question too. Returns Sequences."""
    examples = [[(context, answer) for answer in each] for context, each in paired(contexts, answers)]
    return lay_out(examples, marks, max_length)


def paired(firsts, seconds):
    if len(firsts) != len(seconds):
        raise InputError(f"{len(firsts)} first and {len(seconds)} second parts; expected one of each for an example")
    return list(zip(firsts, seconds, strict=True))


def lay_out(examples, marks, max_length):
    """Sequences of examples, each a list of K tuples of one or two texts.

    Raises InputError for no examples, not as many sequences in each, an empty text, an id out of range, or a max_length
    that leaves no room.
    """
    counts = sorted({len(example) for example in examples})
    if len(counts) != 1 or counts[0] == 0:
        raise InputError(f"examples have {counts or 'no'} sequences; expected at least one, as many in each")
    rows = [one_sequence(texts, number, marks, max_length) for number, each in enumerate(examples) for texts in each]
    ids, mask = pad_rows(rows, marks.pad)
    shape = (len(examples), counts[0], -1)
    labels = np.where(mask == 1, ids, IGNORED).astype(np.int32)
    extract = mask.sum(1).astype(np.int32) - 1
    return Sequences(ids.reshape(shape), mask.reshape(shape), labels.reshape(shape), extract.reshape(shape[:2]))


def one_sequence(texts, number, marks, max_length):
    """Start text Extract, or Start text Delim text Extract."""
    texts = [check_ids(text, marks.size, f"the ids of example {number}").tolist() for text in texts]
    if not all(texts):
        raise InputError(f"example {number} has an empty text; leave it out")
    room = max_length - 1 - len(texts)
    if room < len(texts):
        raise InputError(f"max_length is {max_length}; {len(texts)} texts and what is around them take "
                         f"{1 + 2 * len(texts)} tokens at least")  # fmt: skip
    if len(texts) == 1:
        return [marks.start, *texts[0][:room], marks.extract]
    first, second = truncate_pair(*texts, room)
    return [marks.start, *first, marks.delim, *second, marks.extract]
