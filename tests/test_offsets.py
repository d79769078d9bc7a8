"""Where in a text its tokens are, for BPE as for WordPiece, and a tokenizer that learns further special tokens."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt.tokenizers import BPETokenizer, WordPieceTokenizer

TEXT = "the quick brown fox, naïve café €5 jumps over 東京 and the lazy dog's toys " * 2
TOKENIZERS = {
    "BPE": BPETokenizer.train(TEXT, 300),
    "WordPiece": WordPieceTokenizer.train(TEXT, 80),
}
HARD = st.text(st.sampled_from("the quick  fox\n\t€é東🙂'.!\u0301\xa0"), max_size=30)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=HARD | st.text(max_size=20).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_places_are_in_order_and_leave_out_nothing_but_white_space_and_what_the_tokenizer_drops(name, text):
    tokenizer = TOKENIZERS[name]
    ids, places = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    assert len(places) == len(ids)
    assert all(0 <= start <= end <= len(text) for start, end in places)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(places))
    if name == "BPE":
        covered = {place for start, end in places for place in range(start, end)}
        left = [character for place, character in enumerate(text) if place not in covered]
        assert all(character.isspace() for character in left)
        assert all(text[start:end] == text[start:end].strip() for start, end in places)


def test_a_bpe_token_is_placed_at_its_word_without_the_space_before_it():
    text = "brown the fox €5"
    places = TOKENIZERS["BPE"].encode_with_offsets(text)[1]
    words = {text[start:end] for start, end in places}
    assert "fox" in words and " " not in "".join(words)
    euro = [place for place in places if place == (14, 15)]
    assert len(euro) >= 2 or b"\xe2\x82\xac" in TOKENIZERS["BPE"].vocab.values()  # bytes of one character share it


@pytest.mark.peer
@given(text=HARD.map(lambda text: text.replace("\n", " ").replace("\t", " ").replace("\xa0", " ")))
def test_bpe_places_are_those_of_hugging_face(text):
    """Of white space Hugging Face trims the space alone, so the texts have no other; where in a run of spaces an empty
    place is, it says in two ways."""
    tokenizers = pytest.importorskip("tokenizers")
    ours = TOKENIZERS["BPE"]
    theirs = tokenizers.ByteLevelBPETokenizer(
        vocabulary(ours), merges_of(ours), add_prefix_space=False, trim_offsets=True
    )
    encoding = theirs.encode(text)
    ids, places = ours.encode_with_offsets(text)
    assert encoding.ids == ids
    assert [place for place in encoding.offsets if place[0] < place[1]] == [
        place for place in places if place[0] < place[1]
    ]
    assert [start == end for start, end in encoding.offsets] == [start == end for start, end in places]


def vocabulary(tokenizer):
    from scratchgpt.tokenizers.formats import to_characters

    specials = set(tokenizer.special_tokens.values())
    return {to_characters(token): number for number, token in tokenizer.vocab.items() if number not in specials}


def merges_of(tokenizer):
    from scratchgpt.tokenizers.formats import to_characters

    return [(to_characters(a), to_characters(b)) for a, b in tokenizer.merges]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_new_special_tokens_follow_the_others_and_change_no_id(name, tmp_path):
    tokenizer = TOKENIZERS[name]
    grown = tokenizer.with_special_tokens(["<|start|>", "<|delim|>", *list(tokenizer.special_tokens)[:1]])
    assert grown.vocab_size == tokenizer.vocab_size + 2
    assert grown.special_tokens["<|start|>"] == tokenizer.vocab_size
    assert {number: grown.vocab[number] for number in tokenizer.vocab} == tokenizer.vocab
    assert grown.encode(TEXT + "<|start|>") == tokenizer.encode(TEXT + "<|start|>")
    assert grown.encode("<|delim|>", "all") == [tokenizer.vocab_size + 1]
    grown.save(tmp_path)
    assert type(tokenizer).load(tmp_path).digest() == grown.digest()
