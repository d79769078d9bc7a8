"""The batch of a masked language model; the variant masks whole words."""

from dataclasses import replace

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.models import IGNORED
from scratchgpt.objectives.bert import choose_tokens, mask_chosen

SHARE = "max(1, round(rate * n))"
CHOICE = {
    "count": {
        "bernoulli": f"each is chosen for itself, where its draw is below rate; of n exactly {SHARE} are",
        "all": "[CLS], [SEP] and the padding are counted in n; it counts the ordinary tokens",
        "batch": "the smallest draws of the whole batch are chosen; every row has its own share",
    },
    "rounding": {"floor": "rate * n is rounded down; to the nearest belongs there",
                 "ceil": "rate * n is rounded up; to the nearest belongs there",
                 "less": f"one less than {SHARE} is chosen: < where <= belongs"},
    "least": {"none": "in a short row nothing is chosen; at least one is"},
    "rate": {"0.15": "the rate is a fixed 0.15; use the argument"},
    "which": {"largest": "the largest draws are chosen; the smallest are",
              "first": "the first ones of a row are chosen, whatever their draws"},
    "special": {"too": "[CLS], [SEP] and padding may be chosen too",
                "alone": "special tokens are chosen and no others: ~ is missing"},
}  # fmt: skip
WORDS = {
    "words": {
        "pieces": "single tokens are chosen; all pieces of a chosen word are",
        "first": "only the first piece of a chosen word is chosen; all of them are",
        "any": "the draws of all pieces compete; a word has the draw of its first piece",
    },
    "count": {way: text for way, text in CHOICE["count"].items() if way != "all"}
    | {"tokens": "n counts tokens; it counts words"},
}
INPUTS = {
    "share": {
        "mask alone": "every chosen token becomes [MASK]; a tenth becomes a random one, and a tenth stays",
        "no random": "no token becomes a random one: action is from 0.8 to 0.9 there",
        "no kept": "no chosen token stays as it is: where action is 0.9 or more, it does",
        "random over": "the random tokens take the place of the [MASK]s too: action is 0.8 or more there",
        "stay first": "the shares are right, but of other tokens: action below 0.8 means [MASK], up to 0.9 random",
        "random first": "the shares are right, but of other tokens: below 0.8 comes [MASK], then random, then as it is",
    },
    "where": {"everywhere": "tokens that are not chosen are replaced too",
              "others": "the tokens that are not chosen are replaced: ~ does not belong there"},
    "random": {
        "index": "a random number below V is taken for an id; it is the place of one in ordinary",
        "size": "the random id may be special: it is ordinary[floor(which * V)]",
        "round": "the random place is rounded; floor(which * V)",
        "action": "the random token is picked by action, so that it is always one of the last; it is picked by which",
        "one": "all random tokens are the same one; each has its own draw",
        "order": "the draws are used up one after the other; the token at (b, t) has which[b, t]",
    },
}  # fmt: skip
LABELS = {
    "tokens": {
        "masked": "only the [MASK]s have a label; every chosen token has, also one that stays",
        "changed": "only the tokens that were changed have a label; a chosen one that stays has one too",
        "everywhere": "every token has its label; those that are not chosen have -100",
        "others": "the tokens that are not chosen have the labels",
    },
    "value": {
        "after": "the labels are what stands there after masking; the original ids belong there",
        "0": "tokens without a label have 0; -100 belongs there (0 is an id)",
        "-1": "tokens without a label have -1; -100 belongs there",
        "100": "tokens without a label have 100; -100 belongs there",
    },
}


def inputs(draw, B, T, V, rate, shortest):
    cls, sep, pad, mask = 1, 2, 0, 3 + V // 2
    ordinary = np.array([number for number in range(3, V + 4) if number != mask])
    lengths = draw.integers(shortest, T - 1, B)
    lengths[0], lengths[-1] = shortest, T - 2
    t = np.arange(T)
    words = (t > 0) & (t <= lengths[:, None])  # (B, T)
    special_ids = np.where(t == 0, cls, np.where(t == lengths[:, None] + 1, sep, pad))
    ids = np.where(words, ordinary[draw.integers(0, V, B, T)], special_ids)
    kind = draw.integers(0, 6, B, T)  # as many of each, so that all are seen, and both sides of every limit
    middle, width = np.array([0.05, 0.15, 0.45, 0.75, 0.85, 0.95])[kind], np.where(kind == 2, 0.5, 0.1)
    others = (np.searchsorted(ordinary, ids) + draw.integers(1, V, B, T)) % V  # no token becomes itself
    fraction = np.full((B, T), 0.5) if draw.small else draw.rng.random((B, T))
    return {
        "special": ~words, "rate": rate, "ids": ids, "picked": words & (draw.rng.random((B, T)) < 0.6),
        "draws": draw.rng.permuted(np.tile((t + 1) / 10, (B, 1)), axis=1) if draw.small else draw.rng.random((B, T)),
        "action": middle + width * (fraction - 0.5), "which": (others + fraction) / V, "mask": mask,
        "ordinary": ordinary,
    }  # fmt: skip


