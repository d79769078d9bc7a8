"""Byte-pair encoding: the merge loop."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, takewhile

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.tokenizers.algorithm1 import Step, count_pairs, merge_pair, merge_steps, most_frequent

COUNT = {  # how counting can go wrong; the loop inherits it
    "overlap": {
        "all": "overlapping pairs are counted twice: AAA holds (A, A) once, because merging replaces it once",
        "run": "a run of one letter counts as one pair: AAAA holds (A, A) twice",
        "apart": "the text is read two symbols at a time, so every second pair is never seen",
    },
    "span": {
        "last": "the last pair of each text is missed: a text of n symbols has n - 1 pairs",
        "first": "the first pair of each text is missed: begin at symbol 0",
        "wrap": "the last symbol of a text is paired with its first: text[-1] is the end, not what came before",
        "across": "the texts are run together: pairs across two of them count, and each text counts once",
    },
    "weight": {"1": "the weights are forgotten: a text counts weights[i] times"},
    "kept": {
        "last": "only the last text counts: the counts begin anew with every text",
        "set": "a later count replaces an earlier one: = where += belongs",
        "once": "a pair counts once per text, however often the text holds it",
    },
    "order": {"sorted": "(A, B) and (B, A) are counted as one pair; the order matters"},
}
CHOICE = {
    "choice": {
        "first": "ties go to the pair that was seen first; they go to the lexicographically greatest pair",
        "last": "ties go to the pair that was seen last; they go to the lexicographically greatest pair",
        "smallest": "ties go to the lexicographically smallest pair; they go to the greatest",
        "joined": "ties are decided by the joined string; compare the pairs: (AB, A) is greater than (A, CC)",
        "right": "ties are decided by the right symbol first; compare the pairs as they stand",
        "greatest": "the greatest pair is chosen, whatever its count: max needs a key",
        "rarest": "the rarest pair is chosen; it is the most frequent one",
    }
}
MERGE = {
    "where": {
        "first": "only the first occurrence in a text is replaced; replace all",
        "last": "only the last occurrence in a text is replaced; replace all",
        "right": "occurrences are replaced from the right: AAA becomes AA A, not A AA",
        "step": "after a merge the right symbol is read again: skip two symbols, not one",
        "short": "the last symbol of a text is lost when it is not part of a merge",
        "substring": "symbols that only contain the pair's text are merged too (BA B does not hold A B)",
        "either": "the pair is also merged where it stands the other way round",
    }
}
LOOP = {
    "stop": {
        "late": "one merge too many: stop as soon as |V| has reached vocab_size",
        "early": "one merge too few: go on while |V| is below vocab_size",
        "merges": "vocab_size merges are made; it counts symbols, and the characters are among them",
        "never": "it goes on until no pair is left: the new symbol must join vocab, and the size of vocab end the loop",
        "single": "it stops when the best pair occurs only once; Algorithm 1 goes on",
    },
    "recount": {"never": "the pairs are counted before the loop only; every merge changes the counts"},
    "yielded": {
        "before": "a step's texts are those before its merge; give those after it",
        "last": "all steps hold one list of texts, and later merges change it; give each step a list of its own",
    },
}


def read(corpus):
    """What the loop starts from: the distinct words as tuples of characters, how often each occurs, all characters."""
    words = Counter(corpus.split())
    return [tuple(word) for word in words], list(words.values()), {character for word in words for character in word}


def learn(corpus, vocab_size):
    """The steps of your loop on the words of a corpus, as a list."""
    texts, weights, vocab = read(corpus)
    return [tuple(step) for step in merge_steps(texts, weights, vocab, vocab_size)]


def inputs(draw, words, letters, merges, longest=4):
    symbols = ["a", "b", "ab", "ba"]
    longest, pairs, length = (longest, 2 * words, 3 * words) if draw.small else (12, 40, 80)
    spelled = ["".join("abc"[i] for i in draw.integers(0, letters, draw.integers(2, longest))) for _ in range(words)]
    return {
        "corpus": " ".join(word for times, word in enumerate(spelled) for _ in range(1 + times % 3)),
        "vocab_size": letters + merges,
        "ranking": {(symbols[i], symbols[j]): draw.integers(1, 3) for i, j in draw.integers(0, 4, pairs, 2)},
        "text": tuple(symbols[max(i, 0)] for i in draw.integers(-1, 4, length)),
        "pair": ("a", "a") if letters == 2 else ("a", "b"),
    }


def counted(texts, weights, overlap="", span="", weight="", kept="", order=""):
    counts = {}
    if span == "across":
        texts, weights = [sum(texts, ())], [1]
    for text, times in zip(texts, weights):
        counts = {} if kept == "last" else counts
        found = pairs_of(text, overlap, span)
        for pair in dict.fromkeys(found) if kept == "once" else found:
            pair = tuple(sorted(pair)) if order else pair
            counts[pair] = (0 if kept == "set" else counts.get(pair, 0)) + (1 if weight else times)
    return counts


def pairs_of(text, overlap, span):
    """The pairs that a text holds, in order."""
    found, previous = [], None
    start, stop = {"first": 1, "wrap": -1}.get(span, 0), len(text) - 1 - (span == "last")
    for i in range(start, stop, 2 if overlap == "apart" else 1):
        pair = (text[i], text[i + 1])
        if pair == previous and overlap in ("", "run"):
            previous = pair if overlap else None
        else:
            found.append(pair)
            previous = pair
    return found


def chosen(counts, choice=""):
    if choice in ("greatest", "rarest"):
        return max(counts) if choice == "greatest" else min(counts, key=counts.get)
    most = max(counts.values())
    tied = [pair for pair, count in counts.items() if count == most]
    if choice in ("first", "last"):
        return tied[0 if choice == "first" else -1]
    key = {"joined": "".join, "right": lambda pair: pair[::-1]}.get(choice)
    return min(tied) if choice == "smallest" else max(tied, key=key)


def merged(text, pair, where=""):
    symbol = "".join(pair)
    if where == "substring":
        return tuple(" ".join(text).replace(" ".join(pair), symbol).split(" "))
    wanted = (pair, pair[::-1]) if where == "either" else (pair,)
    places = []
    for i in sorted(range(len(text) - 1), reverse=where == "right"):
        free = where == "step" or not {i - 1, i + 1} & {*places}
        if text[i : i + 2] in wanted and free:
            places.append(i)
    places = {"first": places[:1], "last": places[-1:]}.get(where, places)
    symbols = []
    for i, each in enumerate(text):
        if i in places:
            symbols.append(symbol)
        elif (i - 1 not in places or where == "step") and not (where == "short" and i == len(text) - 1):
            symbols.append(each)
    return tuple(symbols)


def steps(case, choice="", where="", stop="", recount="", yielded="", least="", **counting):
    texts, weights, vocab = read(case["corpus"])
    minimum = case.get("min_count", 1)
    minimum = {"ignored": 1, "above": minimum + 1, "single": 2}.get(least or stop, minimum)
    taken, counts = [], counted(texts, weights, **counting)
    while counts and len(taken) < 99:  # some mistakes never end
        size = {"late": len(vocab) - 1, "early": len(vocab) + 1, "merges": len(taken), "never": 0}.get(stop, len(vocab))
        pair = chosen(counts, choice)
        count, symbol, before = counts.pop(pair), "".join(pair), texts
        if size >= case["vocab_size"] or count < minimum or len(symbol) > 1000:
            break
        texts = [merged(text, pair, where) for text in texts]
        vocab.add(symbol)
        taken.append((pair, count, symbol, before if yielded == "before" else texts))
        counts = counts if recount else counted(texts, weights, **counting)
    return [(*step[:3], texts) for step in taken] if yielded == "last" else taken


def spells_the_text(symbols, case):
    """Whether these are symbols that, joined, are the text."""
    return isinstance(symbols, list | tuple) and "".join(map(str, symbols)) == "".join(case["text"])


def never_up(steps, case):
    """Whether these are steps whose counts do not grow."""
    counts = [step[1] for step in steps if len(step) == 4] if isinstance(steps, list) else [0, 1]
    return all(a >= b for a, b in pairwise(counts))


def calls(case):
    loop = ("learn_frequent", ("min_count",)) if "min_count" in case else ("learn", ())
    return (
        Call("read", ("corpus",), ("texts", "weights", "vocab")),
        Call("count_pairs", ("texts", "weights"), ("counts",)),
        Call("most_frequent", ("ranking",), ("best",)),
        Call("merge_pair", ("text", "pair"), ("merged",)),
        Call(loop[0], ("corpus", "vocab_size", *loop[1]), ("steps",)),
    )


def readable(case):
    return len(case["pair"]) == 2 and bool(case["ranking"]) and len(case["corpus"]) > 1


EXERCISE = Exercise(
    name="bpe",
    title="Byte-pair encoding: the merge loop of Algorithm 1",
    task="""Byte-pair encoding (Gage 1994; Sennrich et al. 2016): count the pairs of neighbours, merge the most frequent
