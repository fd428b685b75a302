"""Files to chunks.jsonl. Every file is read in the sandbox; one that cannot be read is counted with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ragkeep.errors import SourceError
from ragkeep.files import read_rows, write_rows
from ragkeep.loaders import loader_for
from ragkeep.sandbox import File, Limits, Refused, Sandbox
from ragkeep.types import content_id

from .config import Place
from .splitters import SPLITTERS


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a document: `text` is its characters `start` to `end`. `document` is the file's path as listed."""

    id: str
    document: str
    start: int
    end: int
    text: str


def prepare(place: Place, tick: Callable[[int, int], None], *, dry_run: bool = False) -> dict[str, Any]:
    """Write chunks.jsonl and refused.jsonl; returns counts. Raises SourceError where nothing can be read."""
    listed = list(_listed(place))
    if not listed:
        raise SourceError(f"no readable files in {', '.join(place.params.data.sources)}: name others in data.sources")
    if dry_run:
        return {"files": len(listed), "would_write": str(place.chunks)}
    pieces, refused = list[Piece](), list[dict[str, str]]()
    with Sandbox(Limits()) as sandbox:
        files = [File(path, loader) for _, path, loader in listed]
        for done, ((name, _, _), result) in enumerate(zip(listed, sandbox.read(files), strict=True), 1):
            if isinstance(result, Refused):
                refused.append({"document": name, "reason": result.reason, "detail": result.detail})
            else:
                pieces += cut(name, result.text, place)
            tick(done, len(listed))
    write_rows(place.output / "refused.jsonl", refused)
    if not pieces:
        raise SourceError(f"none of {len(listed)} files gave any text: see {place.output / 'refused.jsonl'}")
    write_rows(place.chunks, (asdict(piece) for piece in pieces))
    reasons = dict(sorted(Counter(row["reason"] for row in refused).items()))
    return {
        "files": len(listed), "read": len(listed) - len(refused), "refused": reasons, "chunks": len(pieces),
        "written": str(place.chunks),
    }  # fmt: skip


def cut(name: str, text: str, place: Place) -> Iterator[Piece]:
    """Cut one document as finetune.yaml says; equal pieces of it are kept once."""
    data, seen = place.params.data, set[str]()
    for start, end in SPLITTERS[data.splitter](text, data.chunk_size, data.chunk_overlap):
        identity = content_id(name, text[start:end])
        if identity not in seen:
            seen.add(identity)
            yield Piece(identity, name, start, end, text[start:end])


def read_pieces(place: Place) -> list[Piece]:
    """Read chunks.jsonl. Raises SourceError where there is none."""
    rows = read_rows(place.chunks)
    if not rows:
        raise SourceError(f"{place.chunks} holds no chunks: run `ragkeep finetune prepare-data`")
    try:
        return [Piece(**row) for row in rows]
    except TypeError as error:
        raise SourceError(f"{place.chunks} has other columns than id, document, start, end, text ({error})") from None


def _listed(place: Place) -> Iterator[tuple[str, Path, str]]:
    """Every file with a loader, in order: its name below the source, its path, its loader."""
    for source in place.params.data.sources:
        root = place.resolve(source)
        if not root.exists():
            raise SourceError(f"{root} does not exist: mend data.sources")
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            found = loader_for(path)
            if found and path.is_file():
                name = path.relative_to(root).as_posix() if root.is_dir() else path.name
                yield f"{root.name}/{name}" if root.is_dir() else name, path, found[0]
