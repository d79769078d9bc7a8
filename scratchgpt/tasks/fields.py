"""Examples from rows of named values, every value checked; what is wrong is told with its line."""

import json
import math

from scratchgpt.errors import InputError
from scratchgpt.tasks.bio import check_tag, to_bio
from scratchgpt.tasks.examples import ChoiceExample, PairExample, SentenceExample, SpanExample, TagExample, listed

TEXTS = (("text",), ("sentence",))  # how a sentence's column may be called
PAIRS = (("first", "second"), ("sentence_a", "sentence_b"), ("premise", "hypothesis"), ("sentence1", "sentence2"))
GROUPS = ("group", "address")


def examples_of(rows, path, task, problem="single", labelled=True):
    """[Example] of rows, for one of TASKS and, where it has labels, one of PROBLEMS.

    labelled: every row must have a label (tags, answers); otherwise those that have none get None. Raises InputError,
    naming the line, for anything missing, empty, of another kind, or that does not fit the rest of the row.
    """
    return [example_of(values, f"{path}, line {line}", str(line), task, problem, labelled) for line, values in rows]


def example_of(values, where, default_id, task, problem="single", labelled=True):
    """The Example of one row's values; default_id: its id where the values have none."""
    build = {"sentence": sentence, "pair": pair, "choice": choice, "tag": tag, "span": span}[task]
    said = {"id": name_of(values, ("id",), where) or default_id, "group": name_of(values, GROUPS, where)}
    return build(values, where, problem, labelled)(**said, where=where)


def sentence(values, where, problem, labelled):
    (name,) = columns_of(values, TEXTS, where)
    text, label = text_of(values, name, where), label_of(values, where, problem, labelled)
    return lambda **said: SentenceExample(text, label, **said)


def pair(values, where, problem, labelled):
    first, second = columns_of(values, PAIRS, where)
    texts = text_of(values, first, where), text_of(values, second, where)
    label = label_of(values, where, problem, labelled)
    return lambda **said: PairExample(*texts, label, **said)


def choice(values, where, problem, labelled):
    context = text_of(values, "context", where)
    choices = texts_of(values, "choices", where)
    if len(choices) < 2:
        raise InputError(f"{where}: choices: {len(choices)}; expected two or more")
    label = values.get("label")
    if absent(label):
        label = None if not labelled else refuse_absent(values, "label", where)
    elif type(label) is not int or not 0 <= label < len(choices):
        raise InputError(f"{where}: the label {label!r} is unknown; expected the number of a choice, 0 to "
                         f"{len(choices) - 1}")  # fmt: skip
    return lambda **said: ChoiceExample(context, choices, label, **said)


def tag(values, where, problem, labelled):
    tokens, tags = texts_of(values, "tokens", where), values.get("tags")
    if tags is None:
        tags = None if not labelled else refuse_absent(values, "tags", where)
    else:
        tags = texts_of(values, "tags", where)
        if len(tags) != len(tokens):
            raise InputError(f"{where}: tokens: {len(tokens)}, tags: {len(tags)}; expected a tag for each token")
        for each in tags:
            check_tag(each, where)
        tags = to_bio(tags)
    return lambda **said: TagExample(tokens, tags, **said)


def span(values, where, problem, labelled):
    question, context = text_of(values, "question", where), text_of(values, "context", where)
    answers = answers_of(values, context, where, labelled)
    return lambda **said: SpanExample(question, context, answers, **said)


def answers_of(values, context, where, labelled):
    """((first character, text), ...) of SQuAD's "answers" and "is_impossible", each once, or None."""
    answers, impossible = values.get("answers"), values.get("is_impossible", False)
    if answers is None and not impossible:
        return None if not labelled else refuse_absent(values, "answers", where)
    answers = answers or []
    if not isinstance(answers, list) or not isinstance(impossible, bool):
        raise InputError(f"{where}: answers are {answers!r:.60}; expected a list, as SQuAD has it")
    if impossible and answers:
        raise InputError(f"{where}: is_impossible is true, but there are answers; expected one or the other")
    found = []
    for answer in answers:
        match answer:
            case {"text": str(text), "answer_start": int(start)} if text.strip():
                pass
            case _:
                raise InputError(f"{where}: the answer {answer!r:.60} lacks a text or a whole number answer_start")
        if start < 0 or context[start : start + len(text)] != text:
            raise InputError(f"{where}: the answer {text!r:.60} is not at character {start} of its context, where "
                             f"{context[max(0, start) : max(0, start) + len(text)]!r:.60} is")  # fmt: skip
        found.append((start, text))
    return tuple(dict.fromkeys(found))


# ---- single values


def columns_of(values, known, where):
    """The first tuple of names in `known` that all are among the values."""
    for names in known:
        if all(name in values for name in names):
            return names
    expected = " or ".join(" and ".join(names) for names in known)
    raise InputError(f"{where}: it has {listed(values) or 'nothing'}; expected {expected}")


def absent(value):
    return value is None or (isinstance(value, str) and not value.strip())


def refuse_absent(values, name, where):
    what = f"{name} is empty" if name in values else f"there is no {name} (there is {listed(values)})"
    raise InputError(f"{where}: {what}; every example of a task needs one")


def text_of(values, name, where):
    """A text, unchanged. Raises InputError when it is missing, empty or not one."""
    if absent(values.get(name)):
        refuse_absent(values, name, where)
    return sound(values[name], name, where)


def texts_of(values, name, where):
    texts = values.get(name)
    if absent(texts) or texts == []:
        refuse_absent(values, name, where)
    if not isinstance(texts, list):
        raise InputError(f"{where}: {name} is {texts!r:.60}; expected a list of texts")
    if any(absent(text) for text in texts):
        raise InputError(f"{where}: one of {name} is empty; expected a text in each place")
    return tuple(sound(text, f"one of {name}", where) for text in texts)


def sound(text, name, where):
    if not isinstance(text, str):
        raise InputError(f"{where}: {name} is {text!r:.60}; expected a text")
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        raise InputError(f"{where}: {name} has half of a surrogate pair; expected text that UTF-8 can hold")
    return text


def name_of(values, names, where):
    """The id or group under the first of `names` that is there, as a text; None where there is none."""
    value = next((values[name] for name in names if not absent(values.get(name))), None)
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise InputError(f"{where}: {' or '.join(names)} is {value!r:.60}; expected a name or a whole number")
    return None if value is None else sound(str(value), " or ".join(names), where)


def label_of(values, where, problem, labelled):
    """A name (single), names (multi; in a column, with | between them), or a number (regression)."""
    label = values.get("label")
    if problem == "multi" and label is not None:
        names = label.split("|") if isinstance(label, str) else label
        if not isinstance(names, list):
            raise InputError(f"{where}: the label is {label!r:.60}; expected a list of names, or names with | between")
        names = [] if names == [""] else names
        return tuple(dict.fromkeys(label_name(name, where) for name in names))
    if absent(label):
        return None if not labelled else refuse_absent(values, "label", where)
    return number_of(label, where) if problem == "regression" else label_name(label, where)


def label_name(label, where):
    if absent(label) or not isinstance(label, str | int):
        raise InputError(f"{where}: the label is {label!r:.60}; expected a name or a whole number")
    return sound(label.strip() if isinstance(label, str) else json.dumps(label), "the label", where)


def number_of(label, where):
    try:
        number = math.nan if isinstance(label, bool) else float(label)
    except (TypeError, ValueError, OverflowError):  # a whole number may be beyond any float
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: the label is {label!r:.60}; expected a number, for a regression")
    return number
