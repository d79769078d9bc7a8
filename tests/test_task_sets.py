"""The sets that come with the package, the synthetic ones, splits, and real files in every format."""

import re
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt.data import load_text, split_documents
from scratchgpt.errors import InputError
from scratchgpt.tasks import SETS, ChoiceExample, SentenceExample, gold, label_names, read, score, split
from scratchgpt.tasks.bio import entities
from scratchgpt.tasks.synthetic import FACTS, SENTENCES, name_pools, spans, tags

DATA = Path(__file__).parents[2] / "shared" / "data"
TASK_OF = {"sentiment": "sentence", "next-sentence": "pair", "next-sentence-choice": "choice",
           "synthetic-spans": "span", "synthetic-tags": "tag"}  # fmt: skip


# ---- splits


def grouped(groups):
    return [SentenceExample(str(number), "x", group=group) for number, group in enumerate(groups)]


GROUPS = st.lists(st.integers(0, 12).map("day {}".format), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1)


@given(groups=GROUPS, share=st.floats(0.01, 0.99))
def test_a_split_holds_out_the_last_groups_whole(groups, share):
    examples = grouped(groups)
    train, validation = split(examples, share)
    assert sorted(train + validation, key=lambda e: int(e.text)) == examples
    last, first = ([int(e.group.removeprefix("day ")) for e in side] for side in (validation, train))
    assert max(first) < min(last)  # 9 comes before 10
    n, held = len(set(groups)), len(set(last))
    assert held == max(1, int(share * n + 1e-9))


