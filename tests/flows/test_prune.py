"""What `ragkeep prune` removes, and what it never may."""

import os
import shutil
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from flows import prune as pruning
from flows import registry
from flows.graph import reproduce
from flows.prune import collect, prune
from ragkeep.config import IndexParams, Params, Paths
from ragkeep.files import read_rows, write_json
from ragkeep.learned import LEDGER, Part, note_trained, rows_of
from ragkeep.ports import VectorStore
from ragkeep.releases import pointer, save_release
from ragkeep.stores import open_store
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Release, ids_digest
from ragkeep.vector_cache import cache_path

PARAMS = Params(sources=(), index=IndexParams(backend="memory", keep=1))


def index(number: int) -> IndexVersion:
    digest = ids_digest([str(number)])
    return IndexVersion(f"docs-{number}", "docs", "memory", f"model-{number}", 2, 1, digest, built_at=str(number))


def release(number: int) -> Release:
    sha = f"sha-{number}"
    return Release(number, sha, index(number), Fusion(), "extractive", {}, "", "", {}, f"evidence/{sha}", "pass")


def build(store: VectorStore, version: IndexVersion) -> None:
    chunk = Chunk(version.built_at, "d", "s/d", "s", "default", "text", (0, 1), (1, 1), "prose", "text")
    store.create(version.name, dim=2)
    store.write(version.name, EmbeddedBatch((chunk,), np.array([[1, 0]], np.float32)))
    store.finish(version.name)
    store.seal(version)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with four registered releases: making its schema takes seconds."""
    paths = Paths(tmp_path_factory.mktemp("registered"))
    for number in range(1, 5):
        registry.record(paths, release(number), params={}, metrics={}, tags={}, artifacts=[])
    return paths.state


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Four releases with index, evidence and vectors; release 1 answers and 2 did before."""
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    paths = Paths(tmp_path)
    store = open_store(PARAMS.index, paths)
    for number in range(1, 5):
        build(store, index(number))
        save_release(paths, release(number))
        write_json(paths.releases / f"evidence/sha-{number}/evaluation/scores.json", {})
        cache_path(paths.cache, f"model-{number}", 2).parent.mkdir(parents=True, exist_ok=True)
        cache_path(paths.cache, f"model-{number}", 2).touch()
    store.swap("docs", "docs-1")
    write_json(paths.releases / "champion.json", {"number": 1, "previous": 2, "token": 0})
    write_json(paths.data / "embedder.json", {"fingerprint": "model-tonight", "dim": 2})
    return paths


def names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in paths]


def test_the_way_back_and_the_newest_stay_with_their_evidence_and_vectors(paths: Paths) -> None:
    gone = prune(paths, PARAMS, dry_run=False)
    assert gone["versions"] == ["docs-3"]
    assert names(gone["evidence"]) == ["sha-3"]
    assert gone["vectors"] == [str(cache_path(paths.cache, "model-3", 2))]
    assert sorted(p.name for p in (paths.releases / "evidence").iterdir()) == ["sha-1", "sha-2", "sha-4"]
    assert (paths.releases / "3.json").exists()
    assert not any(prune(paths, PARAMS, dry_run=False).values())


def test_a_dry_run_names_the_same_and_removes_nothing(paths: Paths) -> None:
    planned = prune(paths, PARAMS, dry_run=True)
    assert planned == prune(paths, PARAMS, dry_run=True)
    assert planned == prune(paths, PARAMS, dry_run=False)


def test_vectors_stay_while_nobody_knows_tonights_embedder(paths: Paths) -> None:
    (paths.data / "embedder.json").unlink()
    assert prune(paths, PARAMS, dry_run=False)["vectors"] == []


def test_evidence_stays_as_long_as_the_index_whatever_its_alias(paths: Paths) -> None:
    store, other = open_store(PARAMS.index, paths), replace(index(3), alias="other")
    store.drop("docs-3")
    build(store, other)
    save_release(paths, replace(release(3), index=other))
    assert prune(paths, PARAMS, dry_run=True)["evidence"] == []


def test_a_promotion_that_was_killed_is_finished_first(paths: Paths, registered: Path) -> None:
    shutil.copytree(registered, paths.state, dirs_exist_ok=True)
    intent = {"id": "1-promote-3", "action": "promote", "at": "now", "from": 1, "previous": 1, "to": 3}
    write_json(paths.releases / "publish.json", {**intent, "reason": "", "token": 0, "who": "me"})
    assert prune(paths, PARAMS, dry_run=True)["versions"] == []
    assert prune(paths, PARAMS, dry_run=False)["versions"] == ["docs-2"]
    at = pointer(paths)
    assert at is not None
    assert (at.number, open_store(PARAMS.index, paths).live("docs")) == (3, "docs-3")


def test_portraits_stay_as_long_as_their_index_and_canaries_for_good(paths: Paths) -> None:
    names = ["docs-1", "docs-2", "docs-3", "docs-tonight", "canary-ab"]
    paths.monitor.mkdir()
    for name in names:
        (paths.monitor / f"{name}.npz").touch()
    write_json(paths.data / "index.json", {"name": "docs-tonight"})
    assert [Path(p).stem for p in prune(paths, PARAMS, dry_run=True)["portraits"]] == ["docs-3"]


