"""Files of examples: what is written in any of the formats is read back, and what is malformed is named by its line."""

import csv
import io
import json
import string
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchgpt.errors import InputError
from scratchgpt.tasks import ChoiceExample, PairExample, SentenceExample, SpanExample, TagExample, check_labels, read

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)
LABELS = st.text(string.ascii_letters + "äß中-_ ", min_size=1, max_size=6).map(str.strip).filter(bool)
MANY = {"min_size": 1, "max_size": 5}


def written(directory, name, text):
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def stripped(examples):
    """Examples without id, group and where, which the file's lines decide."""
    return [tuple(v for k, v in vars(each).items() if k not in ("id", "group", "where")) for each in examples]


# ---- what is written is read back


@given(rows=st.lists(st.tuples(WORDS, LABELS), **MANY), crlf=st.booleans(), mark=st.booleans())
def test_tsv_gives_back_every_text(tmp_path_factory, rows, crlf, mark):
    lines = ["\t".join(row) for row in [("Text", "label"), *rows]]
    text = ("\ufeff" if mark else "") + ("\r\n" if crlf else "\n").join(lines)
    assert stripped(read(written(tmp_path_factory.mktemp("t"), "a.tsv", text), "sentence")) == rows


@given(rows=st.lists(st.tuples(WORDS, WORDS, LABELS, st.none() | LABELS), **MANY), breaks=st.booleans())
def test_csv_gives_back_texts_with_commas_quotes_and_line_breaks(tmp_path_factory, rows, breaks):
    rows = [(f'{a}, "x"' + "\n" * breaks + "y", b, c, d) for a, b, c, d in rows]
    out = io.StringIO()
    csv.writer(out).writerows([("premise", "hypothesis", "label", "address"), *rows])
    examples = read(written(tmp_path_factory.mktemp("t"), "a.csv", out.getvalue()), "pair")
    assert [(e.first, e.second, e.label, e.group) for e in examples] == rows
    lines = 2 if breaks else 1
    assert [e.where.rpartition(" ")[2] for e in examples] == [str(2 + lines * i) for i in range(len(rows))]


@given(rows=st.lists(st.tuples(WORDS, st.lists(LABELS, unique=True, max_size=3)), **MANY))
def test_jsonl_gives_back_several_labels(tmp_path_factory, rows):
    text = "\n".join(json.dumps({"text": a, "label": b}) for a, b in rows)
    examples = read(written(tmp_path_factory.mktemp("t"), "a.jsonl", text), "sentence", "multi")
    assert stripped(examples) == [(a, tuple(b)) for a, b in rows]


@given(rows=st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=2, max_size=4), st.integers(0, 1)), **MANY))
def test_jsonl_gives_back_choices(tmp_path_factory, rows):
    text = "\n".join(json.dumps(dict(zip(("context", "choices", "label"), row)), ensure_ascii=False) for row in rows)
    examples = read(written(tmp_path_factory.mktemp("t"), "a.jsonl", text), "choice")
    assert stripped(examples) == [(a, tuple(b), c) for a, b, c in rows]


@given(rows=st.lists(st.tuples(*[st.text(string.ascii_letters + "&<é ", min_size=1).map(str.split).filter(bool)] * 3,
                               st.sampled_from(["cause", "effect"]), st.integers(1, 2)), **MANY))  # fmt: skip
def test_copa_gives_back_its_questions(tmp_path_factory, rows):
    rows = [(*map(" ".join, row[:3]), *row[3:]) for row in rows]
    items = [f'<item id="{n}" asks-for="{kind}" most-plausible-alternative="{best}">\n<p>{escape(p)}</p><a1>{escape(a)}'
             f"</a1>\n<a2>{escape(b)}</a2></item>" for n, (p, a, b, kind, best) in enumerate(rows)]  # fmt: skip
    text = "<?xml version='1.0' encoding='UTF-8'?>\n<copa-corpus>\n" + "\n".join(items) + "</copa-corpus>"
    examples = read(written(tmp_path_factory.mktemp("t"), "copa.xml", text), "choice")
    said = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
    assert stripped(examples) == [(f"{p} {said[k]}", (a, b), best - 1) for p, a, b, k, best in rows]
    assert [e.where.rpartition(" ")[2] for e in examples] == [str(3 + 3 * n) for n in range(len(rows))]


