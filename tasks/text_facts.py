"""Facts about texts, for validation: how much of each is visible, control characters, or decoded with a wrong table.

Texts are read a few hundred at a time; what is kept of each is a few numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.shards import iter_shards

BATCH = 256
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]+")
_LATER = "".join(sorted({bytes([b]).decode("cp1252", "ignore") or chr(b) for b in range(0x80, 0xC0)}))
_LATER_CLASS = f"[{re.escape(_LATER)}\x80-\x9f]"
_WRONG = re.compile(f"\ufffd+|(?:[Â-ß]{_LATER_CLASS}|[à-ï]{_LATER_CLASS}{{2}}|[ð-ô]{_LATER_CLASS}{{3}})+")
Facts = Callable[[dict[str, Any]], dict[str, Any]]


def control_share(text: str) -> float:
    """Share of control characters, without tab, line feed, vertical tab, form feed, return and NEL."""
    return sum(map(len, _CONTROL.findall(text))) / max(1, len(text))


def mojibake_share(text: str) -> float:
    """Share of U+FFFD and of UTF-8 sequences that were read as Windows-1252 ("Ã©" for "é")."""
    return 0.0 if text.isascii() else sum(map(len, _WRONG.findall(text))) / max(1, len(text))


def visible(text: str) -> int:
    """1 when the text holds a letter, digit, mark or symbol to be read, else 0."""
    return int(any(not c.isspace() and c.isprintable() for c in text[:4096]) or bool(text[4096:].strip()))


def frame(folder: Path, columns: Sequence[str], facts: Facts | None = None) -> pa.Table:
    """Describe every row of a folder of shards: `row` (its number), `columns` as they are, and the facts of its text.

    Facts are visible (0 or 1), control_share, mojibake_share, length (characters), and what `facts` adds for a row.
    """
    tables = [_described(batch, columns, facts) for batch in _batches(folder)]
    if not tables:
        names = (*columns, "visible", "control_share", "mojibake_share", "length", "tokens", "span_errors")
        return pa.table({"row": pa.array([], pa.int64())} | {name: pa.array([], pa.string()) for name in names})
    table = pa.concat_tables(tables)
    return table.add_column(0, "row", pa.array(np.arange(table.num_rows)))


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for path in iter_shards(folder):
        with pq.ParquetFile(path, memory_map=True) as file:
            yield from file.iter_batches(batch_size=BATCH)


def _described(batch: pa.RecordBatch, columns: Sequence[str], facts: Facts | None) -> pa.Table:
    texts = [text or "" for text in batch.column("text").to_pylist()]
    made = {name: batch.column(name) for name in columns if name in batch.schema.names}
    made |= {
        "visible": pa.array([visible(t) for t in texts], pa.int64()),
        "control_share": pa.array([control_share(t) for t in texts], pa.float64()),
        "mojibake_share": pa.array([mojibake_share(t) for t in texts], pa.float64()),
        "length": pa.array([len(t) for t in texts], pa.int64()),
    }
    if facts is not None:
        rest = [n for n in batch.schema.names if n not in ("text", "meta")]
        rows = [facts(row | {"length": len(t)}) for row, t in zip(batch.select(rest).to_pylist(), texts, strict=True)]
        made |= {name: pa.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    return pa.table(made)
