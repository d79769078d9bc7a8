"""The vocabulary of words: what a word is, which are kept, files, refusals."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt import tokenizers
from scratchgpt.errors import InputError
from scratchgpt.tokenizers.words import WordTokenizer, words_of

TEXT = "The king, the KING; the queen's ring. Don’t ring; don't: 42 rings, 42!"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t give 5 ducats", ["don't", "give", "5", "ducats"]),
        ("o'er 'tis 'quoted'", ["o'er", "tis", "quoted"]),
        ("snake_case x2 U.S.", ["snake", "case", "x", "2", "u", "s"]),
        ("ÉTÉ naïve ÜBER", ["été", "naïve", "über"]),
        ("?! -- \n", []),
    ],
)
def test_words_are_letters_or_digits_in_lower_case(text, words):
    assert words_of(text) == words


def test_words_of_min_count_come_by_frequency_then_alphabet():
    tokenizer = WordTokenizer.train(TEXT, min_count=2)
    assert tokenizer.words == ["the", "42", "don't", "king", "ring"]
    assert tokenizer.counts == [3, 2, 2, 2, 2]
    assert tokenizer.vocab_size == 5 and tokenizer.special_tokens == {}
    assert WordTokenizer.train(TEXT, min_count=3).words == ["the"]


def test_other_words_are_left_out():
    tokenizer = WordTokenizer.train(TEXT, min_count=2)
    ids = tokenizer.encode_array("A king! The queen; 42...")
    assert ids.tolist() == [3, 0, 1] == tokenizer.encode("A king! The queen; 42...")
    assert ids.dtype == np.uint16
    assert tokenizer.decode(ids) == "king the 42"


@given(st.lists(st.integers(0, 4)))
def test_decoding_is_encoding_backwards(ids):
    tokenizer = WordTokenizer.train(TEXT, min_count=2)
    assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_a_vocabulary_comes_back_from_its_file(tmp_path):
    tokenizer = WordTokenizer.train(TEXT + " été", min_count=1)
    tokenizer.save(tmp_path / "new")
    for path in (tmp_path / "new", tmp_path / "new" / "words.json"):
        again = WordTokenizer.load(path)
        assert (again.words, again.counts) == (tokenizer.words, tokenizer.counts)
    again = tokenizers.load(tmp_path / "new")
    assert isinstance(again, WordTokenizer) and again.digest() == tokenizer.digest()
    assert tokenizer.digest() != WordTokenizer(tokenizer.words).digest()
    assert tokenizer.digest() != WordTokenizer(tokenizer.words[::-1], tokenizer.counts[::-1]).digest()


def test_the_id_of_a_word_in_any_case():
    tokenizer = WordTokenizer.train(TEXT, min_count=2)
    assert tokenizer.id_of("KING") == 3
    for word, says in (("queen", "does not have 'queen'"), ("the king", "not one word"), ("?", "not one word")):
        with pytest.raises(InputError, match=says):
            tokenizer.id_of(word)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no words"),
        (["a", "b", "a"], "'a' is twice"),
        (["a", "B"], "word 1 of the vocabulary is 'B'"),
        (["a b"], "single word"),
        ([7], "single word"),
    ],
)
def test_a_list_that_is_no_vocabulary_is_refused(words, says, tmp_path):
    with pytest.raises(InputError, match=says):
        WordTokenizer(words)
    (tmp_path / "words.json").write_text(json.dumps({"words": [[word, 1] for word in words]}))
    with pytest.raises(InputError, match=rf"words\.json: .*{says}"):
        WordTokenizer.load(tmp_path)


def test_what_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "words.json").write_text('{"words": {"a": 1}}')
    calls = {
        "no list of words": lambda: WordTokenizer.load(tmp_path),
        "not 1 whole numbers": lambda: WordTokenizer(["a"], [1.5]),
        "not 2 whole numbers": lambda: WordTokenizer(["a", "b"], [1]),
        "does not exist": lambda: WordTokenizer.load(tmp_path / "none.json"),
        "is a file": lambda: WordTokenizer(["a"]).save(tmp_path / "words.json"),
        "occurs 9 times": lambda: WordTokenizer.train(TEXT, min_count=9),
        "min_count is 0": lambda: WordTokenizer.train(TEXT, min_count=0),
        "token id 1 is out": lambda: WordTokenizer(["a"]).decode([0, 1]),
        "expected a str": lambda: WordTokenizer(["a"]).encode(b"a"),
    }
    for says, call in calls.items():
        with pytest.raises(InputError, match=says):
            call()
