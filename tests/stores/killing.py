"""Builders that are killed (-9) at random moments, and what must hold after each."""

import random
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragkeep.config import IndexParams
from ragkeep.ports import VectorStore
from ragkeep.types import Query, ids_digest
from tests.stores.building import DIM, build_as_a_night, command, contents, opened

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Kills:
    """What came of them: `swaps` were acknowledged, `left` builds were cut before their receipt."""

    swaps: int
    left: int


def run_and_kill(path: Path, params: IndexParams, *, first: int, after_s: float) -> list[str]:
    """Let a process build and swap, kill it `after_s` after it is ready; return the swaps it acknowledged."""
    start = command("tests.stores.building", path, params, str(first))
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        killer = threading.Timer(after_s, process.kill)
        killer.start()
        acknowledged = [line.strip() for line in process.stdout if line.endswith("\n")]
        killer.join()
    assert process.returncode == -9, "it ended before it was killed"
    return acknowledged


def kill_at_random(path: Path, params: IndexParams, *, times: int, within_s: float) -> Kills:
    """Kill a builder `times`, at moments of its first `within_s` seconds; each next one goes on with the names."""
    moments, store = random.Random(7), opened(path, params)
    build_as_a_night(store, "docs-000000", contents(0))
    store.swap("docs", "docs-000000")
    swaps = left = 0
    for _ in range(times):
        before = night_of(store)
        said = run_and_kill(path, params, first=before + 1, after_s=moments.uniform(0, within_s))
        check_whole(store)
        live = night_of(store)
        acknowledged = before + len(said)
        assert live - acknowledged in (0, 1), "a swap was lost, or one happened that nobody asked for"
        swaps += len(said)
        left += exists_unsealed(store, f"docs-{live + 1:06}")
    return Kills(swaps, left)


def night_of(store: VectorStore) -> int:
    live = store.live("docs")
    assert live is not None
    return int(live.removeprefix("docs-"))


def exists_unsealed(store: VectorStore, index: str) -> bool:
    if index in {version.name for version in store.versions("docs")}:
        return False
    try:
        list(store.ids(index))
    except Exception:
        return False
    return True


def check_whole(store: VectorStore) -> None:
    """Live is a version whose receipt is there and true, and all of it is found."""
    version = store.versions("docs")[0]
    ids = list(store.ids(version.name))
    assert (version.name, version.chunks, version.digest) == (store.live("docs"), len(ids), ids_digest(ids))
    assert sorted(ids) == sorted(chunk.id for chunk in contents(night_of(store)).chunks)
    found = store.search("docs", Query("shared", vector=np.ones(DIM, np.float32), k=99))
    assert sorted(hit.chunk.id for hit in found) == sorted(ids)