def bio(draw_tags):
    """BIO tags of a list of (type or None, words)."""
    return [
        tag for kind, n in draw_tags for tag in (["O"] * n if kind is None else [f"B-{kind}", *[f"I-{kind}"] * (n - 1)])
    ]


def as_iob1(tags):
    """The same entities in IOB1: B only where an entity follows one of its type."""
    previous = ["O", *tags[:-1]]
    return [t if t[0] != "B" or p[2:] == t[2:] else "I" + t[1:] for p, t in zip(previous, tags)]


ENTITIES = st.lists(st.tuples(st.sampled_from([None, "PER", "ORG", "creative-work"]), st.integers(1, 3)), **MANY)


@given(sentences=st.lists(ENTITIES, **MANY), dialect=st.sampled_from([list, as_iob1]), tabs=st.booleans(),
       extra=st.booleans(), data=st.data())  # fmt: skip
def test_columns_give_back_words_and_tags_of_both_dialects(tmp_path_factory, sentences, dialect, tabs, extra, data):
    blanks = "\t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029" if tabs else string.whitespace + "\x1c\x1d\x1e\x1f\x85"
    word = WORDS.map(lambda w: "".join(c for c in w if c not in blanks and not (c.isspace() and not tabs)))
    word = word.filter(lambda w: w.strip() and w == w.strip() and w != "-DOCSTART-")
    expected, lines = [], []
    for sentence in sentences:
        tags = bio(sentence)
        tokens = data.draw(st.lists(word, min_size=len(tags), max_size=len(tags)))
        middle = ["NNP", "-"] if extra else []
        lines += [("\t" if tabs else " ").join([w, *middle, t]) for w, t in zip(tokens, dialect(tags))] + [""]
        expected.append((tuple(tokens), tuple(tags)))
    examples = read(written(tmp_path_factory.mktemp("t"), "a.conll", "\n".join(lines)), "tag")
    assert stripped(examples) == expected


@given(rows=st.lists(ENTITIES, **MANY))
def test_jsonl_gives_back_tags(tmp_path_factory, rows):
    expected = [(tuple(f"w{n}" for n, _ in enumerate(bio(row))), tuple(bio(row))) for row in rows]
    text = "\n".join(json.dumps({"tokens": tokens, "tags": as_iob1(list(tags))}) for tokens, tags in expected)
    assert stripped(read(written(tmp_path_factory.mktemp("t"), "a.jsonl", text), "tag")) == expected


@st.composite
def asked(draw):
    """A question with its context and up to two answers in it."""
    context = draw(st.text(st.characters(exclude_categories=("Cs",)), min_size=3, max_size=40).filter(str.strip))
    answers = []
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(context) - 1))
        text = context[start : draw(st.integers(start + 1, len(context)))]
        answers += [(start, text)] if text.strip() else []
    return draw(WORDS), context, tuple(dict.fromkeys(answers))


def answers_json(answers):
    return [{"text": text, "answer_start": start} for start, text in answers]


@given(rows=st.lists(asked(), **MANY), version=st.sampled_from(["1.1", "v2.0"]))
def test_squad_gives_back_questions_contexts_and_answers(tmp_path_factory, rows, version):
    rows = rows if version == "v2.0" else [row for row in rows if row[2]]
    data = []
    for number, (question, context, answers) in enumerate(rows):
        one = {"id": f"q{number}", "question": question, "answers": answers_json(answers)}
        if version == "v2.0":
            one |= {"is_impossible": not answers, "plausible_answers": [{"text": "nowhere", "answer_start": 9999}]}
        data.append({"title": f"Article_{number}", "paragraphs": [{"context": context, "qas": [one]}]})
    path = written(tmp_path_factory.mktemp("t"), "squad.json", json.dumps({"version": version, "data": data}))
    if not rows:
        with pytest.raises(InputError, match="holds no examples"):
            read(path, "span")
        return
    examples = read(path, "span")
    assert stripped(examples) == rows
    assert [(e.id, e.group) for e in examples] == [(f"q{n}", f"Article_{n}") for n in range(len(rows))]


