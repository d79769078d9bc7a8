"""WordPiece beside Hugging Face's BERT tokenizers: the same files, the same ids, offsets and type ids.

transformers 5 has two: BertTokenizer, which is the fast one, and the former slow one, kept as BertTokenizerLegacy. The
fast one is the truth; where the slow one differs by its own rules, a test says so.
"""

import itertools
import json
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scratchgpt.tokenizers import WordPieceTokenizer
from scratchgpt.tokenizers.basic import BasicTokenizer
from scratchgpt.tokenizers.likelihood import PREFIX
from scratchgpt.tokenizers.wordpiece_formats import SPECIAL_TOKENS

pytestmark = pytest.mark.peer
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
SHARED = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"
HARD = [
    "👩‍👩‍👧‍👦🏳️‍🌈 flags 🇩🇪🇫🇷!",
    "e\u0301a\u0308\u0332 n\u0303 \u0301\u0302 x\u0301\u0302\u0303y ﬁ ½",
    "汉字仮名交じり文、한국어 텍스트。\U00020000\U0002b820\U0002b920豈\U0002f800",
    "\0\x01\x1b[0m\x7f\x85\u200b\ufeff\ufffe\ufffd\u200d\xad",
    " \t\n\r\n\x0b\x0c\x1c\x1d\x1e\x1f \u00a0\u3000\u2028\u2029\u1680 x   \n\n\n   ",
    "don't we'll I'M 'tis ''s 'r 're U.S.A. -- 3.14 a_b $5 C++ ^x` |~ <=> «» „“ ‽ … ؟ 、。",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101 + " " + "é" * 101,
    "".join(random.Random(0).choices("abcdefgh", k=3000)),
    "١٢٣ ½ Ⅷ ²³ 1234567890 İstanbul ΣΊΣΥΦΟΣ ǅ ß ẞ Ω K \u037e \u1fef",
    "مرحبا بالعالم नमस्ते दुनिया สวัสดี",
    "\U0010ffff\U000e0001\ud7ff\ue000\U0001e94a\u1734\u166d",
    "[CLS] [MASK] [mask] [ MASK ] [UNK][SEP]x[PAD]",
]
WORDS = [
    "the",
    "cat",
    "played",
    "unaffable",
    "playing",
    "don't",
    "Été",
    "größer",
    "日本語",
    "12",
    "...",
    "[MASK]",
    "Ab",
]
texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(HARD + WORDS), max_size=4).map(" ".join),
                  st.text("aAéE\u0301\u0308 .,'\n\0\u200b日İß한", max_size=40))  # fmt: skip
OPTIONS = [dict(zip(("lowercase", "strip_accents", "split_cjk"), values, strict=True))
           for values in itertools.product((True, False), (None, True, False), (True, False))]  # fmt: skip


def assigned(text):
    """Python's Unicode may be older than the peer's, which then knows the case of letters that Python does not."""
    return all(unicodedata.category(character) != "Cn" for character in text)


