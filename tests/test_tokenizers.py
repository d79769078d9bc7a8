"""The tokenizer: Algorithm 1's rules, and that the fast trainer and encoder give the same merges and ids."""

import doctest
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scratchgpt.errors import InputError
from scratchgpt.tokenizers import BPETokenizer, UnreachableVocabSize, algorithm1, bpe
from scratchgpt.tokenizers.encoder import LONG
from scratchgpt.tokenizers.fast import WordCounter, count_files, learn_merges
from scratchgpt.tokenizers.split import WHITE_SPACE, Specials, pieces, pretokens

SPECIALS = ["<|e|>", "<|e|><|e|>", " x ", "\n\n", "a b c"]
FRAGMENTS = [
    "the", " ", "  ", "\n", "\t", "\r\n", "'", "'re", "r", "e", "ab", "a", "b", "1", "23", "!", "...", "é", "e\u0301",
    "日本", "\u3000", "\xa0", "\x1c", "\0", "😀", "👩\u200d👩\u200d👧", "<|e|>", "<|", "e|>", " x ", "a b c",
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=60),
    st.text("ab", max_size=60),  # long runs, many ties
    st.text("a b\n\t'sé", max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join),
)


def word_counts(text):
    counter = WordCounter()
    counter.add(text)
    return counter.counts()


@pytest.fixture(scope="module")
def tokenizer():
    rng = random.Random(0)
    text = "".join(rng.choices([*FRAGMENTS[:-5], "don't we're", " cat sat on the mat"], k=4000))
    return BPETokenizer.train(text, 330, SPECIALS)


def slow_encode(tokenizer, text, allowed):
    """The truth: special tokens found by brute force, Algorithm 1's merges replayed on what is between."""
    number = {token: i for i, token in tokenizer.vocab.items() if i not in tokenizer.special_tokens.values()}
    ids, plain, i = [], "", 0
    while i <= len(text):
        special = next((s for s in sorted(allowed, key=len, reverse=True) if text.startswith(s, i)), None)
        if special or i == len(text):
            ids += [number[token] for token in algorithm1.encode_bytes(plain, tokenizer.merges)]
            plain = ""
        if special:
            ids.append(tokenizer.special_tokens[special])
        plain += "" if special else text[i : i + 1]
        i += len(special or " ")
    return ids


# -- Algorithm 1


def test_algorithm1_on_the_lecture_text_gives_ta_then_ac():
    steps = list(algorithm1.algorithm1(["AACGCACTATATA"], vocab_size=6))
    assert [(step.symbol, step.count) for step in steps] == [("TA", 3), ("AC", 2)]
    assert steps[-1].texts == [("A", "AC", "G", "C", "AC", "TA", "TA", "TA")]


def test_algorithm1_stops_at_the_vocabulary_size_or_when_no_pair_is_left():
    assert len(list(algorithm1.algorithm1(["abcd"], vocab_size=5))) == 1
    assert [step.symbol for step in algorithm1.algorithm1(["abcd"], vocab_size=99)] == ["cd", "bcd", "abcd"]


def test_docstring_examples_hold():
    for module in (algorithm1, bpe):
        results = doctest.testmod(module)
        assert results.attempted > 0 and results.failed == 0


def test_the_most_frequent_pair_is_the_greatest_of_those_that_occur_most_often():
    counts = {("b", "a"): 2, ("z", "z"): 1, ("b", "c"): 2, ("a", "z"): 2}
    assert algorithm1.most_frequent(counts) == ("b", "c")


def test_overlapping_pairs_count_as_often_as_they_can_be_merged():
    for n in range(2, 9):
        assert algorithm1.count_pairs([("A",) * n], [1])[("A", "A")] == n // 2


def test_end_of_word_symbol_tells_a_suffix_from_a_prefix():
    text = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3  # the example of Sennrich et al. 2016
    symbols = [step.symbol for step in algorithm1.algorithm1_words(text, vocab_size=16)]
    assert any(symbol.endswith("</w>") for symbol in symbols) and not any("</w>" in symbol[:-4] for symbol in symbols)
    with pytest.raises(InputError, match="end-of-word"):
        next(algorithm1.algorithm1_words("a</w> b", 10))


def test_ties_go_to_the_lexicographically_greatest_pair_of_byte_strings():
    step = next(algorithm1.algorithm1_bytes("ab zz yz", 300))  # each pair once
    assert step.pair == (b"z", b"z") and learn_merges(word_counts("ab zz yz"), 1) == [(b"z", b"z")]


# -- the fast trainer against the plain loop


