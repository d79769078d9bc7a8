"""Rows of named columns, wherever they come from: TSV, CSV or JSONL, each with the line it stands on.

A TSV file has a column between every two tabs, and quotes mean nothing; a CSV file is as RFC 4180 says. Both begin with
a line of column names. A JSONL file has an object on each line. All are UTF-8, with or without a byte-order mark.
"""

import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

from scratchgpt.errors import InputError

VADER = ("id", "label", "text")  # the columns of VADER's ground-truth files, which do not name them


class Row(NamedTuple):
    """The line a row begins on, counted from 1, and its values by the names of the columns."""

    line: int
    values: dict


def read_rows(path):
    """[Row] of a file: JSONL where its name ends in .jsonl, CSV where it ends in .csv, else TSV.

    Raises InputError, with the number of the line, for bytes that are not UTF-8, JSON that is none, and a row with
    another number of columns than the first line names.
    """
    text = read_text(path)
    kind = Path(path).suffix.lower()
    rows = {".jsonl": json_rows, ".csv": csv_rows}.get(kind, tsv_rows)(text, path)
    if not rows:
        raise InputError(f"{path} holds no examples")
    return rows


def read_text(path):
    """The text of a UTF-8 file, without its byte-order mark. Raises InputError, with the line, when it is none."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory; expected a file of examples") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', error)}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8; save it as UTF-8"
        ) from None


def lines_of(text):
    """[(number, line)] of the lines that hold something. Only \\n and \\r\\n end a line: texts have all the others."""
    lines = enumerate(text.split("\n"), 1)
    return [(number, line.removesuffix("\r")) for number, line in lines if line.strip()]


def tsv_rows(text, path):
    records = [(number, line.split("\t")) for number, line in lines_of(text)]
    return with_names(records, path)


def csv_rows(text, path):
    reader, records, begins = csv.reader(io.StringIO(text, newline=""), strict=True), [], 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                records.append((begins, fields))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {begins}: not CSV: {error}") from None
    return with_names(records, path)


def with_names(records, path):
    """Rows from (line, fields), the first of which names the columns, except in VADER's files."""
    if not records:
        return []
    first, names = records[0][0], [name.strip().lower() for name in records[0][1]]
    if len(names) == len(VADER) and is_number(names[1]):
        names = list(VADER)
    else:
        records = records[1:]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise InputError(f"{path}, line {first}: two columns are called {twice!r}; give them different names")
    for line, fields in records:
        if len(fields) != len(names):
            raise InputError(f"{path}, line {line}: columns: {len(fields)}; expected {len(names)}: "
                             f"{', '.join(names)}")  # fmt: skip
    return [Row(line, dict(zip(names, fields))) for line, fields in records]


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def json_rows(text, path):
    rows = []
    for number, line in lines_of(text):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError(f"{path}, line {number}: a JSON {type(values).__name__}; expected an object")
        rows.append(Row(number, values))
    return rows
