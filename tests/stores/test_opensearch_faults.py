"""The OpenSearch store under swaps, and with builders killed: figures by `-s`."""

import time
from pathlib import Path

import pytest

from ragkeep.config import IndexParams
from ragkeep.stores import opensearch
from ragkeep.stores.opensearch import OpenSearchStore
from tests.sizes import sizes
from tests.stores.building import DIM, build_as_a_night, contents, say
from tests.stores.clusters import own_store
from tests.stores.killing import kill_at_random, night_of
from tests.stores.swapping import swap_under_readers


def in_cluster(store: OpenSearchStore) -> IndexParams:
    return IndexParams(backend="opensearch", opensearch=store._params)


@sizes(1500, 100_000)
def test_readers_see_one_whole_version_while_versions_are_swapped_and_dropped(size: int, tmp_path: Path) -> None:
    with own_store() as store:
        seen = swap_under_readers(store, tmp_path, in_cluster(store), requests=size)
    assert (seen.failed, seen.repeated, seen.empty, seen.mixed) == ([], 0, 0, 0)
    assert seen.requests >= size
    assert len(seen.versions) >= 3


@sizes(5, 100)
def test_a_killed_builder_never_leaves_the_alias_on_half_a_version(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    with own_store() as store:
        kills = kill_at_random(tmp_path, in_cluster(store), times=size)
        say(f"{size} kills in {time.monotonic() - began:.0f} s: {kills}")
        assert kills.swaps > 0
        build_as_a_night(store, f"docs-{night_of(store) + 1:06}", contents(night_of(store) + 1))
        monkeypatch.setattr(opensearch, "_STALE_S", -60)
        store.create("docs-last", dim=DIM)
        sealed = {version.name for version in store.versions("docs")}
        assert set(store._metas(f"{store._params.prefix}-index.*")) == {*sealed, "docs-last"}
