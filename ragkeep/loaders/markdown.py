"""Markdown that the loaders write: pipe tables and code fences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_SPAN = 100


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell and over how many columns and rows it reaches."""

    text: str
    columns: int = 1
    rows: int = 1


def span_of(value: str | None) -> int:
    """Read a colspan or rowspan attribute; what is no sensible number is 1."""
    return min(max(int(value), 1), MAX_SPAN) if value and value.isascii() and value.isdecimal() else 1


def spread(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """Repeat the text of spanning cells wherever they reach, so that every cell still stands under its header."""
    grid: list[list[str]] = []
    falling: dict[int, tuple[int, str]] = {}  # column -> how many rows below still belong to a cell above
    for row in rows:
        line: list[str] = []
        for cell in row:
            _fall(line, falling)
            for _ in range(cell.columns):
                if cell.rows > 1:
                    falling[len(line)] = (cell.rows - 1, cell.text)
                line.append(cell.text)
        _fall(line, falling)
        grid.append(line)
    return grid


def _fall(line: list[str], falling: dict[int, tuple[int, str]]) -> None:
    while len(line) in falling:
        left, text = falling.pop(len(line))
        if left > 1:
            falling[len(line)] = (left - 1, text)
        line.append(text)


def pipe_table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows, the first of which is the header, as a pipe table; empty rows and columns are left out.

    A single column, or a single row, is no table: its cells become lines.
    """
    full = [[_cell(cell) for cell in row] for row in rows]
    full = [row for row in full if any(row)]
    width = max(map(len, full), default=0)
    full = [row + [""] * (width - len(row)) for row in full]
    used = [i for i in range(width) if any(row[i] for row in full)]
    full = [[row[i] for i in used] for row in full]
    if len(used) < 2 or len(full) < 2:
        return "\n\n".join(cell for row in full for cell in row if cell)
    lines = ["| " + " | ".join(row) + " |" for row in full]
    return "\n".join([lines[0], "|" + " - |" * len(used), *lines[1:]])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def fence(text: str, language: str = "") -> str:
    """Put code between fences longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    marks = "`" * (longest + 1)
    return f"{marks}{language}\n{text}\n{marks}"
