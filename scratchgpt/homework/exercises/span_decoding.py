"""The best span of an answer: where it starts and ends."""

from dataclasses import replace

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.models.heads import best_spans

CHOICE = {
    "pairs": {
        "any order": "an end before its start is allowed; first <= last",
        "backwards": "the span ends where it should start, and starts where it should end: first <= last",
        "strict": "a span of one token is not allowed; first may be equal to last",
        "swapped": "the best start and the best end are taken each for itself, and swapped where the end comes first",
        "start first": "the best start is taken first, and then the best end for it; what counts is the sum of both",
        "end first": "the best end is taken first, and then the best start for it; what counts is the sum of both",
    },
    "longest": {
        "none": "longest is not looked at",
        "one more": "spans of longest + 1 tokens are allowed: a span has last - first + 1 tokens",
        "one less": "spans of longest tokens are not allowed: a span has last - first + 1 tokens",
    },
    "context": {
        "none": "the context is not looked at",
        "first": "only the first token must be in the context; the last one must be, too",
        "last": "only the last token must be in the context; the first one must be, too",
        "zero": "a span outside the context has the score 0, which may be the largest; -inf belongs there",
        "product": "starts and ends are multiplied by the context: outside they are 0, which may be the largest; -inf "
        "belongs there",
    },
    "by": {
        "probabilities": "the sum of the two probabilities is the largest; the sum of the scores should be",
        "product": "the product of the two scores is the largest; their sum should be",
    },
}
TIES = {
    "last": "of equal spans the last one found is taken; the first one should be (> and not >=)",
    "short": "of equal spans the shortest is taken, wherever it is; the one that starts first should be",
    "long": "of equal spans with the same first token the longest is taken; the shortest should be",
}
FROM_CONTEXT = "places are counted from the first token of the context; they are those of the whole row"
FIRST = CHOICE | {
    "pairs": CHOICE["pairs"] | {
        "start first": "the best start is taken, without a look at the ends; what counts is the sum of both",
    },
    "ties": {way: TIES[way] for way in ("last", "short")},
    "counted": {"context": FROM_CONTEXT, "one": "places are counted from 1; they are counted from 0"},
}  # fmt: skip
LAST = CHOICE | {
    "pairs": CHOICE["pairs"] | {
        "end first": "the best end is taken, without a look at the starts; what counts is the sum of both",
    },
    "ties": TIES,
    "counted": {"context": FROM_CONTEXT, "behind": "last is one too large: it is the last token in the span, counted "
                "from 0", "length": "the length of the span is given; the place of its last token belongs there"},
}  # fmt: skip
SCORE = CHOICE | {
    "pairs": CHOICE["pairs"] | {
        "apart": "the best start and the best end are taken each for itself: the end may come first, and the span may "
        "be too long",
    },
    "score": {
        "start": "the score of the start alone is given; that of a span is the sum of both",
        "end": "the score of the end alone is given; that of a span is the sum of both",
        "log": "the logarithm of the span's probability is given; its score is the plain sum",
        "probability": "the probability of the span is given; its score is the plain sum",
    },
}  # fmt: skip


