"""Stage: documents to chunks, cutting only documents that changed. `python -m tasks.chunk`

data/documents - data/quarantine/validate.jsonl -> data/chunks, shard by shard under the same numbers. A shard made from
the same documents, refusals, sizes and chunker is not opened; in another one the rows of documents whose text and place
are the same are taken over. Large work is shared by two processes, each making whole shards.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ragkeep.chunkers import chunk_document, version
from ragkeep.config import ChunkSection, Params, Paths
from ragkeep.errors import RagkeepError, SourceError
from ragkeep.files import read_rows
from ragkeep.tables import chunks_table, iter_documents, read_table, rows_mask
from ragkeep.types import Document
from tasks.shards import digest, iter_shards, prune_shards, shard_key, shard_of, shard_path, write_shard
from tasks.stage import progress, stage_main

_MADE = b"ragkeep.chunk"
_WORTH_A_PROCESS = 4_000_000  # bytes of changed document shards


@dataclass(frozen=True, slots=True)
class Work:
    """One shard to make: where from, where to, and everything else that decides its content."""

    number: int
    documents: Path
    out: Path
    refused: frozenset[str]
    section: ChunkSection
    key: str


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Write data/chunks/NNNN.parquet; returns counts. Raises SourceError where there are no documents to read.

    Memory holds one shard a process.
    """
    folder, out = paths.data / "documents", paths.data / "chunks"
    out.mkdir(parents=True, exist_ok=True)
    shards = list(iter_shards(folder))
    if not shards:
        raise SourceError(f"{folder} holds no documents: run `dvc repro ingest` first")
    refused = _refused(paths, params.ingest.shards)
    work = [_work(path, out, refused, params.chunk) for path in shards]
    stale = [w for w in work if shard_key(shard_path(out, w.number)) != w.key]
    cut = _make_all(stale)
    prune_shards(out, len(shards))
    documents, chunks = _totals(out)
    return {"documents": documents, "chunks": chunks, "cut": cut, "reused": documents - cut}


def _refused(paths: Paths, shards: int) -> dict[int, set[str]]:
    """The ids of documents in quarantine, by shard."""
    found: dict[int, set[str]] = {}
    for row in read_rows(paths.data / "quarantine" / "validate.jsonl"):
        found.setdefault(shard_of(row["uri"], shards), set()).add(row["id"])
    return found


def _work(path: Path, out: Path, refused: dict[int, set[str]], section: ChunkSection) -> Work:
    source = shard_key(path)
    if source is None:
        raise SourceError(f"{path} cannot be read: run the ingest stage again (python -m tasks.ingest)")
    number = int(path.stem)
    left_out = frozenset(refused.get(number, ()))
    key = digest(source, _method(section), *sorted(left_out))
    return Work(number, path, out, left_out, section, key)


def _method(section: ChunkSection) -> str:
    return json.dumps({"version": version(), **asdict(section)}, sort_keys=True)


def _make_all(stale: list[Work]) -> int:
    """Make shards, in two processes where there is enough to do; returns how many documents were cut."""
    size = sum(w.documents.stat().st_size for w in stale)
    with progress("chunk", len(stale)) as advance:
        cut = 0
        for made in _in_processes(stale) if size >= _WORTH_A_PROCESS and _cores() > 1 else map(make, stale):
            cut += made
            advance(1)
    return cut


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(stale: list[Work]) -> Iterator[int]:
    # spawned: the tokenizer and Arrow have threads, which a fork would copy in any state
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=_single_threaded) as pool:
        futures: list[Future[int]] = [pool.submit(make, w) for w in stale]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BrokenProcessPool:
            raise RagkeepError(
                "a process of the chunk stage was killed (out of memory?); run it again: finished shards are kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _single_threaded() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def make(work: Work) -> int:
    """Replace one shard; returns how many of its documents were cut, the others being taken over."""
    old, known = _old(work)
    marks: dict[str, str] = {}
    fresh: list[Document] = []
    for document in iter_documents(read_table(work.documents)):
        if document.id in work.refused:
            continue
        marks[document.id] = _mark(document)
        if known.get(document.id) != marks[document.id]:
            fresh.append(document)
    kept = marks.keys() - {d.id for d in fresh}
    made = chunks_table(chunk for d in fresh for chunk in chunk_document(d, work.section))
    if old is not None:
        made = pa.concat_tables([old.filter(rows_mask([i in kept for i in old["document_id"].to_pylist()])), made])
    table = made.sort_by([("uri", "ascending"), ("start", "ascending")]).combine_chunks()
    about = {"method": _method(work.section), "documents": marks}
    write_shard(work.out, work.number, table.replace_schema_metadata({_MADE: _json(about)}), work.key)
    return len(fresh)


def _mark(document: Document) -> str:
    """Hash all that a chunk is made from but the id: a newer loader may read other text from the same bytes."""
    meta = json.dumps(document.meta, sort_keys=True)
    place = (document.uri, document.source, document.workspace, document.kind, document.language)
    return digest(document.text, str(document.first_line), meta, *place)[:16]


def _old(work: Work) -> tuple[pa.Table | None, dict[str, str]]:
    """The shard's last version and the marks of its documents; nothing where another method made it."""
    path = shard_path(work.out, work.number)
    about = _about(path)
    if about.get("method") != _method(work.section):
        return None, {}
    return read_table(path).replace_schema_metadata(None), about["documents"]


def _about(path: Path) -> dict[str, Any]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return {}
    return dict(json.loads(metadata.get(_MADE, b"{}")))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _totals(out: Path) -> tuple[int, int]:
    paths: Iterable[Path] = list(iter_shards(out))
    return sum(len(_about(p)["documents"]) for p in paths), sum(pq.read_metadata(p).num_rows for p in paths)


if __name__ == "__main__":
    stage_main("chunk", run)
