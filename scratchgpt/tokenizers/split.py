"""Where a text may be cut: into pieces for the fast path, at special tokens, and into blocks for streaming.

Every cut here is a boundary of GPT-2's pattern too, so cutting first never changes a token. The main one: between a
character that is not white space and one that is, because no match of the pattern spans that place.
"""

import codecs
import re
import sys
from pathlib import Path

import regex

from scratchgpt.errors import InputError
from scratchgpt.tokenizers.algorithm1 import GPT2_PATTERN

# Unicode's White_Space, which is the \s of `regex`. (str.isspace and re's \s also have \x1c-\x1f: not used here.)
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a" \
              "\u2028\u2029\u202f\u205f\u3000"  # fmt: skip
BLOCK = 131072
READ = 1 << 15  # bytes read from a file at a time

_any_text = regex.compile(GPT2_PATTERN)
# The same pattern for ASCII text, where the classes are short lists and stdlib `re` is about twice as fast.
_ascii_text = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\t-\r A-Za-z0-9]+|[\t-\r ]+(?![^\t-\r ])|[\t-\r ]+"
)


def pretokens(text):
    """GPT-2's pre-tokens, as `algorithm1.split_gpt2` gives them."""
    return (_ascii_text if text.isascii() else _any_text).findall(text)


def pieces(text):
    """The text cut before each run of white space that starts with a space or a newline; joined they are the text.

    Pieces repeat as words do, so a cache over them saves nearly all of the work, and they are found by str.replace and
    str.split alone, several times faster than any regular expression. pieces("to be,  or") -> ["to", " be,", "  or"].
    """
    mark = next(mark for mark in map(chr, range(sys.maxunicode)) if mark not in text)
    inside = [space for space in WHITE_SPACE if space in text and (space + " " in text or space + "\n" in text)]
    for start in " \n":
        text = text.replace(start, mark + start)
    for space in inside:  # unmark the inside of runs: they must stay whole
        text = text.replace(space + mark, space)
    return text.split(mark)


def check_text(text, offset=0):
    """Raises InputError when `text` is not a str or holds a lone surrogate, which has no UTF-8."""
    if not isinstance(text, str):
        raise InputError(f"expected a str, got {type(text).__name__}; decode bytes with .decode('utf-8') first")
    try:
        text.isascii() or text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X} at character {offset + error.start}, which "
            'UTF-8 lacks; read the text with errors="replace"'
        ) from None


class Specials:
    """Finds special tokens in text, the leftmost first and among those the longest, and cuts text around them."""

    def __init__(self, specials):
        self.specials = sorted(specials, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, self.specials))) if self.specials else None
        self.longest = max(map(len, self.specials), default=0)
        self.spaced = [special for special in self.specials if any(space in special for space in WHITE_SPACE)]

    @classmethod
    def allowed(cls, allowed_special, special_tokens):
        """The Specials that an `encode` recognises: allowed_special is "all" of special_tokens, or a collection."""
        if isinstance(allowed_special, str):
            if allowed_special != "all":
                raise InputError(f'allowed_special {allowed_special!r} is a string; expected "all" or a list of tokens')
            return cls(special_tokens)
        unknown = [token for token in allowed_special if token not in special_tokens]
        if unknown:
            raise InputError(f"{unknown[0]!r} is not a special token of this tokenizer: {list(special_tokens)}")
        return cls(allowed_special)

    def split(self, text):
        """Yields (ordinary text, special token or None after it)."""
        start = 0
        if self.pattern is not None:
            for found in self.pattern.finditer(text):
                yield text[start : found.start()], found[0]
                start = found.end()
        yield text[start:], None

    def last_cut(self, text):
        """The last place where `text`, of which more may follow, can be cut without changing a token; 0 if none."""
        return self._cut_before_space(text) or self._cut_between_pretokens(text)

    def _cut_before_space(self, text):
        margin = max(map(len, self.spaced), default=0)  # a special token may go on past the end
        cut = len(text) - margin + 1
        while cut > 0:
            cut = max(text.rfind(" ", 1, cut), text.rfind("\n", 1, cut))
            if cut > 0 and text[cut - 1] not in WHITE_SPACE and not self._inside_special(text, cut):
                return cut
        return 0

    def _inside_special(self, text, cut):
        return any(text.find(special, max(0, cut - len(special) + 1), cut + len(special) - 1) >= 0
                   for special in self.spaced)  # fmt: skip

    def _cut_between_pretokens(self, text):
        # What follows can change a match that ends within 2 characters of the end ("'r" may become "'re"), one that a
        # special token could begin in, and white space before that.
        limit = len(text) - max(2, self.longest + 1)
        cut = start = 0
        end = len(text)
        for found in self.pattern.finditer(text) if self.pattern else ():
            if found.end() > limit:
                end = found.start()
                break
            cut = start = found.end()
        for found in _any_text.finditer(text, start, end):
            if found.end() > limit:
                break
            if found[0][-1] not in WHITE_SPACE:  # a run of white space at an end stays whole
                cut = found.end()
        return cut

    def blocks(self, chunks, size=BLOCK):
        """Cuts an iterable of str, read as one text, into blocks of about `size` characters at safe places.

        Memory is one block and one chunk, unless a single pre-token is longer than that.
        """
        held, wanted, offset = "", size, 0
        for chunk in chunks:
            check_text(chunk, offset)
            offset += len(chunk)
            held += chunk
            while len(held) >= wanted:
                block = held[:wanted] if len(held) > 2 * wanted else held
                cut = self.last_cut(block)
                if cut:
                    yield held[:cut]
                    held, wanted = held[cut:], size
                else:
                    wanted = 2 * len(block)  # one long pre-token: look again later
        if held:
            yield held


def read_text(path):
    """Yields the text of a UTF-8 file in chunks, line ends as they are.

    Raises InputError when the file is missing, empty, holds a NUL byte (so it is not text) or is not UTF-8, with the
    byte offset.
    """
    try:
        with open(Path(path), "rb") as file:
            yield from decoded(file, path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the path of a UTF-8 text file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def decoded(file, source):
    """Yields the text of a binary file, opened, in chunks. Raises InputError as read_text does, naming `source`."""
    decoder, offset = codecs.getincrementaldecoder("utf-8")(), 0
    while data := file.read(READ):
        nul = data.find(b"\0")
        if nul >= 0:
            raise InputError(f"{source} is binary: byte {offset + nul} is NUL; give a UTF-8 text file")
        yield _decode(decoder, data, offset, source)
        offset += len(data)
    if not offset:
        raise InputError(f"{source} is empty; give a UTF-8 text file with some text in it")
    yield _decode(decoder, b"", offset, source)


def _decode(decoder, data, offset, source):
    held = len(decoder.getstate()[0])  # bytes of a character begun in the chunk before
    try:
        return decoder.decode(data, final=not data)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source} is not UTF-8: byte {offset - held + error.start} is 0x{error.object[error.start]:02x} "
            f"({error.reason}); convert it, for example with iconv -t UTF-8"
        ) from None
