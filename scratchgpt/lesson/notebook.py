"""A lesson as a Jupyter notebook, without outputs: the same bytes from the same file."""

import json

INSTALL = """\
# On Colab, and wherever the package is missing, this cell installs it; elsewhere it does nothing.
import importlib.util

if importlib.util.find_spec("scratchgpt") is None:
    %pip install --quiet scratchgpt"""


def notebook(lesson):
    """The notebook as text (nbformat 4.5). What explains a question's answer follows the code that answers it."""
    cells, explanations = [code_cell("install", INSTALL)], []
    lines = lesson.lines(without=("skip", "over", "short"))  # Colab draws the slider from @param
    for number, cell in enumerate(lesson.cells):
        name = f"cell-{number:02}"
        if cell.kind == "code":
            cells.append(code_cell(name, "\n".join(lines[cell.start - 1 : cell.end])))
            cells += explanations
            explanations = []
        elif cell.kind == "question":
            options = "\n".join(f"- {option}" for option in cell.question.options)
            cells.append(prose_cell(name, f"**Predict first.** {cell.question.text}\n\n{options}"))
            explanations.append(prose_cell(f"{name}-answer", cell.question.explanation))
        else:
            cells.append(prose_cell(name, cell.text))
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    book = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def code_cell(name, text):
    return {
        "cell_type": "code", "execution_count": None, "id": name, "metadata": {}, "outputs": [], "source": rows(text),
    }  # fmt: skip


def prose_cell(name, text):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": rows(text)}


def rows(text):
    return text.splitlines(keepends=True)
