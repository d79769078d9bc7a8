"""Each metric against a computation of another kind, and against numbers worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt.errors import InputError
from scratchgpt.tasks import ChoiceExample, PairExample, SentenceExample, SpanExample, TagExample, score
from scratchgpt.tasks.bio import entities, to_bio

EXACT = 1e-12  # the same few divisions in another order


def sentences(labels):
    return [SentenceExample("x", label) for label in labels]


def pairs_of(values):
    """Lists of (truth, prediction)."""
    return st.lists(st.tuples(values, values), min_size=1, max_size=30)


@given(pairs=pairs_of(st.sampled_from("abcd")))
def test_macro_f1_is_the_mean_over_the_confusion_matrix(pairs):
    names = sorted(set(itertools.chain(*pairs)))
    confusion = np.zeros((len(names), len(names)))
    for truth, said in pairs:
        confusion[names.index(truth), names.index(said)] += 1
    f1 = 2 * confusion.diagonal() / (confusion.sum(0) + confusion.sum(1))
    found = score("sentence", sentences(t for t, _ in pairs), [s for _, s in pairs])
    assert list(found) == ["accuracy", "macro F1"]  # the one that says most comes first
    assert found == pytest.approx({"accuracy": confusion.trace() / len(pairs), "macro F1": f1.mean()}, abs=EXACT)


@given(pairs=pairs_of(st.frozensets(st.sampled_from("abcd")).map(sorted).map(tuple)))
def test_micro_f1_counts_every_label_of_every_example(pairs):
    table = np.array([[(name in truth, name in said) for name in "abcd"] for truth, said in pairs])  # (N, labels, 2)
    both, either = table.all(-1).sum(), table.sum()
    examples = [PairExample("x", "y", truth) for truth, _ in pairs]
    found = score("pair", examples, [said[::-1] for _, said in pairs], "multi")  # in any order
    exact = (table[..., 0] == table[..., 1]).all(1).mean()
    expected = {"micro F1": 2 * both / either if both else 0.0, "exact match": exact}
    assert list(found) == list(expected) and found == pytest.approx(expected, abs=EXACT)


def by_counting(values):
    """Ranks as their definition says: one more than are smaller, and half of the others that are equal."""
    return [1 + sum(b < a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values]


NUMBERS = st.integers(-20, 20).map(lambda n: n / 4)


@given(pairs=pairs_of(NUMBERS))
def test_correlations_are_numpys_of_values_and_of_ranks(pairs):
    truth, said = map(list, zip(*pairs))
    found = score("sentence", sentences(truth), said, "regression")
    assert list(found) == ["Pearson", "Spearman"]
    if len(set(truth)) == 1 or len(set(said)) == 1:
        assert found == {"Pearson": 0, "Spearman": 0}
        return
    assert found["Pearson"] == pytest.approx(np.corrcoef(truth, said)[0, 1], abs=EXACT)
    assert found["Spearman"] == pytest.approx(np.corrcoef(by_counting(truth), by_counting(said))[0, 1], abs=EXACT)


def test_a_prediction_that_never_varies_correlates_with_nothing():
    assert score("sentence", sentences([0.1, 0.2, 0.4]), [0.1] * 3, "regression") == {"Pearson": 0, "Spearman": 0}


# ---- entities


def chunks(tags):
    """conlleval's own way: at each place, whether a chunk ends before it and whether one starts."""
    found, start = set(), None
    for place, (before, after) in enumerate(itertools.pairwise(["O", *tags, "O"])):
        other = before.partition("-")[2] != after.partition("-")[2]
        if start is not None and (after == "O" or after.startswith("B") or other):
            found.add((before.partition("-")[2], start, place))
            start = None
        if after.startswith("B") or (after.startswith("I") and (before == "O" or other)):
            start = place
    return found


TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=8)


@given(tags=TAGS)
def test_entities_are_conllevals_chunks_in_both_dialects(tags):
    assert set(entities(tags)) == chunks(tags) == set(entities(to_bio(tags)))
    assert len(entities(tags)) == sum(tag[0] == "B" for tag in to_bio(tags))  # in BIO each begins with B
    assert to_bio(to_bio(tags)) == to_bio(tags)


