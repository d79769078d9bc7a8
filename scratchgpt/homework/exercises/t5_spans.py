"""T5's span corruption, and its inverse."""

from dataclasses import replace
from itertools import chain, pairwise

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.models import IGNORED
from scratchgpt.objectives.t5 import fill_spans, hide_spans

SPAN = {
    "span": {
        "long": "a span is one token too long: it is ids[start : start + length]",
        "short": "a span is one token too short: it is ids[start : start + length]",
        "moved": "the text becomes shorter with every span that is replaced, and the later starts are not moved along; "
        "build new lists, or begin with the last span",
    },
    "sentinel": {
        "same": "all sentinels are the first one; each span has its own, in the order of the list",
        "up": "sentinels are counted up from the first; take them from the list, which need not be in that order",
        "down": "sentinels are counted down from the first; take them from the list, which need not be in that order",
        "index": "the number of a span stands where its sentinel belongs: sentinels[i], not i",
        "next": "the first sentinel is left out: the first span has sentinels[0]",
        "reversed": "the sentinels are given out from the right; the leftmost span has the first",
        "place": "sentinels are chosen by the place of a span, not by its number",
        "tokens": "every hidden token has a sentinel; one stands for the whole span",
        "each": "every hidden token has a sentinel of its own; one stands for the whole span",
        "none": "the spans have no sentinels",
        "edge": "a span that begins at the first token has no sentinel: nothing stands before it, and yet it begins",
        "wrap": "a span that begins at the first token has no sentinel when the last token is hidden too: index -1, or "
        "np.roll, is the end of the text and not what comes before it",
    },
}
EOS = {
    "missing": "eos is missing",
    "zero": "an eos of 0 is taken for none: ask whether it is None",
    "none": "None is appended where no eos is given",
}
INPUTS = SPAN | {
    "kept": {
        "head": "what stands before the first span is lost",
        "tail": "what stands behind the last span is lost",
    },
    "eos": EOS,
}
TARGETS = SPAN | {
    "where": {"behind": "a sentinel stands behind its span; the targets say it first, and then what it hides"},
    "final": {
        "missing": "the last sentinel is missing: one that hides nothing ends the targets",
        "again": "the last sentinel is that of the last span again; a new one ends the targets",
        "first": "the first sentinel ends the targets; the next one that is not used does",
        "last": "the last sentinel of the list ends the targets; the next one that is not used does",
    },
    "what": {
        "kept": "the targets say what was kept; they say what was hidden",
        "whole": "the targets are the whole text, as a denoising autoencoder has them; T5's say the hidden spans alone",
    },
    "eos": EOS | {"before": "eos stands before the last sentinel", "each": "eos ends every span; it ends the targets"},
}
FILL = {
    "by": {
        "order": "the n-th blank gets the n-th span, whichever sentinel it is said of",
        "before": "a blank gets what is said before its sentinel; it gets what follows",
    },
    "again": {
        "last": "of a sentinel that is said twice the later span is taken; the first one counts",
        "joined": "the spans of a sentinel that is said twice are joined; the first one counts",
    },
    "unsaid": {"dropped": "a blank of which nothing is said is dropped; it stays"},
    "empty": {"stays": "a blank whose span is empty stays; its sentinel was said, so it is filled in, with nothing"},
    "last": {"lost": "what is said of the last sentinel is not used: behind it no other marks its end"},
    "marks": {
        "kept": "the sentinel stays before the span that fills it",
        "next": "the sentinel that ends a span is filled in with it",
    },
    "words": {
        "first": "only the first token of each span is filled in",
        "skipped": "the first token of each span is lost: it begins right behind its sentinel",
    },
    "blanks": {"first": "only the first blank is filled in"},
}


def inputs(draw, spans, at_start, at_end, eos, final, wild=True, in_row=False):
    """A text with its spans, and, for the way back, what a model said: wild or as it should."""
    longest, low, high, n_sentinels = (3, 90, 100, spans + 3) if draw.small else (6, 100, 1000, 70)
    lengths, gaps = draw.integers(1, longest, spans), draw.integers(1, longest, spans + 1)
    gaps[0] *= not at_start
    gaps[-1] *= not at_end
    T = int(lengths.sum() + gaps.sum())
    ids = draw.integers(2, 10 if draw.small else 40, T).tolist()
    starts = (gaps[:-1] + lengths).cumsum() - lengths
    sentinels = (draw.rng.permutation(high - low)[:n_sentinels] + low).tolist()
    case = {"ids": ids, "starts": starts.tolist(), "lengths": lengths.tolist(), "sentinels": sentinels, "eos": eos}
    blanks, said = hide_spans(*(case[name] for name in ("ids", "starts", "lengths", "sentinels")))
    if wild:
        said = answer(draw, sentinels[:spans], in_row) + ([sentinels[spans]] if final else [])
    return case | {"blanks": blanks, "said": said}


