"""WordPiece: the longest match first; the variant marks where a word begins, not where it goes on."""

from dataclasses import replace
from functools import partial

from scratchgpt.homework.spec import Call, Exercise, Output
from scratchgpt.tokenizers.likelihood import PREFIX
from scratchgpt.tokenizers.wordpiece import longest_match, spell
from scratchgpt.tokenizers.wordpiece_formats import UNK

MARK = "▁"
HASHES, MARKED = ("", PREFIX), (MARK, "")  # what a piece has before it that begins a word, and one that goes on
TAKE = {
    "shortest": "the shortest piece is taken; try the longest first",
    "order": "the first piece of the vocabulary that fits is taken; it is the longest",
    "right": "the match goes from the right end of the word; begin at the left",
    "back": "it goes back and tries a shorter piece where nothing follows; the longest stays, and the word is unknown",
    "short": "the end of a piece never reaches the end of the word: range(len(word), ...), not len(word) - 1",
    "one": "pieces of one character are never tried: range stops before its second number",
}
GAP = {  # what is done where no piece fits
    "rest": "what was found is kept, with [UNK] for the rest; the whole word is unknown",
    "each": "[UNK] stands for one character, and the match goes on behind it; the whole word is unknown",
    "skip": "the character that no piece fits is left out, and the match goes on; the whole word is unknown",
    "stop": "what was found until then is returned; the whole word is unknown",
    "word": "a word that the vocabulary cannot spell is returned as it is",
    "empty": "a word that the vocabulary cannot spell gives an empty list",
}
LIMIT = {
    "ignored": "longest is not looked at: a word of more characters is unknown",
    "below": "a word of exactly `longest` characters is unknown already; only longer ones are",
    "cut": "a word that is too long is cut to `longest` characters; the whole word is unknown",
    "bytes": "longest counts characters, not the bytes of their UTF-8",
    "pieces": "longest counts the characters of a word, not its pieces",
    "empty": "a word that is too long gives an empty list; it is [UNK]",
}


def match_all(words, vocab):
    """Your longest_match of each word of a text."""
    return [longest_match(word, vocab) for word in words.split()]


def spell_all(words, vocab, longest):
    """Your spell of each word of a text."""
    return [spell(word, vocab, longest) for word in words.split()]


def inputs(draw, pieces, words, longest, marks=HASHES):
    first, rest = marks

    def text(letters, length):
        return "".join(letters[i] for i in draw.integers(0, len(letters), length))

    found = [draw.choose(first, rest) + text("ab", draw.integers(1, 4)) for _ in range(pieces)]
    found += [first + "aa", rest + "bb", *(mark + letter for mark in marks for letter in "ab")]
    found += [first + "é", rest + "aé", rest + "béb"]  # no others have an é, so that some words cannot be spelled
    lengths = [longest + draw.integers(-longest, 3) if n % 3 else longest + n % 2 for n in range(words)]
    planted = [
        "aaé",  # a aé would spell it, aa é does not
        "abébb",  # from the right bb is taken, and then there is no bé
        "é" + "b" * (longest - 1),  # longer in bytes
        "b" * (3 * longest + 1),  # more than `longest` pieces
    ]
    return {
        "words": " ".join(planted + [text("abé", max(1, length)) for length in lengths]),
        "vocab": {piece: number for number, piece in enumerate(dict.fromkeys([UNK, *found]))},
        "longest": longest,
    }


