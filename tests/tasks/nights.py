"""A small real project for tests of the stages: documents and chunks written as the stages before would have."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from ragkeep.config import Params, Paths, SourceParams
from ragkeep.tables import chunks_table, documents_table
from ragkeep.types import Chunk, Document, content_id
from tasks.shards import shard_of, write_shard

SHARDS = 4
PARAMS = Params(sources=(SourceParams("docs", "docs"),))


def project(root: Path) -> Paths:
    (root / "docs").mkdir(exist_ok=True)
    return Paths(root)


def document(name: str, text: str) -> Document:
    uri = f"docs/{name}"
    return Document(content_id("default", uri, sha_of(text)), uri, "docs", "default", text, "prose", "markdown")


def sha_of(text: str) -> str:
    return content_id(text)


def put_documents(paths: Paths, texts: dict[str, str]) -> None:
    documents = [document(name, text) for name, text in sorted(texts.items())]
    _put(paths.data / "documents", documents, documents_table)
    rows = [(d.uri, d.source, d.workspace, len(d.text), sha_of(d.text)) for d in documents]
    names = ("uri", "source", "workspace", "size", "sha")
    import pyarrow.parquet as pq

    (paths.data / "sources").mkdir(parents=True, exist_ok=True)
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    pq.write_table(pa.table(dict(zip(names, map(list, columns), strict=True))), paths.data / "sources/manifest.parquet")


def put_chunks(paths: Paths, texts: dict[str, str], **changes: Any) -> None:
    chunks = [_chunk(document(name, text), changes) for name, text in sorted(texts.items())]
    _put(paths.data / "chunks", chunks, chunks_table)


def _chunk(d: Document, changes: dict[str, Any]) -> Chunk:
    values = {"span": (0, len(d.text)), "lines": (1, 1), "tokens": 5} | changes
    return Chunk(content_id(d.id), d.id, d.uri, d.source, d.workspace, d.text, kind=d.kind, language="markdown", **values)


def _put(folder: Path, items: Iterable[Any], table: Any) -> None:
    shards: dict[int, list[Any]] = {n: [] for n in range(SHARDS)}
    for item in items:
        shards[shard_of(item.uri, SHARDS)].append(item)
    for number, rows in shards.items():
        write_shard(folder, number, table(rows), "key")


def put_rows(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
