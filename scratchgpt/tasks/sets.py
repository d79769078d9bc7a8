"""Sets of examples that come with the package, by name, and the synthetic ones, which are made here.

    sentiment              sentence  2,000 short messages and parts of reviews, positive or negative by the mean of
                                     twenty people's ratings (Hutto & Gilbert 2014); as a regression, that mean
    next-sentence          pair      2,000 pairs of sentences of the addresses to Congress since 1990: next, or not next
    next-sentence-choice   choice    600 sentences of them, with four that may come next
    synthetic-spans        span      questions about made-up business facts
    synthetic-tags         tag       made-up names of persons, organisations and places

In the two sets of addresses the group is the address, and its name begins with the year: a split holds out the last
three, as pretraining on `addresses` does. In one of seven, a longer sentence between the two was left out. The wrong
sentences come from other addresses, so a model may also tell them by their topic, or because it has seen them in
training where the right one is new.
"""

from pathlib import Path
from typing import NamedTuple

from scratchgpt.errors import InputError
from scratchgpt.tasks import synthetic
from scratchgpt.tasks.fields import examples_of
from scratchgpt.tasks.rows import Row, read_rows


class Embedded(NamedTuple):
    """A file beside this one: its task, its columns under our names, and its labels under theirs."""

    file: str
    task: str
    columns: dict
    labels: dict


EMBEDDED = {
    "sentiment": Embedded(
        "sentiment_vader_subset.tsv", "sentence", {"text": "text", "label": "label"}, {"0": "negative", "1": "positive"}
    ),
    "next-sentence": Embedded(
        "next_sentence_pairs.tsv", "pair",
        {"sentence_a": "first", "sentence_b": "second", "not_next": "label", "address": "group"},
        {"0": "next", "1": "not next"},
    ),
    "next-sentence-choice": Embedded(
        "next_sentence_choice.jsonl", "choice",
        {"context": "context", "choices": "choices", "label": "label", "source": "group"}, {},
    ),
}  # fmt: skip
SYNTHETIC = {"synthetic-spans": ("span", synthetic.spans), "synthetic-tags": ("tag", synthetic.tags)}
SETS = (*EMBEDDED, *SYNTHETIC)


def task_of_set(name):
    return SYNTHETIC[name][0] if name in SYNTHETIC else EMBEDDED[name].task


def read_set(name, task, problem="single"):
    """[Example] of a set in SETS. Raises InputError when it is not for this task and problem."""
    if task != task_of_set(name):
        raise InputError(f"{name} is a set for the task {task_of_set(name)}, not {task}")
    if problem != "single" and (name, problem) != ("sentiment", "regression"):
        raise InputError(f"{name} has no labels for a {problem} problem; give a file of your own")
    if name in SYNTHETIC:
        return SYNTHETIC[name][1]()
    file, _, columns, labels = EMBEDDED[name]
    if problem == "regression":
        columns, labels = {"text": "text", "mean_rating": "label"}, {}
    rows = []
    for line, values in read_rows(Path(__file__).parent / file):
        values = {ours: values[theirs] for theirs, ours in columns.items()}
        rows.append(Row(line, values | {"label": labels.get(values["label"], values["label"])}))
    return examples_of(rows, name, task, problem)
