"""The files of byte-level BPE tokenizers: GPT-2's vocab.json + merges.txt, and Hugging Face's tokenizer.json.

Both write a token's bytes as printable characters, one per byte: bytes that Latin-1 prints stand for themselves, the
other 68 become U+0100 to U+0143, so that a space is written \u0120 (Radford et al. 2019, encoder.py).
"""

import json
from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.files import read_json, write_text

_printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_other = [byte for byte in range(256) if byte not in _printable]
CHARACTER = {byte: chr(byte) for byte in _printable} | {byte: chr(256 + n) for n, byte in enumerate(_other)}
BYTE = {character: byte for byte, character in CHARACTER.items()}
END_OF_TEXT = "<|endoftext|>"
ROLES = {  # what Hugging Face calls the special tokens of GPT-2, which has one for three, and of RoBERTa and T5
    END_OF_TEXT: ("bos_token", "eos_token", "unk_token"),
    "<s>": ("bos_token", "cls_token"),
    "</s>": ("eos_token", "sep_token"),
    "<pad>": ("pad_token",),
    "<mask>": ("mask_token",),
}
NAMES = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]  # the second pair: as OpenAI released GPT-2


def to_characters(token):
    """b" the" -> "\u0120the"."""
    return "".join(map(CHARACTER.__getitem__, token))


def to_bytes(written):
    """ "\u0120the" -> b" the"; None when a character stands for no byte."""
    try:
        return bytes(map(BYTE.__getitem__, written))
    except KeyError:
        return None


def read(path):
    """Reads a directory, or a tokenizer.json: ({bytes: id}, [(bytes, bytes)], {special token: id}).

    Raises InputError, naming the file, when a file is missing, malformed or another kind of tokenizer.
    """
    path = Path(path)
    if path.is_file():
        return read_tokenizer_json(path)
    if (path / "tokenizer.json").is_file():
        return read_tokenizer_json(path / "tokenizer.json")
    for vocab, merges in NAMES:
        if (path / vocab).is_file():
            return read_vocab_and_merges(path / vocab, path / merges)
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a directory that holds a tokenizer")
    raise InputError(f"{path} holds no tokenizer; expected tokenizer.json, or vocab.json with merges.txt")


def read_vocab_and_merges(vocab_path, merges_path):
    """Reads vocab.json and merges.txt. Tokens that are neither a byte nor made by a merge are the special tokens."""
    written = checked_ids(read_json(vocab_path), vocab_path)
    lines = read_lines(merges_path)
    first = 1 if lines and lines[0].startswith("#version") else 0
    merges = [_merge(line, f"{merges_path}, line {n}") for n, line in enumerate(lines[first:], first + 1) if line]
    made = {left + right for left, right in merges} | {bytes([byte]) for byte in range(256)}
    vocab, specials = {}, {}
    for token, number in written.items():
        if to_bytes(token) in made:
            vocab[to_bytes(token)] = number
        else:
            specials[token] = number
    return vocab, merges, specials


def read_tokenizer_json(path):
    """Reads the tokenizer.json of a byte-level BPE tokenizer with GPT-2's split."""
    data = read_json(path)
    model = data.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or "merges" not in model:
        kind = model.get("type") if isinstance(model, dict) else None
        raise InputError(f"{path}: its model is {kind}; expected byte-level BPE, as GPT-2's")
    _check_gpt2_rules(data, model, path)
    written = checked_ids(model.get("vocab"), path)
    if not isinstance(model["merges"], list):
        raise InputError(f"{path}: its merges are not a list")
    merges = [_merge(merge, f"{path}, merge {n}") for n, merge in enumerate(model["merges"])]
    specials = added_tokens(data, path)
    vocab = {}
    for token, number in written.items():
        if token not in specials:
            if to_bytes(token) is None:
                raise InputError(f"{path}: token {token!r} has characters that stand for no byte; not byte-level BPE")
            vocab[to_bytes(token)] = number
    return vocab, merges, specials


def _check_gpt2_rules(data, model, path):
    """Refuses what would change ids in ways that this tokenizer does not follow."""
    split = data.get("pre_tokenizer")
    expected = isinstance(split, dict) and split.get("type") == "ByteLevel" and split.get("use_regex", True)
    if not expected or split.get("add_prefix_space", True):
        raise InputError(f"{path}: its pre_tokenizer is not GPT-2's: expected ByteLevel with add_prefix_space false")
    if data.get("normalizer") is not None:
        raise InputError(f"{path}: it has a normalizer; expected none, as in GPT-2")
    for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges"):
        if model.get(option):
            raise InputError(f"{path}: its model sets {option} to {model[option]!r}; expected none, as in GPT-2")


def added_tokens(data, path):
    specials, added = {}, data.get("added_tokens") or []
    if not isinstance(added, list):
        raise InputError(f"{path}: its added_tokens are not a list")
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise InputError(f"{path}: an added token lacks its content")
        for option in ("single_word", "lstrip", "rstrip"):
            if token.get(option):
                raise InputError(f"{path}: added token {token['content']!r} sets {option}; expected it to be false")
        specials[token["content"]] = token.get("id")
    return checked_ids(specials, path)


def checked_ids(table, path):
    if not isinstance(table, dict) or not all(type(number) is int for number in table.values()):
        raise InputError(f'{path}: expected a table {{"token": id}} with integer ids')
    return table


def _merge(merge, where):
    """ "\u0120 t" or ["\u0120", "t"] -> (b" ", b"t")."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
        raise InputError(f"{where}: expected two tokens with a space between, got {merge!r:.80}")
    pair = tuple(map(to_bytes, parts))
    if None in pair:
        raise InputError(f"{where}: {merge!r:.80} has characters that stand for no byte; is it byte-level BPE?")
    return pair


def read_lines(path):
    try:
        return Path(path).read_bytes().decode("utf-8").replace("\r\n", "\n").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it belongs to the vocabulary beside it") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def write(directory, vocab, merges, specials):
    """Writes the files of both formats, each whole or not at all. Arguments as `read` returns them."""
    directory = make_directory(directory)
    ordinary = {to_characters(token): number for token, number in vocab.items()}
    everything = dict(sorted((ordinary | specials).items(), key=lambda item: item[1]))
    pairs = [f"{to_characters(left)} {to_characters(right)}" for left, right in merges]
    named = {name: token for token, names in ROLES.items() if token in specials for name in names}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False,
              "clean_up_tokenization_spaces": False} | named  # fmt: skip
    write_json(directory / "vocab.json", everything)
    write_text(directory / "merges.txt", "\n".join(["#version: 0.2", *pairs, ""]))
    write_json(directory / "special_tokens_map.json", named)
    write_json(directory / "tokenizer_config.json", config)
    write_json(directory / "tokenizer.json", _tokenizer_json(everything, pairs, specials))


def make_directory(directory):
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{directory} is a file; give the name of a directory for the tokenizer") from None
    return directory


def write_json(path, value):
    write_text(path, json.dumps(value, ensure_ascii=False, indent=None if path.name == "vocab.json" else 1) + "\n")


def _tokenizer_json(vocab, pairs, specials):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": as_added_tokens(specials),
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level | {"trim_offsets": False},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": pairs,
        },
    }


def as_added_tokens(specials):
    """{token: id} as tokenizer.json lists special tokens: found in the text as it is written, whatever is around."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    in_order = sorted(specials.items(), key=lambda item: item[1])
    return [{"id": number, "content": token} | plain for token, number in in_order]
