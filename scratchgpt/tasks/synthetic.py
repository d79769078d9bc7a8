"""Synthetic examples: toys to watch a model learn to read, which say nothing about any real text.

Every name is made of syllables, and any name may be a company's, a person's or a place's, so that the word itself tells
nothing and the sentence all. The names come in POOLS groups that share none; a split by group asks about names that
training never saw.
"""

import string
from functools import cache

import numpy as np

from scratchgpt.tasks.examples import SpanExample, TagExample

POOLS = 20
EXAMPLES = 4000  # in a set
STARTS = (
    "ba be bo ca co da de do fa fe ga go ha he jo ka ke ko la le lo ma me mo na ne no pa pe ra re ro sa se so ta te"
)
ENDS = "bal bor den dor gan kel lan lor man mer min nak nel nor ran ric rin san ser tan tor van vek vin wick zan zel"
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)

FACTS = (  # ways to state a fact, and the questions about it, each with the part that answers it
    (("{company} hired {number} people in {month}.", "In {month}, {company} hired {number} people."),
     (("How many people did {company} hire?", "number"), ("When did {company} hire people?", "month"))),
    (("{company} earned {money} in {month}.", "In {month}, {company} earned {money}."),
     (("How much did {company} earn?", "money"), ("When did {company} earn money?", "month"))),
    (("{company} opened an office in {place}.", "There is a new office of {company} in {place}."),
     (("Where did {company} open an office?", "place"), ("Who opened an office in {place}?", "company"))),
    (("{person} became the head of {company}.", "{company} made {person} its head."),
     (("Who became the head of {company}?", "person"),)),
)  # fmt: skip
NAMED = ("company", "person", "place")  # the parts that are names

SENTENCES = (  # a word in capitals is an entity of that type, a # a number
    "PER rose to speak in LOC", "ORG rose # percent in LOC", "shares of ORG fell after PER resigned",
    "the mayor of LOC met PER of ORG", "PER moved from LOC to LOC with two children",
    "PER moved from ORG to ORG as an economist", "the road from LOC to LOC was closed", "ORG hired PER from ORG",
    "ORG opened a plant near LOC", "PER was born near LOC", "analysts at ORG in LOC told PER that prices would rise",
    "PER invested # million dollars in ORG", "PER spent # days in LOC", "the storm reached LOC before PER could leave",
    "the bank lent ORG # million dollars", "the nurse gave PER # letters", "the ferry left LOC with # people",
    "lawyers for ORG met PER", "friends of PER sued ORG", "the people of LOC elected PER", "PER and PER founded ORG",
    "ORG and ORG merged", "LOC and LOC share a river", "ORG makes steel in LOC", "PER sings in LOC",
    "trains stop in LOC", "investors believe in ORG", "voters believe in PER",
)  # fmt: skip
OPENINGS = ("", "", "yesterday", "last year", "on Monday", "in March", "after the vote", "officials say that")


def spans(count=EXAMPLES, seed=0):
    """[SpanExample], synthetic: two to four facts and a question about one of them. The same company has a fact of
    another kind, and in every second example another company one of the same kind: who minds the kind alone is right
    about three times in four, and only who minds both always."""
    rng = np.random.default_rng(seed)
    return [span(number, name_pools()[number % POOLS], rng) for number in range(count)]


def span(number, names, rng):
    kind, *kinds = rng.permutation(len(FACTS))
    names, months, numbers = shuffled(names, rng), shuffled(MONTHS, rng), shuffled(range(2, 100), rng)
    asked = fact_parts(names, months, numbers)
    others = [kind] * rng.integers(2) + kinds[1 : rng.integers(1, 3)]
    stated = [(kind, asked), (kinds[0], fact_parts(names, months, numbers) | {"company": asked["company"]})]
    stated += [(other, fact_parts(names, months, numbers)) for other in others]
    context, places = "", {}
    for place in rng.permutation(len(stated)):
        which, parts = stated[place]
        wording = FACTS[which][0][rng.integers(2)]
        if place == 0:
            places = {part: len(context) + at for part, at in part_places(wording, asked).items()}
        context += wording.format(**parts) + " "
    questions = FACTS[kind][1]
    question, part = questions[rng.integers(len(questions))]
    return SpanExample(question.format(**asked), context.strip(), ((places[part], asked[part]),),
                       **labelled("synthetic-spans", number))  # fmt: skip


def fact_parts(names, months, numbers):
    """What a fact may mention; what it takes is used up, so that no two facts share it."""
    parts, count = {part: names.pop() for part in NAMED}, numbers.pop()
    return parts | {"month": months.pop(), "number": str(count), "money": f"{count} million dollars"}


def part_places(wording, parts):
    """{part: the character it begins at} of a wording filled in."""
    length, places = 0, {}
    for text, part, *_ in string.Formatter().parse(wording):
        length += len(text)
        if part:
            places[part] = length
            length += len(parts[part])
    return places


def tags(count=EXAMPLES, seed=0):
    """[TagExample], synthetic: one or two clauses with persons, organisations and places of one or two names each. What
    a name is, only the words around it say, and often not the nearest ones: moved from LOC, moved from ORG."""
    rng = np.random.default_rng(seed)
    return [tagged(number, name_pools()[number % POOLS], rng) for number in range(count)]


def tagged(number, names, rng):
    names, clauses = shuffled(names, rng), shuffled(SENTENCES, rng)[: rng.integers(1, 3)]
    words = f"{OPENINGS[rng.integers(len(OPENINGS))]} {' and then '.join(clauses)} .".split()
    tokens, found = [], []
    for word in words:
        if word in ("PER", "ORG", "LOC"):
            length = rng.integers(1, 3)
            tokens += [names.pop() for _ in range(length)]
            found += [f"B-{word}", f"I-{word}"][:length]
        else:
            tokens.append(str(rng.integers(2, 100)) if word == "#" else word)
            found.append("O")
    tokens[0] = tokens[0][0].upper() + tokens[0][1:]
    return TagExample(tuple(tokens), tuple(found), **labelled("synthetic-tags", number))


def labelled(name, number):
    """The id, group and place of an example: examples take turns between the pools of names."""
    return {"id": f"{name}-{number + 1}", "group": f"{name}, names {number % POOLS + 1}",
            "where": f"{name}, example {number + 1}"}  # fmt: skip


def shuffled(values, rng):
    return [values[place] for place in rng.permutation(len(values))]


@cache
def name_pools():
    """POOLS tuples of names, each name in one of them."""
    names = shuffled([start.capitalize() + end for start in STARTS.split() for end in ENDS.split()],
                     np.random.default_rng(0))  # fmt: skip
    return [tuple(names[number::POOLS]) for number in range(POOLS)]
