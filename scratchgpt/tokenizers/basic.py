"""BERT's basic tokenization (Devlin et al. 2018, tokenization.py): text to words, before WordPiece divides the words.

A word is a run of characters without white space, or one punctuation mark, or one CJK ideograph. What becomes of a
character does not depend on its neighbours, so a table from characters to texts is the whole of it, and str.translate
applies the table.

>>> BasicTokenizer().words("Héllo, 世界!")
['hello', ',', '世', '界', '!']
"""

import unicodedata

ASCII_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"  # BERT calls $ + < = > ^ ` | ~ punctuation, Unicode does not
CJK = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
       (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]  # fmt: skip
# Hugging Face's tables are those of Unicode 8. For the same ids under every version of Python, marks and punctuation
# that came later (up to Unicode 17) are plain characters, and three that changed their category are what they were.
LATER = """5C8-5C9 61D-61D 7FD-7FD 890-8E2 9FD-9FE A76-A76 AFA-AFF B53-B55 C04-C3C C77-C77 C84-C84 D00-D00 D3B-D3C
D81-D81 EBA-EBA ECE-ECE 180F-1886 1ABF-1AF0 1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E63 A82C-A82C A8C5-A8C5 A8FF-A8FF
A9BD-A9BD 105C9-105E4 10D24-10F89 11070-11074 110C2-110CD 111CF-111CF 1123E-11241 1133B-1133B 11383-1145E 11660-1166C
116B9-116B9 1182F-11FFF 12FF1-1612F 16D68-16F4F 16FE2-16FE4 1CF00-1D128 1D25B-1D25C 1E000-1E6F5 1E944-1E95F"""
LATER = [tuple(int(end, 16) for end in ends.split("-")) for ends in LATER.split()]
EARLIER = {0x166D: "Po", 0x1734: "Mn", 0x111C9: "Po"}


def within(code, ranges):
    return any(first <= code <= last for first, last in ranges)


def category(character):
    """Unicode's general category, as of version 8: category("é") -> "Ll"; "" for a character that came later."""
    code = ord(character)
    if code > 0x5C7 and within(code, LATER):
        return ""
    return EARLIER.get(code) or unicodedata.category(character)


class BasicTokenizer(dict):
    """{code point: the text that a character becomes}, filled on demand; the options are BERT's.

    lowercase: "uncased". strip_accents: decompose and drop the accents; None: where lowercase does. split_cjk: an
    ideograph is a word of its own.
    """

    def __init__(self, lowercase=True, strip_accents=None, split_cjk=True):
        self.lowercase, self.strip_accents, self.split_cjk = lowercase, strip_accents, split_cjk

    def __missing__(self, code):
        text = self[code] = self._becomes(chr(code))
        return text

    def _becomes(self, character):
        """ "É" -> "e"; "," -> " , "; a tab -> " "; a control character -> ""."""
        kind = category(character)
        if kind[:1] == "Z" or character in "\t\n\r":
            return " "
        # "Cn", not assigned, is kept: a later version of Unicode may assign it
        if kind in ("Cc", "Cf", "Co", "Cs") or character == "\ufffd":
            return ""
        text = character
        if kind and (self.lowercase if self.strip_accents is None else self.strip_accents):
            text = "".join(each for each in unicodedata.normalize("NFD", text) if category(each) != "Mn")
        if self.lowercase:
            text = text.lower()  # a character by itself: no final sigma
        text = "".join(f" {each} " if is_punctuation(each) else each for each in text)
        return f" {text} " if self.split_cjk and within(ord(character), CJK) else text

    def words(self, text):
        """The words of a text, in order."""
        return text.translate(self).split()

    def words_and_places(self, text):
        """Yields (word, places): places[i] is where in the text the word's character i came from."""
        word, places = "", []
        for place, character in enumerate(text):
            for each in self[ord(character)]:
                if each != " ":
                    word += each
                    places.append(place)
                elif word:
                    yield word, places
                    word, places = "", []
        if word:
            yield word, places


def is_punctuation(character):
    """Whether BERT splits at a character: Unicode's P categories, and every ASCII mark."""
    return character in ASCII_PUNCTUATION or category(character)[:1] == "P"