def chosen(case, count="", rounding="", least="", rate="", which="", special="", words=""):
    closed = ~case["special"] if special == "alone" else case["special"]
    starts = case["starts"] if "starts" in case and words not in ("pieces", "any") else np.ones_like(closed)
    counted = {"all": np.ones_like(closed), "tokens": ~closed}.get(count, starts & ~closed)
    share = 0.15 if rate else case["rate"]
    round_off = {"floor": np.floor, "ceil": np.ceil}.get(rounding, np.rint)
    counts = np.maximum(0 if least else 1, round_off(share * counted.sum(1))) - (rounding == "less")
    keys = {"largest": -case["draws"], "first": np.broadcast_to(np.arange(closed.shape[1]), closed.shape)}
    keys = np.where(~starts | (closed & (special != "too")), np.inf, keys.get(which, case["draws"]))
    if count == "batch":
        found = ranks(keys.ravel()).reshape(keys.shape) < max(1, round_off(share * counted.sum()))
    else:
        found = keys < share if count == "bernoulli" else ranks(keys) < counts[:, None]
    found = found & np.isfinite(keys)
    if "starts" not in case or words in ("pieces", "first"):
        return found
    if words == "any":
        return np.array([np.isin(number, number[hit]) for number, hit in zip(case["starts"].cumsum(1), found)])
    return np.take_along_axis(found, first_of(case["starts"]), 1)


def ranks(keys):
    return np.argsort(np.argsort(keys, -1, kind="stable"), -1)


def first_of(starts):
    """Where the word begins that a token belongs to, (B, T)."""
    return np.maximum.accumulate(np.where(starts, np.arange(starts.shape[1]), 0), 1)


def input_ids(case, share="", where="", random=""):
    ids, action, ordinary, V = case["ids"], case["action"], case["ordinary"], len(case["ordinary"])
    limits = {  # [MASK] from ... to, random from ... to
        "mask alone": (0, 1, 1, 1), "no random": (0, 0.8, 1, 1), "no kept": (0, 0.8, 0.8, 1),
        "random over": (1, 1, 0, 0.9), "stay first": (0.2, 1, 0.1, 0.2), "random first": (0.1, 0.9, 0, 0.1),
    }.get(share, (0, 0.8, 0.8, 0.9))  # fmt: skip
    picked = {"everywhere": True, "others": ~case["picked"]}.get(where, case["picked"])
    masked, replaced = (picked & (action >= low) & (action < high) for low, high in (limits[:2], limits[2:]))
    draws = case["action"] if random == "action" else case["which"]
    if random == "order":
        draws = np.zeros_like(draws)
        draws[replaced] = case["which"].ravel()[: replaced.sum()]
    elif random == "one":
        draws = np.full_like(draws, draws[0, 0])
    others = {
        "index": np.floor(draws * V), "size": np.floor(draws * (ordinary[-1] + 1)),
        "round": ordinary[np.rint(draws * (V - 1)).astype(int)],
    }.get(random, ordinary[(draws * V).astype(int)])  # fmt: skip
    return np.where(masked, case["mask"], np.where(replaced, others, ids)).astype(int)


def labels(case, tokens="", value=""):
    ids, picked = case["ids"], case["picked"]
    read = input_ids(case)
    seen = {"masked": picked & (case["action"] < 0.8), "changed": read != ids, "everywhere": True, "others": ~picked}
    return np.where(seen.get(tokens, picked), read if value == "after" else ids,
                    int(value) if value not in ("", "after") else IGNORED)  # fmt: skip


def readable(case):
    """Whether all draws are from 0 to 1, and those of ordinary tokens differ."""
    draws = [row[~special] for row, special in zip(case["draws"], case["special"])]
    return all(len({*row}) == len(row) for row in draws) and all(
        (case[name] >= 0).all() and (case[name] < 1).all() for name in ("draws", "action", "which")
    )


def sized(B, T, V, rate, shortest):
    return {"B": B, "T": T, "V": V, "rate": rate, "shortest": shortest}


