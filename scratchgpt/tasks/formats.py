"""Files of examples.

    task            file                            what it holds
    sentence        .tsv .csv .txt .jsonl           text (or sentence), label; optionally id, group
    pair            .tsv .csv .txt .jsonl           first and second (or sentence_a, sentence_b; premise, hypothesis;
                                                    sentence1, sentence2), label; optionally id, group
    choice          .jsonl                          context, choices, label (counted from 0); optionally id, group
                    .xml                            COPA's questions
    tag             .jsonl                          tokens, tags; optionally id, group
                    any other                       CoNLL columns
    span            .jsonl                          question, context, answers; optionally id, group
                    .json                           SQuAD 1.1 and 2.0

The first line of a .tsv, .csv or .txt names its columns; VADER's files of an id, a number and a text need none.
A column `group` (or `address`) keeps what belongs together on one side of a split.
"""

from pathlib import Path

from scratchgpt.errors import InputError
from scratchgpt.tasks.conll import read_columns
from scratchgpt.tasks.copa import read_copa
from scratchgpt.tasks.examples import PROBLEMS, TASKS
from scratchgpt.tasks.fields import PAIRS, TEXTS, columns_of, examples_of
from scratchgpt.tasks.rows import read_rows, read_text
from scratchgpt.tasks.sets import SETS, read_set, task_of_set
from scratchgpt.tasks.squad import read_squad


def read(source, task, problem="single", labelled=True):
    """[Example] of a file, or of a set by its name (sets.py), for one of TASKS.

    problem: one of PROBLEMS, for sentences and pairs: a label is a name, any number of names ("multi": in a column with
    | between them, in JSONL a list), or a number ("regression"). labelled=False: labels may be missing, and are None.
    Raises InputError, naming the line, for anything malformed.
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}; expected {', '.join(TASKS)}")
    if problem not in PROBLEMS or (problem != "single" and task not in ("sentence", "pair")):
        raise InputError(f"problem is {problem!r} for the task {task}; expected single, or for a sentence or a pair "
                         "also multi or regression")  # fmt: skip
    if source in SETS:
        return read_set(source, task, problem)
    path, kind = str(source), Path(source).suffix.lower()
    if task == "tag" and kind != ".jsonl":
        return read_columns(read_text(path), path, labelled)
    if kind == ".jsonl" or (task in ("sentence", "pair") and kind not in (".json", ".xml")):
        return examples_of(read_rows(path), path, task, problem, labelled)
    if (task, kind) == ("span", ".json"):
        return read_squad(read_text(path), path, labelled)
    if (task, kind) == ("choice", ".xml"):
        return read_copa(read_text(path), path, labelled)
    expected = {"choice": ".jsonl, or COPA's .xml", "span": ".jsonl, or SQuAD's .json"}
    raise InputError(f"{path} is no file for the task {task}; expected {expected.get(task, '.tsv, .csv or .jsonl')}")


def task_of(source):
    """The one of TASKS that a set or a file is for, by its name, or by the columns or keys of its first row."""
    if source in SETS:
        return task_of_set(source)
    kind = Path(source).suffix.lower()
    if kind in (".json", ".xml", ".conll"):
        return {".json": "span", ".xml": "choice", ".conll": "tag"}[kind]
    (line, values), *_ = read_rows(source)
    for task, names in (("choice", "choices"), ("tag", "tokens"), ("span", "question")):
        if names in values:
            return task
    columns_of(values, (*PAIRS, *TEXTS), f"{source}, line {line}")
    return "sentence" if any(name in values for (name,) in TEXTS) else "pair"
