"""WordPiece: BERT's words, the greedy match, its offsets, training by likelihood, and files."""

import doctest
import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scratchgpt import tokenizers
from scratchgpt.cli import main
from scratchgpt.data import load_text, split_text
from scratchgpt.errors import InputError
from scratchgpt.interop import load_tokenizer
from scratchgpt.tokenizers import BPETokenizer, UnreachableVocabSize, WordPieceTokenizer, basic, likelihood, wordpiece
from scratchgpt.tokenizers.basic import BasicTokenizer, category
from scratchgpt.tokenizers.likelihood import join, learn_pieces, symbols_of, united
from scratchgpt.tokenizers.side_by_side import measure, split_by_both, train_both
from scratchgpt.tokenizers.wordpiece import longest_match, whole_lines

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "##a", "a", "!", "the", "世", "##ing",
         "play", "É", "e", "##t", "##e"]  # fmt: skip
FRAGMENTS = ["the", " ", "\n", "unaffable", "play", "playing", "!", "e\u0301", "É", "世", "\0", "[MASK]", "\u200b", "a",
             "z", "x" * 101]  # fmt: skip
texts = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
words = st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 9), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(VOCAB)


def test_docstring_examples_hold():
    for module in (basic, likelihood, wordpiece):
        results = doctest.testmod(module)
        assert results.attempted > 0 and results.failed == 0


# -- words


@pytest.mark.parametrize("options, text, expected", [
    ({}, "Hello,World!", ["hello", ",", "world", "!"]),
    ({}, "a\tb\r\nc\u3000d\u2028e\u00a0f", ["a", "b", "c", "d", "e", "f"]),
    ({}, "a\0b\ufffdc\u200bd\x1ce\x85f\ue000g", ["abcdefg"]),                # controls, formats, private use: dropped
    ({}, "E\u0301té ÀÉ", ["ete", "ae"]),
    ({"strip_accents": False}, "É", ["é"]),
    ({"lowercase": False}, "E\u0301 É", ["E\u0301", "É"]),
    ({"lowercase": False, "strip_accents": True}, "É", ["E"]),
    ({}, "ΣΑΣ", ["σασ"]),                                                    # no final sigma
    ({}, "日本go", ["日", "本", "go"]),
    ({"split_cjk": False}, "日本go", ["日本go"]),
    ({}, "$5+x^~_,„…‽", ["$", "5", "+", "x", "^", "~", "_", ",", "„", "…", "‽"]),
    ({}, "\u037e\u1fef", [";", "`"]),                                        # they decompose into punctuation
    ({}, "", []),
])  # fmt: skip
def test_words_are_those_of_bert(options, text, expected):
    assert BasicTokenizer(**options).words(text) == expected


def test_characters_newer_than_unicode_8_are_plain_under_every_python():
    """What Python calls a mark or punctuation depends on its version; ids must not."""
    assert category("\u0898") == "" and category("\u2e52") == "" and category("\u1734") == "Mn"
    assert BasicTokenizer().words("a\u0898b\u2e52c") == ["a\u0898b\u2e52c"]


@given(texts, st.booleans(), st.sampled_from([None, True, False]), st.booleans())
def test_words_with_their_places_are_the_words(text, lowercase, strip_accents, split_cjk):
    tokenizer = BasicTokenizer(lowercase, strip_accents, split_cjk)
    found = list(tokenizer.words_and_places(text))
    assert [word for word, _ in found] == tokenizer.words(text)
    for word, places in found:
        assert len(places) == len(word) and places == sorted(places)
        assert all(character in tokenizer[ord(text[place])] for character, place in zip(word, places, strict=True))


# -- the match


@pytest.mark.parametrize("word, pieces", [
    ("unaffable", ["un", "##aff", "##able"]),
    ("una", ["un", "##a"]),
    ("the", ["the"]),
    ("thea", ["the", "##a"]),
    ("affable", None),                       # "a", then nothing continues with ff
    ("unb", None),
    ("", []),
])  # fmt: skip
def test_each_piece_is_the_longest_from_the_left(word, pieces):
    assert longest_match(word, set(VOCAB)) == pieces


