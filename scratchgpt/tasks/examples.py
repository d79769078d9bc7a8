"""What a task's example holds, whatever file it came from.

Each has `id`, which names it in a file of predictions; `group`, or None: examples of one group never fall on both sides
of a split; and `where` it was read: "reviews.tsv, line 12".
"""

from dataclasses import dataclass

from scratchgpt.errors import InputError

TASKS = ("sentence", "pair", "choice", "tag", "span")
PROBLEMS = ("single", "multi", "regression")  # of a sentence or a pair: one label, any number of them, a number


@dataclass(frozen=True)
class SentenceExample:
    """A text and its label: a name, a tuple of names (multi), a number (regression), or None where nobody said."""

    text: str
    label: str | tuple[str, ...] | float | None
    id: str = ""
    group: str | None = None
    where: str = ""


@dataclass(frozen=True)
class PairExample:
    """Two texts and the label of how they go together, as a SentenceExample's."""

    first: str
    second: str
    label: str | tuple[str, ...] | float | None
    id: str = ""
    group: str | None = None
    where: str = ""


@dataclass(frozen=True)
class ChoiceExample:
    """A context, what may follow it, and the number of the choice that does, counted from 0, or None."""

    context: str
    choices: tuple[str, ...]
    label: int | None
    id: str = ""
    group: str | None = None
    where: str = ""


@dataclass(frozen=True)
class TagExample:
    """Words and a tag for each, O, B-TYPE or I-TYPE (BIO: every entity begins with B), or None."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None
    id: str = ""
    group: str | None = None
    where: str = ""


@dataclass(frozen=True)
class SpanExample:
    """A question, a context, and the answers in it: ((first character, text), ...), () where it has none, or None."""

    question: str
    context: str
    answers: tuple[tuple[int, str], ...] | None
    id: str = ""
    group: str | None = None
    where: str = ""


def gold(example):
    """An example's label, tags or answers; None where it has none."""
    for name in ("label", "tags", "answers"):
        if hasattr(example, name):
            return getattr(example, name)
    raise InputError(f"{type(example).__name__} is no task's example")


def label_names(examples):
    """The names that the labels or tags of examples take, sorted (but O first), as a head needs them; () where labels
    are no names."""
    found = set()
    for example in examples:
        label = gold(example)
        found.update([label] if isinstance(label, str) else label if isinstance(label, tuple) else [])
    return tuple(sorted((name for name in found if isinstance(name, str)), key=lambda name: (name != "O", name)))


def check_labels(examples, known):
    """Raises InputError, naming where, for an example whose label or tag is not among `known` names."""
    for example in examples:
        unknown = [name for name in label_names([example]) if name not in known]
        if unknown:
            raise InputError(
                f"{example.where}: the label {unknown[0]!r} is unknown; expected {listed(known)}, which the training "
                "examples have"
            )  # fmt: skip


def listed(names, most=6):
    """ "a, b, c and 4 more"."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
