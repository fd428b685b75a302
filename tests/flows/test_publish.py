"""Publish, promote, roll back: one recoverable step, wherever it is cut."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows import publish as publishing
from flows import registry
from flows.lease import Lease, acquire
from flows.publish import promote, prune_versions, recover, rollback, switch, withdraw
from ragkeep import releases
from ragkeep.config import IndexParams, Params, Paths
from ragkeep.errors import IndexMissing, LeaseLost, ReleaseError
from ragkeep.learned import Part, rows_of
from ragkeep.releases import champion, history, pointer, save_release
from ragkeep.stores.memory import MemoryStore
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Release, ids_digest


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's state with three registered releases; making MLflow's schema takes seconds, so it is copied."""
    paths = Paths(tmp_path_factory.mktemp("tracked"))
    for name in ("a", "b", "c"):
        save_release(paths, registry.record(paths, release(name), params={"k": 10}, metrics={}, tags={}, artifacts=[]))
    return paths.root


@pytest.fixture
def paths(tracked: Path, tmp_path: Path) -> Paths:
    shutil.copytree(tracked, tmp_path, dirs_exist_ok=True)
    return Paths(tmp_path)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for name in ("a", "b", "c"):
        store.create(f"docs-{name}", dim=2)
        store.write(f"docs-{name}", EmbeddedBatch((chunk(name),), np.array([[1, 0]], np.float32)))
        store.finish(f"docs-{name}")
        store.seal(index(name))
    return store


@pytest.fixture
def lease(paths: Paths) -> Iterator[Lease]:
    return acquire(paths.state / "lease.sqlite")


def chunk(name: str) -> Chunk:
    return Chunk(name, "d", "s/d", "s", "default", name, (0, 1), (1, 1), "prose", "text")


def index(name: str) -> IndexVersion:
    return IndexVersion(f"docs-{name}", "docs", "memory", "hash-2", 2, 1, ids_digest([name]), built_at=name)


def release(name: str) -> Release:
    return Release(0, name, index(name), Fusion(), "extractive", {}, "", "", {"ndcg_at_10": 0.5}, name, "pass")


def state_of(paths: Paths, store: MemoryStore) -> tuple[object, ...]:
    at = pointer(paths)
    return (at and at.number, store.live("docs"), registry.aliases(paths).get("champion"), len(history(paths)))


def test_a_release_is_registered_once(paths: Paths) -> None:
    again = registry.record(paths, release("b"), params={}, metrics={}, tags={}, artifacts=[])
    assert again.number == 2


