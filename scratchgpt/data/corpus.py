"""Where text comes from: the embedded corpora and files, and what of them is held out."""

import io
import math
from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.tokenizers.split import decoded

EMBEDDED = {"plays": "shakespeare_plays.txt"}  # name -> file beside this one; a COPYING file there states the licence
HELD_OUT = 0.1  # the share of a text's bytes, at its end, that is never trained on


def path_of(source):
    """The file of an embedded corpus ("plays"), or the path given. Raises InputError for an empty name."""
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
