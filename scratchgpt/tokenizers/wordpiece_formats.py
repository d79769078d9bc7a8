"""The files of WordPiece tokenizers: BERT's vocab.txt, and Hugging Face's tokenizer.json with tokenizer_config.json."""

from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.files import read_json, write_text
from scratchgpt.tokenizers import formats
from scratchgpt.tokenizers.likelihood import PREFIX

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# ours -> as BertNormalizer calls it in tokenizer.json, and transformers in tokenizer_config.json
OPTIONS = {
    "lowercase": ("lowercase", "do_lower_case", True),
    "strip_accents": ("strip_accents", "strip_accents", None),
    "split_cjk": ("handle_chinese_chars", "tokenize_chinese_chars", True),
}
MODEL = {"unk_token": UNK, "continuing_subword_prefix": PREFIX, "max_input_chars_per_word": 100}


def read(path):
    """Reads a directory, a tokenizer.json or a vocab.txt: ({token: id}, options, {special token: id} or None).

    Raises InputError, naming the file, when a file is missing, malformed or another kind of tokenizer.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
        if not found:
            raise InputError(f"{path} holds no WordPiece tokenizer; expected tokenizer.json or vocab.txt")
        path = found[0]
    elif not path.exists():
        raise InputError(f"{path} does not exist; expected a directory that holds a tokenizer")
    return read_tokenizer_json(path) if path.suffix == ".json" else read_vocab(path)


def read_vocab(path):
    """Reads vocab.txt, a token a line, with the options that a tokenizer_config.json beside it states."""
    lines = formats.read_lines(path)
    tokens = lines[:-1] if lines[-1] == "" else lines
    vocab = {token: number for number, token in enumerate(tokens)}
    if len(vocab) < len(tokens):
        number = next(n for n, token in enumerate(tokens) if vocab[token] != n)
        raise InputError(f"{path}, line {number + 1}: token {tokens[number]!r} is there twice; expected each once")
    config = Path(path).with_name("tokenizer_config.json")
    values = read_json(config) if config.is_file() else {}
    return vocab, _options(values, 1, config), None


def read_tokenizer_json(path):
    """Reads the tokenizer.json of a WordPiece tokenizer with BERT's basic tokenization; what it says of truncation and
    padding is left to whoever makes batches."""
    data = read_json(path)
    model, normalizer, split = (_table(data, key) for key in ("model", "normalizer", "pre_tokenizer"))
    if model.get("type", "WordPiece") != "WordPiece" or "merges" in model:
        raise InputError(f"{path}: its model is {model.get('type')}; expected WordPiece, as BERT's")
    if split.get("type") != "BertPreTokenizer" or normalizer.get("type") != "BertNormalizer":
        raise InputError(f"{path}: its normalizer and pre_tokenizer are {normalizer.get('type')} and "
                         f"{split.get('type')}; expected BertNormalizer and BertPreTokenizer")  # fmt: skip
    if normalizer.get("clean_text") is not True:
        raise InputError(f"{path}: its normalizer does not clean the text; expected clean_text true, as in BERT")
    for option, expected in MODEL.items():
        if model.get(option, expected) != expected:
            raise InputError(f"{path}: its model sets {option} to {model[option]!r}; expected {expected!r}, as in BERT")
    return (
        formats.checked_ids(model.get("vocab"), path),
        _options(normalizer, 0, path),
        formats.added_tokens(data, path),
    )


def _table(data, key):
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _options(values, column, path):
    options = {name: values.get(names[column], names[2]) for name, names in OPTIONS.items()}
    for name, value in options.items():
        if not isinstance(value, bool) and not (name == "strip_accents" and value is None):
            raise InputError(f"{path}: {OPTIONS[name][column]} is {value!r}; expected true or false")
    return options


def write(directory, vocab, options, specials):
    """Writes the files of both formats, each whole or not at all. Arguments as `read` returns them."""
    directory = formats.make_directory(directory)
    vocab = dict(sorted(vocab.items(), key=lambda item: item[1]))
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS if token in specials}
    config = {"tokenizer_class": "BertTokenizer"} | {OPTIONS[name][1]: value for name, value in options.items()} | names
    if list(vocab.values()) == list(range(len(vocab))):  # a line's number is its id
        write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in vocab))
    formats.write_json(directory / "tokenizer_config.json", config)
    formats.write_json(directory / "tokenizer.json", _tokenizer_json(vocab, options, specials))


def _tokenizer_json(vocab, options, specials):
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": formats.as_added_tokens(specials),
        "normalizer": {"type": "BertNormalizer", "clean_text": True}
        | {OPTIONS[name][0]: value for name, value in options.items()},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(specials) if CLS in specials and SEP in specials else None,
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": True},
        "model": {"type": "WordPiece", **MODEL, "vocab": vocab},
    }


def _template(specials):
    """[CLS] A [SEP] B [SEP], with the type ids 0 0 0 1 1."""

    def special(token, kind):
        return {"SpecialToken": {"id": token, "type_id": kind}}

    single = [special(CLS, 0), {"Sequence": {"id": "A", "type_id": 0}}, special(SEP, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}, special(SEP, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [specials[token]], "tokens": [token]} for token in (CLS, SEP)
        },
    }  # fmt: skip
