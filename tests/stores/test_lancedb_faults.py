"""kill -9 at any moment: the alias names a whole version, and the next process goes on."""

import subprocess
import time
from pathlib import Path

import numpy as np

from ragkeep.config import IndexParams
from ragkeep.stores.lancedb import open_store
from ragkeep.types import Query
from tests.sizes import sizes
from tests.stores.building import DIM, build, chunk_batch, command
from tests.stores.killing import ROOT, kill_at_random

LANCEDB = IndexParams(backend="lancedb")


@sizes(4, 100)
def test_a_killed_builder_never_leaves_the_alias_on_half_a_version(tmp_path: Path, size: int) -> None:
    assert kill_at_random(tmp_path, LANCEDB, times=size, within_s=0.6).swaps > 0
    store = open_store(tmp_path)
    build(store, "docs-last", chunk_batch(4))
    sealed = {version.name for version in store.versions("docs")}
    left = {path.name for path in (tmp_path / "versions").iterdir()}
    assert left == sealed, "what the kills left was not swept"


def test_readers_in_this_process_never_fail_while_another_swaps_and_drops(tmp_path: Path) -> None:
    start = command("tests.stores.building", tmp_path, LANCEDB, "0")
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)][1]
        store, until, searches, seen = open_store(tmp_path), time.monotonic() + 3, 0, set()
        while time.monotonic() < until:
            hits = store.search("docs", Query("shared", vector=np.ones(DIM, np.float32), k=99))
            seen.add(len({hit.chunk.id[:16] for hit in hits}))
            searches += 1
        process.kill()
    assert seen == {1}, "a search mixed two versions"
    assert searches > 100