def answer(draw, sentinels, in_row):
    """What a model says of these sentinels: in another order, of one nothing, of one that it is empty, of one twice.
    in_row: the last is the first sentinel, and all begins with it."""
    _, empty, *others = (sentinels[i] for i in draw.rng.permutation(len(sentinels) - in_row) + in_row)
    twice = sentinels[0] if in_row else others.pop()
    order = [twice, empty, *others[1:], twice, *others[:1]]
    spans = ([token, *draw.integers(2, 40, 0 if token == empty else draw.integers(2, 4))] for token in order)
    return ([] if in_row else [2]) + [int(token) for span in spans for token in span]


def bounds(case, span=""):
    """[(start, end)] of the spans, in the text as the student has it; the text must then not change, unless moved."""
    more = {"long": 1, "short": -1}.get(span, 0)
    T = len(case["ids"])
    return [(start, min(start + length + more, T)) for start, length in zip(case["starts"], case["lengths"])]


def sentinels_of(case, way):
    """For each span its sentinels, a list each, and the one that ends the targets."""
    sentinels, n, firsts = case["sentinels"], len(case["starts"]), case["starts"]
    if way in ("edge", "wrap"):
        covered = firsts[0] == 0 and (way == "edge" or firsts[-1] + case["lengths"][-1] == len(case["ids"]))
        numbers = range(-1, n) if covered else range(n + 1)
        marks = [sentinels[i] if i >= 0 else None for i in numbers]
        return [[mark] if mark is not None else [] for mark in marks[:n]], marks[n]
    if way in ("tokens", "each"):
        places = [sum(case["lengths"][:i]) for i in range(n + 1)]
        if way == "each":
            own = [sentinels[a:b] for a, b in pairwise(places)]
            return own, sentinels[places[-1]]
        return [[sentinels[i]] * case["lengths"][i] for i in range(n)], sentinels[n]
    if way == "none":
        return [[]] * n, sentinels[n]
    mark = {
        "same": lambda i: sentinels[0], "up": lambda i: sentinels[0] + i, "down": lambda i: sentinels[0] - i,
        "index": lambda i: i, "next": lambda i: sentinels[i + 1], "reversed": lambda i: sentinels[n - 1 - i],
        "place": lambda i: sentinels[firsts[i]],
    }.get(way, lambda i: sentinels[i])  # fmt: skip
    end = mark(n) if way in ("same", "up", "down", "index", "next") else sentinels[n]
    return [[mark(i)] for i in range(n)], end


def ended(row, case, eos):
    left_out = {"missing": True, "zero": not case["eos"], "none": False}.get(eos, case["eos"] is None)
    return row if left_out else [*row, case["eos"]]


def corrupted(case, span="", sentinel="", kept="", eos=""):
    marks, _ = sentinels_of(case, sentinel)
    if span == "moved":
        row = list(case["ids"])
        for (start, end), mark in zip(bounds(case), marks):
            row[start:end] = mark
        return ended(row, case, eos)
    row, done = [], 0
    for i, ((start, end), mark) in enumerate(zip(bounds(case, span), marks)):
        row += ([] if kept == "head" and i == 0 else case["ids"][done:start]) + mark
        done = end
    return ended(row + ([] if kept == "tail" else case["ids"][done:]), case, eos)


def hidden(case, span="", sentinel=""):
    """What each span hides."""
    if span != "moved":
        return [case["ids"][start:end] for start, end in bounds(case, span)]
    row, found = list(case["ids"]), []
    for (start, end), mark in zip(bounds(case), sentinels_of(case, sentinel)[0]):
        found.append(row[start:end])
        row[start:end] = mark
    return found


def targets(case, span="", sentinel="", where="", final="", what="", eos=""):
    marks, end = sentinels_of(case, sentinel)
    words, row = hidden(case, span, sentinel), []
    if what == "whole":
        return ended(list(case["ids"]), case, eos)
    if what == "kept":
        stops = [0, *(stop for _, stop in bounds(case))]
        words = [case["ids"][a:b] for a, (b, _) in zip(stops, bounds(case))]
    for mark, said in zip(marks, words):
        if len(mark) > 1:  # one for every token
            row += [each for one in zip(mark, said) for each in one]
        else:
            row += said + mark if where else mark + said
        row += ended([], case, "") if eos == "each" else []
    used = [mark for mark in marks if mark]
    again = used[-1][-1] if used else end
    end = {"again": again, "first": case["sentinels"][0], "last": case["sentinels"][-1]}.get(final, end)
    last = [] if final == "missing" or sentinel == "none" else [end]
    if eos in ("before", "each"):
        return (ended(row, case, "") if eos == "before" else row) + last
    return ended(row + last, case, eos)


