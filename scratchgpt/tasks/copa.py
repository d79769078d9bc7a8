"""COPA's XML (Roemmele et al. 2011): a premise and two alternatives, one of them its likelier cause, or effect.

<item id="1" asks-for="cause" most-plausible-alternative="1">
  <p>My body cast a shadow over the grass.</p> <a1>The sun was rising.</a1> <a2>The grass was cut.</a2> </item>
"""

from xml.parsers import expat

from scratchgpt.errors import InputError
from scratchgpt.tasks.fields import examples_of
from scratchgpt.tasks.rows import Row

QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
NUMBERS = {"1": 0, "2": 1, None: None}


def read_copa(text, path, labelled=True):
    """[ChoiceExample] of COPA's XML; the context is the premise and its question. Raises InputError, with the number of
    the line, for XML that is none and an item that lacks something."""
    rows, texts, item = [], {}, {}
    parser = expat.ParserCreate()

    def start(name, attributes):
        if name == "item":
            texts.clear()
            item.clear()
            item.update(attributes, line=parser.CurrentLineNumber)
        texts[name] = ""

    def end(name):
        if name == "item":
            rows.append(row(item, texts, f"{path}, line {item['line']}"))

    def characters(data):
        for name in list(texts)[-1:]:
            texts[name] += data

    def entity(name, *_):
        raise InputError(f"{path}, line {parser.CurrentLineNumber}: it declares the entity {name!r}; expected none")

    parser.EntityDeclHandler = entity  # a few lines of them can stand for gigabytes
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, characters
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise InputError(f"{path}, line {error.lineno}: not XML: {expat.ErrorString(error.code)}") from None
    if not rows:
        raise InputError(f"{path} holds no examples; expected COPA's items")
    return examples_of(rows, path, "choice", labelled=labelled)


def row(item, texts, where):
    """The Row of an item, from its attributes and the texts in it."""
    question, label = QUESTIONS.get(item.get("asks-for")), item.get("most-plausible-alternative")
    if question is None:
        raise InputError(f"{where}: asks-for is {item.get('asks-for')!r}; expected {' or '.join(QUESTIONS)}")
    if label not in NUMBERS:
        raise InputError(f"{where}: the label {label!r} is unknown; expected most-plausible-alternative 1 or 2")
    premise, *choices = (" ".join(texts.get(name, "").split()) for name in ("p", "a1", "a2"))
    if not premise:
        raise InputError(f"{where}: the item has no premise <p>")
    return Row(item["line"], {"id": item.get("id"), "context": f"{premise} {question}", "choices": choices,
                              "label": NUMBERS[label]})  # fmt: skip