pair everywhere, and again, until the vocabulary is large enough. Symbols are strings, a text is a tuple of symbols.

Two rules make the result unique. A pair counts as often as merging it would replace it, from the left: AAA holds the
pair (A, A) once, AAAA twice. Of several most frequent pairs the lexicographically greatest is taken, as Python compares
tuples of strings. No pair crosses from one text to another.
""",
    cut=(count_pairs, most_frequent, merge_pair, merge_steps),
    given=(Step, read, learn),
    inputs=inputs,
    calls=calls,
    outputs=(
        Output("counts", lambda case, **k: counted(*read(case["corpus"])[:2], **k), knobs=COUNT),
        Output("best", lambda case, **k: chosen(case["ranking"], **k), knobs=CHOICE),
        Output(
            "merged", lambda case, **k: merged(case["text"], case["pair"], **k), knobs=MERGE,
            invariants=((spells_the_text, "joined, the symbols of a text stay that text"),),
        ),
        Output(
            "steps", steps, knobs=COUNT | CHOICE | MERGE | LOOP,
            invariants=((never_up, "the counts of the steps never go up: a new pair is no more frequent"),),
        ),
    ),
    sizes=({"words": 8, "letters": 2, "merges": 4}, {"words": 12, "letters": 3, "merges": 5},
           {"words": 7, "letters": 2, "merges": 60}, {"words": 9, "letters": 3, "merges": 60}),
    small=({"words": 1, "letters": 2, "merges": 1}, {"words": 2, "letters": 3, "merges": 2},
           {"words": 3, "letters": 3, "merges": 2}, {"words": 1, "letters": 1, "merges": 1, "longest": 7},
           {"words": 4, "letters": 2, "merges": 8}),
    readable=readable,
)  # fmt: skip


def frequent_steps(texts, weights, vocab, vocab_size, min_count):
    """Yields a Step for each merge, adding its symbol to the set `vocab`, while |V| < vocab_size and the most frequent
    pair occurs at least min_count times.

    texts: tuples of symbols; weights: how often each text occurs.
    """
    return takewhile(lambda step: step.count >= min_count, merge_steps(texts, weights, vocab, vocab_size))


def learn_frequent(corpus, vocab_size, min_count):
    """The steps of your loop on the words of a corpus, as a list."""
    texts, weights, vocab = read(corpus)
    return [tuple(step) for step in frequent_steps(texts, weights, vocab, vocab_size, min_count)]


LEAST = {
    "stop": {way: text for way, text in LOOP["stop"].items() if way != "single"},
    "least": {
        "ignored": "min_count is not looked at: a pair that occurs less often ends the loop",
        "above": "a pair that occurs exactly min_count times is still merged",
    },
}
MIN_COUNT = replace(
    EXERCISE,
    title="Byte-pair encoding that ends at rare pairs",
    task=EXERCISE.task + """
Here the loop ends, too, when the most frequent pair occurs fewer than min_count times, as trainers do that are used on
large corpora.
""",
    cut=(count_pairs, most_frequent, merge_pair, frequent_steps),
    given=(Step, read, learn_frequent),
    inputs=lambda draw, **sizes: inputs(draw, **sizes) | {"min_count": draw.choose(2, 3)},
    outputs=(*EXERCISE.outputs[:3], replace(EXERCISE.outputs[3], knobs=EXERCISE.outputs[3].knobs | LEAST)),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"min_count": MIN_COUNT})