@given(count=st.integers(2, 60), share=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_without_groups_a_split_is_drawn_by_its_seed(count, share, seed):
    examples = grouped([None] * count)
    train, validation = split(examples, share, seed)
    assert sorted(train + validation, key=lambda e: int(e.text)) == examples
    assert len(validation) == max(1, int(share * count + 1e-9))
    assert all(list(side) == sorted(side, key=lambda e: int(e.text)) for side in (train, validation))
    assert (train, validation) == split(examples, share, seed)


def test_another_seed_draws_another_split():
    examples = grouped([None] * 50)
    assert len({tuple(e.text for e in split(examples, seed=seed)[1]) for seed in range(5)}) == 5
    assert (
        Counter(e.text for s in range(2000) for e in split(examples, seed=s)[1]).most_common()[-1][1] > 100
    )  # of ~200


def test_groups_with_a_gap_are_refused_for_they_could_fall_on_both_sides():
    gap = [*grouped(["b", "a", "a"]), SentenceExample("x", "x", where="a.tsv, line 5")]
    with pytest.raises(InputError, match=r"a\.tsv, line 5: it has no group, others have; give every example one"):
        split(gap)


def test_a_single_group_is_no_reason_not_to_split():
    assert [len(side) for side in split(grouped("a" * 20))] == [18, 2]


def test_groups_may_be_called_anything():
    names = ["9" * 5000, "", "day ٣", "²", "day 10"]  # Python reads no number of 5,000 digits
    assert len(split(grouped(names))[1]) == 1


def test_a_share_is_taken_as_it_is_written():
    assert 0.29 * 100 < 29  # in floating point
    assert len(split(grouped([None] * 100), 0.29)[1]) == 29


def test_nothing_is_split_into_nothing():
    for arguments, said in (
        ((grouped([None]),), "there is 1 example to split; expected two or more"),
        (([],), "there is 0 example"),
        ((grouped("ab"), 0), "the share to hold out is 0; expected more than 0"),
        ((grouped("ab"), 1), "the share to hold out is 1"),
    ):
        with pytest.raises(InputError, match=said):
            split(*arguments)


# ---- what comes with the package


def test_every_set_is_read_by_its_name_and_says_where_each_example_is():
    assert set(SETS) == set(TASK_OF)
    sizes = {"sentiment": 2000, "next-sentence": 2000, "next-sentence-choice": 600}
    for name, task in TASK_OF.items():
        examples = read(name, task)
        assert len(examples) == sizes.get(name, 4000)
        assert all(e.where.startswith(f"{name}, ") for e in examples)
        assert len({e.id for e in examples}) == len(examples)
    assert label_names(read("sentiment", "sentence")) == ("negative", "positive")
    assert label_names(read("next-sentence", "pair")) == ("next", "not next")


def test_sentiment_is_balanced_and_its_sign_is_the_label():
    labels, ratings = (read("sentiment", "sentence", problem) for problem in ("single", "regression"))
    assert Counter(map(gold, labels)) == {"positive": 1000, "negative": 1000}
    assert all((e.label == "positive") == (r.label >= 1) and abs(r.label) >= 1 for e, r in zip(labels, ratings))
    assert [e.text for e in labels] == [e.text for e in ratings]


def test_next_sentences_follow_and_the_others_do_not():
    text = " ".join(load_text("addresses").split())
    pairs, choices = read("next-sentence", "pair"), read("next-sentence-choice", "choice")
    assert {len(e.choices) for e in choices} == {4}
    true = [f"{e.first} {e.second}" in text for e in pairs if e.label == "next"]
    true += [f"{e.context} {e.choices[e.label]}" in text for e in choices]
    assert 0.85 < np.mean(true) < 0.87  # between the others, a longer sentence was left out
    false = [f"{e.first} {e.second}" in text for e in pairs if e.label == "not next"]
    false += [f"{e.context} {c}" in text for e in choices for n, c in enumerate(e.choices) if n != e.label]
    assert not any(false)


@pytest.mark.parametrize("name", ["next-sentence", "next-sentence-choice"])
def test_a_split_of_the_addresses_holds_out_those_that_pretraining_does(name):
    pretrained, held_out = (" ".join(part.split()) for part in split_documents(load_text("addresses")))
    for side, text, other in zip(split(read(name, TASK_OF[name])), (pretrained, held_out), (held_out, pretrained)):
        firsts = [e.context if isinstance(e, ChoiceExample) else e.first for e in side]
        assert np.mean([first in text for first in firsts]) > 0.99
        assert np.mean([first in other for first in firsts]) < 0.05  # "Thank you." is in all
        groups = {e.group for e in side}
        assert all((int(group[:4]) >= 2019) == (text is held_out) for group in groups)
    assert len(groups) == 3


# ---- synthetic


def test_synthetic_examples_are_a_function_of_the_seed():
    for make in (spans, tags):
        assert make(50, seed=1) == make(50, seed=1) and make(50, seed=1) != make(50, seed=2)
        assert make(80, seed=1)[:50] == make(50, seed=1)


def test_synthetic_examples_say_that_they_are():
    for name in ("synthetic-spans", "synthetic-tags"):
        for e in read(name, TASK_OF[name])[:50]:
            assert all("synthetic" in said for said in (e.id, e.group, e.where))


def test_validation_asks_about_names_that_training_never_saw():
    pools = name_pools()
    assert len({name for pool in pools for name in pool}) == sum(map(len, pools)) > 900
    everywhere = {name for pool in pools for name in pool}
    for name in ("synthetic-spans", "synthetic-tags"):
        seen, new = (set(re.findall(r"\w+", str(side))) & everywhere for side in split(read(name, TASK_OF[name])))
        assert len(seen) > 8 * len(new) > 0 and not seen & new  # two pools of twenty


PARTS = {"money": r"\d+ million dollars"}  # what may stand in the place of a part; in the others one word


def matched(template, text):
    """{part: text} where a template, filled in, is the text; else None."""
    pattern = re.sub(r"\\{(\w+)\\}", lambda m: f"(?P<{m[1]}>{PARTS.get(m[1], '[A-Za-z0-9]+')})", re.escape(template))
    found = re.fullmatch(pattern, text)
    return found and found.groupdict()


def candidates(example):
    """(the answers of the facts that the question asks for, those of all facts of its kind)."""
    right, of_its_kind = [], []
    for wordings, questions in FACTS:
        for question, part in questions:
            asked = matched(question, example.question)
            for sentence, wording in product(re.findall(r"\w[^.]+\.", example.context), wordings) if asked else ():
                fact = matched(wording, sentence)
                if fact:
                    of_its_kind.append(fact[part])
                    right += [fact[part]] if asked.items() <= fact.items() else []
    return right, of_its_kind


def test_who_reads_answers_every_synthetic_question_and_who_minds_the_kind_alone_three_in_four():
    examples = spans(600, seed=3)
    found = [candidates(e) for e in examples]
    assert all(e.context[start : start + len(text)] == text for e in examples for start, text in e.answers)
    assert {len(right) for right, _ in found} == {1} and {len(of_its_kind) for _, of_its_kind in found} == {1, 2}
    assert score("span", examples, [right[0] for right, _ in found])["exact match"] == 1
    first = score("span", examples, [of_its_kind[0] for _, of_its_kind in found])["exact match"]
    assert 0.68 < first < 0.82  # 3/4 of 600, within four standard deviations


def test_a_synthetic_name_says_nothing_of_its_type():
    of_name = {}
    for e in tags(4000, seed=3):
        for kind, first, end in entities(e.tags):
            for word in e.tokens[first:end]:
                of_name.setdefault(word, Counter())[kind] += 1
    often = [max(kinds.values()) / kinds.total() for kinds in of_name.values() if kinds.total() >= 10]
    assert len(of_name) > 900 and np.mean(often) < 0.6  # the three types draw from one list


def test_synthetic_tags_need_more_than_the_word_before():
    types = {}
    for sentence in SENTENCES:
        for before, word in pairwise(["START", *sentence.split()]):
            if word in ("PER", "ORG", "LOC"):
                types.setdefault(before, set()).add(word)
    assert {before for before in types if len(types[before]) > 1} >= {"START", "from", "to", "of", "in", "and"}
    assert len(set(tags(2000, seed=4))) == 2000


# ---- real files

real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real data is not here")


@real
@pytest.mark.parametrize(
    ("file", "count"),
    [("tweets", 4200), ("nytEditorialSnippets", 5190), ("movieReviewSnippets", 10605), ("amazonReviewSnippets", 3708)],
)
def test_vaders_files_hold_what_their_readme_counts(file, count):
    examples = read(DATA / "labeled" / "vader" / f"{file}_GroundTruth.txt", "sentence", "regression")
    assert len(examples) == count and len({e.id for e in examples}) == count
    assert all(-4 <= e.label <= 4 for e in examples)  # the scale that the raters had


@real
def test_snlis_pairs_have_their_three_labels():
    examples = read(DATA / "labeled" / "nli" / "snli_dev.csv", "pair")
    labels = {"entailment": 3325, "contradiction": 3275, "neutral": 3231}
    assert Counter(map(gold, examples)) == labels and label_names(examples) == tuple(sorted(labels))


@real
def test_copa_has_500_questions_half_of_them_each_way():
    examples = read(DATA / "labeled" / "copa" / "copa-dev.xml", "choice")
    assert Counter(map(gold, examples)) == {0: 250, 1: 250} and [e.id for e in examples] == [
        str(n) for n in range(1, 501)
    ]
    assert all("\n" not in text for e in examples for text in (e.context, *e.choices))


@real
@pytest.mark.parametrize(
    ("file", "sentences", "words", "found", "documents"),
    [  # sentences and words as their papers count them; entities as lines of their first words do
        ("wikigold/wikigold.conll.txt", 1696, 39007, {"LOC": 1014, "PER": 934, "ORG": 898, "MISC": 712}, 145),
        ("sec_ner/FIN5.txt", 1164, 41010, {"PER": 747, "ORG": 243, "LOC": 171, "MISC": 7}, 5),
        ("wnut17/wnut17train.conll", 3394, 62730, {"person": 660, "location": 548, "group": 264, "corporation": 221,
                                                   "product": 142, "creative-work": 140}, 0),
        ("wnut17/emerging.dev.conll", 1009, 15733, {"person": 470, "product": 114, "creative-work": 105, "location": 74,
                                                    "group": 39, "corporation": 34}, 0),
    ],
)  # fmt: skip
def test_real_columns_of_both_dialects_are_read(file, sentences, words, found, documents):
    examples = read(DATA / "labeled" / file, "tag")
    assert (len(examples), sum(len(e.tokens) for e in examples)) == (sentences, words)
    assert Counter(kind for e in examples for kind, _, _ in entities(e.tags)) == found
    assert len({e.group for e in examples} - {None}) == documents
    assert score("tag", examples, [e.tags for e in examples])["entity F1"] == 1


@real
def test_sentences_without_labels_are_read_to_be_predicted():
    conference = read(DATA / "finance" / "fomc_presconf" / "FOMCpresconf20220126.csv", "sentence", labelled=False)
    assert len(conference) == 571 and conference[3].where.endswith(", line 5") and conference[3].label is None
    assert len(read(DATA / "finance" / "fomc_statements.jsonl", "sentence", labelled=False)) == 237
    with pytest.raises(InputError, match=r"20220126\.csv, line 2: there is no label"):
        read(DATA / "finance" / "fomc_presconf" / "FOMCpresconf20220126.csv", "sentence")
