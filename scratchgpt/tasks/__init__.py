"""Labelled examples: what tasks look like, files of them, sets to try, splits and metrics. No model is known here."""

from scratchgpt.tasks.examples import (
    PROBLEMS,
    TASKS,
    ChoiceExample,
    PairExample,
    SentenceExample,
    SpanExample,
    TagExample,
    check_labels,
    gold,
    label_names,
)
from scratchgpt.tasks.formats import read, task_of
from scratchgpt.tasks.metrics import score
from scratchgpt.tasks.sets import SETS
from scratchgpt.tasks.splits import split

__all__ = [
    "PROBLEMS",
    "SETS",
    "TASKS",
    "ChoiceExample",
    "PairExample",
    "SentenceExample",
    "SpanExample",
    "TagExample",
    "check_labels",
    "gold",
    "label_names",
    "read",
    "score",
    "split",
    "task_of",
]