@given(rows=st.lists(asked(), **MANY))
def test_jsonl_gives_back_spans(tmp_path_factory, rows):
    named = ({"question": q, "context": c, "answers": answers_json(a)} for q, c, a in rows)
    text = "\n".join(map(json.dumps, named))
    assert stripped(read(written(tmp_path_factory.mktemp("t"), "a.jsonl", text), "span")) == rows


# ---- what the line decides


def test_ids_and_groups_come_from_the_file_or_the_line(tmp_path):
    tsv = written(tmp_path, "a.tsv", "id\tgroup\tsentence\tlabel\nx7\tg\tone\tyes\n\n\t\ttwo\tno\n")
    assert read(tsv, "sentence") == [
        SentenceExample("one", "yes", "x7", "g", f"{tsv}, line 2"),
        SentenceExample("two", "no", "4", None, f"{tsv}, line 4"),
    ]
    jsonl = written(tmp_path, "a.jsonl", '{"first": "a", "second": "b", "label": 3, "id": 5, "address": "1990"}')
    assert read(jsonl, "pair") == [PairExample("a", "b", "3", "5", "1990", f"{jsonl}, line 1")]


def test_documents_of_columns_are_groups_where_there_are_several(tmp_path):
    one = "-DOCSTART- -X- O O\n\nA NNP - I-PER\n\nb X - O\n"
    assert [e.group for e in read(written(tmp_path, "one", one), "tag")] == [None, None]
    examples = read(written(tmp_path, "two", one + one), "tag")
    assert [e.group for e in examples] == ["document 00001"] * 2 + ["document 00002"] * 2
    assert [e.where.rpartition(" ")[2] for e in examples] == ["3", "5", "8", "10"]


def test_without_labels_examples_have_none(tmp_path):
    assert read(written(tmp_path, "a.tsv", "text\nhello\n"), "sentence", labelled=False)[0].label is None
    assert read(written(tmp_path, "b.tsv", "text\tlabel\nhello\t\n"), "sentence", labelled=False)[0].label is None
    assert read(written(tmp_path, "c.tsv", "text\tlabel\nhello\tx\n"), "sentence", labelled=False)[0].label == "x"
    assert read(written(tmp_path, "d.conll", "Oslo\nlies\n\nHi\n"), "tag", labelled=False) == [
        TagExample(("Oslo", "lies"), None, "1", None, f"{tmp_path}/d.conll, line 1"),
        TagExample(("Hi",), None, "4", None, f"{tmp_path}/d.conll, line 4"),
    ]
    choices = written(tmp_path, "e.jsonl", '{"context": "a", "choices": ["b", "c"]}')
    assert read(choices, "choice", labelled=False) == [
        ChoiceExample("a", ("b", "c"), None, "1", None, f"{choices}, line 1")
    ]
    spans = written(tmp_path, "f.jsonl", '{"question": "a", "context": "b"}')
    assert read(spans, "span", labelled=False) == [SpanExample("a", "b", None, "1", None, f"{spans}, line 1")]


def test_multi_labels_stand_in_one_column(tmp_path):
    path = written(tmp_path, "a.tsv", "text\tlabel\na\tx|y\nb\t\nc\ty|y\n")
    assert [e.label for e in read(path, "sentence", "multi")] == [("x", "y"), (), ("y",)]


def test_regression_labels_are_numbers(tmp_path):
    path = written(tmp_path, "a.tsv", "text\tlabel\na\t-1.5\nb\t2\n")
    assert [e.label for e in read(path, "sentence", "regression")] == [-1.5, 2.0]


def test_quotes_mean_nothing_between_tabs(tmp_path):
    path = written(tmp_path, "a.tsv", 'text\tlabel\n"open\tyes\n"a" b\tno\n')
    assert [e.text for e in read(path, "sentence")] == ['"open', '"a" b']