def test_publishing_moves_all_four_places(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    switch(paths, store, releases.read_release(paths, 1), lease=lease, action="publish", reason="first")
    assert state_of(paths, store) == (1, "docs-a", 1, 1)


def test_rolling_back_answers_from_the_release_before(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    for number in (1, 2):
        promote(paths, store, number, lease=lease, reason="", force=False)
    assert rollback(paths, store, lease=lease, reason="worse").number == 1
    assert state_of(paths, store)[:3] == (1, "docs-a", 1)
    assert [e["action"] for e in history(paths)] == ["promote", "promote", "rollback"]
    assert registry.aliases(paths) == {"champion": 1}


def test_rolling_back_twice_goes_two_releases_back(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    for number in (1, 2, 3):
        promote(paths, store, number, lease=lease, reason="", force=False)
    assert [rollback(paths, store, lease=lease, reason="").number for _ in range(2)] == [2, 1]
    with pytest.raises(ReleaseError, match="no previous release"):
        rollback(paths, store, lease=lease, reason="")
    promote(paths, store, 3, lease=lease, reason="", force=False)
    assert rollback(paths, store, lease=lease, reason="").number == 1


def test_a_first_publication_can_be_taken_back(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    switch(paths, store, releases.read_release(paths, 1), lease=lease, action="publish", reason="first")
    withdraw(paths, store, lease=lease, reason="did not answer")
    assert state_of(paths, store) == (None, None, None, 2)
    with pytest.raises(LeaseLost, match="a later run"):
        releases.point(paths, 2, previous=None, token=lease.token - 1)
    promote(paths, store, 2, lease=lease, reason="", force=False)
    assert state_of(paths, store) == (2, "docs-b", 2, 3)


@pytest.mark.parametrize("cut", ["swap", "point", "set_aliases", "tag", "append_history", "unlink"])
def test_cut_anywhere_it_is_old_or_new_and_the_next_run_finishes_it(
    paths: Paths, store: MemoryStore, lease: Lease, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    promote(paths, store, 1, lease=lease, reason="", force=False)
    homes = {"swap": MemoryStore, "set_aliases": registry, "tag": registry, "unlink": Path}
    with monkeypatch.context() as patch:
        patch.setattr(homes.get(cut, publishing), cut, _killed)
        with pytest.raises(KeyboardInterrupt):
            promote(paths, store, 2, lease=lease, reason="", force=False)
    answering = champion(paths)
    assert answering is not None
    assert answering.number in (1, 2)
    assert recover(paths, lambda: store, lease=lease) is not None
    assert state_of(paths, store) == (2, "docs-b", 2, 2)
    assert recover(paths, lambda: store, lease=lease) is None


def _killed(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_a_run_that_lost_its_lease_publishes_nothing(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    promote(paths, store, 1, lease=lease, reason="", force=False)
    stale = replace(lease, token=lease.token - 1)
    with pytest.raises(LeaseLost):
        promote(paths, store, 2, lease=stale, reason="", force=False)
    with pytest.raises(LeaseLost, match="a later run"):
        releases.point(paths, 2, previous=1, token=stale.token)
    assert state_of(paths, store) == (1, "docs-a", 1, 1)


def test_what_the_gate_refused_needs_force(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    save_release(paths, replace(releases.read_release(paths, 3), reason="fail: ndcg_at_10 fell"))
    with pytest.raises(ReleaseError, match="--force"):
        promote(paths, store, 3, lease=lease, reason="", force=False)
    assert promote(paths, store, 3, lease=lease, reason="I know", force=True).number == 3


def test_there_is_nothing_to_go_back_to_at_first(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    with pytest.raises(ReleaseError, match="no previous release"):
        rollback(paths, store, lease=lease, reason="")


def test_a_release_whose_index_is_gone_cannot_be_promoted(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    store.drop("docs-c")
    with pytest.raises(IndexMissing, match="no longer kept"):
        promote(paths, store, 3, lease=lease, reason="", force=False)


@pytest.mark.parametrize("weights", ["0" * 64, ""], ids=["with weights", "without"])
def test_a_release_whose_model_is_gone_is_refused_before_anything_moves(
    paths: Paths, store: MemoryStore, lease: Lease, weights: str
) -> None:
    promote(paths, store, 1, lease=lease, reason="", force=False)
    part = Part("query-tower", "base", folder="query-tower-1", sha256=weights, version=1)
    save_release(paths, replace(releases.read_release(paths, 2), serving={"learned": rows_of([part])}))
    with pytest.raises(ReleaseError, match="release 2 binds query-tower/1, which is not kept any more"):
        promote(paths, store, 2, lease=lease, reason="", force=False)
    assert state_of(paths, store) == (1, "docs-a", 1, 1)


def test_pruning_keeps_what_a_way_back_needs(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    params = Params(sources=(), index=IndexParams(keep=1))
    for number in (1, 3):
        promote(paths, store, number, lease=lease, reason="", force=False)
    assert prune_versions(paths, store, params) == ["docs-b"]
    assert rollback(paths, store, lease=lease, reason="").number == 1


def test_a_history_line_cut_short_by_a_power_cut_is_passed_over(paths: Paths) -> None:
    releases.append_history(paths, {"id": "1", "action": "publish"})
    with (paths.releases / "history.jsonl").open("a") as f:
        f.write('{"id": "2", "act')
    releases.append_history(paths, {"id": "3", "action": "rollback"})
    releases.append_history(paths, {"id": "3", "action": "rollback"})
    assert [e["id"] for e in history(paths)] == ["1", "3"]
