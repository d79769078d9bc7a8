"""Word vectors in use: neighbours, analogies, a file of analogies, word2vec's text format, the command."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from scratchgpt import interop
from scratchgpt.cli import main
from scratchgpt.errors import InputError
from scratchgpt.models.word2vec import Word2Vec, Word2VecConfig
from scratchgpt.neighbours import Section, analogy, nearest, read_questions, score, show_neighbours, unit, write_vectors
from scratchgpt.tokenizers import WordTokenizer

KINDS, SIDES = ["person", "royal", "parent", "child"], ["male", "female"]
WORDS = ["man", "woman", "king", "queen", "father", "mother", "boy", "girl", "the"]
QUESTIONS = Path(__file__).parents[2] / "shared" / "data" / "labeled" / "questions-words.txt"


def planted_model():
    """Vectors in which a kind and a side add up, and a little noise; "the" has none of either."""
    rng = np.random.default_rng(0)
    table = np.zeros((9, 6), np.float32)
    for number, (kind, side) in enumerate(itertools.product(range(4), range(2))):
        table[number, kind], table[number, 4 + side] = 2, 1
    table[8] = 1
    model = Word2Vec(Word2VecConfig(9, 6))
    model.params["centre"][...] = table + 0.01 * rng.standard_normal((9, 6))
    return model


@pytest.fixture(scope="module")
def vectors():
    return unit(planted_model().params["centre"])


@pytest.fixture(scope="module")
def tokenizer():
    return WordTokenizer(WORDS)


@pytest.fixture(scope="module")
def directory(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("words")
    interop.save(planted_model(), path, tokenizer)
    return str(path)


def test_nearest_are_the_largest_cosines_in_order(vectors):
    query = 3 * vectors[2] + vectors[0]
    cosines = vectors @ query / np.linalg.norm(query)
    found = nearest(vectors, query, n=9)
    assert [word for word, _ in found] == sorted(range(9), key=lambda word: -cosines[word])
    assert found[0][1] == pytest.approx(cosines.max(), rel=1e-6)  # float32
    assert [word for word, _ in nearest(vectors, query, 3, without=[2])] == [w for w, _ in found if w != 2][:3]
    assert len(nearest(vectors, query, 99, without=[2, 5])) == 7


def test_a_row_of_zeros_has_no_direction():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


@pytest.mark.parametrize("words", ["man king woman queen", "king queen father mother", "girl boy queen king"])
def test_an_analogy_is_completed(vectors, tokenizer, words):
    a, b, c, d = tokenizer.encode(words)
    assert analogy(vectors, a, b, c)[0][0] == d


def test_the_three_words_given_are_no_answer(vectors, tokenizer):
    a, b, c = tokenizer.encode("man man king")  # the vector asked for is king's own
    assert c not in [word for word, _ in analogy(vectors, a, b, c)]


def test_score_counts_what_is_known_and_what_is_right(vectors, tokenizer):
    questions = {
        "family": [("Man", "King", "Woman", "Queen"), ("man", "king", "woman", "mother"), ("man", "x", "king", "y")],
        "capitals": [("athens", "greece", "oslo", "norway")],
    }
    assert score(vectors, tokenizer, questions) == [Section("family", 3, 2, 1), Section("capitals", 1, 0, 0)]
    many = {"all": list(itertools.permutations(WORDS[:8], 4))}  # more than are run at once
    right = sum(analogy(vectors, *tokenizer.encode(" ".join(row[:3])), 1)[0][0] == WORDS.index(row[3])
                for row in many["all"])  # fmt: skip
    assert score(vectors, tokenizer, many) == [Section("all", 1680, 1680, right)] and right > 0


def test_questions_come_by_section(tmp_path):
    (tmp_path / "q.txt").write_text("a b c d\n: one\nA B C D\n\ne f g h\n: empty\n", encoding="utf-8")
    assert read_questions(tmp_path / "q.txt") == {
        "all": [("a", "b", "c", "d")], "one": [("A", "B", "C", "D"), ("e", "f", "g", "h")],
    }  # fmt: skip


@pytest.mark.skipif(not QUESTIONS.exists(), reason="the published analogies are not here")
def test_the_published_questions_are_read():
    questions = read_questions(QUESTIONS)
    assert len(questions) == 14 and sum(map(len, questions.values())) == 19544  # Mikolov et al. 2013a, 4.1


def test_the_text_format_gives_the_same_float32(tmp_path):
    table = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32) / 3
    write_vectors(tmp_path / "v.txt", table, WORDS)
    first, *lines = (tmp_path / "v.txt").read_text(encoding="utf-8").splitlines()
    assert first == "9 6" and [line.split()[0] for line in lines] == WORDS
    assert np.array_equal(np.array([line.split()[1:] for line in lines]).astype(np.float32), table)


# the command


def test_the_command_prints_neighbours_and_analogies(directory, capsys):
    assert main(["embed", directory, "--word", "King"]) == 0
    out = capsys.readouterr().out
    assert "nearest to 'king'" in out and out.index("queen") < out.index("father") and out.count("king") == 1
    assert main(["embed", directory, "--analogy", "man", "KING", "woman"]) == 0
    out = capsys.readouterr().out
    assert "man : king = woman : ?" in out and out.index("queen") < out.index("mother")


def test_the_command_scores_a_file_by_section_and_in_total(directory, tmp_path, capsys):
    path = tmp_path / "q.txt"
    path.write_text(": family\nman king woman queen\nman king woman boy\n: capitals\nathens greece oslo norway\n")
    assert main(["embed", directory, "--analogies", str(path)]) == 0
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["family", "2", "2", "1", "50.0%"] in rows
    assert ["capitals", "1", "0", "0", "-"] in rows
    assert ["all", "3", "2", "1", "50.0%"] in rows


def test_the_command_writes_the_vectors(directory, tmp_path, capsys):
    assert main(["embed", directory, "--vectors", str(tmp_path / "v.txt")]) == 0
    assert capsys.readouterr().out == f"9 vectors of 6 numbers, in {tmp_path / 'v.txt'}\n"
    assert (tmp_path / "v.txt").read_text().startswith("9 6\nman ")


def test_neighbours_of_longer_words_are_shown_after_training(tokenizer, capsys):
    show_neighbours(planted_model(), tokenizer)
    out = capsys.readouterr().out
    assert "father" in out and "mother" in out.split("father")[1]
    short = WordTokenizer(["a", "b", "c", "d", "e", "f", "g", "h", "i"])
    show_neighbours(planted_model(), short)  # no word is long: the most frequent ones
    assert "│ a    │ " in capsys.readouterr().out


def test_what_cannot_be_answered_is_refused_on_one_line(directory, tmp_path, capsys):
    bad, none, binary = (tmp_path / name for name in ("bad.txt", "none.txt", "binary.txt"))
    bad.write_text("a b c d\na b c\n")
    none.write_text(": family\n")
    binary.write_bytes(b"a b c \xff")
    (tmp_path / "other.txt").write_text("w x y z\n")
    cases = {
        ("--word", "duke"): "does not have 'duke'",
        ("--word", "the king"): "is not one word",
        ("--analogy", "man", "king", "duchess"): "does not have 'duchess'",
        ("--analogies", str(bad)): f"{bad}, line 2: 3 words",
        ("--analogies", str(none)): "holds no analogies",
        ("--analogies", str(binary)): "not UTF-8 at byte 6",
        ("--analogies", str(tmp_path)): "cannot be read",
        ("--analogies", str(tmp_path / "other.txt")): "none of its 1 analogies",
        (): "give one of --word",
        ("--text", "a", "--text", "b"): "no --text",
        ("--word", "king", "--analogy", "a", "b", "c"): "give one of",
    }
    for arguments, says in cases.items():
        assert main(["embed", directory, *arguments]) == 2, arguments
        captured = capsys.readouterr()
        assert says in captured.err and captured.err.count("\n") == 1 and not captured.out, arguments


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt cannot be read"):
        read_questions(tmp_path / "gone.txt")