def test_the_match_never_goes_back():
    assert longest_match("abcd", {"ab", "abc", "##cd"}) is None  # ab ##cd would spell it


@given(st.text("ab", max_size=10), st.sets(st.text("ab", min_size=1, max_size=3)), st.sets(st.text("ab", max_size=3)))
def test_pieces_spell_the_word_and_none_could_be_longer(word, begin, go_on):
    vocab = begin | {"##" + text for text in go_on if text}
    pieces = longest_match(word, vocab)
    at = 0
    for n, piece in enumerate(pieces or []):
        text = piece.removeprefix("##")
        assert piece in vocab and piece.startswith("##") == (n > 0) and word.startswith(text, at)
        prefix = "##" if n else ""
        assert not any(prefix + word[at:end] in vocab for end in range(at + len(text) + 1, len(word) + 1))
        at += len(text)
    assert pieces is None or at == len(word)


def test_a_word_of_more_than_100_characters_is_unknown():
    tokenizer = WordPieceTokenizer(["[UNK]", "a", "##a"])
    assert tokenizer.encode("a" * 100) == [1] + [2] * 99 and tokenizer.encode("a" * 101) == [0]


# -- inputs


def test_a_pair_is_cls_a_sep_b_sep_with_type_ids_and_offsets(tokenizer):
    encoding = tokenizer.encode_inputs("Unaffable é!", "zzz 世")
    assert tokenizer.tokens(encoding.ids) == [
        "[CLS]",
        "un",
        "##aff",
        "##able",
        "e",
        "!",
        "[SEP]",
        "[UNK]",
        "世",
        "[SEP]",
    ]
    assert encoding.type_ids == [0] * 7 + [1] * 3
    assert encoding.offsets == [(0, 0), (0, 2), (2, 5), (5, 9), (10, 11), (11, 12), (0, 0), (0, 3), (4, 5), (0, 0)]


@given(texts, st.sampled_from([(), "all", ["[MASK]"]]))
@example("[MASK]the[MASK] \n[SEP]", "all")
def test_inputs_are_the_plain_ids_between_special_tokens(tokenizer, text, allowed):
    encoding = tokenizer.encode_inputs(text, None, allowed)
    assert encoding.ids[1:-1] == tokenizer.encode(text, allowed)
    for number, (start, end) in list(zip(encoding.ids, encoding.offsets, strict=True))[1:-1]:
        assert 0 <= start < end <= len(text)
        if tokenizer.vocab[number] == "[MASK]":
            assert text[start:end] == "[MASK]"


def test_special_tokens_in_text_are_ordinary_unless_allowed(tokenizer):
    mask = tokenizer.special_tokens["[MASK]"]
    assert mask not in tokenizer.encode("the [MASK]") and tokenizer.encode("the [MASK]", ["[MASK]"])[-1] == mask
    assert tokenizer.special_tokens["[SEP]"] not in tokenizer.encode("the [SEP]", ["[MASK]"])


def test_word_starts_are_the_tokens_without_the_mark(tokenizer):
    starts = tokenizer.word_starts(tokenizer.encode_array("unaffable the"))
    assert starts.tolist() == [True, False, False, True] and starts.dtype == bool
    assert tokenizer.word_starts([[5, 6, 7], [11, 8, 0]]).tolist() == [[True, False, False], [True, False, True]]
    with pytest.raises(InputError, match="99 is out of range"):
        tokenizer.word_starts([[0, 99]])


@given(st.lists(st.integers(0, len(VOCAB) - 1), min_size=1, max_size=12), st.data())
def test_a_decoded_stream_continues_what_was_decoded_before(tokenizer, ids, data):
    cut = data.draw(st.integers(1, len(ids)))
    assert tokenizer.decode(ids[:cut]) + "".join(tokenizer.decode_stream(ids[cut:])) == tokenizer.decode(np.array(ids))
    assert tokenizer.decode_bytes(ids).decode() == tokenizer.decode(ids)


