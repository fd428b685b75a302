"""The way out of quarantine."""

from dataclasses import replace
from pathlib import Path

import pytest

from ragkeep.config import Paths, ValidateParams
from ragkeep.errors import RagkeepError
from tasks import validate
from tasks.quarantine import counted, listed, release, shown

from .nights import PARAMS, SHARDS, project, put_documents, put_rows

LENIENT = replace(PARAMS, validate=ValidateParams(max_quarantined=0.9), ingest=replace(PARAMS.ingest, shards=SHARDS))
PDF = {"uri": "docs/x.pdf", "sha": "ab" * 16, "stage": "ingest", "reason": "encrypted", "detail": "needs a password"}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = project(tmp_path)
    put_documents(paths, {"fine.md": "Something to read.", "odd.md": "a\x01" * 9})
    put_rows(paths.data / "quarantine/ingest.jsonl", PDF)
    validate.run(paths, LENIENT)
    return paths


def test_both_stages_are_listed(paths: Paths) -> None:
    assert [(r["uri"], r["stage"], r["reason"]) for r in listed(paths)] == [
        ("docs/odd.md", "validate", "control"), ("docs/x.pdf", "ingest", "encrypted"),
    ]  # fmt: skip


def test_documents_and_chunks_are_counted_apart(paths: Paths) -> None:
    chunk = PDF | {"stage": "validate_chunks", "chunk_id": "c1"}
    put_rows(paths.data / "quarantine/chunks.jsonl", chunk | {"reason": "blank"}, chunk | {"reason": "control"})
    assert counted(listed(paths)) == {"documents": 2, "chunks": 1}


def test_one_is_shown_with_its_text_and_file(paths: Paths) -> None:
    found = shown(paths, LENIENT, "docs/odd.md")
    assert found["file"] == str(paths.root / "docs/odd.md")
    assert found["text"].startswith("a\x01")
    assert found["refused"][0]["reason"] == "control"


def test_a_released_document_is_let_in_the_next_night(paths: Paths) -> None:
    row = release(paths, "docs/odd.md", reason="it is a terminal log")
    assert (row["was"], row["reason"]) == (["control"], "it is a terminal log")
    assert [r["uri"] for r in listed(paths)] == ["docs/x.pdf"]
    assert validate.run(paths, LENIENT)["quarantined"] == 0


def test_a_release_is_kept_beside_the_earlier_ones(paths: Paths) -> None:
    for uri in ("docs/x.pdf", "docs/odd.md"):
        release(paths, uri)
    rows = validate.read_rows(paths.data / "released.jsonl")
    assert [(r["uri"], r["was"]) for r in rows] == [("docs/odd.md", "control"), ("docs/x.pdf", "encrypted")]
    assert listed(paths) == []


def test_a_changed_file_is_judged_anew(paths: Paths) -> None:
    release(paths, "docs/odd.md")
    put_documents(paths, {"fine.md": "Something to read.", "odd.md": "b\x01" * 9})
    assert validate.run(paths, LENIENT)["quarantined"] == 1


def test_a_name_that_is_not_there_is_answered_with_the_nearest(paths: Paths) -> None:
    with pytest.raises(RagkeepError, match=r"docs/od.md is not in quarantine; did you mean docs/odd.md\?"):
        shown(paths, LENIENT, "docs/od.md")


def test_a_file_that_was_never_read_cannot_be_released(paths: Paths) -> None:
    put_rows(paths.data / "quarantine/ingest.jsonl", PDF | {"sha": "", "detail": "Permission denied"})
    with pytest.raises(RagkeepError, match=r"could not be opened \(Permission denied\)"):
        release(paths, "docs/x.pdf")
