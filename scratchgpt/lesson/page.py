"""One self-contained HTML page from a lesson and its recording: no request, no script but its own, the same bytes."""

import io
import json
import keyword
import re
import tokenize
from html import escape
from importlib.resources import files as resources

from scratchgpt.lesson.cells import markdown

LARGEST = 1_500_000  # bytes of a page
STRINGS = {
    getattr(tokenize, name)
    for name in ("STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    if hasattr(tokenize, name)
}


def page(lesson, recording, live=False):
    """The page as text. live: it is served, and may ask its server for other values of the slider."""
    slider = lesson.slider
    whole = slider is not None and isinstance(slider.value, int)
    data = {
        "cells": [{"kind": cell.kind, "start": cell.start, "end": cell.end} for cell in lesson.cells],
        "slider": slider and {"name": slider.name, "low": slider.low, "high": slider.high, "whole": whole},
        "live": live,
        "recording": for_page(recording),
    }
    parts = {
        "TITLE": escape(lesson.title),
        "CONNECT": "'self'" if live else "'none'",
        "ARTICLE": article(lesson),
        "FILES": "".join(
            f'<template data-file="{escape(each["name"])}">{listing(each["source"])}</template>'
            for each in recording["files"][1:]
        ),
        "DATA": json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"),
    }
    template = resources("scratchgpt.lesson").joinpath("viewer.html").read_text(encoding="utf-8")
    return re.sub(r"<!--(TITLE|CONNECT|ARTICLE|FILES|DATA)-->", lambda found: parts[found[1]], template)


def for_page(recording, listings=False):
    """A recording without the sources, which a page has as HTML; listings: with that HTML, for a page already open."""
    files = [
        {"name": each["name"], "ends": each["ends"]} | ({"html": listing(each["source"])} if listings else {})
        for each in recording["files"]
    ]
    return recording | {"files": files}


def article(lesson):
    """Prose, questions and code, in the order of the file; readable without a script."""
    lines = highlight("\n".join(lesson.lines()), lesson.slider and lesson.slider.line)
    return "".join(section(number, cell, lines) for number, cell in enumerate(lesson.cells))


def section(number, cell, lines):
    if cell.kind == "prose":
        return f'<section class="prose" data-cell="{number}">{markdown.render(cell.text)}</section>'
    if cell.kind == "question":
        return question_card(number, cell.question)
    title = f"<h3>{escape(cell.title)}</h3>" if cell.title else ""
    code = listing_of(lines[cell.start - 1 : cell.end], cell.start)
    return (
        f'<section class="cell" data-cell="{number}">{title}<div class="code">{code}</div>'
        '<p class="veil" hidden></p><div class="printed" role="log" aria-label="output"></div></section>'
    )


def question_card(number, question):
    options = "".join(
        f'<li><button type="button" data-option="{i}"><kbd>{i + 1}</kbd><span>{markdown.renderInline(option)}</span>'
        "<small></small></button></li>"
        for i, option in enumerate(question.options)
    )
    return (
        f'<section class="question" data-cell="{number}" tabindex="-1" aria-label="a question">'
        f'<p class="kicker">Predict first</p>{markdown.render(question.text)}<ol>{options}</ol>'
        '<p class="verdict" role="status"></p>'
        f'<div class="explanation" hidden>{markdown.render(question.explanation)}</div>'
        '<button type="button" class="skip" data-option="-1">Skip: show me</button></section>'
    )


def listing(source):
    return listing_of(highlight(source), 1)


def listing_of(lines, first):
    return "".join(
        f'<div class="line" data-line="{number}"><b>{number}</b><code>{line or " "}</code></div>'
        for number, line in enumerate(lines, first)
    )


def highlight(source, slider_line=None):
    """Python source as HTML, line by line. The number assigned on slider_line can be replaced by the page."""
    rows = source.splitlines()
    spans = {}  # row -> [(start, end, class)]
    previous = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = class_of(token, previous)
        if token.type == tokenize.NUMBER and token.start[0] == slider_line and previous == "=":
            kind = "n slid"
        if token.string.strip():
            previous = token.string
        if kind is None:
            continue
        (row, column), (last, end) = token.start, token.end
        for each in range(row, last + 1):
            line = rows[each - 1]
            spans.setdefault(each, []).append((column if each == row else 0, end if each == last else len(line), kind))
    return [coloured(line, spans.get(number, [])) for number, line in enumerate(rows, 1)]


def class_of(token, previous):
    if token.type == tokenize.COMMENT:
        return "c"
    if token.type in STRINGS:
        return "s"
    if token.type == tokenize.NUMBER:
        return "n"
    if token.type == tokenize.NAME and previous in ("def", "class"):
        return "d"
    if token.type == tokenize.NAME and keyword.iskeyword(token.string):
        return "k"
    return None


def coloured(line, spans):
    parts, at = [], 0
    for start, end, kind in spans:
        parts += [
            escape(line[at:start], quote=False),
            f'<i class="{kind}">',
            escape(line[start:end], quote=False),
            "</i>",
        ]
        at = end
    return "".join([*parts, escape(line[at:], quote=False)])