def test_decoding_joins_pieces_and_hugs_punctuation(tokenizer):
    assert tokenizer.decode(tokenizer.encode("The playing!  e")) == "the playing! e"


def test_a_file_gives_the_ids_of_its_text(tokenizer, tmp_path):
    text = "the unaffable\n" * 9000 + "play" * 40_000 + "\n世 the"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    parts = list(tokenizer.encode_file(tmp_path / "text.txt"))
    assert len(parts) > 2 and np.concatenate(parts).tolist() == tokenizer.encode(text)


@given(st.lists(st.text("ab\n", max_size=5), max_size=6))
def test_parts_end_where_lines_end(chunks):
    parts = list(whole_lines(chunks))
    assert "".join(parts) == "".join(chunks) and all(part.endswith("\n") for part in parts[:-1])


# -- training


def plain_best(words, floor):
    """The definition, slowly: the best pair, by exact fractions, and how often the most frequent pair occurs."""
    symbols, pairs = Counter(), Counter()
    for word, count in words:
        for symbol in word:
            symbols[symbol] += count
        for pair in pairwise(word):
            pairs[pair] += count
    frequent = [pair for pair, count in pairs.items() if count >= floor]
    scores = {(a, b): Fraction(pairs[a, b], symbols[a] * symbols[b]) for a, b in frequent}
    return min(frequent, key=lambda pair: (-scores[pair], -pairs[pair], pair), default=None), max(
        pairs.values(), default=1
    )


def plain_pieces(word_counts, size, min_count=None):
    words = [(symbols_of(word), count) for word, count in word_counts.items()]
    pieces = likelihood.alphabet_of(word_counts)
    floor = min_count or plain_best(words, 1)[1]
    while len(pieces) < size:
        best, _ = plain_best(words, floor)
        if best is None and (min_count or floor <= 1):
            break
        if best is None:
            floor = max(1, floor / 2)
            continue
        union = join(*best)
        pieces += [union] if union not in pieces else []
        words = [(united(word, best, union), count) for word, count in words]
    return pieces


@settings(max_examples=200)
@given(words, st.integers(1, 40), st.sampled_from([None, 1, 3]))
@example({"aaaa": 1, "aaa": 2}, 9, None)
def test_learned_pieces_are_those_of_the_definition(word_counts, size, min_count):
    learned = learn_pieces(word_counts, size, min_count)
    assert learned == plain_pieces(word_counts, size, min_count)


def test_growing_tables_lose_no_count():
    """More distinct symbols and pairs than the learner makes room for at first."""
    word_counts = {"".join(chr(0x4E00 + (17 * n + k * k) % 1500) for k in range(4)): 1 + n % 3 for n in range(1200)}
    learner = likelihood.Learner(word_counts)
    symbols, pairs = Counter(), Counter()
    for word, count in word_counts.items():
        symbols.update(symbols_of(word) * count)
        pairs.update([*pairwise(symbols_of(word))] * count)
    assert len(learner.symbol_numbers) > 2048 and len(pairs) > 2048
    assert {pair: learner.table[0, n] for pair, n in learner.pair_numbers.items()} == pairs
    assert {symbol: learner.symbol_counts[n] for symbol, n in learner.symbol_numbers.items()} == symbols


def test_the_score_prefers_what_meets_more_than_by_chance():
    """th is more frequent, but q never stands without u."""
    word_counts = {"th": 20, "qu": 8, "ta": 30, "ha": 30, "ua": 1}
    assert learn_pieces(word_counts, 8, min_count=1)[-1] == "qu"
    alphabet = likelihood.alphabet_of(word_counts)
    assert learn_pieces(word_counts, len(alphabet) + 1, min_count=1) == [*alphabet, "qu"]


