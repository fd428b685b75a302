"""What may go: `ragkeep prune` removes what neither a reader, a way back nor the next night needs.

A release's `<number>.json` and the history stay for good. What stays besides: the indexes and the evidence of the
champion, the release before it, a challenger on trial and the `index.keep` newest (the gate compares with the champion's
evidence), the vectors of their embedders, what watching remembers of them, the models they were published with, those
that wait for a person and the newest of each learner, the last 60 pages, and in DVC's cache what dvc.lock names now.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import Busy
from ragkeep.files import read_json
from ragkeep.learned import keep_trained
from ragkeep.ports import VectorStore
from ragkeep.releases import all_releases, history, pointer
from ragkeep.stores import open_store
from ragkeep.types import Release
from ragkeep.vector_cache import other_caches

from . import registry
from .graph import mend_rwlock
from .lease import hold
from .publish import needed_releases, recover, unneeded_versions

log = logging.getLogger(__name__)
PAGES = 60
DAY_S = 86_400


def prune(paths: Paths, params: Params, *, dry_run: bool) -> dict[str, list[str]]:
    """Remove what nothing needs, or only list it: what -> names. Raises Busy.

    A publication that was killed is finished first; a dry run leaves it and keeps what it is about to need.
    """
    with hold(paths.state / "lease.sqlite") as lease:
        store = open_store(params.index, paths)
        if not dry_run:
            recover(paths, lambda: store, lease=lease)
        needed = [*needed_releases(paths, params), *_pending(paths)]
        versions = unneeded_versions(store, params, needed)
        kept = [*needed, *_of_kept_indexes(paths, store, set(versions))]
        files = {
            "evidence": _evidence(paths, kept),
            "reports": _pages(paths),
            "portraits": _portraits(paths, kept),
            "vectors": _vectors(paths, kept),
            "models": _models(paths, needed),
            "temporary": _leftovers(paths),
        }
        if not dry_run:
            for name in versions:
                store.drop(name)
            remove_models(paths, files["models"])
            for path in (path for what, found in files.items() if what != "models" for path in found):
                _remove(path)
        objects = collect(paths.root, dry_run=dry_run)
    return {"versions": versions, **{what: list(map(str, found)) for what, found in files.items()}, "dvc": objects}


def _pending(paths: Paths) -> list[Release]:
    """The releases that a killed publication, still in the journal, speaks of."""
    intent: dict[str, Any] = read_json(paths.releases / "publish.json") or {}
    numbers = {intent.get(key) for key in ("from", "to", "previous")}
    return [r for r in all_releases(paths) if r.number in numbers]


def _of_kept_indexes(paths: Paths, store: VectorStore, gone: set[str]) -> list[Release]:
    """All releases whose index stays: several may be of one, and one may lie under an earlier alias."""
    releases = all_releases(paths)
    held = {v.name for alias in {r.index.alias for r in releases} for v in store.versions(alias)} - gone
    return [r for r in releases if r.index.name in held]


def _evidence(paths: Paths, kept: list[Release]) -> list[Path]:
    needed = {paths.releases / r.evaluation for r in kept}
    return sorted(folder for folder in (paths.releases / "evidence").glob("*") if folder not in needed)


def _pages(paths: Paths) -> list[Path]:
    """All but the last pages, and the summary beside each."""
    old = sorted(paths.reports.glob("*.html"))[:-PAGES]
    return [path for page in old for path in (page, page.with_suffix(".md")) if path.exists()]


def _portraits(paths: Paths, kept: list[Release]) -> list[Path]:
    """What watching remembers of indexes that are neither kept nor the last night's."""
    needed = {r.index.name for r in kept} | {(read_json(paths.data / "index.json") or {}).get("name")}
    return sorted(p for p in paths.monitor.glob("*.npz") if not p.name.startswith("canary-") and p.stem not in needed)


def _vectors(paths: Paths, kept: list[Release]) -> list[Path]:
    """Caches of embedders that neither a kept release nor the last night used; none when that is not known."""
    embedder = read_json(paths.data / "embedder.json")
    if embedder is None:  # a night was stopped while it embedded: what it has made is what the next one wants
        return []
    used = {(r.index.embedder, r.index.dim) for r in kept}
    return other_caches(paths.cache, {*used, (embedder["fingerprint"], embedder["dim"])})


def _models(paths: Paths, needed: list[Release]) -> list[Path]:
    """Folders of models that no release needs, and what killed runs left of some; the newest of each learner stays.

    What passed the gate and waits for a person needs its own, too: it is newer than the champion and was never live.
    """
    at, moved = pointer(paths), {event["to"] for event in history(paths)}
    newer = [r for r in all_releases(paths) if r.number > (at.number if at else 0)]
    waiting = [r for r in newer if r.number not in moved and r.reason.startswith("pass")]
    folders = {part["folder"] for r in [*needed, *waiting] for part in r.serving.get("learned", [])}
    newest: dict[str, tuple[int, str]] = {}
    for path in paths.models.glob("*/part.json"):
        part = read_json(path)
        newest[part["learner"]] = max(newest.get(part["learner"], (0, "")), (part["version"], path.parent.name))
    folders |= {folder for _, folder in newest.values()}
    return sorted(path for path in paths.models.glob("*") if path.is_dir() and path.name not in folders)


def unbound_models(paths: Paths, folders: Collection[str]) -> list[Path]:
    """Of these models' folders, those that no release names."""
    bound = {part["folder"] for r in all_releases(paths) for part in r.serving.get("learned", [])}
    return [paths.models / folder for folder in sorted(folders) if folder not in bound]


def remove_models(paths: Paths, folders: Sequence[Path]) -> None:
    """Remove learned models: from the registry, from the disk, from the ledger. Cut anywhere, it is done again whole."""
    for folder in folders:
        registry.forget_models(paths, folder)
        (folder / "part.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
    there = {f"{part['learner']}/{part['version']}" for part in map(read_json, paths.models.glob("*/part.json"))}
    keep_trained(paths.state, there)


def _leftovers(paths: Paths) -> list[Path]:
    """Temporary files of killed runs, older than a day."""
    found = [path for folder in (paths.state, paths.data) for path in folder.rglob(".*.tmp")]
    return [path for path in found if path.is_file() and time.time() - path.stat().st_mtime > DAY_S]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def collect(root: Path, *, dry_run: bool) -> list[str]:
    """Remove from DVC's local cache what the outputs in dvc.lock do not name; return the files. No remote is touched.

    A cache outside the project may be others' too: it is left alone. Raises Busy while a `dvc` of somebody's runs.
    """
    if not (root / ".dvc").is_dir() or not (root / "dvc.yaml").is_file():
        return []
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.lock import LockError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)
    mend_rwlock(root)
    with contextlib.chdir(root), Repo(str(root)) as repo:
        cache = repo.cache.local
        if not Path(cache.path).resolve().is_relative_to(root.resolve()):
            log.warning("DVC's cache %s lies outside the project and may be shared: `dvc gc` collects it", cache.path)
            return []
        used = {oid.value for ids in repo.used_objs().values() for oid in ids}
        unused = sorted(cache.oid_to_path(oid) for oid in cache.all() if oid not in used)
        if unused and not dry_run:
            try:
                repo.gc(workspace=True)
            except LockError as error:
                raise Busy("another `dvc` works in this project: run `ragkeep prune` again when it has ended") from error
    return unused
