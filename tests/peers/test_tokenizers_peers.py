"""The tokenizer beside tiktoken, Hugging Face tokenizers and transformers: the same files, the same ids."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scratchgpt.tokenizers import BPETokenizer
from scratchgpt.tokenizers.bench import as_tiktoken

pytestmark = pytest.mark.peer
SHARED = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"
HARD = [
    "👩‍👩‍👧‍👦🏳️‍🌈 flags 🇩🇪🇫🇷!",
    "e\u0301a\u0308\u0332 n\u0303",
    "汉字仮名交じり文、한국어 텍스트。",
    "\0\x01\x1b[0m\x7f\x85\u200b\ufeff\ufffe",
    " \t\n\r\n\x0b\x0c \u00a0\u3000\u2028 x   \n\n\n   ",
    "don't we'll I'M 'tis ''s 'r 're",
    "x" * 3000,
    "".join(random.Random(0).choices("abcdefgh", k=3000)),
    "١٢٣ ½ Ⅷ ²³ 1234567890",
    "مرحبا بالعالم नमस्ते दुनिया สวัสดี",
    "\U0010ffff\U000e0001\ud7ff\ue000",
]
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(HARD), max_size=3).map("".join),
                  st.text("a b\n\t'sllré1!\u3000", max_size=60))  # fmt: skip


@pytest.fixture(scope="module")
def gpt2():
    if not (SHARED / "gpt2_encoder.json").exists():
        pytest.skip("GPT-2's encoder.json and vocab.bpe are not here; they are not shipped")
    return BPETokenizer.from_files(SHARED / "gpt2_encoder.json", SHARED / "gpt2_vocab.bpe")


@pytest.fixture(scope="module")
def trained():
    rng = random.Random(0)
    words = ["the", "cat", "don't", "sat", "\n\n", "  ", "12", "é", "日本語", "...", "<|endoftext|>", "mat", "lowest"]
    return BPETokenizer.train(" ".join(rng.choices(words, k=5000)), 310, ["<|endoftext|>", "<|pad|>"])


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    trained.save(directory)
    (directory / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": trained.vocab_size}))
    return directory


@pytest.fixture(scope="module")
def tiktoken_gpt2(gpt2):
    pytest.importorskip("tiktoken")
    return as_tiktoken(gpt2)


def test_gpt2_files_give_50257_ids_as_in_the_files(gpt2):
    assert gpt2.vocab_size == 50257 and gpt2.special_tokens == {"<|endoftext|>": 50256}
    assert gpt2.encode("Hello world") == [15496, 995]  # as OpenAI's encoder.py gives


@settings(max_examples=500)
@given(texts)
@example("\n".join(HARD))
def test_gpt2_ids_equal_tiktoken(gpt2, tiktoken_gpt2, text):
    assert gpt2.encode(text) == tiktoken_gpt2.encode_ordinary(text)


def test_gpt2_ids_equal_tiktoken_around_every_character(gpt2, tiktoken_gpt2):
    characters = [chr(n) for n in range(0x110000) if not 0xD800 <= n < 0xE000 and n % 17 == 0]
    for start in range(0, len(characters), 5000):
        text = "".join(f"a{c}a1{c}1!{c}! {c}" for c in characters[start : start + 5000])
        assert gpt2.encode(text) == tiktoken_gpt2.encode_ordinary(text)


def test_a_hundred_kilobytes_without_a_space_equal_tiktoken(gpt2, tiktoken_gpt2):
    for text in ("a" * 100_000, "".join(random.Random(1).choices("abcdefgh", k=100_000)), " " * 100_000):
        assert gpt2.encode(text) == tiktoken_gpt2.encode_ordinary(text)


def test_gpt2_special_tokens_equal_tiktoken(gpt2, tiktoken_gpt2):
    text = "a <|endoftext|>  <|endoftext|>b<|endoftext"
    assert gpt2.encode(text, "all") == tiktoken_gpt2.encode(text, allowed_special="all")
    assert gpt2.encode(text) == tiktoken_gpt2.encode(text, disallowed_special=())


def test_every_gpt2_token_is_what_its_own_bytes_merge_into(gpt2):
    ordinary = [(i, token) for i, token in gpt2.vocab.items() if i != 50256]
    assert all(gpt2._encoder.merge(token) == [i] for i, token in ordinary)


@given(texts)
def test_saved_tokenizer_json_gives_equal_ids_in_tokenizers(trained, saved, text):
    peer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(saved / "tokenizer.json"))
    text += "<|endoftext|>" + text[:3] + "<|pad|>"
    ids = trained.encode(text, "all")
    assert peer.encode(text).ids == ids
    assert peer.decode(ids, skip_special_tokens=False) == trained.decode(ids)


def test_saved_directory_opens_in_transformers_and_comes_back_equal(trained, saved, tmp_path):
    peer = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(saved)
    assert len(peer) == trained.vocab_size and peer.eos_token == "<|endoftext|>"
    for text in HARD:
        assert peer(text + "<|endoftext|>")["input_ids"] == trained.encode(text + "<|endoftext|>", "all")
    peer.save_pretrained(tmp_path)
    assert BPETokenizer.load(tmp_path).digest() == trained.digest()


def test_tokenizer_trained_by_tokenizers_loads_with_equal_ids(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    peer = tokenizers.Tokenizer(tokenizers.models.BPE())
    peer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    peer.train_from_iterator(["the cat sat on the mat, don't we? " * 20, *HARD], trainer)
    peer.save(str(tmp_path / "tokenizer.json"))
    ours = BPETokenizer.load(tmp_path)
    for text in HARD:
        assert ours.encode(text, "all") == peer.encode(text).ids
