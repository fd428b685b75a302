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
from ragkeep.errors import IndexMissing, ModelError, ReleaseError
from ragkeep.files import fsync_dir, read_json, write_json
from ragkeep.learned import parts_of, verify_part
from ragkeep.ports import VectorStore
from ragkeep.releases import Pointer, all_releases, append_history, history, point, pointer, read_release
from ragkeep.trials import end_trial, on_trial
from ragkeep.types import Release

from . import registry
from .lease import Lease

BACK = ("rollback", "withdraw")
"""The steps that take a release off again; the others put one on."""


def who() -> str:
    """Name who does this, for the history."""
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

    Raises LeaseLost, IndexMissing, ReleaseError; before any change in each case.
    """
    lease.check()
    require_index(store, release)
    require_models(paths, release)
    before = pointer(paths)
    previous = before.number if before else None
    if action in BACK:
        previous = beneath(history(paths))
    _carry_out(paths, store, lease, action=action, before=before, to=release.number, previous=previous, reason=reason)
    return before


def withdraw(paths: Paths, store: VectorStore, *, lease: Lease, reason: str) -> None:
    """Take back the first publication: nothing answers afterwards. Raises LeaseLost."""
    lease.check()
    before = pointer(paths)
    _carry_out(paths, store, lease, action="withdraw", before=before, to=None, previous=None, reason=reason)


def beneath(events: list[dict[str, Any]]) -> int | None:
    """Return what a second step back would reach: publications and promotions pile up, a step back takes one off."""
    pile: list[int] = []
    for event in events:
        if event["action"] not in BACK:
            pile.append(event["to"])
        elif pile:
            pile.pop()
    return pile[-3] if len(pile) >= 3 else None


def _carry_out(
    paths: Paths,
    store: VectorStore,
    lease: Lease,
    *,
    action: str,
    before: Pointer | None,
    to: int | None,
    previous: int | None,
    reason: str,
) -> None:
    intent = {
        "id": f"{lease.token}-{action}-{to}",
        "action": action,
        "at": now(),
        "from": before.number if before else None,
        "previous": previous,
        "reason": reason,
        "to": to,
        "token": lease.token,
        "who": who(),
    }
    write_json(paths.releases / "publish.json", intent)
    _finish(paths, store, intent)


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
    to, previous = intent["to"], intent["previous"]
    release = read_release(paths, to or intent["from"])
    store.swap(release.index.alias, release.index.name if to else None)
    point(paths, to or 0, previous=previous, token=intent["token"])
    end_trial(paths, why=_moved(intent), at=intent["at"])  # what it was tried against does not answer any more
    registry.set_aliases(paths, {registry.CHAMPION: to, registry.PREVIOUS: previous, registry.CHALLENGER: None})
    registry.follow(paths, {registry.CHAMPION: _learned(paths, to), registry.PREVIOUS: _learned(paths, previous)})
    registry.tag(paths, release.number, {intent["action"]: f"{intent['at']} {intent['who']}: {intent['reason']}"})
    append_history(paths, {k: v for k, v in intent.items() if k != "token"})
    (paths.releases / "publish.json").unlink()
    fsync_dir(paths.releases)


def _moved(intent: dict[str, Any]) -> str:
    told = f"{intent['action']} of release {intent['to'] or intent['from']}"
    return f"{told}: {intent['reason']}" if intent["reason"] else told


def _learned(paths: Paths, number: int | None) -> dict[str, int]:
    """Which versions of learned models a release binds: learner -> version."""
    serving = read_release(paths, number).serving if number else {}
    return {row["learner"]: row["version"] for row in serving.get("learned", [])}


def require_index(store: VectorStore, release: Release) -> None:
    """Raise IndexMissing where the index of a release is gone."""
    if release.index.name not in {v.name for v in store.versions(release.index.alias)}:
        raise IndexMissing(
            f"the index {release.index.name} of release {release.number} is no longer kept: choose another with "
            "`ragkeep releases list`; index.keep in params.yaml says how many stay"
        )


def require_models(paths: Paths, release: Release) -> None:
    """Raise ReleaseError unless all that a release binds is here: its files, and so its versions in the registry."""
    for part in parts_of(release.serving.get("learned", [])):
        try:
            if not (paths.models / part.folder / "part.json").is_file():
                raise ModelError(f"{paths.models / part.folder} is gone")
            if part.sha256:
                verify_part(part, paths.cache)
        except ModelError as error:
            raise ReleaseError(
                f"release {release.number} binds {part.learner}/{part.version}, which is not kept any more, or not whole "
                f"({error}): choose another with `ragkeep releases list`, or learn again with `ragkeep learn`"
            ) from error


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


def needed_releases(paths: Paths, params: Params) -> list[Release]:
    """Return the releases of which all stays: the champion, the one before it, one on trial, the `index.keep` newest."""
    releases, at = all_releases(paths), pointer(paths)
    numbers = {r.number for r in releases[: params.index.keep]} | ({at.number, at.previous} if at else set())
    numbers.add(on_trial(paths))
    return [r for r in releases if r.number in numbers]


def unneeded_versions(store: VectorStore, params: Params, needed: list[Release]) -> list[str]:
    """Name the index versions that none of the needed releases is of."""
    keep = {r.index.name for r in needed}
    return [v.name for v in store.versions(params.index.alias) if v.name not in keep]


def prune_versions(paths: Paths, store: VectorStore, params: Params) -> list[str]:
    """Drop the index versions that no recent release needs; return their names."""
    gone = unneeded_versions(store, params, needed_releases(paths, params))
    for name in gone:
        store.drop(name)
    return gone