def test_rare_pairs_wait_until_the_frequent_ones_are_merged():
    word_counts = {"ab": 100, "ac": 50, "db": 50, "xy": 1}
    n = len(likelihood.alphabet_of(word_counts))
    assert learn_pieces(word_counts, n + 1, min_count=1)[-1] == "xy"
    assert learn_pieces(word_counts, n + 1)[-1] == "ab"


def test_training_gives_special_tokens_characters_then_unions():
    tokenizer = WordPieceTokenizer.train("low lower lowest Löwe", 17)
    tokens = [tokenizer.vocab[n] for n in range(17)]
    assert tokenizer.vocab_size == 17 and tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert "[UNK]" not in tokenizer.tokens(tokenizer.encode("low lower lowest Löwe"))
    assert "Lö" in WordPieceTokenizer.train("Lö Lö", 8, lowercase=False).vocab.values()


def test_training_on_a_file_equals_training_on_its_text(tmp_path):
    text = load_text("plays")[:60_000]
    (tmp_path / "a.txt").write_bytes(text.encode())
    whole = WordPieceTokenizer.train(text, 300)
    assert WordPieceTokenizer.train_file(tmp_path / "a.txt", 300).digest() == whole.digest()
    assert WordPieceTokenizer.train(text.splitlines(), 300).digest() == whole.digest()


def test_unreachable_vocab_size_tells_what_is_reachable():
    with pytest.raises(UnreachableVocabSize, match="1 merges, a vocabulary of 8") as error:
        WordPieceTokenizer.train("ab", 100)
    assert WordPieceTokenizer.train("ab", error.value.reachable).encode("ab") == [7]


# -- side by side


def test_measures_count_what_a_person_would():
    wordpiece = WordPieceTokenizer(VOCAB)
    measured = measure(wordpiece, "the unaffable zz")
    assert (measured.tokens, measured.unknown, measured.reversible) == (5, 1, False)
    assert measured.bytes_per_token == 16 / 5 and measured.tokens_per_word == 5 / 3
    assert measure(BPETokenizer([]), "the").reversible
    with pytest.raises(InputError, match="no words"):
        measure(wordpiece, " ")


def test_examples_are_words_that_both_divide_differently():
    text = load_text("plays")[:80_000]
    bpe, wordpiece = train_both(text, 400)
    found = list(split_by_both(bpe, wordpiece, text))
    counts = Counter(text.split())
    assert found and [counts[word] for word, *_ in found] == sorted((counts[word] for word, *_ in found), reverse=True)
    for word, left, right in found:
        assert "".join(left) == "_" + word and len(left) > 1 and len(right) > 1
        assert "".join(piece.removeprefix("##") for piece in right) == word.lower()
        assert [len(p.strip("_")) for p in left] != [len(p.strip("#")) for p in right]


# -- files