def pieces_of(word, vocab, marks, take="", prefix="", gap=""):
    """The pieces of a word as a student finds them; None, [] or [word] where there are none."""
    first, rest = {"none": ("", ""), "all": ("".join(marks),) * 2, "hashes": HASHES}.get(prefix, marks)

    def fits(start, end):
        """The piece of the vocabulary that spells word[start:end], or None."""
        ways = [(rest if start else first) + word[start:end], *[word[start:end]] * (prefix == "either")]
        return next((piece for piece in ways if piece in vocab), None)

    def candidates(start):
        """[(piece, its end)] of the pieces that fit from start on, in the order in which they are tried."""
        ends = range(start + 1 + (take == "one"), len(word) + (take != "short"))
        found = [(fits(start, end), end) for end in ends if fits(start, end)]
        if take == "order":
            return sorted(found, key=lambda each: [*vocab].index(each[0]))
        return found if take == "shortest" else found[::-1]

    if take in ("right", "back"):
        pieces = from_the_right(word, fits) if take == "right" else first_way(word, candidates)
        pieces = no_pieces(word, [], gap) if pieces is None else pieces
    else:
        pieces = from_the_left(word, candidates, gap)
    if prefix == "bare" and pieces:
        return [piece.removeprefix(rest if n else first) for n, piece in enumerate(pieces)]
    return pieces


def from_the_left(word, candidates, gap):
    pieces, start = [], 0
    while start < len(word):
        piece, end = next(iter(candidates(start)), (None, start + 1))
        if piece is None and gap not in ("each", "skip"):
            return no_pieces(word, pieces, gap)
        pieces += [piece] if piece else [UNK] * (gap == "each")
        start = end
    return pieces


def no_pieces(word, found, gap):
    """What is returned where no piece fits after those that were found."""
    return {"rest": [*found, UNK], "stop": found, "word": [word], "empty": [], "unk": [UNK]}.get(gap)


def from_the_right(word, fits):
    """The pieces that are each the longest from the right, or None."""
    pieces, end = [], len(word)
    while end > 0:
        start = next((start for start in range(end) if fits(start, end)), None)
        if start is None:
            return None
        pieces.insert(0, fits(start, end))
        end = start
    return pieces


def first_way(word, candidates, start=0):
    """The pieces of the first way to spell all from start on, or None."""
    if start == len(word):
        return []
    ways = ((piece, first_way(word, candidates, end)) for piece, end in candidates(start))
    return next(([piece, *way] for piece, way in ways if way is not None), None)


def matches(case, marks, **flavours):
    return [pieces_of(word, case["vocab"], marks, **flavours) for word in case["words"].split()]


def spelled(case, marks, gap="", limit="", **flavours):
    result = []
    for word in case["words"].split():
        word = word[: case["longest"]] if limit == "cut" else word
        pieces = pieces_of(word, case["vocab"], marks, gap=gap, **flavours)
        pieces = [UNK] if pieces is None and gap != "none" else pieces
        size = {"ignored": 0, "below": len(word) + 1, "bytes": len(word.encode()), "pieces": len(pieces or [])}
        fits = size.get(limit, len(word)) <= case["longest"]
        result.append(pieces if fits else [] if limit == "empty" else [UNK])
    return result


def spells(pieces, word):
    """Whether these are pieces that, joined, are the word, or none at all."""
    if pieces is None or pieces == [UNK]:
        return True
    return isinstance(pieces, list | tuple) and word == "".join(
        str(piece).removeprefix(PREFIX).removeprefix(MARK) for piece in pieces
    )


def outputs(marks, prefix):
    return (
        Output(
            "matches", partial(matches, marks=marks),
            knobs={"take": TAKE, "prefix": prefix,
                   "gap": GAP | {"unk": "[UNK] is returned; here None belongs, of which spell makes [UNK]"}},
            invariants=((lambda found, case: all(map(spells, found, case["words"].split())),
                         "the pieces of a word, joined without their marks, are that word"),),
        ),
        Output(
            "spelled", partial(spelled, marks=marks),
            knobs={"take": TAKE, "prefix": prefix, "limit": LIMIT,
                   "gap": GAP | {"none": "None is returned for what the vocabulary cannot spell; [UNK] belongs there"}},
        ),
    )  # fmt: skip


def sized(pieces, words, longest):
    return {"pieces": pieces, "words": words, "longest": longest}


