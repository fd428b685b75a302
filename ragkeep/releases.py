"""Releases on disk: what is live, what was live, and how it came to be.

`<state>/releases/` holds one immutable `<number>.json` a release, `champion.json` (the pointer every reader follows) and
`history.jsonl` (append-only: who, when, from, to, why). The pointer is the moment of publication; the store's alias
and the registry's aliases follow it and are mended from it, see flows/publish.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .config import Paths
from .errors import LeaseLost, ReleaseError
from .files import append_row, read_json, write_json
from .types import Fusion, IndexVersion, Release

NOT_UP = "the server could not bring it up"
"""How the reason of a rollback begins that no person asked for."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which release answers, which one a step back leads to, and the fencing token of the run that said so.

    `number` is 0 in the file when the only publication there was had to be taken back.
    """

    number: int
    previous: int | None
    token: int


def as_release(row: dict[str, Any]) -> Release:
    """Rebuild a release from its JSON."""
    return Release(**{**row, "index": IndexVersion(**row["index"]), "fusion": Fusion(**row["fusion"])})


def save_release(paths: Paths, release: Release) -> None:
    """Write a release's file durably; its content never changes afterwards."""
    write_json(paths.releases / f"{release.number}.json", asdict(release))


def read_release(paths: Paths, number: int) -> Release:
    """Read one release. Raises ReleaseError when there is none of that number."""
    row = read_json(paths.releases / f"{number}.json")
    if row is None:
        raise ReleaseError(f"there is no release {number}: `ragkeep releases list` shows those there are")
    return as_release(row)


def all_releases(paths: Paths) -> list[Release]:
    """List all releases, newest first."""
    numbers = sorted((int(p.stem) for p in paths.releases.glob("[0-9]*.json")), reverse=True)
    return [read_release(paths, n) for n in numbers]


def pointer(paths: Paths) -> Pointer | None:
    """Read the champion pointer, None when nothing is published."""
    at = last_pointer(paths)
    return at if at and at.number else None


def last_pointer(paths: Paths) -> Pointer | None:
    """Read the pointer's file as it is, also when it points at nothing any more."""
    row = read_json(paths.releases / "champion.json")
    return Pointer(**row) if row else None


def champion(paths: Paths) -> Release | None:
    """Read the release that answers now."""
    at = pointer(paths)
    return read_release(paths, at.number) if at else None


def require_champion(paths: Paths) -> Release:
    """Read the release that answers now. Raises ReleaseError with the next step when nothing was published yet."""
    release = champion(paths)
    if release is None:
        raise ReleaseError("nothing is published yet: run `ragkeep nightly` first")
    return release


def point(paths: Paths, number: int, *, previous: int | None, token: int) -> None:
    """Move the champion pointer. Raises LeaseLost when a later run has moved it already."""
    now = last_pointer(paths)
    if now and now.token > token:
        raise LeaseLost(
            f"a later run (token {now.token}) has published release {now.number}; this run (token {token}) must not"
        )
    write_json(paths.releases / "champion.json", {"number": number, "previous": previous, "token": token})


def history(paths: Paths) -> list[dict[str, Any]]:
    """Read the promotion history, oldest first; a line cut short by a power cut is left out."""
    try:
        lines = (paths.releases / "history.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def append_history(paths: Paths, event: dict[str, Any]) -> None:
    """Add one event durably; an event whose `id` is there already is left out, so that repeating is safe."""
    path = paths.releases / "history.jsonl"
    if any(e.get("id") == event["id"] for e in history(paths)):
        return
    append_row(path, event)
