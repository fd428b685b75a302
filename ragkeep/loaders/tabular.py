"""Records as text that can be searched: one "name: value" line a field, an empty line between records.

Every record carries its column names, so that a piece of a long table still says what its values are.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from ..ports import Extract
from . import Unreadable
from .text import readable

_LONG = 200


def csv_rows(path: PurePath, data: bytes) -> Iterator[Extract]:
    """Read delimited rows; the delimiter is found, the first row with text names the columns."""
    text = readable(data)
    csv.field_size_limit(len(text) + 1)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(map(str.strip, row))]
    except csv.Error as error:
        raise Unreadable("damaged", f"not a readable table: {error}") from error
    meta: dict[str, object] = {"rows": max(0, len(rows) - 1)}
    yield Extract(records_text(rows), "prose", "text", meta=meta)


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first lines most evenly into most columns."""
    head = text[: 1 << 16].splitlines()[:50]

    def evenness(delimiter: str) -> tuple[float, int]:
        widths = Counter(len(row) for row in csv.reader(head, delimiter=delimiter) if row)
        width, lines = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(1, 0))
        return (lines / len(head) if width > 1 else 0.0, width)

    return max((",", ";", "\t", "|", ":"), key=lambda d: (evenness(d)[0] if d != ":" else 0.0, evenness(d)[1]))


def records_text(rows: list[list[str]]) -> str:
    """Write rows, the first of which names the columns, as records."""
    if not rows:
        raise Unreadable("empty", "the table has no rows")
    names, width = rows[0], max(map(len, rows))
    if len(rows) == 1 or width == 1:
        return "\n".join(" | ".join(row) for row in rows) + "\n"
    labels = [name.strip() for name in names] + [""] * (width - len(names))
    return "\n".join(_record(labels, row) for row in rows[1:])


def _record(labels: list[str], row: list[str]) -> str:
    fields = ((label, value.strip()) for label, value in zip(labels, row, strict=False))
    return "".join(f"{label}: {value}\n" if label else f"{value}\n" for label, value in fields if value)


def json_records(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read one JSON value: an array gives a record an element, an object its fields."""
    value = _parse(readable(data))
    text = "\n".join(map(render, value)) if isinstance(value, list) else render(value)
    yield Extract(text, "prose", "text", meta=_title(value))


def json_lines(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read one record a line; lines that do not parse are counted in `meta["bad_lines"]`."""
    records, bad = [], 0
    for line in readable(data).split("\n"):
        if not line.strip():
            continue
        try:
            records.append(render(_parse(line)))
        except Unreadable:
            bad += 1
    if not records:
        raise Unreadable("damaged", f"none of the {bad} lines is JSON")
    yield Extract("\n".join(records), "prose", "text", meta={"bad_lines": bad} if bad else None)


def notebook(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read a Jupyter notebook: Markdown cells as they are, code cells fenced, outputs left out."""
    value = _parse(readable(data))
    cells = value.get("cells") if isinstance(value, dict) else None
    if not isinstance(cells, list):
        raise Unreadable("damaged", "not a notebook: it has no cells")
    language = str(_dig(value, "metadata", "kernelspec", "language") or "python")
    parts = [_cell(cell, language) for cell in cells if isinstance(cell, dict)]
    yield Extract("\n\n".join(filter(None, parts)) + "\n", "prose", "markdown")


def _cell(cell: dict[str, Any], language: str) -> str:
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return f"```{language}\n{text}\n```" if cell.get("cell_type") == "code" and text.strip() else text


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise Unreadable("damaged", "JSON nested too deeply") from None
    except ValueError as error:
        raise Unreadable("damaged", f"not JSON: {error}") from None


def _title(value: Any) -> dict[str, object] | None:
    for key in ("title", "name"):
        if isinstance(value, dict) and isinstance(value.get(key), str):
            return {"title": value[key]}
    return None


def render(value: Any) -> str:
    """Write a JSON value as lines; nested names are joined with dots, long texts stand under their name."""
    return "".join(_lines(value, ""))


def _lines(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for i, item in enumerate(value):
            yield "\n" if i else ""
            yield from _lines(item, name)
    elif isinstance(value, list):
        yield from _lines(", ".join(map(_scalar, value)), name) if value else ()
    elif value is not None and value != "":
        yield _field(name, _scalar(value))


def _field(name: str, text: str) -> str:
    if not name:
        return f"{text}\n"
    return f"{name}:\n{text}\n" if len(text) > _LONG or re.search(r"\n", text) else f"{name}: {text}\n"


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