@settings(max_examples=20)
@given(st.booleans(), st.sampled_from([None, True, False]), st.booleans(), texts)
def test_saved_files_load_back_equal(tmp_path_factory, lowercase, strip_accents, split_cjk, text):
    directory = tmp_path_factory.mktemp("saved")
    saved = WordPieceTokenizer(VOCAB, lowercase, strip_accents, split_cjk)
    saved.save(directory)
    assert [path.name for path in sorted(directory.iterdir())] == [
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    loaded = load_tokenizer(directory)
    assert loaded.digest() == saved.digest() == WordPieceTokenizer.load(directory / "vocab.txt").digest()
    assert loaded.encode(text) == saved.encode(text)
    (directory / "tokenizer.json").unlink()
    assert load_tokenizer(directory).digest() == saved.digest()


def test_each_kind_of_tokenizer_is_told_by_its_files(tmp_path):
    WordPieceTokenizer(VOCAB).save(tmp_path / "w")
    BPETokenizer([]).save(tmp_path / "b")
    for path in ("w", "w/tokenizer.json"):
        assert isinstance(tokenizers.load(tmp_path / path), WordPieceTokenizer)
    for path in ("b", "b/tokenizer.json"):
        assert isinstance(tokenizers.load(tmp_path / path), BPETokenizer)


def test_ids_may_have_gaps_as_added_tokens_do(tmp_path):
    tokenizer = WordPieceTokenizer({"[UNK]": 0, "a": 1}, special_tokens={"[UNK]": 0, "<x>": 9})
    tokenizer.save(tmp_path)
    loaded = WordPieceTokenizer.load(tmp_path)
    assert loaded.vocab_size == 10 and loaded.encode("a<x>b", "all") == [1, 9, 0]
    assert not (tmp_path / "vocab.txt").exists()  # its lines could not say that 9 follows 1


def test_digest_changes_with_the_tokens_and_the_options():
    digests = {
        WordPieceTokenizer(VOCAB[:n], lowercase=lowercase).digest() for n in (5, 6) for lowercase in (True, False)
    }
    assert len(digests) == 4


@pytest.mark.parametrize("name, change", [
    ("tokenizer.json", lambda content: content[:-20]),
    ("tokenizer.json", lambda content: content.replace('"WordPiece",\n  "unk', '"Unigram",\n  "unk')),
    ("tokenizer.json", lambda content: content.replace("BertPreTokenizer", "Whitespace")),
    ("tokenizer.json", lambda content: content.replace('"clean_text": true', '"clean_text": false')),
    ("tokenizer.json", lambda content: content.replace('_word": 100', '_word": 50')),
    ("tokenizer.json", lambda content: content.replace('"lowercase": true', '"lowercase": 1')),
    ("tokenizer.json", lambda content: content.replace('"un": 5', '"un": 6')),
    ("tokenizer.json", lambda content: content.replace('"un": 5', '"un": -5')),
    ("tokenizer.json", lambda content: content.replace('"[UNK]"', '"[unk]"')),
    ("vocab.txt", lambda content: content + "un\n"),
    ("vocab.txt", lambda content: content.replace("[UNK]\n", "")),
    ("vocab.txt", lambda content: ""),
    ("tokenizer_config.json", lambda content: content.replace('"do_lower_case": true', '"do_lower_case": "yes"')),
])  # fmt: skip
def test_malformed_files_are_refused_in_one_line_that_names_the_file(tmp_path, name, change):
    WordPieceTokenizer(VOCAB).save(tmp_path)
    content = (tmp_path / name).read_text(encoding="utf-8")
    assert change(content) != content
    (tmp_path / name).write_text(change(content), encoding="utf-8")
    if name != "tokenizer.json":
        (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError) as error:
        WordPieceTokenizer.load(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


# -- the command line


@pytest.fixture
def text_file(tmp_path):
    (tmp_path / "text.txt").write_text(load_text("plays")[:60_000], encoding="utf-8")
    return str(tmp_path / "text.txt")


def said(capsys, *arguments):
    code = main(list(map(str, arguments)))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_trains_encodes_and_decodes(capsys, tmp_path, text_file):
    train = ("tokenizer", "train", "--kind", "wordpiece", "--data", text_file, "--vocab-size", 300)
    assert said(capsys, *train, "--out", tmp_path / "w") == (0, f"300 tokens, in {tmp_path / 'w'}\n", "")
    code, ids, _ = said(capsys, "tokenizer", "encode", tmp_path / "w", "--text", "My LORD!")
    assert code == 0 and list(map(int, ids.split())) == load_tokenizer(tmp_path / "w").encode("My LORD!")
    assert said(capsys, "tokenizer", "decode", tmp_path / "w", *ids.split()) == (0, "my lord!", "")
    assert said(capsys, *train, "--cased", "--out", tmp_path / "c")[0] == 0
    assert load_tokenizer(tmp_path / "c").options["lowercase"] is False
    code, out, error = said(capsys, *train, "--processes", 2, "--out", tmp_path / "p")
    assert (code, out, error.count("\n")) == (2, "", 1) and not (tmp_path / "p").exists()
    assert said(capsys, *train[:2], "--cased", "--data", text_file, "--out", tmp_path / "p")[0] == 2  # bpe keeps case


def test_the_command_compares_both_on_held_out_text(capsys, text_file):
    code, out, _ = said(capsys, "tokenizer", "compare", "--data", text_file, "--vocab-size", 400)
    rows = [line.strip("│").split("│") for line in out.splitlines() if line.startswith("│")]
    table = {name.strip(): (left.strip(), right.strip()) for name, left, right in rows}
    train_text, held_out = split_text(load_text(text_file))
    assert code == 0 and table["decodes to the same text"] == ("yes", "no")
    expected = [f"{measure(tokenizer, held_out).tokens:,}" for tokenizer in train_both(train_text, 400)]
    assert list(table["tokens"]) == expected
    assert len(rows) > 5 and all("##" in right for _, _, right in rows[5:])


def test_a_gpt_trains_and_samples_with_wordpiece(capsys, tmp_path, text_file):
    WordPieceTokenizer.train_file(text_file, 300).save(tmp_path / "w")
    tiny = ("--n-layer", 1, "--n-embd", 16, "--n-head", 2, "--n-ctx", 16, "--batch-size", 2, "--steps", 2)
    run = ("train", "--data", text_file, "--tokenizer", tmp_path / "w", "--out", tmp_path / "run", *tiny)
    assert said(capsys, *run)[0] == 0
    code, out, _ = said(capsys, "sample", tmp_path / "run", "--prompt", "My lord", "--max-tokens", 4)
    assert code == 0 and out.startswith("My lord")
    assert load_tokenizer(tmp_path / "run").digest() == load_tokenizer(tmp_path / "w").digest()


# -- bad input


@pytest.mark.parametrize("call, message", [
    (lambda: WordPieceTokenizer.train("abc", 5), "vocab_size 5 is below 8: .*3 characters"),
    (lambda: WordPieceTokenizer.train("abc", 9.0), "not an integer"),
    (lambda: WordPieceTokenizer.train("", 300), "no words"),
    (lambda: WordPieceTokenizer.train([b"abc"], 300), "got bytes"),
    (lambda: WordPieceTokenizer.train_file("nowhere.txt", 300), "does not exist"),
    (lambda: WordPieceTokenizer(["a"]), r"no \[UNK\]"),
    (lambda: WordPieceTokenizer(["[UNK]", "a", "a"]), "twice"),
    (lambda: WordPieceTokenizer({"[UNK]": 0, "a": 0}), "twice"),
    (lambda: WordPieceTokenizer({"[UNK]": 0, "a": 2**40}), "out of range"),
    (lambda: WordPieceTokenizer(["[UNK]"]).encode_inputs("a"), r"has no \[CLS\]"),
    (lambda: WordPieceTokenizer(VOCAB).encode("a\ud800"), r"U\+D800 at character 1"),
    (lambda: WordPieceTokenizer(VOCAB).encode_inputs("a", b"b"), "got bytes"),
    (lambda: WordPieceTokenizer(VOCAB).encode("a", ["<x>"]), "not a special token"),
    (lambda: WordPieceTokenizer(VOCAB).decode([99]), "99 is out of range.*0 to 18"),
    (lambda: WordPieceTokenizer.load("no/such/directory"), "does not exist"),
    (lambda: WordPieceTokenizer.load("."), "holds no WordPiece tokenizer"),
])  # fmt: skip
def test_bad_input_is_refused_with_what_was_given(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_saved_vocabulary_is_a_token_a_line_in_order_of_ids(tmp_path):
    WordPieceTokenizer(VOCAB).save(tmp_path)
    assert (tmp_path / "vocab.txt").read_text(encoding="utf-8").split("\n") == [*VOCAB, ""]
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["mask_token"] == "[MASK]"
