"""The graph of dvc.yaml, walked one stage at a time; the only place that calls DVC."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from ragkeep.errors import RagkeepError
from ragkeep.files import read_json

log = logging.getLogger(__name__)


class StageFailed(RagkeepError):
    """A stage ended with an error of its own; the message is the stage's."""

    def __init__(self, stage: str, message: str, exit_code: int, *, transient: bool = False) -> None:
        super().__init__(f"{stage}: {message}")
        self.exit_code = exit_code
        self.transient = transient


def _repo(root: Path) -> Any:
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    # a stage's `python` must be the one that runs us, also when the environment was not activated
    here = str(Path(sys.executable).parent)
    if not os.environ.get("PATH", "").startswith(here):
        os.environ["PATH"] = here + os.pathsep + os.environ.get("PATH", "")
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)
    return Repo(str(root))


def stages(root: Path) -> list[str]:
    """List the stages of dvc.yaml in an order that respects their dependencies. Takes 1-2 CPU seconds."""
    import networkx

    with contextlib.chdir(root), _repo(root) as repo:  # DVC names stages relative to where it stands
        graph = repo.index.graph  # an edge points from a stage to what it needs
        ordered = networkx.lexicographical_topological_sort(graph.reverse(copy=True), key=lambda s: s.name)
        return [stage.name for stage in ordered]


def reproduce(root: Path, state: Path, stage: str, *, force: bool = False) -> bool:
    """Run one stage if its inputs changed; return whether it ran.

    Raises StageFailed with the stage's own message. A retry is safe: outputs are replaced, never edited.
    """
    from dvc.exceptions import DvcException

    mend_rwlock(root)
    note = state / "stages" / f"{stage}.error.json"
    note.unlink(missing_ok=True)
    with contextlib.chdir(root), _repo(root) as repo:
        try:
            return bool(repo.reproduce(stage, single_item=True, force=force))
        except DvcException as error:
            said = read_json(note)
            if said:
                raise StageFailed(stage, said["error"], said["exit_code"]) from error
            # it left no word of its own: killed, or out of memory; worth another try
            raise StageFailed(stage, str(error), 1, transient=True) from error


def mend_rwlock(root: Path) -> None:
    """Remove what a killed DVC left in `.dvc/tmp/rwlock`: a file cut short, or entries of processes that are gone.

    DVC itself refuses to run on the former for good.
    """
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        holders = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return
    except (json.JSONDecodeError, UnicodeDecodeError):
        holders = None
    if not isinstance(holders, dict):
        log.warning("removed %s, which a killed run left unreadable", path)
        path.unlink(missing_ok=True)
        return
    pids = {h["pid"] for lock in holders.values() for h in _entries(lock) if "pid" in h}
    if pids and not any(Path(f"/proc/{pid}").exists() for pid in pids):
        log.warning("removed %s, whose processes %s are gone", path, sorted(pids))
        path.unlink(missing_ok=True)


def _entries(lock: Any) -> list[dict[str, Any]]:
    if isinstance(lock, dict) and "pid" in lock:
        return [lock]
    values = lock.values() if isinstance(lock, dict) else lock if isinstance(lock, list) else []
    return [e for value in values for e in _entries(value)]