@given(sentences=st.lists(TAGS.flatmap(lambda t: st.tuples(st.just(t), st.permutations(t))), min_size=1, max_size=6))
def test_entity_f1_is_conllevals(sentences):
    gold, said = ({(n, *c) for n, s in enumerate(sentences) for c in chunks(s[side])} for side in (0, 1))
    found = score("tag", [TagExample(("w",) * len(t), tuple(t)) for t, _ in sentences], [s for _, s in sentences])
    precision, recall = (len(gold & said) / len(side) if side else 0 for side in (said, gold))
    harmonic = 2 * precision * recall / (precision + recall) if precision else 0
    right = [a == b for t, s in sentences for a, b in zip(t, s)]
    expected = {"entity F1": harmonic, "precision": precision, "recall": recall, "token accuracy": np.mean(right)}
    assert list(found) == list(expected) and found == pytest.approx(expected, abs=EXACT)


def test_an_entity_counts_when_its_type_and_both_ends_are_right():
    truth = TagExample(tuple("abcdefg"), ("B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O", "B-ORG"))
    said = ("B-PER", "O", "O", "I-LOC", "B-LOC", "O", "B-PER")  # too short; right, begun by I; right; another type
    found = score("tag", [truth], [said])
    assert found == {"entity F1": 0.5, "precision": 0.5, "recall": 0.5, "token accuracy": 4 / 7}


# ---- answers


def answered(*texts):
    return SpanExample("q", "c", tuple((0, text) for text in texts))


@pytest.mark.parametrize(
    ("answers", "said", "f1", "exact"),
    [
        (["The Cat!"], "cat", 1, 1),  # case, articles and punctuation do not count
        (["a cat, and the dog"], "cat dog", 4 / 5, 0),  # "cat and dog": 2 of 2 said and 2 of 3 true words
        (["new york new york"], "york york york", 4 / 7, 0),  # a word counts as often as both have it
        (["Paris", "in Paris"], "in paris", 1, 1),  # the answer it does best on
        (["don't"], "dont", 1, 1),
        (["anthem"], "them", 0, 0),  # articles are words, not letters
        (["pizza"], "pizz", 0, 0),
        (["1990–91"], "199091", 0, 0),  # of the marks, only ASCII's
        (["x"], "", 0, 0),
        ([], "", 1, 1),  # unanswerable
        ([], "the.", 1, 1),  # nothing is left of it
        ([], "x", 0, 0),
        (["the"], "x", 0, 0),  # nothing is left of the answer, as of SQuAD's own
        (["the", "x"], "x", 1, 1),
        (["the", "x"], "", 0, 0),  # but one of which something is left
    ],
)
def test_answers_are_compared_as_squad_does(answers, said, f1, exact):
    found = score("span", [answered(*answers)], [said])
    assert list(found) == ["F1", "exact match"]
    assert found == pytest.approx({"F1": f1, "exact match": exact}, abs=EXACT)


def test_span_scores_are_means_over_questions():
    assert score("span", [answered("x"), answered()], ["x", "y"]) == {"F1": 0.5, "exact match": 0.5}


# ---- and what all have in common


def test_choices_have_an_accuracy():
    examples = [ChoiceExample("c", ("a", "b"), label) for label in (0, 1, 1)]
    assert score("choice", examples, np.array([0, 1, 0])) == {"accuracy": 2 / 3}


def test_values_are_plain_numbers():
    found = score("sentence", sentences([1.0, 2.0]), np.array([1, 2], "float32"), "regression")
    assert all(type(value) is float and math.isfinite(value) for value in found.values())


def test_what_cannot_be_scored_is_refused():
    unlabelled = SentenceExample("x", None, where="a.tsv, line 7")
    for arguments, said in (
        (("sentence", sentences("a"), []), "0 predictions for 1 examples"),
        (("sentence", [], []), "0 predictions for 0 examples"),
        (("sentence", [unlabelled], ["a"]), "a.tsv, line 7: it has no label"),
        (("tag", [TagExample(("a", "b"), ("O", "O"))], [("O",)]), "prediction 1 has 1 tags; the example has 2 words"),
        (("sentence", ["text"], ["a"]), "str is no task's example"),
    ):
        with pytest.raises(InputError, match=said):
            score(*arguments)
