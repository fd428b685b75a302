"""Documents and chunks as Arrow tables: one schema for stage outputs and for stores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from .types import Chunk, Document

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


def _meta(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else ""


def documents_table(documents: Iterable[Document]) -> pa.Table:
    """Pack documents, one row each."""
    rows = [
        {
            "id": d.id, "uri": d.uri, "source": d.source, "workspace": d.workspace, "text": d.text,
            "kind": d.kind, "language": d.language, "first_line": d.first_line, "meta": _meta(d.meta),
        }
        for d in documents
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


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
    return pa.Table.from_pylist([chunk_row(c) for c in chunks], schema=CHUNKS)


def iter_chunks(table: pa.Table) -> Iterator[Chunk]:
    """Unpack rows of CHUNKS, batch by batch."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield row_chunk(row)
