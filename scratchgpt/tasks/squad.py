"""SQuAD's JSON, 1.1 and 2.0 (Rajpurkar et al. 2016, 2018): articles, their paragraphs, questions about each.

{"version": "v2.0", "data": [{"title": "Normans", "paragraphs": [{"context": "The Normans ...", "qas": [
    {"id": "56dd", "question": "In what country ...?", "is_impossible": false,
     "answers": [{"text": "France", "answer_start": 159}]}]}]}]}
"""

import json

from scratchgpt.errors import InputError
from scratchgpt.tasks.fields import example_of


def read_squad(text, path, labelled=True):
    """[SpanExample] of the text of a SQuAD file; an article is a group, and the "plausible answers" of questions that
    have none are left out. Raises InputError, naming the question, for what is missing or does not fit."""
    try:
        articles = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    examples = []
    for title, article in parts(articles, "data", path):
        for place, paragraph in parts(article, "paragraphs", title):
            for question, values in parts(paragraph, "qas", place):
                known = {"context": paragraph.get("context"), "group": article.get("title")}
                values |= {name: value for name, value in known.items() if value is not None}
                examples.append(example_of(values, question, question, "span", labelled=labelled))
    if not examples:
        raise InputError(f"{path} holds no examples")
    return examples


def parts(whole, name, place):
    """[(where it is, object)] of the list `name` of a JSON object."""
    many = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(many, list) or not all(isinstance(each, dict) for each in many):
        raise InputError(f"{place}: there is no list {name} of objects; expected SQuAD's data, paragraphs and qas")
    return [(f"{place}, {name}[{number}]", each) for number, each in enumerate(many)]