def test_only_line_feeds_end_a_line(tmp_path):
    odd = "a\vb\x85c\u2028d\re"
    path = written(tmp_path, "a.tsv", f"label\ttext\r\nx\t{odd}\r\ny\t{odd}")
    assert [(e.label, e.text, e.where.rpartition(" ")[2]) for e in read(path, "sentence")] == [
        ("x", odd, "2"), ("y", odd, "3"),
    ]  # fmt: skip
    jsonl = written(tmp_path, "a.jsonl", json.dumps({"text": odd, "label": "x"}, ensure_ascii=False))
    assert read(jsonl, "sentence")[0].text == odd
    assert read(written(tmp_path, "a.conll", "a\u2028b\tO\r\nc\tB-X"), "tag")[0].tokens == ("a\u2028b", "c")


def test_lines_of_nothing_are_passed_over(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\n\na,x\n , \n\nb,y\n\n")
    assert [(e.text, e.where.rpartition(" ")[2]) for e in read(path, "sentence")] == [("a", "3"), ("b", "6")]


def test_a_name_that_training_lacks_is_unknown(tmp_path):
    examples = read(written(tmp_path, "a.tsv", "text\tlabel\na\tyes\nb\tmaybe\n"), "sentence")
    check_labels(examples, ["maybe", "yes"])
    with pytest.raises(InputError, match=r"a\.tsv, line 3: the label 'maybe' is unknown; expected no, yes"):
        check_labels(examples, ["no", "yes"])
    tags = read(written(tmp_path, "a.conll", "Oslo B-LOC\n"), "tag")
    with pytest.raises(InputError, match=r"a\.conll, line 1: the label 'B-LOC' is unknown"):
        check_labels(tags, ["O", "B-PER"])


# ---- what is malformed


def squad(**changes):
    one = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]} | changes
    return json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "Ada wrote.", "qas": [one]}]}]})


