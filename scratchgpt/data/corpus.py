"""Where text comes from: the embedded corpora and files, and what of them is held out."""

import io
import math
import re
from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.tokenizers.split import decoded

EMBEDDED = {  # name -> file beside this one; the COPYING and LICENSE files there state the licences
    "plays": "shakespeare_plays.txt",  # nine of Shakespeare's
    "addresses": "sotu_1990_2019.txt",  # State of the Union addresses, 32 documents of prose
}
HELD_OUT = 0.1  # the share of a text's bytes, at its end, that is never trained on


def path_of(source):
    """The file of an embedded corpus ("plays", "addresses"), or the path given. Raises InputError for an empty name."""
    if not str(source):
        raise InputError(f"the data file's name is empty; give a path, or one of: {', '.join(EMBEDDED)}")
    return Path(__file__).parent / EMBEDDED[source] if source in EMBEDDED else Path(source)


def load_text(source):
    """The text of an embedded corpus ("plays") or of a UTF-8 file, line ends as they are.

    Raises InputError when the file is missing, empty, binary (it holds a NUL) or not UTF-8, with the byte's offset.
    """
    try:
        content = path_of(source).read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"data file {source} does not exist; give a UTF-8 text file, or one of: {', '.join(EMBEDDED)}"
        ) from None
    except IsADirectoryError:
        raise InputError(f"data file {source} is a directory; give a UTF-8 text file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"data file {source!r} cannot be read: {getattr(error, 'strerror', error)}") from None
    return decode_text(content, source)


def decode_text(content, source):
    """Bytes as text. Raises InputError, naming `source`, when they are empty, binary or not UTF-8."""
    return "".join(decoded(io.BytesIO(content), f"data file {source}"))


def split_text(text):
    """(training text, validation text): the last tenth of the bytes is held out, cut after the nearest line end before.

    Where no line ends before that, the cut falls between two characters. Their concatenation is the text.
    """
    content = text.encode("utf-8")
    cut = len(content) - math.ceil(len(content) * HELD_OUT)
    line_end = content.rfind(b"\n", 0, cut)
    if line_end >= 0:
        cut = line_end + 1
    while cut < len(content) and content[cut] & 0xC0 == 0x80:  # a continuation byte: inside a character
        cut -= 1
    return content[:cut].decode("utf-8"), content[cut:].decode("utf-8")


# ---- documents and their sentences

BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
LONG_LINE = 200  # characters; a longer line is a paragraph, which is divided, a shorter one is a sentence
SENTENCE_END = re.compile(r"""[.!?]+["'”’)\]]*(?=\s+["'“‘(\[]*[A-Z0-9])""")
ABBREVIATED = {  # what a full stop follows that ends no sentence; so does a single capital letter
    "Mr", "Mrs", "Ms", "Dr", "Messrs", "St", "Gen", "Sen", "Rep", "Gov", "Col", "Capt", "Lt", "Sgt", "Rev", "Jr", "Sr",
    "vs", "cf", "Prof",
}  # fmt: skip


def split_documents(text):
    """(training text, validation text) as split_text, but cut between two documents, at the last place before the last
    tenth where a document ends, and before the last two of four documents or more; as split_text where there is none.
    Their concatenation is the text."""
    cut = len(split_text(text)[0])
    ends = [match.end() for match in BLANK_LINES.finditer(text) if text[match.end() :].strip()]
    ends = [end for end in ends if text[:end].strip()][: -1 if len(ends) > 2 else None]
    cut = max((end for end in ends if end <= cut), default=cut)
    return text[:cut], text[cut:]


def documents_of(text):
    """[[sentence]]: the documents of a text, which blank lines separate, and the sentences of each, as they stand: the
    sentences of a document joined are the document, its line end included.

    A sentence ends with its line, and, in lines of more than 200 characters, with . ! or ? before white space and a
    capital letter or a digit, unless an abbreviation or a single capital letter stands before the full stop. White
    space belongs to the sentence after it.
    """
    documents = ([each for line in document.splitlines(keepends=True) for each in sentences_of(line)]
                 for document in BLANK_LINES.split(text))  # fmt: skip
    documents = ([sentence for sentence in document if sentence.strip()] for document in documents)
    return [document for document in documents if document]


def sentences_of(line):
    """The sentences of one line."""
    start, sentences = 0, []
    for match in SENTENCE_END.finditer(line) if len(line) > LONG_LINE else ():
        word = re.search(r"[^\s\"'“‘(\[]*$", line[max(start, match.start() - 12) : match.start()])[0]
        if match[0][0] == "." and (word in ABBREVIATED or re.fullmatch(r"(?:[A-Z]\.)*[A-Z]", word)):
            continue
        sentences.append(line[start : match.end()])
        start = match.end()
    return [*sentences, line[start:]]