@settings(max_examples=500)
@given(texts)
@example("aaaa aaa aab baa" * 3)
@example("a\t\t\t b\r\n\r\n  c \n\n\n")
def test_fast_split_equals_gpt2_pattern(text):
    assert pretokens(text) == algorithm1.split_gpt2(text)
    assert "".join(pieces(text)) == text
    assert [word for piece in pieces(text) for word in pretokens(piece)] == algorithm1.split_gpt2(text)
    assert word_counts(text) == Counter(algorithm1.split_gpt2(text))


@settings(max_examples=1000)
@given(texts)
@example("abababab abab aaaaaaa bbbb aab abb " * 2)
def test_fast_merges_equal_algorithm1(text):
    expected = [step.pair for step in algorithm1.algorithm1_bytes(text, 256 + 50)]
    assert learn_merges(word_counts(text), 50) == expected


@settings(max_examples=300)
@given(st.dictionaries(st.text("ab", min_size=1, max_size=20), st.integers(1, 9), max_size=8))
def test_fast_merges_equal_algorithm1_on_weighted_words(words):
    vocab = {bytes([byte]) for byte in range(256)}
    symbols = [tuple(bytes([byte]) for byte in word.encode()) for word in words]
    steps = algorithm1.merge_steps(symbols, list(words.values()), vocab, vocab_size=256 + 40)
    assert learn_merges(words, 40) == [step.pair for step in steps]


def test_white_space_is_what_the_pattern_calls_white_space():
    import regex

    assert "".join(regex.findall(r"\s", "".join(map(chr, range(0x110000))))) == WHITE_SPACE


def test_training_on_one_long_word_is_not_quadratic():
    # 300,000 letters without a space: a quadratic trainer would take hours here
    assert [len(left) for left, _ in learn_merges(word_counts("a" * 2**18), 18)] == [2**n for n in range(18)]
    assert len(learn_merges(word_counts("ab" * 150_000), 5)) == 5


def test_special_tokens_divide_the_training_text():
    merges = BPETokenizer.train("ab<|x|>ab<|x|>ab" * 5, 258, ["<|x|>"]).merges
    assert merges == [(b"a", b"b")]
    with pytest.raises(UnreachableVocabSize):
        BPETokenizer.train("a<|x|>b", 258, ["<|x|>"])


def test_training_reads_files_texts_and_processes_alike(tmp_path):
    text = "the cat, the mat.\r\n\r\n  so<|endoftext|>the end \u3000é😀\n" * 3000
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt").write_bytes(b"and the rest")
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    counts = count_files(paths, ["<|endoftext|>"])
    assert counts == count_files(paths, ["<|endoftext|>"], processes=2)
    expected = Counter(w for t in [*text.split("<|endoftext|>"), "and the rest"] for w in algorithm1.split_gpt2(t))
    assert counts == expected
    assert BPETokenizer.train_file(paths, 280).digest() == BPETokenizer.train([text, "and the rest"], 280).digest()


# -- encoding and decoding


@settings(max_examples=500)
@given(texts, st.sampled_from([[], SPECIALS, ["<|e|>"], [" x ", "a b c"], ["\n\n"]]))
def test_ids_equal_replaying_the_merges(tokenizer, text, allowed):
    ids = tokenizer.encode(text, allowed)
    assert ids == slow_encode(tokenizer, text, allowed)
    assert tokenizer.decode(ids) == text
    assert "".join(tokenizer.decode_stream(ids)) == text


@settings(max_examples=500)
@given(st.lists(texts, max_size=6), st.sampled_from([[], SPECIALS, [" x "]]), st.integers(1, 12))
def test_text_in_blocks_has_the_same_ids_as_whole(tokenizer, chunks, allowed, size):
    blocks = list(Specials(allowed).blocks(chunks, size))
    assert "".join(blocks) == "".join(chunks)
    ids = [i for block in blocks for i in tokenizer.encode(block, allowed)]
    assert ids == tokenizer.encode("".join(chunks), allowed)


@settings(max_examples=200)
@given(st.text("ab ", max_size=400))
def test_long_words_take_the_heap_and_get_the_same_ids(tokenizer, text):
    data = ("ab" * LONG + text.replace(" ", "")).encode()
    expected = algorithm1.encode((bytes([byte]) for byte in data), tokenizer.merges)
    assert [tokenizer.vocab[i] for i in tokenizer._encoder.merge(data)] == list(expected)


def test_streams_give_the_ids_of_the_whole(tokenizer, tmp_path):
    text = "".join(random.Random(1).choices(FRAGMENTS, k=60_000)).replace("\0", "")
    (tmp_path / "text.txt").write_bytes(text.encode())
    ids = tokenizer.encode(text, "all")
    assert np.concatenate(list(tokenizer.encode_file(tmp_path / "text.txt", "all"))).tolist() == ids
    assert list(tokenizer.encode_iterable((text[i : i + 777] for i in range(0, len(text), 777)), "all")) == ids