QUESTION = "data[0], paragraphs[0], qas[0]: "
SPAN = '{"question": "q", "context": "Ada wrote", "answers": [%s]}'
COPA = '<c><item asks-for="cause" most-plausible-alternative="%s">\n<p>%s</p><a1>b</a1><a2>c</a2></item></c>'
MALFORMED = {  # task, file, what it holds, what is said of it
    "no label column": ("sentence", "a.tsv", "text\tgold\nhi\tx\n", "line 2: there is no label (there is text, gold)"),
    "empty label": ("sentence", "a.tsv", "text\tlabel\nhi\tx\nho\t \n", "line 3: label is empty"),
    "no text column": ("sentence", "a.tsv", "label\tbody\nx\thi\n", "line 2: it has label, body; expected text or sen"),
    "empty text": ("sentence", "a.tsv", "text\tlabel\n\n  \tx\n", "line 3: text is empty"),
    "too many columns": ("sentence", "a.tsv", "text\tlabel\nhi\tx\tmore\n", "line 2: columns: 3; expected 2: text, la"),
    "too few columns": ("pair", "a.csv", 'first,second,label\n"a\nb",c,x\nhi\n', "line 4: columns: 1; expected 3"),
    "two columns of a name": ("sentence", "a.tsv", "text\ttext\nhi\tx\n", "line 1: two columns are called 'text'"),
    "broken csv": ("sentence", "a.csv", 'text,label\nhi,x\n"hi"a,x\n', "line 3: not CSV"),
    "unclosed csv": ("sentence", "a.csv", 'text,label\nhi,x\n"hi,x\n\n', "line 3: not CSV"),
    "not UTF-8": ("sentence", "a.tsv", b"text\tlabel\nhi\tx\ncaf\xe9\tx\n", "line 3: byte 0xe9 is not UTF-8"),
    "one text of a pair": ("pair", "a.tsv", "premise\tlabel\na\tx\n", "line 2: it has premise, label; expected first"),
    "empty second": ("pair", "a.tsv", "premise\thypothesis\tlabel\na\t \tx\n", "line 2: hypothesis is empty"),
    "nothing": ("sentence", "a.tsv", "\n\n", "holds no examples"),
    "a header alone": ("sentence", "a.tsv", "text\tlabel\n", "holds no examples"),
    "not JSON": ("sentence", "a.jsonl", '{"text": "a", "label": "b"}\n{"text"\n', "line 2: not JSON"),
    "no object": ("sentence", "a.jsonl", '{"text": "a", "label": "b"}\n\n["a"]\n', "line 3: a JSON list; expected an"),
    "deep JSON": ("sentence", "a.jsonl", "[" * 100_000, "line 1: not JSON"),
    "a text that is none": ("sentence", "a.jsonl", '{"text": 3, "label": "b"}', "line 1: text is 3; expected a text"),
    "half a character": ("sentence", "a.jsonl", '{"text": "\\ud800", "label": "b"}', "line 1: text has half of a surr"),
    "a label that is none": ("sentence", "a.jsonl", '{"text": "a", "label": [1]}', "line 1: the label is [1]; expecte"),
    "an id that is none": ("sentence", "a.jsonl", '{"text": "a", "label": "b", "id": {}}', "line 1: id is {}; expecte"),
    "half an id": ("sentence", "a.jsonl", '{"text": "a", "label": "b", "id": "\\ud800"}', "line 1: id has half of"),
    "half a group": ("sentence", "a.jsonl", '{"text": "a", "label": "b", "group": "\\udfff"}', "line 1: group or ad"),
    "one choice": ("choice", "a.jsonl", '{"context": "a", "choices": ["b"], "label": 0}', "line 1: choices: 1; exp"),
    "an empty choice": ("choice", "a.jsonl", '{"context": "a", "choices": ["b", ""], "label": 0}', "one of choices is"),
    "unknown choice": ("choice", "a.jsonl", '{"context": "a", "choices": ["b", "c"], "label": 2}', "line 1: the label"),
    "choices as a text": ("choice", "a.jsonl", '{"context": "a", "choices": "bc", "label": 0}', "choices is 'bc'; exp"),
    "a choice's name": ("choice", "a.jsonl", '{"context": "a", "choices": ["b", "c"], "label": "b"}', "0 to 1"),
    "true is no choice": ("choice", "a.jsonl", '{"context": "a", "choices": ["b", "c"], "label": true}', "label True"),
    "no choice": ("choice", "a.jsonl", '{"context": "a", "choices": ["b", "c"]}', "line 1: there is no label"),
    "COPA's third": ("choice", "a.xml", COPA % (3, "a"), "line 1: the label '3' is unknown"),
    "COPA without one": ("choice", "a.xml", COPA % ("", "a"), "line 1: the label '' is unknown"),
    "COPA's premise": ("choice", "a.xml", COPA % (1, " "), "line 1: the item has no premise"),
    "COPA's question": ("choice", "a.xml", "<c>\n<item><p>a</p></item></c>", "line 2: asks-for is None; expected caus"),
    "broken XML": ("choice", "a.xml", "<c>\n<item>\n</c>", "line 3: not XML: mismatched tag"),
    "other XML": ("choice", "a.xml", "<c></c>", "holds no examples"),
    "an entity": ("choice", "a.xml", '<!DOCTYPE c [\n<!ENTITY a "aa">]><c>&a;</c>', "line 2: it declares the entity '"),
    "a word without a tag": ("tag", "a.conll", "Oslo B-LOC\n\nlies\n", "line 3: columns: 1; expected 2, a word fi"),
    "words alone": ("tag", "a.conll", "Oslo\n", "line 1: columns: 1; expected 2, a word first and its tag last"),
    "no word": ("tag", "a.conll", "Oslo\tB-LOC\n \tO\n", "line 2: the word is empty"),
    "unknown tag": ("tag", "a.conll", "Oslo B-LOC\nlies VBZ\n", "line 2: the tag 'VBZ' is unknown; expected O, B-TYPE"),
    "a tag without a type": ("tag", "a.conll", "Oslo B-\n", "line 1: the tag 'B-' is unknown"),
    "no sentences": ("tag", "a.conll", "-DOCSTART- O\n\n", "holds no examples"),
    "fewer tags": ("tag", "a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}', "line 1: tokens: 2, tags: 1; expec"),
    "unknown JSON tag": ("tag", "a.jsonl", '{"tokens": ["a"], "tags": ["X"]}', "line 1: the tag 'X' is unknown"),
    "an empty word": ("tag", "a.jsonl", '{"tokens": ["a", " "], "tags": ["O", "O"]}', "line 1: one of tokens is empty"),
    "no words": ("tag", "a.jsonl", '{"tokens": [], "tags": []}', "line 1: tokens is empty"),
    "no tags": ("tag", "a.jsonl", '{"tokens": ["a"]}', "line 1: there is no tags"),
    "span outside": ("span", "a.jsonl", "\n" + SPAN % '{"text": "wrote", "answer_start": 40}', "line 2: the answer 'w"),
    "span elsewhere": ("span", "a.jsonl", SPAN % '{"text": "wrote", "answer_start": 3}', "3 of its context, where ' w"),
    "span far before": ("span", "a.jsonl", SPAN % '{"text": "wr", "answer_start": -5}', "is not at character -5"),
    "span before": ("span", "a.jsonl", SPAN % '{"text": "e", "answer_start": -1}', "is not at character -1"),
    "a span without start": ("span", "a.jsonl", SPAN % '{"text": "wrote"}', "lacks a text or a whole number answer_st"),
    "an empty span": ("span", "a.jsonl", SPAN % '{"text": "", "answer_start": 0}', "lacks a text"),
    "no answers": ("span", "a.jsonl", '{"question": "q", "context": "c"}', "line 1: there is no answers"),
    "SQuAD's span": ("span", "a.json", squad(answers=[{"text": "Bob", "answer_start": 0}]), QUESTION + "the answer 'B"),
    "SQuAD's question": ("span", "a.json", squad(question=" "), QUESTION + "question is empty"),
    "impossible with answers": ("span", "a.json", squad(is_impossible=True), QUESTION + "is_impossible is true, but"),
    "no article": ("span", "a.json", '{"data": {}}', "there is no list data of objects"),
    "no paragraphs": ("span", "a.json", '{"data": [{"title": "T"}]}', "data[0]: there is no list paragraphs"),
    "broken SQuAD": ("span", "a.json", '{"data":\n]', "line 2: not JSON"),
    "a list": ("span", "a.json", "[]", "there is no list data of objects"),
    "another format": ("sentence", "a.json", "{}", "is no file for the task sentence; expected .tsv, .csv or .jsonl"),
    "columns of choices": ("choice", "a.tsv", "", "is no file for the task choice; expected .jsonl, or COPA's .xml"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_named(tmp_path, name):
    task, file, content, said = MALFORMED[name]
    path = written(tmp_path, file, content)
    with pytest.raises(InputError) as error:
        read(path, task)
    assert path in str(error.value) and said in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("label", ["abc", "nan", "inf", "1e999", ""])
def test_a_regression_takes_finite_numbers_alone(tmp_path, label):
    with pytest.raises(InputError, match=r"line 3: (the )?label is .*"):
        read(written(tmp_path, "a.tsv", f"text\tlabel\nx\t1\nhi\t{label}\n"), "sentence", "regression")


def test_a_number_beyond_any_float_is_no_label(tmp_path):
    with pytest.raises(InputError, match=r"line 1: the label is 1000.* expected a number"):
        read(written(tmp_path, "a.jsonl", f'{{"text": "x", "label": {10**400}}}'), "sentence", "regression")


def test_tasks_problems_and_missing_files_are_named(tmp_path):
    for arguments, said in (
        (("a.tsv", "sentences"), "task is 'sentences'; expected sentence, pair"),
        (("a.jsonl", "choice", "multi"), "problem is 'multi' for the task choice"),
        (("a.tsv", "sentence", "two"), "problem is 'two'"),
        ((tmp_path / "no.tsv", "sentence"), r"no\.tsv does not exist"),
        ((tmp_path, "sentence"), "is a directory; expected a file"),
        (("a\0b.tsv", "sentence"), "cannot be read"),
        (("sentiment", "pair"), "sentiment is a set for the task sentence, not pair"),
        (("sentiment", "sentence", "multi"), "sentiment has no labels for a multi problem"),
    ):
        with pytest.raises(InputError, match=said):
            read(*arguments)
