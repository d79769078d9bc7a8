"""Tags of entities: O outside, B-TYPE on an entity's first word, I-TYPE on the others (Ramshaw & Marcus 1995).

Files come in two dialects. In IOB1 an entity begins with I, and with B only right after another of its type; in BIO
(IOB2) always with B. Read leniently, as conlleval does, both say where entities begin, so all become BIO here.
"""

from scratchgpt.errors import InputError


def check_tag(tag, where):
    """Raises InputError unless a tag is O, B-TYPE or I-TYPE."""
    if tag != "O" and not (tag[:2] in ("B-", "I-") and len(tag) > 2):
        raise InputError(f"{where}: the tag {tag!r} is unknown; expected O, B-TYPE or I-TYPE")


def begins(previous, tag):
    """Whether an entity begins at `tag`, whose word follows the one with the tag `previous` (O at the start)."""
    return tag != "O" and (tag[0] == "B" or previous[2:] != tag[2:])


def to_bio(tags):
    """The same entities as BIO. ["I-ORG", "I-ORG", "B-ORG", "O"] -> ("B-ORG", "I-ORG", "B-ORG", "O")"""
    pairs = zip(["O", *tags], tags)
    return tuple("B" + tag[1:] if begins(previous, tag) else tag for previous, tag in pairs)


def entities(tags):
    """[(type, first, end)] of the entities in tags of either dialect, in order; `end` is the word after the last.

    ["B-PER", "I-PER", "O", "I-LOC"] -> [("PER", 0, 2), ("LOC", 3, 4)]
    """
    found = []
    for place, (previous, tag) in enumerate(zip(["O", *tags], tags)):
        if begins(previous, tag):
            found.append((tag[2:], place, place + 1))
        elif tag != "O":
            found[-1] = (*found[-1][:2], place + 1)
    return found