@pytest.fixture(scope="module")
def vocab():
    """Every character of the texts above, and pieces of their words."""
    rng = random.Random(0)
    words = [word for text in [*HARD, *WORDS] for split in (True, False) for word in BasicTokenizer(split).words(text)]
    words = [word for word in words if word not in "[]"]
    pieces = set("".join(words)) | {PREFIX + character for character in "".join(words)}
    for word in words * 4:
        start, end = sorted(rng.sample(range(len(word) + 1), 2))
        pieces.add((PREFIX if start else "") + word[start:end])
    spared = rng.sample(sorted(pieces), len(pieces) // 20)  # so that some words cannot be spelled
    return [*SPECIAL_TOKENS, *sorted(pieces - set(spared))]


@pytest.fixture(scope="module", params=OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def both(request, vocab, tmp_path_factory):
    """(ours, the fast tokenizer that opens what ours saved), under every combination of the options."""
    ours = WordPieceTokenizer(vocab, **request.param)
    directory = tmp_path_factory.mktemp("saved")
    ours.save(directory)
    peer = transformers.AutoTokenizer.from_pretrained(directory)
    # It makes its rules from tokenizer_config.json; `tokenizers` reads those of tokenizer.json: they must be the same.
    alone = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert json.loads(alone.to_str()) == json.loads(peer.backend_tokenizer.to_str())
    return ours, peer


def assert_equal(ours, peer, text, pair):
    encoding = ours.encode_inputs(text, pair, "all")
    if pair == "":  # transformers takes it for no second text; the tokenizer behind it does not
        peer = peer.backend_tokenizer.encode(text, pair)
        expected = {"input_ids": peer.ids, "token_type_ids": peer.type_ids, "offset_mapping": peer.offsets}
    else:
        expected = peer(text, pair, return_offsets_mapping=True)
        assert ours.encode(text, "all") == peer(text, add_special_tokens=False)["input_ids"]
    assert encoding.ids == expected["input_ids"]
    assert encoding.type_ids == expected["token_type_ids"]
    assert encoding.offsets == expected["offset_mapping"]


@settings(max_examples=60)
@given(texts.filter(assigned), st.none() | texts.filter(assigned))
@example("\n".join(HARD), " ".join(WORDS))
@example("", "")
@example("\u0301", None)
def test_ids_offsets_and_type_ids_equal_the_fast_tokenizer(both, text, pair):
    assert_equal(*both, text, pair)


@given(texts.filter(assigned))
@example("[MASK] [CLS]")
def test_special_tokens_in_a_text_are_ordinary_unless_allowed(both, text):
    ours, peer = both
    expected = peer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert ours.encode(text) == expected


def test_every_assigned_character_becomes_the_same_words(vocab):
    peer = transformers.BertTokenizer(vocab=dict(zip(vocab, range(len(vocab)), strict=True))).backend_tokenizer
    basic = BasicTokenizer()
    characters = [chr(n) for n in range(0x110000) if not 0xD800 <= n < 0xE000 and assigned(chr(n))]
    for start in range(0, len(characters), 1000):
        text = " ".join(f"a{character}b" for character in characters[start : start + 1000])
        normal = peer.normalizer.normalize_str(text)
        assert basic.words(text) == [word for word, _ in peer.pre_tokenizer.pre_tokenize_str(normal)]


@given(texts.filter(assigned))
def test_the_slow_tokenizer_agrees_on_composed_text(vocab, tmp_path_factory, text):
    """It composes accents first (NFC), ends a word in final sigma, and uses the tables of this Python."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    slow = BertTokenizerLegacy(str(path))
    text = "".join(c for c in unicodedata.normalize("NFC", text) if BasicTokenizer().words(c) == slow_words(slow, c))
    text = text.replace("Σ", "").replace("[", "")
    assert WordPieceTokenizer(vocab).encode_inputs(text, "the cat").ids == slow(text, "the cat")["input_ids"]


def slow_words(slow, character):
    return slow.basic_tokenizer.tokenize(character)


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]])
def test_decoding_equals_the_fast_tokenizer(vocab, options):
    peer = tokenizers.Tokenizer(tokenizers.models.WordPiece({token: n for n, token in enumerate(vocab)}))
    peer.decoder = tokenizers.decoders.WordPiece()
    ours = WordPieceTokenizer(vocab, **options)
    rng = random.Random(0)
    for n in range(300):
        ids = rng.choices(range(len(vocab)), k=n % 12)
        assert ours.decode(ids) == peer.decode(ids, skip_special_tokens=False)


def test_a_vocabulary_alone_opens_in_transformers_with_equal_ids(vocab, tmp_path):
    ours = WordPieceTokenizer(vocab, lowercase=False)
    ours.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    peer = transformers.BertTokenizer.from_pretrained(tmp_path)
    again = WordPieceTokenizer.load(tmp_path)
    assert again.digest() == ours.digest()
    for text in HARD:
        assert_equal(again, peer, text, None)


def test_a_directory_that_transformers_saved_loads_equal(both, tmp_path):
    ours, peer = both
    peer.save_pretrained(tmp_path)
    assert WordPieceTokenizer.load(tmp_path).digest() == ours.digest()


def test_a_tokenizer_trained_by_tokenizers_loads_with_equal_ids(tmp_path):
    peer = tokenizers.BertWordPieceTokenizer()
    peer.train_from_iterator(["the cat sat on the mat, don't we? " * 20, *HARD], vocab_size=400, show_progress=False)
    peer.save(str(tmp_path / "tokenizer.json"))
    ours = WordPieceTokenizer.load(tmp_path)
    for text in HARD:
        assert ours.encode(text, "all") == peer.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def real():
    if not (SHARED / "bert_uncased_tokenizer.json").exists():
        pytest.skip("BERT's vocabulary is not here; it is not shipped")
    ours = WordPieceTokenizer.load(SHARED / "bert_uncased_tokenizer.json")
    assert ours.vocab == WordPieceTokenizer.load(SHARED / "bert_uncased_vocab.txt").vocab
    peer = transformers.BertTokenizer.from_pretrained(SHARED, vocab_file=str(SHARED / "bert_uncased_vocab.txt"))
    return ours, peer


def test_bert_uncased_gives_known_ids(real):
    ours, _ = real
    assert ours.vocab_size == 30522 and ours.special_tokens["[MASK]"] == 103
    assert ours.tokens(ours.encode("taaaaasty unaffable")) == ["ta", "##aa", "##aa", "##sty", "una", "##ffa", "##ble"]


@given(texts.filter(assigned), st.none() | texts.filter(assigned))
@example("\n".join(HARD), " ".join(WORDS))
def test_bert_uncased_equals_the_fast_tokenizer(real, text, pair):
    assert_equal(*real, text, pair)


def test_bert_uncased_equals_the_fast_tokenizer_on_a_corpus(real):
    from scratchgpt.data import load_text

    ours, peer = real
    text = load_text("plays")[:200_000]
    assert_equal(ours, peer, text, None)
