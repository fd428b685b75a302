"""Turn the files of the manifest into documents; what cannot be read goes to quarantine. `python -m tasks.ingest`

A shard whose files, loaders and limits are those it was made from is left alone; in any other shard only the files
that changed are parsed. A shard also carries, in its metadata, the refusals of its files, so that a damaged file is
not parsed again every night; data/quarantine/ingest.jsonl is assembled from the shards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, cast

from ragkeep.config import Params, Paths
from ragkeep.files import read_json, read_rows, write_rows
from ragkeep.loaders import LOADERS, TRANSIENT, loader_for, version_of
from ragkeep.ports import Extract
from ragkeep.sandbox import File, Limits, Refused, Sandbox
from ragkeep.tables import documents_table, read_table, rows_mask
from ragkeep.types import Document, Kind, content_id
from tasks.scan import root_of
from tasks.shards import digest, prune_shards, shard_key, shard_of, shard_path, write_shard
from tasks.stage import progress, stage_main

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

WORKERS = 2
_MADE = b"ragkeep.ingest"


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the manifest."""

    uri: str
    source: str
    workspace: str
    size: int
    sha: str

    @property
    def id(self) -> str:
        """The id of the document that the file becomes."""
        return content_id(self.workspace, self.uri, self.sha)


@dataclass(slots=True)
class Shard:
    """One shard's inputs, and after `_make` what came of them."""

    number: int
    files: list[Listed]
    released: frozenset[tuple[str, str]]
    key: str
    made: dict[str, Any]
    refused: list[dict[str, str]] = field(default_factory=list)
    documents: int = 0
    parsed: int = 0


@dataclass(slots=True)
class _Readers:
    """Sandboxes that wait for work: ordinary ones, and ones with raised limits for released documents."""

    roots: dict[str, Path]
    usual: SimpleQueue[Sandbox]
    raised: SimpleQueue[Sandbox]


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Write data/documents/NNNN.parquet and data/quarantine/ingest.jsonl. Raises RagkeepError.

    Memory holds the manifest and two shards at a time.
    """
    folder = paths.data / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(paths, params)
    stale = [s for s in shards if shard_key(shard_path(folder, s.number)) != s.key]
    with progress("ingest", sum(len(s.files) for s in stale)) as advance:
        _make_all(folder, stale, paths, params, advance)
    remade = {s.number for s in stale}
    for shard in shards:
        if shard.number not in remade:
            _recall(shard, folder)
    prune_shards(folder, params.ingest.shards)
    rows = [row for shard in shards for row in shard.refused] + _unlisted(paths)
    rows.sort(key=lambda row: (row["uri"], row["sha"], row["reason"]))
    write_rows(paths.data / "quarantine" / "ingest.jsonl", rows)
    return _stats(shards, rows)


def _stats(shards: Sequence[Shard], rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    seen = sum(len(s.files) for s in shards)
    parsed = sum(s.parsed for s in shards)
    return {
        "seen": seen,
        "documents": sum(s.documents for s in shards),
        "parsed": parsed,
        "reused": seen - parsed,
        "quarantined": len(rows),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows).items())),
    }


# Inputs


def _shards(paths: Paths, params: Params) -> list[Shard]:
    """Every shard with its files and the digest of everything that decides its content."""
    files: list[list[Listed]] = [[] for _ in range(params.ingest.shards)]
    for row in _manifest(paths):
        files[shard_of(row.uri, params.ingest.shards)].append(row)
    released = read_released(paths)
    limits = [params.ingest.timeout_s, params.ingest.memory_mb, params.ingest.max_chars]
    made = {"loaders": {name: version_of(name) for name in sorted(LOADERS)}, "limits": limits}
    return [_shard(number, listed, released, made) for number, listed in enumerate(files)]


def _shard(number: int, files: list[Listed], released: frozenset[tuple[str, str]], made: dict[str, Any]) -> Shard:
    own = frozenset((f.uri, f.sha) for f in files) & released
    made = {**made, "released": sorted(uri for uri, _ in own)}
    parts = [part for f in files for part in (f.uri, f.workspace, f.source, f.sha)]
    return Shard(number, files, own, digest(json.dumps(made, sort_keys=True), *parts), made)


def _manifest(paths: Paths) -> Iterator[Listed]:
    table = read_table(paths.data / "sources" / "manifest.parquet")
    for batch in table.to_batches(max_chunksize=4096):
        yield from (Listed(**row) for row in batch.to_pylist())


def read_released(paths: Paths) -> frozenset[tuple[str, str]]:
    """What people let out of quarantine, as (uri, sha of the bytes): another version is judged anew."""
    return frozenset((row["uri"], row.get("sha", "")) for row in read_rows(paths.data / "released.jsonl"))


# Making


def _make_all(folder: Path, shards: list[Shard], paths: Paths, params: Params, advance: Callable[[int], None]) -> None:
    """Make shards, one a worker at a time; a Sandbox starts its process only when it gets a file to read."""
    limits = Limits(params.ingest.timeout_s, params.ingest.memory_mb, params.ingest.max_chars)
    readers = _Readers({s.name: root_of(s, paths) for s in params.sources}, SimpleQueue(), SimpleQueue())
    lock, stopped = Lock(), Event()

    def count(n: int) -> None:
        if stopped.is_set():
            raise _Stopped
        with lock:
            advance(n)

    with ExitStack() as stack:
        for _ in range(WORKERS):
            readers.usual.put(stack.enter_context(Sandbox(limits)))
            readers.raised.put(stack.enter_context(Sandbox(limits.raised())))
        pool = stack.enter_context(ThreadPoolExecutor(WORKERS))
        try:
            for _ in pool.map(lambda shard: _make(shard, folder, readers, count), shards):
                pass
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


class _Stopped(Exception):
    """The other worker failed, or the user pressed Ctrl-C."""


def _make(shard: Shard, folder: Path, readers: _Readers, advance: Callable[[int], None]) -> None:
    """Parse what is new in a shard, take the rest from its last version, and replace it."""
    import pyarrow as pa

    kept, refused = _reusable(shard, shard_path(folder, shard.number))
    known = set(kept["uri"].to_pylist()) | {row["uri"] for row in refused}
    todo = [f for f in shard.files if f.uri not in known]
    advance(len(shard.files) - len(todo))
    documents = []
    for listed, result in _parse(shard, todo, readers):
        advance(1)
        if isinstance(result, Refused):
            refused.append(_refusal(listed, result))
        else:
            documents.append(_document(listed, result))
    table = pa.concat_tables([kept, documents_table(documents)]).sort_by("uri")
    shard.refused = sorted(refused, key=lambda row: row["uri"])
    shard.documents, shard.parsed = table.num_rows, len(todo)
    made = json.dumps({**shard.made, "refused": shard.refused}, sort_keys=True)
    transient = any(row["reason"] in TRANSIENT for row in refused)  # such a shard is looked at again
    key = f"again-{shard.key}" if transient else shard.key
    write_shard(folder, shard.number, table.replace_schema_metadata({_MADE: made.encode()}), key)


def _parse(shard: Shard, todo: list[Listed], readers: _Readers) -> Iterator[tuple[Listed, Extract | Refused]]:
    for queue, files in (
        (readers.usual, [f for f in todo if (f.uri, f.sha) not in shard.released]),
        (readers.raised, [f for f in todo if (f.uri, f.sha) in shard.released]),
    ):
        sandbox = queue.get()
        try:
            yield from zip(files, sandbox.read([_file(f, readers.roots) for f in files]), strict=True)
        finally:
            queue.put(sandbox)


def _file(listed: Listed, roots: dict[str, Path]) -> File:
    """Where a listed file lies: under its source's root, or the root itself where the source is one file."""
    root, relative = roots[listed.source], listed.uri.partition("/")[2]
    found = loader_for(PurePosixPath(relative))
    return File(root if root.is_file() else root / relative, found[0] if found else "", listed.size, listed.sha)


