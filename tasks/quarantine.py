"""What was set aside, and how a person lets it in: `ragkeep quarantine list|show|release`.

A release is a line in data/released.jsonl, kept in git: uri, hash of the file's bytes, the reason it was refused for
(`was`) and the person's. It holds as long as the bytes stay, and for that reason only.
"""

from __future__ import annotations

import difflib
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import RagkeepError
from ragkeep.files import read_rows, write_rows
from ragkeep.tables import file_shas, read_table
from ragkeep.types import content_id
from tasks.shards import shard_of, shard_path

STAGES = ("ingest", "validate", "chunks")
SHOWN_CHARS = 2000
Row = dict[str, Any]


def listed(paths: Paths) -> list[Row]:
    """List what the last night refused, by uri, without what was released since."""
    released = {(r["uri"], r.get("sha", ""), r.get("was", r.get("reason"))) for r in _released(paths)}
    shas = file_shas(paths.data)
    rows = [
        row | {"sha": _sha(row, shas)}
        for stage in STAGES
        for row in read_rows(paths.data / "quarantine" / f"{stage}.jsonl")
    ]
    left = [row for row in rows if (row["uri"], row["sha"], row["reason"]) not in released]
    return sorted(left, key=lambda row: (row["uri"], row["stage"], row["reason"]))


def counted(rows: list[Row]) -> dict[str, int]:
    """Count documents refused whole, as the night does, and chunks left out of documents that were let in."""
    return {
        "documents": len({row["uri"] for row in rows if "chunk_id" not in row}),
        "chunks": len({row["chunk_id"] for row in rows if "chunk_id" in row}),
    }


def shown(paths: Paths, params: Params, uri: str) -> Row:
    """Tell what is known of one refused document: reasons, where its file lies, and the beginning of its text.

    Raises RagkeepError when it is not in quarantine.
    """
    rows = _of(paths, uri)
    return {
        "uri": uri,
        "file": _file(paths, params, uri),
        "sha": rows[0]["sha"],
        "refused": [{k: row[k] for k in ("stage", "reason", "detail", "chunk_id") if k in row} for row in rows],
        "text": _text(paths, params, uri),
    }


def release(paths: Paths, uri: str, *, reason: str = "by hand") -> Row:
    """Let a document in, as it is now, from the next night on; return what was written. Safe to repeat.

    Raises RagkeepError when it is not in quarantine or its bytes cannot be told.
    """
    rows = _of(paths, uri)
    if not rows[0]["sha"]:
        raise RagkeepError(f"{uri} could not be opened ({rows[0]['detail']}): there is nothing to release, mend the file")
    new = [
        {"uri": uri, "sha": rows[0]["sha"], "was": was, "reason": reason} for was in sorted({r["reason"] for r in rows})
    ]
    write_rows(
        paths.data / "released.jsonl",
        sorted([*_released(paths), *new], key=lambda row: (row["uri"], row["sha"], row.get("was", ""))),
    )
    return {"uri": uri, "sha": rows[0]["sha"], "was": [row["was"] for row in new], "reason": reason}


def _of(paths: Paths, uri: str) -> list[Row]:
    rows = listed(paths)
    found = [row for row in rows if row["uri"] == uri]
    if found:
        return found
    close = difflib.get_close_matches(uri, sorted({row["uri"] for row in rows}), n=1)
    hint = f"did you mean {close[0]}?" if close else "see `ragkeep quarantine list`"
    raise RagkeepError(f"{uri} is not in quarantine; {hint}")


def _released(paths: Paths) -> list[Row]:
    return read_rows(paths.data / "released.jsonl")


def _sha(row: Row, shas: dict[str, str]) -> str:
    """The hash of the bytes that were refused; "" when the file has changed since, or was never read."""
    if "sha" in row:
        return str(row["sha"])
    sha = shas.get(row["uri"], "")
    return sha if content_id(row["workspace"], row["uri"], sha) == row["document_id"] else ""


def _file(paths: Paths, params: Params, uri: str) -> str:
    from tasks.scan import root_of

    name, _, relative = uri.partition("/")
    for source in params.sources:
        if source.name == name:
            root = root_of(source, paths)
            return str(root if root.is_file() else root / relative)
    return "its source is no longer in params.yaml"


def _text(paths: Paths, params: Params, uri: str) -> str:
    """The first characters that were extracted; "" for a document that could not be read."""
    path = shard_path(paths.data / "documents", shard_of(uri, params.ingest.shards))
    if not path.exists():
        return ""
    for row in read_table(path).select(["uri", "text"]).to_pylist():
        if row["uri"] == uri:
            return str(row["text"])[:SHOWN_CHARS]
    return ""