def inputs(draw, B, T, context, longest):
    """context: how many tokens of a row are in its context, or None. Every second row has whole numbers, so that some
    spans are equally good."""
    starts, ends = (draw.normal(B, T, shift=-1.5) for _ in range(2))
    starts[1::2], ends[1::2] = (draw.integers(-2, 1, B // 2, T) for _ in range(2))
    mask = None
    if context is not None:
        begin = draw.integers(1, T - context + 1, B)[:, None]  # the first token, [CLS], never is
        mask = ((np.arange(T) >= begin) & (np.arange(T) < begin + context)).astype(int)
    return {"starts": starts, "ends": ends, "context": mask, "longest": longest}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def allowed(case, pairs="", longest="", context=""):
    """(B, T, T): which spans may be chosen, by first and last."""
    B, T = case["starts"].shape
    first, last = np.arange(T)[:, None], np.arange(T)
    length = 1 + (first - last if pairs == "backwards" else last - first)
    most = {"none": T, "one more": case["longest"] + 1, "one less": case["longest"] - 1}.get(longest, case["longest"])
    ok = (length <= most) & ((pairs == "any order") | (length > (1 if pairs == "strict" else 0)))
    if case["context"] is not None and context in ("", "first", "last"):
        mask = case["context"] != 0
        ok = ok & (mask[:, :, None] | (context == "last")) & (mask[:, None, :] | (context == "first"))
    return np.broadcast_to(ok, (B, T, T))


def span_scores(case, context="", by=""):
    """(B, T, T): what each span is chosen by."""
    starts, ends, mask = case["starts"], case["ends"], case["context"]
    if by == "probabilities":
        starts, ends = softmax(starts), softmax(ends)
    if mask is not None and context == "product":
        starts, ends = starts * mask, ends * mask
    starts, ends = starts[:, :, None], ends[:, None, :]
    scores = starts * ends if by == "product" else starts + ends
    if mask is not None and context == "zero":
        scores = scores * mask[:, :, None] * mask[:, None, :]
    return scores


def choose(case, pairs="", longest="", context="", by="", ties=""):
    """(first, last, score), (B,) each."""
    ok, scores = allowed(case, pairs, longest, context), span_scores(case, context, by)
    rows, T = np.arange(len(ok)), ok.shape[1]
    first, last = np.arange(T)[:, None], np.arange(T)
    if pairs in ("apart", "swapped", "start first", "end first"):
        first, last = one_by_one(case, ok, scores, context, pairs)
    else:
        scores = np.where(ok, scores, -np.inf)
        order = {
            "last": -first * T - last, "long": first * T - last, "short": (last - first) * T + first
        }.get(ties, first * T + last)  # fmt: skip
        best = scores == scores.max((1, 2), keepdims=True)
        place = np.where(best, order, 2 * T * T).reshape(len(ok), T * T).argmin(1)
        first, last = place // T, place % T
    return first, last, scores[rows, first, last]


def one_by_one(case, ok, scores, context, pairs):
    """One end of the span, or each, is taken without a look at the other."""
    starts, ends, rows = case["starts"], case["ends"], np.arange(len(ok))
    if case["context"] is not None and context != "none":
        outside = 0 if context in ("zero", "product") else -np.inf
        starts, ends = (
            np.where((case["context"] != 0) | (context == free), a, outside)
            for a, free in ((starts, "last"), (ends, "first"))
        )
    first, last = starts.argmax(1), ends.argmax(1)
    if pairs == "start first":
        last = np.where(ok[rows, first], scores[rows, first], -np.inf).argmax(1)
    elif pairs == "end first":
        first = np.where(ok[rows, :, last], scores[rows, :, last], -np.inf).argmax(1)
    elif pairs == "swapped":
        first, last = np.minimum(first, last), np.maximum(first, last)
    return first, last


def counted_from(case, counted):
    begin = 0 if case["context"] is None else case["context"].argmax(1)
    return {"context": begin, "one": -1, "behind": -1}.get(counted, 0)


def first(case, counted="", **knobs):
    return choose(case, **knobs)[0] - counted_from(case, counted)


def last(case, counted="", **knobs):
    begin, end, _ = choose(case, **knobs)
    return end - (begin - 1 if counted == "length" else counted_from(case, counted))


def score(case, score="", **knobs):
    begin, end, value = choose(case, **knobs)
    rows, starts, ends = np.arange(len(begin)), case["starts"], case["ends"]
    if score in ("log", "probability"):
        value = np.log(softmax(starts))[rows, begin] + np.log(softmax(ends))[rows, end]
    return {"start": starts[rows, begin], "end": ends[rows, end], "probability": np.exp(value)}.get(score, value)


def at(B, T, context, longest):
    return {"B": B, "T": T, "context": context, "longest": longest}


def dims(case):
    (B, T), mask = case["starts"].shape, case["context"]
    return {"B": B, "T": T, "longest": case["longest"]} | ({} if mask is None else {"context": int(mask[0].sum())})


EXERCISE = Exercise(
    name="span_decoding",
    title="The best span: where an answer starts and ends",
    task="""A model that finds answers in a text gives every token a score as the first and a score as the last token of
the answer. The answer is the span with the largest starts[first] + ends[last] (Devlin et al. 2019, section 4.2) among
those that could be one: first <= last, at most longest tokens, and both of them in the context, where the mask is 1; a
context is a run of tokens, and with None the whole row is. The question and the special tokens have scores, too.

Of spans with equal scores the one that starts first is taken, and of those the shortest.
""",
    cut=(best_spans,),
    inputs=inputs,
    calls=lambda case: (Call("best_spans", ("starts", "ends", "context", "longest"), ("first", "last", "score")),),
    outputs=(
        Output("first", first, knobs=FIRST, invariants=(
            (lambda first, case: case["context"] is None or np.take_along_axis(
                case["context"], np.clip(first, 0, None).astype(int)[:, None], 1).all(),
             "the first token is in the context"),
        )),
        Output("last", last, knobs=LAST),
        Output("score", score, knobs=SCORE),
    ),
    sizes=(at(25, 13, 9, 4), at(26, 11, None, 3), at(27, 14, 11, 5), at(28, 12, 8, 2)),
    small=(at(1, 2, None, 2), at(1, 3, None, 2), at(1, 3, 2, 2), at(1, 4, 3, 2), at(2, 4, 3, 2), at(2, 5, 3, 3)),
    dims=dims,
)  # fmt: skip


# ---- the variant: there may be no answer


NULL = {
    "never": "a span is given for every row; where none is better than no answer by more than threshold, 0 and 0 are",
    "equal": "a margin of exactly threshold is taken for an answer; it must be more",
    "no threshold": "threshold is not looked at",
    "added": "the threshold is added to the span's score; no answer is what it favours: margin > threshold",
    "reversed": "an answer is given where no answer is better, and none where a span is",
    "start": "the score of no answer is starts[0] alone; it is starts[0] + ends[0]",
}
MARGIN = {
    "margin": {
        "threshold": "the threshold is subtracted, too; the margin is what is compared with it",
        "score": "the span's score is given; that of no answer is subtracted from it",
    },
    "null": {"start": NULL["start"]},
}
AT_NONE = {"null": NULL | {"minus one": "-1 stands for no answer; the place of [CLS], 0, does"}}


def best_spans_or_none(starts, ends, context, longest, threshold):
    """(first, last, margin), (B,) each: the best span where it is better than no answer by more than threshold, else 0
    and 0. margin: the best span's score minus that of no answer, starts[0] + ends[0].

    starts, ends (B, T); context (B, T), 1 where an answer may be, 0 at the first token, or None.
    """
    first, last, score = best_spans(starts, ends, context, longest)
    margin = score - starts[:, 0] - ends[:, 0]
    answered = margin > threshold
    return first * answered, last * answered, margin


def unsure_inputs(draw, B, T, context, longest):
    """As `inputs`, with a good score of no answer."""
    case = inputs(draw, B, T, context, longest)
    for name in ("starts", "ends"):
        case[name][:, 0] += 0 if draw.small else 0.8
        case[name][1::2, 0] = draw.integers(-1, 1, B // 2)
    return case | {"threshold": -1.0 if T % 2 else 1.0}


def margin_of(case, null="", margin="", **knobs):
    value = choose(case, **knobs)[2]
    if margin == "score":
        return value
    value = value - case["starts"][:, 0] - (0 if null == "start" else case["ends"][:, 0])
    return value - case["threshold"] if margin else value


def or_none(part, none):
    """The model of one end of the span, `none` where there is no answer."""

    def model(case, null="", counted="", **knobs):
        margin, least = margin_of(case, null, **knobs), case["threshold"]
        answered = {
            "never": margin > -np.inf, "equal": margin >= least, "no threshold": margin > 0, "added": margin > -least,
            "reversed": margin <= least,
        }.get(null, margin > least)  # fmt: skip
        return np.where(answered, part(case, counted=counted, **knobs), -1 if null == "minus one" else none)

    return model


UNSURE = replace(
    EXERCISE,
    title="The best span, where there may be no answer",
    task=EXERCISE.task + """
Here a text may have no answer (Devlin et al. 2019, section 4.3, for SQuAD 2.0). The first token, [CLS], stands for
that: its score is starts[0] + ends[0]. A span is given where its score is larger by more than threshold, else 0 and 0.
""",
    cut=(best_spans_or_none,),
    inputs=unsure_inputs,
    calls=lambda case: (
        Call("best_spans_or_none", ("starts", "ends", "context", "longest", "threshold"), ("first", "last", "margin")),
    ),
    outputs=(
        Output("first", or_none(first, 0), knobs=FIRST | AT_NONE),
        Output("last", or_none(last, 0), knobs=LAST | AT_NONE),
        Output("margin", margin_of, knobs=CHOICE | MARGIN | {"pairs": SCORE["pairs"]}),
    ),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"no_answer": UNSURE})
