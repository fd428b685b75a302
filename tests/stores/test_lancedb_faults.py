"""kill -9 at any moment: the alias names a whole version, and the next process goes on."""

import subprocess
import time
from pathlib import Path

import numpy as np

from ragkeep.config import IndexParams
from ragkeep.stores.lancedb import open_store
from ragkeep.types import Query
from tests.sizes import sizes
from tests.stores.building import DIM, build, chunk_batch, command, say
from tests.stores.killing import ROOT, kill_at_random
from tests.stores.swapping import swap_under_readers

LANCEDB = IndexParams(backend="lancedb")


@sizes(4, 100)
def test_a_killed_builder_never_leaves_the_alias_on_half_a_version(tmp_path: Path, size: int) -> None:
    began = time.monotonic()
    kills = kill_at_random(tmp_path, LANCEDB, times=size)
    say(f"{size} kills in {time.monotonic() - began:.0f} s: {kills}")
    assert kills.swaps > 0
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


@sizes(1500, 100_000)
def test_readers_see_one_whole_version_while_versions_are_swapped_and_dropped(tmp_path: Path, size: int) -> None:
    seen = swap_under_readers(open_store(tmp_path), tmp_path, LANCEDB, requests=size)
    assert (seen.failed, seen.repeated, seen.empty, seen.mixed) == ([], 0, 0, 0)
    assert seen.requests >= size
    assert len(seen.versions) >= 3
