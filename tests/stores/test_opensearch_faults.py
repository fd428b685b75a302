"""The OpenSearch store under swaps, with builders killed and with nodes killed: figures by `-s`."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragkeep.config import IndexParams
from ragkeep.stores import opensearch
from ragkeep.stores.opensearch import OpenSearchStore
from tests.sizes import sizes
from tests.stores.building import DIM, build, build_as_a_night, command, contents, say
from tests.stores.clusters import own_store
from tests.stores.killing import ROOT, kill_at_random, night_of
from tests.stores.reading import Tally, named_batch, reading, total


def in_cluster(store: OpenSearchStore) -> IndexParams:
    return IndexParams(backend="opensearch", opensearch=store._params)


def wait_until(reached: Callable[[], bool], timeout_s: float = 3000) -> None:
    until = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < until, "the readers stopped"
        time.sleep(0.01)


@contextmanager
def reading_process(store: OpenSearchStore, tallies: list[Tally]) -> Iterator[None]:
    """A process of its own that reads; what it saw is put to the tallies in the end."""
    start = command("tests.stores.reading", Path(), in_cluster(store))
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        seen = json.loads(process.communicate()[0])
    tallies.append(Tally(**{**seen, "versions": set(seen["versions"])}))


def swap_to_and_fro(store: OpenSearchStore, swaps: int, requests: Callable[[], int], wanted: int) -> None:
    """Swap and roll back while so many requests are made; after each tenth drop what was just live, build another."""
    other: str | None = "v1"
    for turn in range(1, swaps + 1):
        wait_until(lambda share=wanted * turn // swaps: requests() >= share)  # type: ignore[misc]
        other = store.swap("docs", other)
        assert other is not None
        if turn % 10 == 0:
            store.drop(other)
            other = f"v{turn}"
            build(store, other, named_batch(other, 30))


@sizes(1500, 100_000)
def test_readers_see_one_whole_version_while_versions_are_swapped_and_dropped(size: int) -> None:
    began, swaps = time.monotonic(), min(50, size // 125)
    with own_store() as store:
        for version in ("v0", "v1"):
            build(store, version, named_batch(version, 30))
        store.swap("docs", "v0")
        everything: list[Tally] = []
        with reading_process(store, everything), reading(store, 3) as threads:
            swap_to_and_fro(store, swaps, lambda: sum(tally.requests for tally in threads), size)
        seen = total(everything + threads)
    say(f"{swaps} swaps in {time.monotonic() - began:.0f} s: {seen}")
    assert (seen.failed, seen.repeated, seen.empty, seen.mixed) == ([], 0, 0, 0)
    assert seen.requests >= size
    assert len(seen.versions) >= 3


@sizes(5, 100)
def test_a_killed_builder_never_leaves_the_alias_on_half_a_version(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    with own_store() as store:
        kills = kill_at_random(tmp_path, in_cluster(store), times=size, within_s=4.0)
        say(f"{size} kills in {time.monotonic() - began:.0f} s: {kills}")
        assert kills.swaps > 0
        build_as_a_night(store, f"docs-{night_of(store) + 1:06}", contents(night_of(store) + 1))
        monkeypatch.setattr(opensearch, "_STALE_S", -60)
        store.create("docs-last", dim=DIM)
        sealed = {version.name for version in store.versions("docs")}
        assert set(store._metas(f"{store._params.prefix}-index.*")) == {*sealed, "docs-last"}