def test_streaming_is_lazy(tokenizer):
    def endless():
        while True:
            yield "the cat sat on the mat. " * 100

    assert [i for _, i in zip(range(1000), tokenizer.encode_iterable(endless()), strict=False)]


def test_streaming_memory_is_flat():
    import tracemalloc

    tokenizer = BPETokenizer.train("abc " * 9, 257)
    rng = random.Random(0)

    def words(n):
        for _ in range(n):
            yield " ".join(f"{rng.getrandbits(40):x}" for _ in range(100))  # every word new: the worst for a cache

    tracemalloc.start()
    try:
        ids, peaks = tokenizer.encode_iterable(words(1200)), []
        for _ in range(10):
            for _ in range(50_000):
                next(ids)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    # what matters is growth with the text; 2 MB is what the cache may still fill up after the first part
    assert peaks[-1] - peaks[0] < 2_000_000


def test_special_strings_in_plain_text_are_ordinary_unless_allowed(tokenizer):
    special = tokenizer.special_tokens["<|e|><|e|>"]
    assert special not in tokenizer.encode("<|e|><|e|>")
    assert tokenizer.encode("<|e|><|e|>", "all") == [special]  # the longest match
    assert tokenizer.encode("<|e|><|e|>", ["<|e|>"]) == [tokenizer.special_tokens["<|e|>"]] * 2


def test_ids_are_bytes_then_merges_then_special_tokens():
    tokenizer = BPETokenizer.train("low lower lowest", 260, ["<a>", "<b>"])
    assert [tokenizer.vocab[i] for i in range(256)] == [bytes([i]) for i in range(256)]
    assert [tokenizer.vocab[256 + n] for n in range(2)] == [left + right for left, right in tokenizer.merges]
    assert tokenizer.special_tokens == {"<a>": 258, "<b>": 259} and tokenizer.vocab_size == 260


def test_arrays_are_uint16_up_to_65536_ids_and_uint32_above():
    assert BPETokenizer([]).encode_array("abc").dtype == np.uint16
    wide = BPETokenizer([], {"<|x|>": 70_000}, {bytes([byte]): byte for byte in range(256)})
    assert wide.encode_array("a<|x|>", "all").tolist() == [97, 70_000]
    assert wide.encode_array("a").dtype == np.uint32


def test_streamed_text_never_shows_half_a_character():
    tokenizer = BPETokenizer([])
    assert list(tokenizer.decode_stream("é😀".encode())) == ["", "é", "", "", "", "😀"]
    assert "".join(tokenizer.decode_stream([0xF0, 0x9F])) == tokenizer.decode([0xF0, 0x9F]) == "\ufffd"


# -- files


@settings(max_examples=20)
@given(st.lists(texts, min_size=1, max_size=4).map("".join), st.text("x<|é\u0120\n ", max_size=4))
def test_saved_files_load_back_equal(tmp_path_factory, text, special):
    text, special = text + " ends", f"<|{special}|>"
    try:
        reachable = BPETokenizer.train(text, 300, [special]).vocab_size
    except UnreachableVocabSize as error:
        reachable = error.reachable
    tokenizer = BPETokenizer.train(text, reachable, [special])
    directory = tmp_path_factory.mktemp("saved")
    tokenizer.save(directory)
    assert BPETokenizer.load(directory).digest() == tokenizer.digest()
    assert BPETokenizer.from_files(directory / "vocab.json", directory / "merges.txt").digest() == tokenizer.digest()


def test_digest_changes_with_the_merges_and_the_special_tokens():
    digests = {BPETokenizer.train("low lower", n, special).digest() for n in (257, 258) for special in ([], ["<x>"])}
    assert len(digests) == 4 and all(len(digest) == 16 for digest in digests)


def damaged(directory, name, change):
    content = (directory / name).read_text(encoding="utf-8")
    (directory / name).write_text(change(content), encoding="utf-8")


