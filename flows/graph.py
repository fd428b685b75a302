"""The graph of dvc.yaml, walked one stage at a time; the only place that calls DVC."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from ragkeep.errors import RagkeepError
from ragkeep.files import read_json, read_rows
from ragkeep.loaders import TRANSIENT
from tasks.alone import NIGHT_PID
from tasks.stage import STOPPED

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

    logging.getLogger("dvc").setLevel(logging.ERROR)  # it warns of every empty file, and there are meant to be some
    return Repo(str(root))


def stages(root: Path, upto: str) -> list[str]:
    """List a stage of dvc.yaml and all it needs, in an order that respects their dependencies. Takes 1-2 CPU seconds."""
    import networkx

    with contextlib.chdir(root), _repo(root) as repo:  # DVC names stages relative to where it stands
        graph = repo.index.graph  # an edge points from a stage to what it needs
        last = next(stage for stage in graph if stage.name == upto)
        needed = graph.subgraph({last, *networkx.descendants(graph, last)})
        ordered = networkx.lexicographical_topological_sort(needed.reverse(copy=True), key=lambda s: s.name)
        return [stage.name for stage in ordered]


def reproduce(root: Path, state: Path, stage: str, *, force: bool = False) -> bool:
    """Run one stage if its inputs changed; return whether it ran.

    Raises StageFailed with the stage's own message, KeyboardInterrupt when Ctrl-C stopped it. When this call itself is
    broken off, by a timeout say, the stage is killed. A retry is safe: outputs are replaced, never edited.
    """
    from dvc.exceptions import DvcException

    mend_rwlock(root)
    note = state / "stages" / f"{stage}.error.json"
    note.unlink(missing_ok=True)
    os.environ[NIGHT_PID] = str(os.getpid())
    with contextlib.chdir(root), _repo(root) as repo:
        try:
            return bool(repo.reproduce(stage, single_item=True, force=force))
        except DvcException as error:
            raise _failure(stage, read_json(note), error) from error
        except BaseException:
            kill_stage(stage)
            raise
        finally:
            del os.environ[NIGHT_PID]


def _failure(stage: str, said: dict[str, Any] | None, error: BaseException) -> BaseException:
    """What became of a stage, from the note it left, or else from how its process ended."""
    status = said["exit_code"] if said else _exit_status(error)
    if status in (STOPPED, -signal.SIGINT):  # DVC ignores Ctrl-C while a stage runs, so it is ours to pass on
        return KeyboardInterrupt()
    if said:
        return StageFailed(stage, said["error"], status)
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        return StageFailed(stage, f"killed by signal {number} (9: out of memory?)", 1, transient=True)
    return StageFailed(stage, f"{error.__cause__ or error}: `python -m tasks.{stage}` shows why", 1)


def _exit_status(error: BaseException | None) -> int:
    """The status that DVC tells in its message only, as subprocess or a shell has it; 1 where there is none."""
    while error is not None:
        found = re.search(r"exited with (-?\d+)$", str(error))
        if found:
            return int(found[1])
        error = error.__cause__
    return 1


def kill_stage(stage: str) -> None:
    """Kill every process of a stage that this one started: its shell, itself, its workers."""
    marks = {f"{NIGHT_PID}={os.getpid()}".encode(), f"DVC_STAGE={stage}".encode()}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if marks <= set(path.read_bytes().split(b"\0")):
                os.kill(int(path.parent.name), signal.SIGKILL)


def refused_for_the_moment(data: Path) -> bool:
    """Whether the last ingest refused a file for a reason that may be gone tonight; then force it.

    DVC sees no change in that: neither the file nor the code is another one.
    """
    rows = read_rows(data / "quarantine" / "ingest.jsonl")
    return any(row["sha"] and row["reason"] in TRANSIENT for row in rows)


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
