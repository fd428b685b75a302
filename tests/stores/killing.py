"""Builders that are killed (-9) at random moments, and what must hold after each."""

import random
import subprocess
import threading
import time
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
    build_s: float


def run_and_kill(path: Path, params: IndexParams, *, first: int, swaps: int, after_s: float) -> list[float]:
    """Let a process build and swap, kill it `after_s` after it has swapped so often.

    Return when it was ready and when it acknowledged each swap.
    """
    start = command("tests.stores.building", path, params, str(first))
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        killer, said = threading.Timer(after_s, process.kill), list[float]()
        for line in process.stdout:
            said += [time.monotonic()] if line.endswith("\n") else []
            if len(said) == swaps + 1 and killer.ident is None:
                killer.start()
        killer.join()
    assert process.returncode == -9, "it ended before it was killed"
    return said


def kill_at_random(path: Path, params: IndexParams, *, times: int) -> Kills:
    """Kill a builder `times`, at random moments of a build; each next one goes on with the names.

    Every second one is killed in its first build, the others after a swap. How long a build takes here is measured.
    """
    moments, store = random.Random(7), opened(path, params)
    build_as_a_night(store, "docs-000000", contents(0))
    store.swap("docs", "docs-000000")
    paced = run_and_kill(path, params, first=1, swaps=3, after_s=0)
    build_s = (paced[3] - paced[0]) / 3
    swaps = left = 0
    for turn in range(times):
        before = night_of(store)
        after_s = moments.uniform(0, 1.2 * build_s)
        acknowledged = len(run_and_kill(path, params, first=before + 1, swaps=turn % 2, after_s=after_s)) - 1
        check_whole(store)
        live = night_of(store)
        assert live - before - acknowledged in (0, 1), "a swap was lost, or one happened that nobody asked for"
        swaps += acknowledged
        left += exists_unsealed(store, f"docs-{live + 1:06}")
    return Kills(swaps, left, build_s)


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
    """Live is a version whose receipt is there and true, and all of it is found.

    Looked at again where it moved meanwhile: a server goes on with what a killed process had asked of it.
    """
    live = store.live("docs")
    try:
        _check_whole(store)
    except AssertionError:
        if store.live("docs") == live:
            raise
        check_whole(store)


def _check_whole(store: VectorStore) -> None:
    version = store.versions("docs")[0]
    ids = list(store.ids(version.name))
    assert (version.name, version.chunks, version.digest) == (store.live("docs"), len(ids), ids_digest(ids))
    assert sorted(ids) == sorted(chunk.id for chunk in contents(night_of(store)).chunks), (
        f"{version.name} is another night's"
    )
    found = store.search("docs", Query("shared", vector=np.ones(DIM, np.float32), k=99))
    assert sorted(hit.chunk.id for hit in found) == sorted(ids), f"{version.name} is not found whole, or not alone"
