"""RoBERTa's objective (Liu et al. 2019, section 4): new masks each epoch, full sentences, no next sentences."""

from dataclasses import dataclass

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.objectives.bert import RATE, mask_with
from scratchgpt.objectives.rows import check_ids, check_rows, pad_rows

STREAM = 0x4D4C4D  # keeps these draws apart from everything else that is drawn from (seed, epoch)


def dynamic_masks(ids, rows, vocabulary, seed, epoch, masks=None, rate=RATE):
    """BERT's masking, with a mask that is a pure function of (seed, epoch, row) (Liu et al. 2019, section 4.1).

    masks None: dynamic, a new mask each epoch. masks n: static, n masks for each row that take turns, epoch by epoch;
    1 is one mask for ever, 10 is what BERT did by writing its data ten times.

    ids: (B, T) ints; rows: (B,) the number of each row in the data, so that its mask does not depend on the batch it is
    in. Returns Masked. Raises InputError as mask_tokens does, and when rows are not one for each row of ids.
    """
    ids = check_rows(ids, vocabulary.size)
    rows = np.asarray(rows).tolist()
    if np.shape(rows) != ids.shape[:1]:
        raise InputError(f"{np.shape(rows)} row numbers for {len(ids)} rows; expected one each")
    if masks is not None:
        if masks < 1:
            raise InputError(f"masks is {masks}; expected 1 or more for each row, or None for a new one each epoch")
        epoch %= masks
    words = ([seed, epoch, row, STREAM] for row in rows)
    draws = [np.random.Generator(np.random.PCG64(each)).random((3, ids.shape[1])) for each in words]
    return mask_with(ids, np.stack(draws, 1), vocabulary, rate)


@dataclass(frozen=True)
class Packed:
    """Rows of text: input_ids and attention_mask (0 where there is padding), both (N, T) int32."""

    input_ids: np.ndarray
    attention_mask: np.ndarray


def full_sentences(documents, vocabulary, max_length=512):
    """Rows of as many sentences in a row as fit (Liu et al. 2019, section 4.2, FULL-SENTENCES).

    A row is <s> sentence sentence ... </s>, max_length tokens at most; where one document ends and the next begins in
    it, another </s> stands between. A sentence longer than a row is cut into pieces; nothing is lost.

    documents: lists of sentences, which are lists of ids. Returns Packed, (N, max_length). Raises InputError for an id
    out of range, a max_length below 3, or no sentences.
    """
    cls, sep = vocabulary.need("cls"), vocabulary.need("sep")
    if max_length < 3:
        raise InputError(f"max_length is {max_length}; a row of {cls}, a token and {sep} takes 3")
    rows, row = [], [cls]
    for document in documents:
        between = [sep] if len(row) > 1 else []
        for sentence in document:
            sentence = check_ids(sentence, vocabulary.size).tolist()
            for start in range(0, len(sentence), max_length - 2):
                piece = sentence[start : start + max_length - 2]
                if len(row) + len(between) + len(piece) >= max_length:  # no room left for the last </s>
                    rows.append([*row, sep])
                    row, between = [cls], []
                row += between + piece
                between = []
    if len(row) > 1:
        rows.append([*row, sep])
    if not rows:
        raise InputError("the documents hold no sentences; there is nothing to pack")
    return Packed(*pad_rows(rows, vocabulary.need("pad"), max_length))
