"""The embedded store's files: durable, swept, readable without lancedb."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragkeep.errors import StoreError
from ragkeep.stores.durable import drop_torn_manifests, sync_tree
from ragkeep.stores.lancedb import open_store
from ragkeep.types import Query
from tests.stores.building import build, chunk_batch

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_searching_imports_neither_lancedb_nor_pyarrow(tmp_path: Path) -> None:
    build(open_store(tmp_path), "docs-1", chunk_batch(20))
    seen = python(
        """if True:
        import sys, pathlib, numpy
        from ragkeep.stores.lancedb import open_store
        from ragkeep.types import Query
        store = open_store(pathlib.Path(sys.argv[1]))
        hits = store.search("docs-1", Query("word3", vector=numpy.ones(8, numpy.float32)))
        ids = list(store.ids("docs-1"))
        print(len(hits), len(ids), "lancedb" in sys.modules, "pyarrow" in sys.modules)""",
        str(tmp_path),
    )
    assert seen == "10 20 False False"


def test_equal_content_gives_equal_search_files_whatever_the_order(tmp_path: Path) -> None:
    one, two = chunk_batch(10), chunk_batch(10, reverse=True)
    build(open_store(tmp_path / "a"), "docs-1", one)
    build(open_store(tmp_path / "b"), "docs-1", two)
    for name in ("vectors.npy", "ids.bin", "terms.bin", "starts.npy", "values-uri.bin", "codes-uri.npy"):
        where = Path("versions/docs-1/search/default", name)
        assert (tmp_path / "a" / where).read_bytes() == (tmp_path / "b" / where).read_bytes()


def test_a_build_whose_process_died_is_swept_by_the_next_create(tmp_path: Path) -> None:
    python(
        """if True:
        import sys, pathlib
        from ragkeep.stores.lancedb import open_store
        open_store(pathlib.Path(sys.argv[1])).create("docs-1", dim=8)""",
        str(tmp_path),
    )
    open_store(tmp_path).create("docs-2", dim=8)
    assert [path.name for path in (tmp_path / "versions").iterdir()] == ["docs-2"]


def test_a_build_under_way_is_left_alone(tmp_path: Path) -> None:
    mine, other = open_store(tmp_path), open_store(tmp_path)
    mine.create("docs-1", dim=8)
    other.create("docs-2", dim=8)
    with pytest.raises(StoreError, match="another process"):
        other.write("docs-1", chunk_batch(1))
    assert mine.write("docs-1", chunk_batch(3)) == 3


def test_another_process_goes_on_with_a_build(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.create("docs-1", dim=8)
    first.write("docs-1", chunk_batch(5))
    first.close()
    second = open_store(tmp_path)
    assert second.write("docs-1", chunk_batch(8)) == 3


def test_a_write_survives_a_manifest_that_a_power_cut_left_empty(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.create("docs-1", dim=8)
    store.write("docs-1", chunk_batch(5))
    manifests = sorted((tmp_path / "versions/docs-1/table/chunks.lance/_versions").glob("*.manifest"))
    # LanceDB counts its versions downwards: the next head sorts before all others
    head = manifests[0].with_name(f"{int(manifests[0].stem) - 1}.manifest")
    head.touch()
    store.close()
    again = open_store(tmp_path)
    assert again.write("docs-1", chunk_batch(6)) == 1
    assert not head.exists() or head.stat().st_size


def test_every_file_of_a_sealed_version_was_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.add(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd))[1])
    build(open_store(tmp_path), "docs-1", chunk_batch(20))
    # search/ was synced under the name it was built with, the receipt under the one it was written with
    folder = tmp_path / "versions" / "docs-1"
    seen = {path.replace("search.tmp", "search") for path in synced}
    missing = {str(p) for p in folder.rglob("*")} - seen
    assert missing == {str(folder / "receipt.json")}
    assert any(".receipt.json." in path for path in synced)


def test_a_version_of_another_text_analysis_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(open_store(tmp_path), "docs-1", chunk_batch(3))
    monkeypatch.setattr("ragkeep.stores.reading.VERSION", "0")
    with pytest.raises(StoreError, match="ragkeep nightly"):
        open_store(tmp_path).search("docs-1", Query("word1", mode="keyword"))


def test_a_version_with_files_of_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(open_store(tmp_path), "docs-1", chunk_batch(3))
    monkeypatch.setattr("ragkeep.stores.reading.FORMAT", 0)
    with pytest.raises(StoreError, match=r"format 1.*ragkeep nightly"):
        open_store(tmp_path).search("docs-1", Query("word1", mode="keyword"))


def test_a_search_goes_on_over_files_that_were_dropped(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    build(store, "docs-1", chunk_batch(5))
    segment = store._reader.segment(lambda: tmp_path / "versions" / "docs-1", query := Query("word3", mode="keyword"))
    open_store(tmp_path).drop("docs-1")
    assert segment is not None
    assert segment.search(query)[0].chunk.text.startswith("word3")


def test_torn_manifests_go_and_whole_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "chunks.lance" / "_versions"
    folder.mkdir(parents=True)
    (folder / "1.manifest").write_bytes(b"whole")
    (folder / "0.manifest").touch()
    drop_torn_manifests(tmp_path)
    sync_tree(tmp_path, set())
    assert [path.name for path in folder.iterdir()] == ["1.manifest"]
