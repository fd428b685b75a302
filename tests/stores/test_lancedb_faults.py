"""kill -9 at any moment: the alias names a whole version, and the next process goes on."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from ragkeep.stores.lancedb import LanceStore, open_store
from ragkeep.types import Query, ids_digest
from tests.stores.building import DIM, build, chunk_batch

ROOT = Path(__file__).parents[2]
KILLS = 10


def run_and_kill(path: Path, *, first: int, after_s: float) -> list[str]:
    """Let a process build and swap, kill it `after_s` after its first swap; return the swaps it acknowledged."""
    command = [sys.executable, "-m", "tests.stores.building", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline()]
        threading.Timer(after_s, process.kill).start()
        acknowledged += process.stdout.readlines()
    return [line.strip() for line in acknowledged if line.endswith("\n")]


def check_whole(store: LanceStore, acknowledged: str) -> str:
    live = store.live("docs")
    assert live is not None
    assert live >= acknowledged
    version = store.versions("docs")[0]
    ids = list(store.ids(live))
    assert (version.name, version.chunks, version.digest) == (live, len(ids), ids_digest(ids))
    found = store.search("docs", Query("shared", vector=np.ones(DIM, np.float32), k=99))
    assert len(found) == version.chunks
    return live


def test_a_killed_builder_never_leaves_the_alias_on_half_a_version(tmp_path: Path) -> None:
    moments = random.Random(7)
    first = 0
    for _ in range(KILLS):
        acknowledged = run_and_kill(tmp_path, first=first, after_s=moments.uniform(0, 0.6))
        live = check_whole(open_store(tmp_path), acknowledged[-1])
        first = int(live.removeprefix("docs-")) + 1
    store = open_store(tmp_path)
    build(store, "docs-last", chunk_batch(4))
    sealed = {version.name for version in store.versions("docs")}
    left = {path.name for path in (tmp_path / "versions").iterdir()}
    assert left == sealed, "what the kills left was not swept"


def test_readers_in_this_process_never_fail_while_another_swaps_and_drops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.stores.building", str(tmp_path), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store, until, searches, seen = open_store(tmp_path), time.monotonic() + 3, 0, set()
        while time.monotonic() < until:
            hits = store.search("docs", Query("shared", vector=np.ones(DIM, np.float32), k=99))
            seen.add(len({hit.chunk.id[:16] for hit in hits}))
            searches += 1
        process.kill()
    assert seen == {1}, "a search mixed two versions"
    assert searches > 100
