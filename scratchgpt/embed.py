"""`scratchgpt embed`: sentences and words as vectors of a pretrained encoder or a word2vec, and how alike they are.

>>> vectors = sentence_vectors(model, tokenizer, ["a dog", "a puppy"])  # doctest: +SKIP
>>> vectors @ vectors.T                                                  # doctest: +SKIP
"""

import re
from itertools import combinations

import numpy as np

from scratchgpt import interop
from scratchgpt.backend import to_host
from scratchgpt.errors import InputError
from scratchgpt.models.bert import BERT
from scratchgpt.models.word2vec import Word2Vec
from scratchgpt.neighbours import show, unit
from scratchgpt.objectives.rows import Vocabulary, pack, pad_rows
from scratchgpt.progress import print_table
from scratchgpt.tokenizers import WordPieceTokenizer

ROWS = 32  # texts that are run at once
SHOWN = 60  # characters of a text in a table


def add_arguments(parser):
    parser.add_argument("directory", metavar="DIR", help="a Hugging Face BERT or RoBERTa, all-MiniLM-L6-v2 for one; or "
                        "the run of a word2vec")  # fmt: skip
    parser.add_argument("--text", action="append", metavar="TEXT", help="a text; give it twice or more")
    parser.add_argument("--word", metavar="WORD", help="a word of all the texts: how alike its vectors are, block by "
                        "block, from one for all texts to one for each; of a word2vec: its neighbours")  # fmt: skip
    parser.add_argument("--analogy", nargs=3, metavar=("A", "B", "C"), help="of a word2vec: the D for which A is to B "
                        "as C is to D, such as --analogy man king woman")  # fmt: skip
    parser.add_argument("--analogies", metavar="FILE", help="of a word2vec: the share of a file of analogies that it "
                        "answers right; lines of four words, as in questions-words.txt")  # fmt: skip
    parser.add_argument("--vectors", metavar="FILE", help="of a word2vec: write all its vectors in word2vec's text "
                        "format, for gensim and spaCy")  # fmt: skip
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")


def main(args):
    asked = [name for name in ("word", "analogy", "analogies", "vectors") if getattr(args, name) is not None]
    model, tokenizer = load_encoder(args.directory, args.device)
    if isinstance(model, Word2Vec):
        if args.text or len(asked) != 1:
            raise InputError(f"{args.directory} holds a Word2Vec, which has one vector for each word; give one of "
                             "--word, --analogy, --analogies, --vectors, and no --text")  # fmt: skip
        show(args, model, tokenizer)
        return
    if asked and asked != ["word"]:
        raise InputError(f"--{asked[-1]} is for a word2vec; {args.directory} holds a {type(model).__name__}")
    if len(args.text or ()) < 2:
        raise InputError(f"there is {'one' if args.text else 'no'} --text; give two or more to compare")
    if args.word is not None:
        show_word(args.word, word_vectors(model, tokenizer, args.text, args.word), args.text)
        return
    vectors = sentence_vectors(model, tokenizer, args.text)
    rows = [(named(number, text), *(f"{x:.3f}" for x in row))
            for number, (text, row) in enumerate(zip(args.text, vectors @ vectors.T), 1)]  # fmt: skip
    columns = ("", *map(str, range(1, len(rows) + 1)))
    print_table("cosine similarity of the texts' vectors, each the mean over its tokens", rows, columns)


def show_word(word, layers, texts):
    """A row for each block: the cosines of the word's vectors in each two of the texts."""
    for number, text in enumerate(texts, 1):
        print(named(number, text))
    pairs = list(combinations(range(len(texts)), 2))
    rows = []
    for number, vectors in enumerate(layers):
        cosines = vectors @ vectors.T
        name = ("token alone", "and position")[number] if number < 2 else f"block {number - 1}"
        rows.append((name, *(f"{cosines[pair]:.3f}" for pair in pairs)))
    print_table(f"\ncosine similarity of {word!r} in two texts, block by block", rows,
                ("", *(f"{a + 1} and {b + 1}" for a, b in pairs)))  # fmt: skip


def named(number, text):
    return f"{number}  {text if len(text) <= SHOWN else text[: SHOWN - 1] + '…'}"


def load_encoder(directory, device="cpu"):
    """(model, tokenizer) of a directory: a BERT, of a finetuned model what is under its head, or a Word2Vec. Raises
    InputError when the directory holds another kind of model."""
    model = interop.load(directory, device=device)
    model = getattr(model, "backbone", model)
    if not isinstance(model, BERT | Word2Vec):
        raise InputError(f"{directory} holds a {type(model).__name__}; expected an encoder, a BERT or a RoBERTa, or a "
                         "word2vec")  # fmt: skip
    return model, interop.load_tokenizer(directory)


def sentence_vectors(model, tokenizer, texts):
    """(N, C): for each text the mean of its tokens' last vectors, [CLS] and [SEP] among them, scaled to length 1
    (Reimers & Gurevych 2019, section 3), as all-MiniLM-L6-v2 was trained.

    Raises InputError for an empty text, and for one longer than the model's positions.
    """
    vectors = []
    for start in range(0, len(texts), ROWS):
        ids, mask = read_texts(model, tokenizer, texts[start : start + ROWS], start)
        last = to_host(model.hidden(*model.read_inputs({"input_ids": ids, "attention_mask": mask}))[0])  # (n, T, C)
        counted = mask[..., None].astype(last.dtype)
        vectors.append(unit((last * counted).sum(1)))  # of length 1, a sum is a mean
    return np.concatenate(vectors)


def word_vectors(model, tokenizer, texts, word):
    """[(N, C)]: a word's vector in each text, scaled to length 1: the row of the embedding table, then what the first
    block reads, then what each block makes of it; the mean over its pieces where it has several. In each text the
    word's first place counts. Raises InputError when a text does not have the word."""
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise InputError("--word needs to know where in a text a token is, which only WordPiece tokenizers say here")
    ids, mask = read_texts(model, tokenizer, texts)
    pieces = np.zeros(ids.shape, bool)
    for row, text in enumerate(texts):
        found = re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) if word else None
        if found is None:
            raise InputError(f"text {row + 1} does not have the word {word!r}: {text[:SHOWN]!r}")
        offsets = tokenizer.encode_inputs(text).offsets
        pieces[row, : len(offsets)] = [start < found.end() and end > found.start() for start, end in offsets]
    layers = model.layers({"input_ids": ids, "attention_mask": mask})
    table = to_host(model.params["wte"])[ids]  # (N, T, C)
    return [unit((to_host(layer) * pieces[..., None]).sum(1)) for layer in (table, *layers)]


def read_texts(model, tokenizer, texts, first=0):
    """(ids (n, T), mask (n, T) bool) of texts, each between [CLS] and [SEP]; first: the number of the first of them."""
    vocabulary, rows = Vocabulary.of(tokenizer), []
    for number, text in enumerate(texts, first + 1):
        ids = tokenizer.encode_array(text)
        if not len(ids):
            raise InputError(f"text {number} is empty; a vector is made of tokens")
        if len(ids) + 2 > model.config.n_ctx:
            raise InputError(f"text {number} has {len(ids) + 2} tokens; this model has {model.config.n_ctx} positions: "
                             "shorten it")  # fmt: skip
        rows.append(pack(ids, None, vocabulary, model.config.n_ctx)[0])
    ids, mask = pad_rows(rows, model.config.pad_id)
    return ids, mask != 0