def restored(case, by="", again="", unsaid="", empty="", last="", marks="", words="", blanks=""):
    known, pieces, before = set(case["sentinels"]), [], []
    for token in case["said"]:
        if token in known:
            before.append(pieces[-1][1] if pieces else before_first(case, known))
            pieces.append((token, []))
        elif pieces:
            pieces[-1][1].append(token)
    said = {}
    for i, (token, span) in enumerate(pieces):
        span = before[i] if by == "before" else span
        if last and i == len(pieces) - 1:
            continue
        span = {"first": span[:1], "skipped": span[1:]}.get(words, span)
        span = [*span, pieces[i + 1][0]] if marks == "next" and i + 1 < len(pieces) else span
        if again == "joined":
            said[token] = said.get(token, []) + span
        elif again == "last" or token not in said:
            said[token] = span
    row, seen, filled = [], 0, False
    in_order = [span for _, span in pieces]
    for token in case["blanks"]:
        if token not in known or (blanks and filled):
            row.append(token)
            continue
        span = said.get(token)
        if by == "order":
            span = in_order[seen] if seen < len(in_order) else None
        seen += 1
        if span is None or (empty and not span):
            row += [] if unsaid and span is None else [token]
        else:
            row += ([token] if marks == "kept" else []) + span
            filled = True
    return row


def before_first(case, known):
    """What is said before the first sentinel."""
    return case["said"][: next(i for i, token in enumerate(case["said"]) if token in known)]


def readable(case):
    """Whether the spans lie in the text, in order and apart, and all sentinels are known and used in order."""
    n, known = len(case["starts"]), case["sentinels"]
    stops = [start + length for start, length in zip(case["starts"], case["lengths"])]
    apart = all(stop < start for stop, start in zip(stops, case["starts"][1:]))
    strangers = {token for token in case["blanks"] + case["said"] if token > 40} - {*known}
    fits = len(case["lengths"]) == n > 0 and stops[-1] <= len(case["ids"]) and n < len(known)
    return fits and apart and not strangers and {*known} & {*case["said"]} != set()


def at(spans, at_start, at_end, eos=1, final=False, wild=True):
    return {"spans": spans, "at_start": at_start, "at_end": at_end, "eos": eos, "final": final, "wild": wild}


EXERCISE = Exercise(
    name="t5_spans",
    title="T5's span corruption, and its inverse",
    task="""T5 is trained to say what was hidden from it (Raffel et al. 2020, sections 3.1.4 and 3.3.4):

    Thank you for inviting me to your party last week   ->   inputs   Thank you <X> me to your party <Y> week
                                                             targets  <X> for inviting <Y> last <Z>

A span is ids[start : start + length]. <X>, <Y>, <Z> are sentinels[0], sentinels[1], sentinels[2]: ids in no particular
order. eos, unless it is None, ends the inputs and the targets. The way back takes what a model said, which need not be
what it should have said: in another order, of a sentinel twice, or of one nothing at all.

Lists of ints go in and come out.
""",
    cut=(hide_spans, fill_spans),
    inputs=inputs,
    calls=lambda case: (
        Call("hide_spans", ("ids", "starts", "lengths", "sentinels", "eos"), ("inputs", "targets")),
        Call("fill_spans", ("blanks", "said", "sentinels"), ("restored",)),
    ),
    outputs=(
        Output("inputs", corrupted, knobs=INPUTS, invariants=(
            (lambda row, case: len(row) == len(case["ids"]) - sum(case["lengths"]) + len(case["starts"])
             + (case["eos"] is not None), "the inputs have a token for each that was kept, each span, and eos"),
        )),
        Output("targets", targets, knobs=TARGETS, invariants=(
            (lambda row, case: len(row) == sum(case["lengths"]) + len(case["starts"]) + 1 + (case["eos"] is not None),
             "the targets have a token for each that was hidden, each span, the last sentinel, and eos"),
        )),
        Output("restored", restored, knobs=FILL),
    ),
    sizes=(at(4, True, True), at(5, True, False, final=True), at(6, False, True, None), at(7, False, False, 0)),
    small=(at(1, False, False, wild=False), at(1, True, True, 0, wild=False), at(1, True, False, None, wild=False),
           at(2, False, False, wild=False),
           at(2, True, True, wild=False), at(3, False, False), at(4, True, False), at(4, False, False)),
    dims=lambda case: {"T": len(case["ids"]), "hidden": sum(case["lengths"]), "spans": len(case["starts"])},
    readable=readable,
)  # fmt: skip


# ---- the variant: one row, for a decoder alone


