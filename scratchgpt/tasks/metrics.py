"""How right predictions are, by each task's own measure."""

import re
import string
from collections import Counter

import numpy as np

from scratchgpt.errors import InputError
from scratchgpt.tasks.bio import entities
from scratchgpt.tasks.examples import gold


def score(task, examples, predictions, problem="single"):
    """{measure: value} of predictions, one for each example; the measure that says most comes first.

    sentence, pair   a label each: accuracy, macro F1; several (a tuple each, multi): micro F1, exact match;
                     a number each (regression): Pearson's and Spearman's correlation
    choice           the number of a choice each: accuracy
    tag              tags each, of either dialect (bio.py): entity F1, precision, recall, token accuracy
    span             an answer's text each, "" for none: F1, exact match (Rajpurkar et al. 2016, 2018)

    Raises InputError when the numbers of examples and predictions differ, there are none, or an example has no label.
    """
    if len(examples) != len(predictions) or not examples:
        raise InputError(f"{len(predictions)} predictions for {len(examples)} examples; expected one for each")
    unlabelled = next((example for example in examples if gold(example) is None), None)
    if unlabelled is not None:
        raise InputError(f"{unlabelled.where}: it has no label to hold a prediction against")
    truth = [gold(example) for example in examples]
    measure = MEASURES[problem if task in ("sentence", "pair") else task]
    return {name: float(value) for name, value in measure(truth, predictions).items()}


def single(truth, predicted):
    return {"accuracy": mean_equal(truth, predicted), "macro F1": macro_f1(truth, predicted)}


def multi(truth, predicted):
    pairs = [(set(a), set(b)) for a, b in zip(truth, predicted)]
    hits, said, true = (sum(len(s) for s in sets) for sets in zip(*((a & b, b, a) for a, b in pairs)))
    return {"micro F1": f1(hits, said, true)[0], "exact match": mean_equal(*zip(*pairs))}


def regression(truth, predicted):
    ranks = average_ranks(truth), average_ranks(predicted)
    return {"Pearson": correlation(truth, predicted), "Spearman": correlation(*ranks)}


def choice(truth, predicted):
    return {"accuracy": mean_equal(truth, predicted)}


def tag(truth, predicted):
    """Entities as conlleval counts them (Tjong Kim Sang & De Meulder 2003): one is found when its type and both its
    ends are right; a predicted I that continues nothing begins an entity."""
    hits = said = true = right = words = 0
    for each, (a, b) in enumerate(zip(truth, predicted), 1):
        if len(a) != len(b):
            raise InputError(f"prediction {each} has {len(b)} tags; the example has {len(a)} words")
        here, there = set(entities(a)), set(entities(b))
        hits, said, true = hits + len(here & there), said + len(there), true + len(here)
        right, words = right + sum(x == y for x, y in zip(a, b)), words + len(a)
    whole, precision, recall = f1(hits, said, true)
    return {"entity F1": whole, "precision": precision, "recall": recall, "token accuracy": right / words}


def span(truth, predicted):
    """Each prediction against the answer it does best on; where there is none, it must be empty."""
    best = []
    for answers, said in zip(truth, predicted):
        words = [normalised(text) for _, text in answers]
        words = [each for each in words if each] or [[]]
        best.append([max(same(each, normalised(said)) for each in words) for same in (overlap, list.__eq__)])
    return dict(zip(("F1", "exact match"), np.mean(best, 0)))


MEASURES = {
    "single": single, "multi": multi, "regression": regression, "choice": choice, "tag": tag, "span": span,
}  # fmt: skip


# ---- their parts


def mean_equal(truth, predicted):
    return sum(a == b for a, b in zip(truth, predicted)) / len(truth)


def f1(hits, said, true):
    """(F1, precision, recall) of `hits` among as many said and as many true; 0 where there is nothing to divide by."""
    precision, recall = hits / said if said else 0.0, hits / true if true else 0.0
    return 2 * hits / (said + true) if hits else 0.0, precision, recall


def macro_f1(truth, predicted):
    """The mean F1 over the labels that occur on either side."""
    hits = Counter(a for a, b in zip(truth, predicted) if a == b)
    said, true = Counter(predicted), Counter(truth)
    return np.mean([f1(hits[label], said[label], true[label])[0] for label in said | true])


def correlation(x, y):
    """Pearson's r; 0 where one side does not vary."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = (np.asarray(each, float) - np.mean(each) for each in (x, y))
    return np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1)


def average_ranks(values):
    """Ranks from 1, equal values sharing the mean of theirs. [10, 20, 20] -> [1, 2.5, 2.5]"""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]


def normalised(text):
    """The words of an answer as SQuAD compares them: lower case, without punctuation and articles."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def overlap(answer, said):
    """F1 of the words of two answers, as bags."""
    if not answer or not said:
        return float(answer == said)
    return f1(sum((Counter(answer) & Counter(said)).values()), len(said), len(answer))[0]
