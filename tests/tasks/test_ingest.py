"""Files become documents or a line in quarantine; only what changed is parsed; bytes depend on inputs alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import IngestParams, Params, Paths, SourceParams
from ragkeep.tables import iter_documents, read_table
from ragkeep.types import Document, content_id
from tasks import ingest, scan
from tasks.shards import iter_shards
from tests.loaders.reading import edited

PARAMS = Params(sources=(SourceParams(name="docs", path="docs"),), ingest=IngestParams(shards=4))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    docs = tmp_path / "docs"
    docs.mkdir()
    for i in range(12):
        (docs / f"{i:02d}.md").write_text(f"# Title {i}\n\nBody {i}\n", encoding="utf-8")
    (docs / "bad.json").write_text("{", encoding="utf-8")
    return Paths(tmp_path)


def night(paths: Paths, params: Params = PARAMS) -> dict[str, Any]:
    scan.run(paths, params)
    return ingest.run(paths, params)


def documents(paths: Paths) -> dict[str, Document]:
    return {d.uri: d for shard in iter_shards(paths.data / "documents") for d in iter_documents(read_table(shard))}


def quarantine(paths: Paths) -> list[dict[str, Any]]:
    text = (paths.data / "quarantine" / "ingest.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def contents(paths: Paths) -> dict[str, bytes]:
    return {str(p.relative_to(paths.data)): p.read_bytes() for p in sorted(paths.data.rglob("*")) if p.is_file()}


def test_every_file_ends_as_a_document_or_in_quarantine(paths: Paths) -> None:
    stats = night(paths)
    assert (stats["seen"], stats["documents"], stats["quarantined"]) == (13, 12, 1)
    assert stats["reasons"] == {"damaged": 1}
    (row,) = quarantine(paths)
    assert (row["uri"], row["stage"], row["reason"]) == ("docs/bad.json", "ingest", "damaged")
    document = documents(paths)["docs/03.md"]
    assert (document.text, document.kind, document.language) == ("# Title 3\n\nBody 3\n", "prose", "markdown")
    assert (document.source, document.workspace) == ("docs", "default")


def test_ids_hash_workspace_uri_and_bytes(paths: Paths) -> None:
    night(paths)
    sha = next(row.sha for row in ingest._manifest(paths) if row.uri == "docs/00.md")
    assert documents(paths)["docs/00.md"].id == content_id("default", "docs/00.md", sha)


def test_nothing_is_parsed_twice(paths: Paths) -> None:
    night(paths)
    before = contents(paths)
    assert night(paths)["parsed"] == 0
    assert contents(paths) == before


def test_only_the_changed_file_is_parsed_again(paths: Paths) -> None:
    night(paths)
    (paths.root / "docs/05.md").write_text("# New\n", encoding="utf-8")
    assert night(paths)["parsed"] == 1
    assert documents(paths)["docs/05.md"].text == "# New\n"
    assert len(documents(paths)) == 12


def test_added_and_deleted_files_come_and_go(paths: Paths) -> None:
    night(paths)
    (paths.root / "docs/05.md").unlink()
    (paths.root / "docs/bad.json").unlink()
    (paths.root / "docs/new.md").write_text("new", encoding="utf-8")
    night(paths)
    assert set(documents(paths)) == {f"docs/{i:02d}.md" for i in range(12) if i != 5} | {"docs/new.md"}
    assert quarantine(paths) == []


def test_reuse_and_a_fresh_start_give_the_same_bytes(paths: Paths) -> None:
    night(paths)
    (paths.root / "docs/05.md").write_text("# New\n", encoding="utf-8")
    night(paths)
    reused = contents(paths)
    for shard in iter_shards(paths.data / "documents"):
        shard.unlink()
    night(paths)
    assert contents(paths) == reused


def test_a_killed_run_leaves_finished_shards_that_the_next_one_keeps(paths: Paths) -> None:
    night(paths)
    whole = contents(paths)
    shards = list(iter_shards(paths.data / "documents"))
    shards[0].unlink()
    shards[1].write_bytes(b"PAR1 torn")
    (shards[2].parent / ".0002.parquet.x.tmp").write_bytes(b"torn")
    assert 0 < night(paths)["parsed"] < 13
    assert contents(paths) == whole


def test_fewer_shards_leave_no_stale_files(paths: Paths) -> None:
    night(paths)
    night(paths, replace(PARAMS, ingest=IngestParams(shards=2)))
    assert [p.name for p in iter_shards(paths.data / "documents")] == ["0000.parquet", "0001.parquet"]
    assert len(documents(paths)) == 12


def release(paths: Paths, row: dict[str, Any]) -> None:
    line = json.dumps({"uri": row["uri"], "sha": row["sha"], "reason": "needed"})
    (paths.data / "released.jsonl").write_text(line + "\n", encoding="utf-8")


def test_a_released_document_is_tried_with_raised_limits(paths: Paths) -> None:
    small = replace(PARAMS, ingest=IngestParams(shards=4, max_chars=1000))
    (paths.root / "docs/long.md").write_text("x" * 3000, encoding="utf-8")
    night(paths, small)
    (row,) = [row for row in quarantine(paths) if row["uri"] == "docs/long.md"]
    assert row["reason"] == "too_large_output"
    release(paths, row)
    assert night(paths, small)["parsed"] == 1
    assert documents(paths)["docs/long.md"].text == "x" * 3000


def test_a_release_holds_for_the_bytes_that_were_seen(paths: Paths) -> None:
    night(paths)
    release(paths, quarantine(paths)[0])
    assert night(paths)["parsed"] == 1, "the released file is tried once more"
    assert night(paths)["parsed"] == 0
    (paths.root / "docs/bad.json").write_text("{{", encoding="utf-8")
    assert night(paths)["reasons"] == {"damaged": 1}


def test_a_file_that_changes_after_the_scan_is_read_the_next_night(paths: Paths) -> None:
    scan.run(paths, PARAMS)
    path = paths.root / "docs/07.md"
    path.write_text("# Later\n", encoding="utf-8")
    assert ingest.run(paths, PARAMS)["reasons"] == {"changed": 1, "damaged": 1}
    assert night(paths)["reasons"] == {"damaged": 1}
    assert documents(paths)["docs/07.md"].text == "# Later\n"


def test_a_source_may_be_one_file(paths: Paths) -> None:
    one = Params(sources=(SourceParams(name="one", path="docs/00.md"),), ingest=IngestParams(shards=1))
    night(paths, one)
    assert list(documents(paths)) == ["one/00.md"]


def test_a_changed_loader_parses_its_files_again(paths: Paths, tmp_path: Path) -> None:
    night(paths)
    with edited("loaders/tabular.py", tmp_path / "package"):
        assert night(paths)["parsed"] == 1, "the one JSON file"