@pytest.mark.parametrize("name, change", [
    ("tokenizer.json", lambda content: content[:-20]),
    ("tokenizer.json", lambda content: "[]"),
    ("tokenizer.json", lambda content: content.replace('"BPE"', '"WordPiece"')),
    ("tokenizer.json", lambda content: content.replace('"add_prefix_space": false', '"add_prefix_space": true')),
    ("tokenizer.json", lambda content: content.replace('"normalizer": null', '"normalizer": {"type": "NFC"}')),
    ("tokenizer.json", lambda content: content.replace('"!": 33', '"!": 34')),
    ("tokenizer.json", lambda content: content.replace('"!": 33', '"!": -1')),
    ("tokenizer.json", lambda content: content.replace('"!": 33', '"!": "x"')),
    ("tokenizer.json", lambda content: content.replace('"!": 33', '"日": 33')),
    ("tokenizer.json", lambda content: content.replace('"added_tokens": [', '"added_tokens": 7, "others": [')),
    ("vocab.json", lambda content: "{"),
    ("vocab.json", lambda content: content.replace('"!": 33, ', "")),
    ("merges.txt", lambda content: content + "a\n"),
    ("merges.txt", lambda content: content + "日 a\n"),
    ("merges.txt", lambda content: content + "q q\n"),
])  # fmt: skip
def test_malformed_files_are_refused_in_one_line_that_names_the_file(tmp_path, name, change):
    BPETokenizer.train("low lower", 259).save(tmp_path)
    damaged(tmp_path, name, change)
    if name != "tokenizer.json":
        (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError) as error:
        BPETokenizer.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


# -- bad input


@pytest.mark.parametrize("call, message", [
    (lambda: BPETokenizer.train("abc", 200), "vocab_size 200 is below 257: .*ask for at least 257"),
    (lambda: BPETokenizer.train("abc", 257, ["<a>", "<b>"]), "below 258"),
    (lambda: BPETokenizer.train("abc", 300.0), "not an integer"),
    (lambda: BPETokenizer.train("", 300), "empty"),
    (lambda: BPETokenizer.train(["", ""], 300), "empty"),
    (lambda: BPETokenizer.train([b"abc"], 300), "expected a str, got bytes"),
    (lambda: BPETokenizer.train("abc", 300, "<a>"), "expected a list"),
    (lambda: BPETokenizer.train("abc", 300, ["<a>", "<a>"]), "twice"),
    (lambda: BPETokenizer.train("abc", 258, ["a"]), "ordinary token"),
    (lambda: BPETokenizer([]).encode("a\ud800"), r"U\+D800 at character 1"),
    (lambda: list(BPETokenizer([]).encode_iterable(["ab", "c\udfff"])), r"U\+DFFF at character 3"),
    (lambda: BPETokenizer([]).encode(b"a"), "got bytes"),
    (lambda: BPETokenizer([]).encode("a", "<|endoftext|>"), "is a string"),
    (lambda: BPETokenizer([]).encode("a", ["<x>"]), "not a special token"),
    (lambda: BPETokenizer([]).decode([257]), "257 is out of range.*0 to 256"),
    (lambda: BPETokenizer([]).decode(np.array([-1])), "-1 is out of range"),
    (lambda: BPETokenizer.load("no/such/directory"), "does not exist"),
])  # fmt: skip
def test_bad_input_is_refused_with_what_was_given(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_unreachable_vocab_size_tells_how_many_merges_there_were():
    with pytest.raises(UnreachableVocabSize, match="2 merges, a vocabulary of 259") as error:
        BPETokenizer.train("abc", 1000)
    assert (error.value.merges, error.value.reachable) == (2, 259)
    assert BPETokenizer.train("abc", 259).decode([257]) == "abc"


@pytest.mark.parametrize("data, message", [
    (b"", "is empty"),
    (b"ab\0c", "byte 2 is NUL"),
    (b"a" * 40_000 + b"\xff" + b"b" * 40_000, "byte 40000"),
    ("é".encode() * 16_384 + b"\xc3", "byte 32768"),                   # cut in the middle of a character
    (b"a" * 32_767 + b"\xe2\x82" + b"a", "byte 32767"),                # across two reads
])  # fmt: skip
def test_files_that_are_not_text_are_refused_with_the_offset(tmp_path, data, message):
    path = tmp_path / "data.txt"
    path.write_bytes(data)
    for call in (lambda: BPETokenizer.train_file(path, 300), lambda: list(BPETokenizer([]).encode_file(path))):
        with pytest.raises(InputError, match=message) as error:
            call()
        assert str(path) in str(error.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        BPETokenizer.train_file(tmp_path / "none.txt", 300, processes=2)
    with pytest.raises(InputError, match="cannot be read"):
        BPETokenizer.train_file([tmp_path], 300)


def test_saving_onto_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        BPETokenizer([]).save(tmp_path / "taken")


def test_saved_vocabulary_is_plain_json_in_order_of_ids(tmp_path):
    BPETokenizer.train("low lower", 259).save(tmp_path)
    vocab = json.loads(Path(tmp_path, "vocab.json").read_text(encoding="utf-8"))
    assert list(vocab.values()) == list(range(259)) and vocab["<|endoftext|>"] == 258
