"""BERT's two objectives (Devlin et al. 2018, section 3.1): masked tokens, and whether one text follows another."""

from dataclasses import dataclass

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.models import IGNORED
from scratchgpt.objectives.rows import check_ids, check_rate, check_rows, choose, pack, pad_rows

RATE = 0.15  # of a row's ordinary tokens are predicted
MASKED, RANDOM = 0.8, 0.1  # of these become [MASK], another token; the rest stay as they are
FOLLOWS, DOES_NOT = 0, 1  # next_sentence_label, as in BERT's own code and in Hugging Face


@dataclass(frozen=True)
class Masked:
    """What a masked language model reads and what it must say: both (B, T) int32.

    labels hold the original id where a token is to be predicted, -100 elsewhere.
    """

    input_ids: np.ndarray
    labels: np.ndarray


def mask_tokens(ids, vocabulary, rng, rate=RATE):
    """BERT's masking (Devlin et al. 2018, section 3.1, task 1; appendix A.1).

    Of each row's n ordinary tokens max(1, round(rate * n)) are chosen, every set of them equally likely. A chosen token
    becomes [MASK] with probability 0.8, a random ordinary token with 0.1, and stays with 0.1, because [MASK] never
    occurs in finetuning. (BERT's code draws random tokens from the special ones too; padding is better left out.)

    ids: (B, T) ints; rng: a NumPy Generator. Returns Masked. Raises InputError for an id out of range, a row without
    ordinary tokens, or a vocabulary without [MASK].
    """
    ids = check_rows(ids, vocabulary.size)
    return mask_with(ids, rng.random((3, *ids.shape)), vocabulary, rate)


def mask_with(ids, draws, vocabulary, rate):
    """mask_tokens by given uniform draws (3, B, T): which tokens, what becomes of each, and which random token."""
    check_rate(rate)
    special = vocabulary.is_special(ids)  # (B, T)
    refuse_rows_without_words(special)
    chosen = choose_tokens(special, draws[0], rate)
    return Masked(*mask_chosen(ids, chosen, *draws[1:], vocabulary.need("mask"), vocabulary.ordinary_ids()))


def refuse_rows_without_words(special):
    if special.all(1).any():
        raise InputError(
            f"row {int(special.all(1).argmax())} holds special tokens alone; expected ordinary ones to mask"
        )


def choose_tokens(special, draws, rate):
    """Which tokens are to be predicted, (B, T) bool: of a row's n ordinary tokens the max(1, round(rate * n)) with the
    smallest draws. special: (B, T) bool; draws: (B, T), uniform from 0 to 1."""
    counts = np.maximum(1, np.rint(rate * (~special).sum(1))).astype(int)  # (B,)
    return choose(np.where(special, np.inf, draws), counts)


def mask_chosen(ids, chosen, action, which, mask, ordinary):
    """input_ids, labels (B, T): a chosen token becomes `mask` where action is below 0.8, a random ordinary token where
    it is below 0.9, and stays where it is not. labels are its own id, and -100 where no token is chosen.

    ids, chosen (bool): (B, T); action, which: (B, T), uniform from 0 to 1; ordinary: (V,) ids. Token number
    floor(which * V) of ordinary is the random one.
    """
    random = ordinary[(which * len(ordinary)).astype(int)]
    replaced = np.where(action < MASKED, mask, np.where(action < MASKED + RANDOM, random, ids))
    return np.where(chosen, replaced, ids).astype(np.int32), np.where(chosen, ids, IGNORED)


@dataclass(frozen=True)
class Pairs:
    """Texts A and B as BERT reads them: input_ids, token_type_ids (0 in A, 1 in B) and attention_mask (0 where there is
    padding), all (N, T) int32; next_sentence_label (N,): 0 where B follows A, 1 where it does not."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray
    next_sentence_label: np.ndarray


def next_sentences(documents, vocabulary, rng, max_length=512):
    """Pairs for next sentence prediction (Devlin et al. 2018, section 3.1, task 2; appendix A.2).

    A text is a run of sentences. With probability 1/2 B is what follows A in its document, else it is a run from
    another document, and what follows A begins the next pair. Sentences are taken until max_length tokens are reached,
    and cut by truncate_pair. The last sentence of a document may be left over: nothing follows it.

    documents: lists of sentences, which are lists of ids; rng: a NumPy Generator. Returns Pairs, as wide as the
    longest. Raises InputError for fewer than two documents, none of two sentences, or an id out of range.
    """
    documents = [[check_ids(sentence, vocabulary.size) for sentence in document if len(sentence)]
                 for document in documents]  # fmt: skip
    documents = [document for document in documents if document]
    if len(documents) < 2 or max(map(len, documents)) < 2:
        raise InputError(f"{len(documents)} documents of {max(map(len, documents), default=0)} sentences at most; next "
                         "sentences need two documents, and one with two sentences")  # fmt: skip
    room, rows, labels = max_length - 3, [], []
    for number, document in enumerate(documents):
        start = 0
        while start < len(document) - 1:
            end = run_of(document, start, 2, room)
            cut = int(rng.integers(start + 1, end))
            follows = rng.random() < 0.5
            second = document[cut:end] if follows else elsewhere(documents, number, (start, cut, end), room, rng)
            rows.append(pack(np.concatenate(document[start:cut]), np.concatenate(second), vocabulary, max_length, rng))
            labels.append(FOLLOWS if follows else DOES_NOT)
            start = end if follows else cut
    ids, types = zip(*rows, strict=True)
    ids, mask = pad_rows(ids, vocabulary.need("pad"))
    return Pairs(ids, pad_rows(types, 0)[0], mask, np.array(labels, np.int32))


def run_of(document, start, n_sentences, n_tokens):
    """Where a run of sentences ends that has n_sentences and n_tokens at least, or reaches the document's end."""
    end = n = 0
    while start + end < len(document) and (end < n_sentences or n < n_tokens):
        n += len(document[start + end])
        end += 1
    return start + end


def elsewhere(documents, number, places, room, rng):
    """A run of sentences from another document than `number`, in place of cut to end of places (start, cut, end).

    Length must not tell whether B follows: where start to end fill the room, the run fills it too; where the document
    ends before, it has as many sentences.
    """
    start, cut, end = places
    n_first, n_second = (sum(map(len, documents[number][slice(*part)])) for part in ((start, cut), (cut, end)))
    n_sentences, n_tokens = (1, room - n_first) if n_first + n_second >= room else (end - cut, 0)
    other = int(rng.integers(len(documents) - 1))
    document = documents[other + (other >= number)]
    first = int(rng.integers(max(0, len(document) - n_sentences) + 1))
    last = run_of(document, first, n_sentences, n_tokens)
    while first > 0 and sum(map(len, document[first:last])) < n_tokens:
        first -= 1
    return document[first:last]
