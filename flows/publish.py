"""Publish, promote, roll back: store alias, champion pointer, registry aliases and history, as one step.

A journal (`publish.json`) says what is about to happen and is removed at the end; whoever holds the lease next finishes
what it finds there. The pointer is the moment of publication: killed before it, readers see the old release, after it the
new one, and both are whole, because a release names its index version and the old version is kept.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import IndexMissing, ReleaseError
from ragkeep.files import fsync_dir, read_json, write_json
from ragkeep.ports import VectorStore
from ragkeep.releases import Pointer, all_releases, append_history, point, pointer, read_release
from ragkeep.types import Release

from . import registry
from .lease import Lease


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())


def now() -> str:
    """Return the time as it is written everywhere: UTC, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def switch(
    paths: Paths, store: VectorStore, release: Release, *, lease: Lease, action: str, reason: str
) -> Pointer | None:
    """Make a release the champion and return the pointer it replaced.

    Raises LeaseLost, IndexMissing; before any change in either case.
    """
    lease.check()
    _require_index(store, release)
    before = pointer(paths)
    intent = {
        "id": f"{lease.token}-{action}-{release.number}",
        "action": action,
        "at": now(),
        "from": before.number if before else None,
        "reason": reason,
        "to": release.number,
        "token": lease.token,
        "who": _who(),
    }
    write_json(paths.releases / "publish.json", intent)
    _finish(paths, store, intent)
    return before


def recover(paths: Paths, store: Callable[[], VectorStore], *, lease: Lease) -> dict[str, Any] | None:
    """Finish a switch that was killed, if one is in the journal; return what was finished."""
    intent: dict[str, Any] | None = read_json(paths.releases / "publish.json")
    if intent is None:
        return None
    intent = {**intent, "token": lease.token}
    _finish(paths, store(), intent)
    return intent


def _finish(paths: Paths, store: VectorStore, intent: dict[str, Any]) -> None:
    """Carry out a journal's steps in order; each is safe to repeat."""
    release = read_release(paths, intent["to"])
    store.swap(release.index.alias, release.index.name)
    point(paths, release.number, previous=intent["from"], token=intent["token"])
    registry.set_aliases(
        paths,
        {registry.CHAMPION: release.number, registry.PREVIOUS: intent["from"], registry.CHALLENGER: None},
    )
    registry.tag(paths, release.number, {intent["action"]: f"{intent['at']} {intent['who']}: {intent['reason']}"})
    append_history(paths, {k: v for k, v in intent.items() if k != "token"})
    (paths.releases / "publish.json").unlink()
    fsync_dir(paths.releases)


def _require_index(store: VectorStore, release: Release) -> None:
    if release.index.name not in {v.name for v in store.versions(release.index.alias)}:
        raise IndexMissing(
            f"the index {release.index.name} of release {release.number} is no longer kept: run `ragkeep nightly` to "
            "build it again"
        )


def promote(paths: Paths, store: VectorStore, number: int, *, lease: Lease, reason: str, force: bool = False) -> Release:
    """Make an earlier or waiting release the champion. Raises ReleaseError unless the gate let it in or `force`."""
    release = read_release(paths, number)
    at = pointer(paths)
    if at and at.number == number:
        raise ReleaseError(f"release {number} is the champion already")
    if not force and not release.reason.startswith("pass"):
        raise ReleaseError(f"the gate refused release {number} ({release.reason}); `--force --reason ...` overrules it")
    switch(paths, store, release, lease=lease, action="promote", reason=reason)
    return release


def rollback(paths: Paths, store: VectorStore, *, lease: Lease, reason: str) -> Release:
    """Make the release before the champion answer again. Raises ReleaseError when there is none."""
    at = pointer(paths)
    if at is None or at.previous is None:
        raise ReleaseError("there is no previous release to go back to")
    release = read_release(paths, at.previous)
    switch(paths, store, release, lease=lease, action="rollback", reason=reason)
    return release


def unneeded_versions(paths: Paths, store: VectorStore, params: Params) -> list[str]:
    """Name the index versions that no recent release needs.

    The champion's, the previous one's and those of the `index.keep` newest releases stay.
    """
    at = pointer(paths)
    numbers = {at.number, at.previous} if at else set()
    releases = all_releases(paths)
    keep = {r.index.name for r in releases[: params.index.keep]}
    keep |= {r.index.name for r in releases if r.number in numbers}
    return [v.name for v in store.versions(params.index.alias) if v.name not in keep]


def prune_versions(paths: Paths, store: VectorStore, params: Params) -> list[str]:
    """Drop the index versions that no recent release needs; return their names."""
    gone = unneeded_versions(paths, store, params)
    for name in gone:
        store.drop(name)
    return gone