def _document(listed: Listed, extract: Extract) -> Document:
    return Document(
        id=listed.id,
        uri=listed.uri,
        source=listed.source,
        workspace=listed.workspace,
        text=extract.text,
        kind=cast(Kind, extract.kind),
        language=extract.language,
        first_line=extract.first_line,
        meta=dict(extract.meta or {}),
    )


def _refusal(listed: Listed, refused: Refused) -> dict[str, str]:
    return {
        "uri": listed.uri, "sha": listed.sha, "source": listed.source, "workspace": listed.workspace,
        "stage": "ingest", "reason": refused.reason, "detail": refused.detail,
    }  # fmt: skip


# Reuse


def _reusable(shard: Shard, path: Path) -> tuple[pa.Table, list[dict[str, str]]]:
    """Rows and refusals of the last version that still hold: same bytes, uri, place, loader and limits."""
    made = _made(path)
    if made is None or made["limits"] != shard.made["limits"]:
        return documents_table([]), []
    changed = set(made["released"]) ^ set(shard.made["released"])
    current = {f.uri: f for f in shard.files if f.uri not in changed and _same_loader(f.uri, made["loaders"])}
    table = read_table(path)
    wanted = {(f.uri, f.id, f.source) for f in current.values()}
    columns = (table[name].to_pylist() for name in ("uri", "id", "source"))
    mask = [row in wanted for row in zip(*columns, strict=True)]
    refused = [row for row in made["refused"] if _still_refused(row, current.get(row["uri"]))]
    kept = table.filter(rows_mask(mask)).replace_schema_metadata(None)
    return kept, refused


def _made(path: Path) -> dict[str, Any] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    made: dict[str, Any] | None = json.loads(metadata[_MADE]) if _MADE in metadata else None
    return made


def _same_loader(uri: str, versions: dict[str, str]) -> bool:
    found = loader_for(PurePosixPath(uri))
    return found is not None and versions.get(found[0]) == found[1]


def _still_refused(row: dict[str, str], listed: Listed | None) -> bool:
    """Whether a refusal stands: the same file, and no reason of the moment."""
    return (
        listed is not None
        and row["sha"] == listed.sha
        and (row["source"], row["workspace"]) == (listed.source, listed.workspace)
        and row["reason"] not in TRANSIENT
    )


def _recall(shard: Shard, folder: Path) -> None:
    """Fill in what an untouched shard holds, from its metadata."""
    import pyarrow.parquet as pq

    path = shard_path(folder, shard.number)
    made = _made(path)
    shard.refused = made["refused"] if made else []
    shard.documents = pq.read_metadata(path).num_rows


# Quarantine


def _unlisted(paths: Paths) -> list[dict[str, str]]:
    """Files that the scan could not even open: they have no hash, and are quarantined all the same."""
    skipped = read_json(paths.data / "sources" / "skipped.json") or {}
    return [
        {"uri": row["uri"], "sha": "", "source": row.get("source", ""), "stage": "ingest",
         "reason": row["reason"], "detail": row.get("detail", "")}
        for row in skipped.get("files", [])
        if row["reason"] == "unreadable"
    ]  # fmt: skip


if __name__ == "__main__":
    stage_main("ingest", run)
