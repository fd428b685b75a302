"""Validation: what stops the night, what is set aside, and what a person let in."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import Params, Paths, ValidateParams
from ragkeep.errors import ValidationFailed
from ragkeep.files import write_json
from ragkeep.releases import point, save_release
from ragkeep.types import Fusion, IndexVersion, Release
from tasks import validate, validate_chunks
from tasks.text_facts import control_share, mojibake_share, visible

from .nights import PARAMS, project, put_chunks, put_documents, put_rows, sha_of

GOOD = {f"{i}.md": f"Document {i} says something of its own." for i in range(10)}
BAD = {"blank.md": " \n\t ", "control.md": "a\x01b\x02" * 50, "mojibake.md": "Ã©tÃ© Ã  la plage Ã¼ber " * 20}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return project(tmp_path)


def lenient(**changes: Any) -> Params:
    return replace(PARAMS, validate=ValidateParams(**({"max_quarantined": 0.5} | changes)))


def report(paths: Paths, what: str = "documents") -> dict[str, Any]:
    return json.loads((paths.data / f"validation/{what}.json").read_text())


def test_good_documents_pass(paths: Paths) -> None:
    put_documents(paths, GOOD)
    assert validate.run(paths, PARAMS)["quarantined"] == 0
    assert all(e["success"] for e in report(paths)["expectations"])
    assert (paths.data / "quarantine/validate.jsonl").read_text() == ""


def test_no_documents_at_all_fail(paths: Paths) -> None:
    put_documents(paths, {})
    with pytest.raises(ValidationFailed, match=r"row_count\]: observed 0 rows, expected at least 1 rows"):
        validate.run(paths, PARAMS)
    assert report(paths)["counts"]["documents"] == 0


def test_a_night_without_a_folder_of_documents_fails(paths: Paths) -> None:
    with pytest.raises(ValidationFailed, match="observed 0 rows"):
        validate.run(paths, PARAMS)


def publish(paths: Paths, documents: int) -> None:
    """Make a release live that was made of so many documents."""
    index = IndexVersion("docs-1", "docs", "memory", "hash-64", 64, documents, "d")
    save_release(paths, Release(1, "a", index, Fusion(), "extractive", {}, "", "", {}, "evidence/a", "pass"))
    point(paths, 1, previous=None, token=1)
    counts = {"counts": {"documents": documents}}
    write_json(paths.releases / "evidence" / "a" / "validation" / "documents.json", counts)


def test_a_large_drop_against_the_live_release_fails(paths: Paths) -> None:
    put_documents(paths, GOOD)
    publish(paths, documents=21)
    with pytest.raises(ValidationFailed, match=r"volume\]: observed 10 rows, expected at least 11 rows .*has 21"):
        validate.run(paths, PARAMS)


def test_a_small_drop_passes(paths: Paths) -> None:
    put_documents(paths, GOOD)
    publish(paths, documents=20)
    assert validate.run(paths, PARAMS)["documents"] == 10


def test_bad_texts_are_set_aside_by_reason(paths: Paths) -> None:
    put_documents(paths, GOOD | BAD)
    assert validate.run(paths, lenient())["quarantined"] == 3
    rows = validate.read_rows(paths.data / "quarantine/validate.jsonl")
    assert [(r["uri"], r["reason"]) for r in rows] == [
        ("docs/blank.md", "blank"), ("docs/control.md", "control"), ("docs/mojibake.md", "mojibake"),
    ]  # fmt: skip
    assert rows[1]["detail"] == "control_share is 0.5000, expected at most 0.01"
    assert report(paths)["reasons"][0] == {"stage": "validate", "reason": "blank", "rows": 1}


def test_too_many_set_aside_fail_and_say_which_reasons(paths: Paths) -> None:
    put_documents(paths, GOOD | BAD)
    put_rows(
        paths.data / "quarantine/ingest.jsonl", {"uri": "docs/x.pdf", "sha": "", "stage": "ingest", "reason": "damaged"}
    )
    with pytest.raises(ValidationFailed, match=r"4 of 14 documents in quarantine, expected at most 20% .*1 damaged"):
        validate.run(paths, PARAMS)
    assert len(validate.read_rows(paths.data / "quarantine/validate.jsonl")) == 3, "the report needs them"


def test_the_same_documents_give_the_same_bytes(paths: Paths) -> None:
    put_documents(paths, GOOD | BAD)
    outputs = [paths.data / "validation/documents.json", paths.data / "quarantine/validate.jsonl"]
    seen = []
    for _ in range(2):
        validate.run(paths, lenient())
        seen.append([o.read_bytes() for o in outputs])
    assert seen[0] == seen[1]


def test_what_a_person_released_is_let_in(paths: Paths) -> None:
    put_documents(paths, GOOD | BAD)
    sha = sha_of(BAD["control.md"])
    put_rows(paths.data / "released.jsonl", {"uri": "docs/control.md", "sha": sha, "was": "control", "reason": "fine"})
    assert validate.run(paths, lenient())["quarantined"] == 2
    assert report(paths)["false_rejects"] == {"released": 1, "set_aside": 3, "estimate": 0.3333}


@pytest.mark.parametrize("row", [{"sha": "0" * 32, "was": "control"}, {"sha": sha_of(BAD["control.md"]), "was": "blank"}])
def test_a_release_holds_for_those_bytes_and_that_reason_only(paths: Paths, row: dict[str, str]) -> None:
    put_documents(paths, GOOD | BAD)
    put_rows(paths.data / "released.jsonl", {"uri": "docs/control.md", "reason": "fine"} | row)
    assert validate.run(paths, lenient())["quarantined"] == 3


def test_good_chunks_pass(paths: Paths) -> None:
    put_chunks(paths, GOOD)
    assert validate_chunks.run(paths, PARAMS) == {"chunks": 10, "quarantined": 0, "released": 0}


def test_a_chunk_whose_span_is_not_its_text_fails(paths: Paths) -> None:
    put_chunks(paths, GOOD, span=(0, 3))
    with pytest.raises(ValidationFailed, match=r"span_errors\) \[span\]: observed 10 failing of 10 rows"):
        validate_chunks.run(paths, PARAMS)


def test_no_chunks_at_all_fail(paths: Paths) -> None:
    put_chunks(paths, {})
    with pytest.raises(ValidationFailed, match=r"chunks: .* observed 0 rows"):
        validate_chunks.run(paths, PARAMS)


def test_bad_chunks_are_set_aside_by_id(paths: Paths) -> None:
    put_chunks(paths, GOOD | BAD)
    assert validate_chunks.run(paths, PARAMS)["quarantined"] == 3
    rows = validate.read_rows(paths.data / "quarantine/chunks.jsonl")
    assert {(r["uri"], r["reason"], len(r["chunk_id"])) for r in rows} >= {("docs/blank.md", "blank", 32)}


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("plain", 0.0),
        ("Ünïcödé, naïve façade, Größe", 0.0),
        ("Ã©", 1.0),
        ("â€™", 1.0),
        ("\ufffd\ufffdab", 0.5),
        ("日本語です", 0.0),
    ],
)
def test_mojibake_is_told_from_accents(text: str, share: float) -> None:
    assert mojibake_share(text) == share


@pytest.mark.parametrize(
    "language", ["Ça déjà été — où ça ?", "Übermäßig große Öfen", "Żółć gęślą jaźń", "Ελληνικά", "русский"]
)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_text_decoded_with_the_wrong_table_is_seen(language: str, wrong: str) -> None:
    damaged = language.encode().decode(wrong, "replace")
    assert mojibake_share(damaged) > 0.1 > 0.02 > mojibake_share(language)


def test_layout_characters_are_not_control_characters() -> None:
    assert control_share("a\tb\r\n\x0cc\x0b") == 0.0
    assert control_share("\x00\x1b[0m") == 0.4


def test_a_text_of_marks_without_ink_is_blank() -> None:
    assert [visible(t) for t in ("", " \u00a0\n", "\u200b\u200b", "x", " " * 5000 + "x")] == [0, 0, 0, 1, 1]