ROW = {
    "labels": {
        "all": f"the model is trained to say the text with its blanks, too; the labels are {IGNORED} there",
        "zero": f"the labels of the text with its blanks are 0, which is a token; {IGNORED} stands for none",
        "sentinels": "the sentinels are no labels; the model must learn to say them too, and that it is done",
        "shifted": "the labels are moved by one place; the model itself moves them",
    }
}
IN_ROW = {
    "span": SPAN["span"], "sentinel": SPAN["sentinel"], "kept": INPUTS["kept"],
    "final": TARGETS["final"], "where": TARGETS["where"],
    "eos": EOS | {"twice": "eos stands behind the text with its blanks, too; it ends the row alone"}
    | {name: TARGETS["eos"][name] for name in ("before", "each")},
}  # fmt: skip
FROM_ROW = FILL | {
    "cut": {
        "early": "the row is cut where the first sentinel stands; what is said begins where it comes again",
        "late": "the row is cut where the first sentinel comes last; what is said begins where it comes again",
    }
}


def hide_in_row(ids, starts, lengths, sentinels, eos=None):
    """(input_ids, labels), lists of the same length: the text with a sentinel for each span, then each sentinel and
    what it hides, then the next sentinel; eos, if given, ends them. labels are the same, but -100 in the text."""
    text, _ = hide_spans(ids, starts, lengths, sentinels)
    _, said = hide_spans(ids, starts, lengths, sentinels, eos)
    return text + said, [IGNORED] * len(text) + said


def fill_row(row, sentinels):
    """The text in a row with what the row says of each sentinel in its place, a list. The text ends where the row's
    first sentinel comes for the second time."""
    first = next(i for i, token in enumerate(row) if token in sentinels)
    end = row.index(row[first], first + 1)
    return fill_spans(row[:end], row[end:], sentinels)


def two_parts(case, kept="", final="", where="", eos="", **mistakes):
    """The text with its blanks, and what is said of them."""
    text = corrupted(case if eos == "twice" else case | {"eos": None}, kept=kept, **mistakes)
    return text, targets(case, final=final, where=where, eos=eos, **mistakes)


def labels_of(case, labels="", **mistakes):
    text, said = two_parts(case, **mistakes)
    known = case["sentinels"] if labels == "sentinels" else ()
    ignored = text if labels == "all" else [0 if labels == "zero" else IGNORED] * len(text)
    row = ignored + [IGNORED if token in known else token for token in said]
    return [*row[1:], IGNORED] if labels == "shifted" else row


def filled_row(case, cut="", **mistakes):
    row, first = case["row"], case["sentinels"][0]
    places = [i for i, token in enumerate(row) if token == first]
    end = places[{"early": 0, "late": -1}.get(cut, 1)]
    return restored(case | {"blanks": row[:end], "said": row[end:]}, **mistakes)


def row_inputs(draw, **sizes):
    case = inputs(draw, in_row=True, **sizes)
    return case | {"row": case.pop("blanks") + case.pop("said")}


def row_readable(case):
    row, known = case["row"], case["sentinels"]
    first = next((token for token in row if token in known), None)
    return row.count(first) > 1 and readable(case | {"blanks": [], "said": row})


ONE_ROW = replace(
    EXERCISE,
    title="Span corruption in one row, for a decoder alone",
    task="""A model without an encoder can learn to fill in blanks too, when all stands in one row (Aghajanyan et al.
2022, CM3; Fried et al. 2023, InCoder): first the text with its blanks, then what belongs there.

    Thank you for inviting me to your party last week
    -> Thank you <X> me to your party <Y> week <X> for inviting <Y> last <Z>

A span is ids[start : start + length]. <X>, <Y>, <Z> are sentinels[0], sentinels[1], sentinels[2]: ids in no particular
order. eos, unless it is None, ends the row, once. Labels are the row's own ids (the model moves them by one place), and
-100 where nothing is to be learned. The way back takes what a model said, which need not be what it should have said:
of a sentinel the span that is said first counts, up to the next sentinel; one of which nothing is said stays.

Lists of ints go in and come out.
""",
    cut=(hide_in_row, fill_row),
    inputs=row_inputs,
    calls=lambda case: (
        Call("hide_in_row", ("ids", "starts", "lengths", "sentinels", "eos"), ("input_ids", "labels")),
        Call("fill_row", ("row", "sentinels"), ("restored",)),
    ),
    outputs=(
        Output("input_ids", lambda case, **mistakes: [*chain(*two_parts(case, **mistakes))], knobs=IN_ROW),
        Output("labels", labels_of, knobs=IN_ROW | ROW),
        Output("restored", filled_row, knobs=FROM_ROW),
    ),
    readable=row_readable,
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"one_row": ONE_ROW})