def test_old_pages_go_with_their_summaries(paths: Paths) -> None:
    paths.reports.mkdir()
    for n in range(62):
        for suffix in ("html", "md"):
            (paths.reports / f"2026-01-{n:02d}.{suffix}").touch()
    gone = names(prune(paths, PARAMS, dry_run=False)["reports"])
    assert gone == ["2026-01-00.html", "2026-01-00.md", "2026-01-01.html", "2026-01-01.md"]
    assert len(list(paths.reports.iterdir())) == 120


def test_only_old_temporary_files_go(paths: Paths) -> None:
    old, new = (paths.data / f".{name}.json.x.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    assert prune(paths, PARAMS, dry_run=False)["temporary"] == [str(old)]
    assert new.exists()


def model(paths: Paths, learner: str, number: int, *, at: str = "2026") -> Part:
    """Keep a model as `ragkeep learn` does, without its weights."""
    part = Part(learner, "base", folder=f"{learner}-{number}", trainset="t", version=number)
    folder = paths.models / part.folder
    write_json(folder / "report.json", {})
    made = registry.record_model(paths, learner, f"sha-{learner}-{number}", folder, metrics={}, tags={})
    assert made == number
    note_trained(paths.state, f"{learner}/{number}", [number])
    write_json(folder / "part.json", asdict(part) | {"at": at})
    return part


def binding(paths: Paths, number: int, *parts: Part, reason: str = "pass") -> None:
    save_release(paths, replace(release(number), serving={"learned": rows_of(parts)}, reason=reason))


@pytest.fixture
def learned(paths: Paths, registered: Path) -> Paths:
    """Seven query towers: of the champion, one that waits, a refused one, one nobody binds, and the newest by number."""
    shutil.copytree(registered, paths.state, dirs_exist_ok=True)
    towers = [model(paths, "query-tower", n, at=str(2030 - n)) for n in range(1, 8)]
    weight = model(paths, "fusion", 1)
    binding(paths, 1, towers[0], weight)
    binding(paths, 2, towers[1])
    binding(paths, 3, towers[2], reason="fail: worse")
    binding(paths, 4, towers[3], reason="fail: worse")
    binding(paths, 5, towers[4])
    binding(paths, 6, towers[5], reason="fail: worse")
    note_trained(paths.state, "finetune/assistant", [9])
    (paths.models / ".query-tower-9.new.tmp").mkdir()
    return paths


def versions(paths: Paths) -> list[int]:
    found = registry._client(paths).search_model_versions("name='ragkeep-query-tower'")
    return sorted(int(version.version) for version in found)


def test_models_go_that_no_release_needs_that_could_answer(learned: Paths) -> None:
    gone = prune(learned, PARAMS, dry_run=False)["models"]
    assert names(gone) == [".query-tower-9.new.tmp", "query-tower-3", "query-tower-4"]
    assert versions(learned) == [1, 2, 5, 6, 7]
    assert sorted(path.parent.name for path in learned.models.glob("*/part.json")) == [
        "fusion-1", "query-tower-1", "query-tower-2", "query-tower-5", "query-tower-6", "query-tower-7",
    ]  # fmt: skip
    ledger = {row["model"] for row in read_rows(learned.state / LEDGER)}
    assert ledger == {"fusion/1", "finetune/assistant", *(f"query-tower/{n}" for n in (1, 2, 5, 6, 7))}


@pytest.mark.parametrize("cut", ["forget_models", "unlink", "rmtree", "keep_trained"])
def test_a_prune_that_is_killed_is_finished_by_the_next(
    learned: Paths, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    homes = {"forget_models": registry, "unlink": Path, "rmtree": shutil}
    with monkeypatch.context() as patch:
        patch.setattr(homes.get(cut, pruning), cut, _killed)
        with pytest.raises(KeyboardInterrupt):
            prune(learned, PARAMS, dry_run=False)
    prune(learned, PARAMS, dry_run=False)
    assert versions(learned) == [1, 2, 5, 6, 7]
    assert not (learned.models / "query-tower-3").exists()
    assert "query-tower/3" not in {row["model"] for row in read_rows(learned.state / LEDGER)}
    assert not any(prune(learned, PARAMS, dry_run=True).values())


def _killed(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project whose one stage has run on two inputs, one after the other."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  a: {cmd: mkdir out && cp in out, deps: [in], outs: [out]}\n")
    for text in ("first", "second"):
        (tmp_path / "in").write_text(text)
        reproduce(tmp_path, tmp_path / "state", "a")
    return tmp_path


def cached(project: Path) -> set[Path]:
    return {path for path in (project / ".dvc/cache/files").rglob("*") if path.is_file()}


def test_dvcs_cache_keeps_what_the_lock_names(project: Path) -> None:
    before = cached(project)
    planned = collect(project, dry_run=True)
    assert cached(project) == before
    assert collect(project, dry_run=False) == planned
    assert before - cached(project) == {Path(path) for path in planned}
    assert len(planned) == 2
    assert (project / "out/in").read_text() == "second"
    assert not reproduce(project, project / "state", "a")


def test_a_cache_shared_with_others_is_left_alone(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    shared = tmp_path_factory.mktemp("shared")
    (project / ".dvc/cache").rename(shared / "cache")
    (project / ".dvc/config").write_text(f"[core]\n    analytics = false\n[cache]\n    dir = {shared}/cache\n")
    assert collect(project, dry_run=False) == []


def test_without_dvc_there_is_nothing_to_collect(tmp_path: Path) -> None:
    assert collect(tmp_path, dry_run=False) == []