EXERCISE = Exercise(
    name="wordpiece",
    title="WordPiece: the longest match first",
    task="""How BERT's tokenizer cuts a word into pieces of its vocabulary (Devlin et al. 2018; Wu et al. 2016): from
the left, each time the longest piece that fits. It never goes back. A piece that goes on with a word is written with ##
before it, in the vocabulary and in the result: "played" may be ["play", "##ed"].

Where no piece fits, the whole word is unknown, and so is a word of more than `longest` characters. vocab is
{piece: id}.
""",
    cut=(longest_match, spell),
    given=(match_all, spell_all),
    inputs=inputs,
    calls=lambda case: (
        Call("match_all", ("words", "vocab"), ("matches",)),
        Call("spell_all", ("words", "vocab", "longest"), ("spelled",)),
    ),
    outputs=outputs(HASHES, {
        "none": "## is missing: a piece that goes on with a word is looked up, and returned, with ## before it",
        "bare": "pieces are returned without their ##",
        "all": "the first piece has ## before it too; it begins the word",
        "either": "a piece without ## is taken inside a word too; it may only begin one",
    }),
    sizes=(sized(12, 40, 6), sized(8, 30, 5), sized(16, 50, 3), sized(24, 35, 7)),
    small=(sized(3, 3, 3), sized(4, 6, 3), sized(6, 8, 4), sized(8, 12, 5)),
    readable=lambda case: bool(case["words"].split()),
)  # fmt: skip


# ---- the variant


def marked_match(word, vocab):
    """The pieces of a word, from the left, each the longest that the vocabulary has; None where it has none at all.

    marked_match("played", {"▁play", "ed", "d"}) -> ["▁play", "ed"]. It never goes back.
    """
    pieces = longest_match(word, {piece[1:] if piece.startswith(MARK) else PREFIX + piece for piece in vocab})
    return pieces and [piece.removeprefix(PREFIX) if n else MARK + piece for n, piece in enumerate(pieces)]


def marked_spell(word, vocab, longest):
    """The pieces of a word (see marked_match); [UNK] alone where there are none, or the word has more than `longest`
    characters."""
    pieces = marked_match(word, vocab) if len(word) <= longest else None
    return [UNK] if pieces is None else pieces


def match_all_marked(words, vocab):
    """Your marked_match of each word of a text."""
    return [marked_match(word, vocab) for word in words.split()]


def spell_all_marked(words, vocab, longest):
    """Your marked_spell of each word of a text."""
    return [marked_spell(word, vocab, longest) for word in words.split()]


BEGINNING = replace(
    EXERCISE,
    title="The longest match first, with a mark where a word begins",
    task="""How a word is cut into pieces of a vocabulary: from the left, each time the longest piece that fits. It
never goes back. As in SentencePiece (Kudo & Richardson 2018) a piece that begins a word is written with ▁ (U+2581)
before it, in the vocabulary and in the result, and one that goes on is not: "played" may be ["▁play", "ed"].

Where no piece fits, the whole word is unknown, and so is a word of more than `longest` characters, not counting the ▁.
vocab is {piece: id}.
""",
    cut=(marked_match, marked_spell),
    given=(match_all_marked, spell_all_marked),
    inputs=partial(inputs, marks=MARKED),
    calls=lambda case: (
        Call("match_all_marked", ("words", "vocab"), ("matches",)),
        Call("spell_all_marked", ("words", "vocab", "longest"), ("spelled",)),
    ),
    outputs=outputs(MARKED, {
        "none": "▁ is missing: a piece that begins a word is looked up, and returned, with ▁ before it",
        "bare": "the first piece is returned without its ▁",
        "all": "▁ stands before every piece; only the first has it",
        "either": "a piece without ▁ is taken at the beginning too; it may only go on with a word",
        "hashes": "## is looked for inside a word; here the piece that begins a word is marked, with ▁",
    }),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"beginning": BEGINNING})