MASK_CHOSEN = Call("mask_chosen", ("ids", "picked", "action", "which", "mask", "ordinary"), ("input_ids", "labels"))
EXERCISE = Exercise(
    name="mlm_batch",
    title="The batch of a masked language model: which tokens, 80/10/10, labels",
    task="""What BERT is trained on (Devlin et al. 2018, section 3.1 and appendix A.1): which tokens are to be
predicted, what is read in their place, and the labels. The random draws are arguments, so that there is one right
answer.

choose_tokens: special (B, T) says where [CLS], [SEP] and padding are. Of the n ordinary tokens of a row, those
max(1, round(rate * n)) are chosen whose draws are the smallest.

mask_chosen: of the chosen tokens 80% become [MASK], whose id is `mask`, 10% a random ordinary token, and 10% stay as
they are, because [MASK] never occurs in finetuning. A label is the original id of a chosen token, -100 elsewhere.
""",
    cut=(choose_tokens, mask_chosen),
    inputs=inputs,
    calls=lambda case: (Call("choose_tokens", ("special", "draws", "rate"), ("chosen",)), MASK_CHOSEN),
    outputs=(
        Output("chosen", chosen, knobs=CHOICE, invariants=(
            (lambda chosen, case: not np.any(chosen & case["special"]), "no special token is chosen"),
        )),
        Output("input_ids", input_ids, knobs=INPUTS, invariants=(
            (lambda ids, case: np.array_equal(ids[~case["picked"]], case["ids"][~case["picked"]]),
             "tokens that are not chosen are read as they are"),
        )),
        Output("labels", labels, knobs=LABELS, parts=("input_ids",)),
    ),
    sizes=(sized(5, 15, 11, 0.16, 3), sized(6, 10, 7, 0.23, 2), sized(4, 12, 9, 0.31, 4), sized(7, 9, 13, 0.26, 3)),
    small=(sized(1, 4, 4, 0.4, 2), sized(1, 5, 4, 0.4, 3), sized(2, 6, 4, 0.4, 2), sized(3, 8, 5, 0.4, 2)),
    dims=lambda case: dict(zip("BT", case["ids"].shape)) | {"V": len(case["ordinary"])},
    readable=readable,
)  # fmt: skip


# ---- the variant


def choose_words(starts, special, draws, rate):
    """Which tokens are to be predicted, (B, T) bool: all of the max(1, round(rate * n)) words with the smallest draws,
    of the n words of a row.

    starts (B, T) bool: where a word begins; it goes on to the next start. special: as in choose_tokens, and each a
    start. The draw of a word is that of its first token.
    """
    return np.take_along_axis(choose_tokens(special | ~starts, draws, rate), first_of(starts), 1)


def word_inputs(draw, B, T, V, rate, shortest):
    case = inputs(draw, B, T, V, rate, shortest)
    starts = case["special"] | (draw.rng.random((B, T)) < 0.5)
    starts[:, 1] = True
    starts[:, 3:] |= ~(starts[:, 1:-2] | starts[:, 2:-1])  # a word has three tokens at most
    return case | {"starts": starts}


WHOLE_WORDS = replace(
    EXERCISE,
    title="The batch of a masked language model that masks whole words",
    task="""BERT's later way (its code, 2019; Cui et al. 2019): words are chosen, and all pieces of a chosen word are to
be predicted. The random draws are arguments, so that there is one right answer.

choose_words: starts (B, T) says where a word begins; special where [CLS], [SEP] and padding are. Of the n words of a
row, those max(1, round(rate * n)) are chosen whose first tokens have the smallest draws.

mask_chosen: of the chosen tokens 80% become [MASK], whose id is `mask`, 10% a random ordinary token, and 10% stay as
they are, each piece for itself. A label is the original id of a chosen token, -100 elsewhere.
""",
    cut=(choose_words, mask_chosen),
    inputs=word_inputs,
    calls=lambda case: (Call("choose_words", ("starts", "special", "draws", "rate"), ("chosen",)), MASK_CHOSEN),
    outputs=(replace(EXERCISE.outputs[0], knobs=CHOICE | WORDS), *EXERCISE.outputs[1:]),
    sizes=(sized(7, 25, 11, 0.16, 3), sized(9, 20, 7, 0.23, 2), sized(8, 18, 9, 0.31, 4), sized(10, 16, 13, 0.26, 3)),
)
EXERCISE = replace(EXERCISE, variants={"whole_words": WHOLE_WORDS})
