"""Documents and chunks as Arrow tables: one schema for stage outputs and for stores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .types import Chunk, Document, Vectors

DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("uri", pa.string()),
        ("source", pa.string()),
        ("workspace", pa.string()),
        ("text", pa.large_string()),
        ("kind", pa.string()),
        ("language", pa.string()),
        ("first_line", pa.int32()),
        ("meta", pa.string()),
    ]
)

CHUNKS = pa.schema(
    [
        ("id", pa.string()),
        ("document_id", pa.string()),
        ("uri", pa.string()),
        ("source", pa.string()),
        ("workspace", pa.string()),
        ("text", pa.large_string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("first_line", pa.int32()),
        ("last_line", pa.int32()),
        ("kind", pa.string()),
        ("language", pa.string()),
        ("context", pa.string()),
        ("tokens", pa.int32()),
        ("meta", pa.string()),
    ]
)


def columns_table(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Build a table of string and integer columns without nulls.

    Straight from buffers: `pyarrow.array` of a Python list imports pandas wherever it is installed, which costs
    a stage more than a second of CPU.
    """
    made = [_column(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(made, schema=schema)


def _column(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_integer(type_):
        numbers = np.asarray(values, dtype=f"int{type_.bit_width}")
        return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(numbers)])
    data = [value.encode() for value in values]
    width = np.int64 if pa.types.is_large_string(type_) else np.int32
    offsets = np.zeros(len(data) + 1, dtype=np.int64)
    np.cumsum([len(one) for one in data], out=offsets[1:])
    if offsets[-1] > np.iinfo(width).max:
        raise OverflowError(f"a column of {offsets[-1]:,} bytes does not fit {type_}: use more shards")
    buffers = [None, pa.py_buffer(offsets.astype(width)), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(type_, len(data), buffers)


def rows_mask(keep: Sequence[bool]) -> pa.BooleanArray:
    """Pack which rows of a table to keep, for `Table.filter`; without pandas, as above."""
    bits = np.packbits(np.asarray(keep, dtype=bool), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(keep), [None, pa.py_buffer(bits)])


def vectors_column(vectors: Vectors) -> pa.FixedSizeListArray:
    """Pack float32 (n, dim) as a column of n lists; without pandas, as above."""
    flat = np.ascontiguousarray(vectors, np.float32).reshape(-1)
    values = pa.Array.from_buffers(pa.float32(), flat.size, [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file; `pyarrow.parquet.read_table` would import pandas first, as above."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        return file.read(columns=None if columns is None else list(columns))


def _meta(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else ""


def documents_table(documents: Iterable[Document]) -> pa.Table:
    """Pack documents, one row each."""
    listed = list(documents)
    columns: dict[str, list[Any]] = {name: [getattr(d, name) for d in listed] for name in DOCUMENTS.names}
    return columns_table({**columns, "meta": [_meta(d.meta) for d in listed]}, DOCUMENTS)


def file_shas(folder: Path) -> dict[str, str]:
    """Read which files a night saw, from the `sources/manifest.parquet` in its folder: uri -> hash of the bytes.

    Empty where there is no manifest.
    """
    path = folder / "sources" / "manifest.parquet"
    if not path.is_file():
        return {}
    table = read_table(path, ["uri", "sha"])
    return dict(zip(table["uri"].to_pylist(), table["sha"].to_pylist(), strict=True))


def iter_documents(table: pa.Table) -> Iterator[Document]:
    """Unpack rows of DOCUMENTS, batch by batch."""
    for batch in table.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            row["meta"] = json.loads(row["meta"]) if row["meta"] else {}
            yield Document(**row)


def chunk_row(chunk: Chunk) -> dict[str, Any]:
    """One chunk as a row of CHUNKS."""
    return {
        "id": chunk.id, "document_id": chunk.document_id, "uri": chunk.uri, "source": chunk.source,
        "workspace": chunk.workspace, "text": chunk.text, "start": chunk.span[0], "end": chunk.span[1],
        "first_line": chunk.lines[0], "last_line": chunk.lines[1], "kind": chunk.kind,
        "language": chunk.language, "context": chunk.context, "tokens": chunk.tokens, "meta": _meta(chunk.meta),
    }  # fmt: skip


def row_chunk(row: dict[str, Any]) -> Chunk:
    """One row of CHUNKS (other columns are ignored) as a chunk."""
    return Chunk(
        id=row["id"], document_id=row["document_id"], uri=row["uri"], source=row["source"],
        workspace=row["workspace"], text=row["text"], span=(row["start"], row["end"]),
        lines=(row["first_line"], row["last_line"]), kind=row["kind"], language=row["language"],
        context=row["context"], tokens=row["tokens"], meta=json.loads(row["meta"]) if row["meta"] else {},
    )  # fmt: skip


def chunks_table(chunks: Iterable[Chunk]) -> pa.Table:
    """Pack chunks, one row each."""
    rows = [chunk_row(c) for c in chunks]
    return columns_table({name: [row[name] for row in rows] for name in CHUNKS.names}, CHUNKS)


def iter_chunks(table: pa.Table) -> Iterator[Chunk]:
    """Unpack rows of CHUNKS, batch by batch."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield row_chunk(row)
