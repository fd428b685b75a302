"""A release is put on trial and taken off under the lease; any move of the champion ends its trial."""

from dataclasses import replace

import pytest

from flows import registry, trials
from flows.lease import Lease
from flows.publish import promote, prune_versions, recover, rollback
from ragkeep.config import IndexParams, Params, Paths
from ragkeep.errors import IndexMissing, LeaseLost, ReleaseError
from ragkeep.learned import Part, rows_of
from ragkeep.releases import read_release, save_release
from ragkeep.stores.memory import MemoryStore
from ragkeep.trials import Trial, past_trials, read_trial
from tests.flows.test_publish import lease, paths, store, tracked

__all__ = ["lease", "paths", "store", "tracked"]  # fixtures
PARAMS = Params(sources=(), index=IndexParams(backend="memory", keep=1))


def begin(paths: Paths, lease: Lease, number: int = 2, **options: object) -> Trial:
    live = 1
    given = {"mode": "split", "share": 0.5, **options}
    return trials.begin(paths, read_release(paths, number), read_release(paths, live), lease=lease, **given)  # type: ignore[arg-type]


def test_a_trial_is_written_down_and_named_in_the_registry(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    trial = begin(paths, lease, until="2100-01-01")
    assert read_trial(paths) == trial
    assert (trial.number, trial.champion, trial.until) == (2, 1, "2100-01-01T00:00:00+00:00")
    assert registry.aliases(paths)["challenger"] == 2


@pytest.mark.parametrize("move", ["promote", "rollback", "another"])
def test_any_move_of_the_champion_ends_it(paths: Paths, store: MemoryStore, lease: Lease, move: str) -> None:
    for number in (3, 1):
        promote(paths, store, number, lease=lease, reason="")
    begin(paths, lease)
    if move == "rollback":
        rollback(paths, store, lease=lease, reason="worse")
    else:
        promote(paths, store, 2 if move == "promote" else 3, lease=lease, reason="better")
    assert read_trial(paths) is None
    [ended] = past_trials(paths)
    assert ended["why"].startswith("rollback of release 3" if move == "rollback" else "promote of release")
    assert "challenger" not in registry.aliases(paths)


def test_a_promotion_that_is_killed_before_the_trial_ended_ends_it_later(
    paths: Paths, store: MemoryStore, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    begin(paths, lease)
    with monkeypatch.context() as patch:
        patch.setattr("flows.publish.end_trial", _killed)
        with pytest.raises(KeyboardInterrupt):
            promote(paths, store, 2, lease=lease, reason="")
    assert recover(paths, lambda: store, lease=lease) is not None
    assert (read_trial(paths), len(past_trials(paths))) == (None, 1)


def _killed(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_the_challengers_index_is_not_pruned(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    begin(paths, lease)
    assert prune_versions(paths, store, PARAMS) == []
    promote(paths, store, 3, lease=lease, reason="")
    promote(paths, store, 1, lease=lease, reason="")
    assert prune_versions(paths, store, PARAMS) == ["docs-b"]


def test_a_run_that_lost_its_lease_begins_nothing(paths: Paths, store: MemoryStore, lease: Lease) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    with pytest.raises(LeaseLost):
        begin(paths, replace(lease, token=lease.token - 1))
    assert read_trial(paths) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [({"share": 2.0}, "share"), ({"until": "soon"}, "isoformat"), ({"until": "2020-01-01"}, "has passed")],
)
def test_odd_options_are_refused(
    paths: Paths, store: MemoryStore, lease: Lease, options: dict[str, object], said: str
) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    with pytest.raises(ReleaseError, match=said):
        begin(paths, lease, **options)


def test_what_people_would_see_must_have_passed_the_gate(
    paths: Paths, store: MemoryStore, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    save_release(paths, replace(read_release(paths, 3), reason="fail: ndcg_at_10 fell"))
    monkeypatch.setattr(trials, "open_store", lambda *_: store)
    _freed(lease)
    with pytest.raises(ReleaseError, match="--mode shadow"):
        trials.start(paths, PARAMS, 3, mode="interleave", share=0.1)
    with pytest.raises(ReleaseError, match="is the champion"):
        trials.start(paths, PARAMS, 1, mode="shadow", share=0.1)
    assert trials.start(paths, PARAMS, 3, mode="shadow", share=0.1).mode == "shadow"
    with pytest.raises(ReleaseError, match="on trial already"):
        trials.start(paths, PARAMS, 2, mode="split", share=0.1)
    ended = trials.stop(paths, reason="enough")
    assert ended is not None
    with pytest.raises(ReleaseError, match="no release is on trial"):
        trials.stop(paths, reason="again")
    store.drop("docs-c")
    with pytest.raises(IndexMissing):
        trials.start(paths, PARAMS, 3, mode="shadow", share=0.1)


def test_a_challenger_whose_model_is_gone_is_refused_before_anything_is_written(
    paths: Paths, store: MemoryStore, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(paths, store, 1, lease=lease, reason="")
    part = Part("reranker", "", folder="reranker-1", sha256="0" * 64, version=1)
    save_release(paths, replace(read_release(paths, 2), serving={"learned": rows_of([part])}))
    monkeypatch.setattr(trials, "open_store", lambda *_: store)
    _freed(lease)
    with pytest.raises(ReleaseError, match="release 2 binds reranker/1, which is not kept any more"):
        trials.start(paths, PARAMS, 2, mode="shadow", share=0.1)
    assert read_trial(paths) is None


def _freed(lease: Lease) -> None:
    """Let the next one have the lease."""
    import sqlite3

    with sqlite3.connect(lease.path) as db:
        db.execute("UPDATE lease SET released = 1")
    db.close()
