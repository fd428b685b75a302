"""The command line as a person and a script meet it: real processes on a small project."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkeep.cli import show_night
from ragkeep.config import Params, Paths
from ragkeep.files import write_json, write_rows
from ragkeep.releases import append_history, point, save_release
from ragkeep.trials import Trial, begin_trial
from ragkeep.types import Fusion, IndexVersion, Release

ROOT = Path(__file__).parent.parent
PARAMS = "sources: [{name: docs, path: docs}]\nembed: {backend: hash}\n"
INDEX = IndexVersion("docs-a", "docs", "memory", "hash-2", 2, 1, "digest", built_at="2026-11-21T02:00:00Z")
RELEASE = Release(1, "sha", INDEX, Fusion(), "extractive", {}, "", "", {"ndcg_at_10": 0.5}, "evidence/sha", "pass")
RESULT: dict[str, Any] = {
    "verdict": "fail", "release": "3", "reasons": ["rr fell from 0.5 to 0.1"], "report": "page.html", "seconds": 9.0,
    "documents": {"seen": 903, "changed": 1, "deleted": 0, "quarantined": 6}, "chunks": {"total": 22000, "embedded": 4},
    "scores": {"chrf": 0.25, "citation_validity": 1.0, "ndcg_at_10": 0.5136, "recall_at_10": 0.6991},
}  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return Paths(tmp_path)


@pytest.fixture
def released(paths: Paths) -> Paths:
    """Two releases, the second of them live."""
    for number in (1, 2):
        save_release(paths, replace(RELEASE, number=number))
        append_history(paths, {"id": str(number), "action": "publish", "from": number - 1 or None, "to": number})
    point(paths, 2, previous=1, token=1)
    return paths


def start(paths: Paths, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAGKEEP_HOME": str(paths.root)}
    command = [sys.executable, "-m", "ragkeep.cli", *args]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(paths: Paths, *args: str) -> tuple[int, list[str]]:
    """Run a command; return its exit code and the lines of its stdout."""
    process = start(paths, *args)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out.splitlines()


def asked(paths: Paths, *args: str) -> Any:
    """Run a command with --json; return what its last line holds."""
    return json.loads(run(paths, *args, "--json")[1][-1])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("search",), "Missing argument 'text'"),
        (("search", "x", "--mode", "magic"), "'magic' is not one of"),
        (("search", "x", "--deep"), "No such option: --deep"),
        (("serch",), "No such command 'serch'"),
    ],
)
def test_a_usage_error_is_json_too(paths: Paths, args: tuple[str, ...], said: str) -> None:
    code, lines = run(paths, *args, "--json")
    error = json.loads(lines[-1])
    assert (code, error["exit_code"]) == (2, 2)
    assert said in error["error"]


def test_ctrl_c_is_told_apart_from_success(paths: Paths) -> None:
    paths.params.unlink()
    os.mkfifo(paths.params)
    process = start(paths, "search", "x", "--json")
    with paths.params.open("w"):  # opens when the command does, which then waits for what is never written
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["exit_code"]) == (130, 130)


def test_release_numbers_are_strings_everywhere(released: Paths) -> None:
    listed = asked(released, "releases", "list")
    assert (listed["champion"], listed["previous"]) == ("2", "1")
    assert [(r["number"], r["alias"]) for r in listed["releases"]] == [("2", "champion"), ("1", "previous")]
    assert [(e["from"], e["to"]) for e in asked(released, "releases", "history")["events"]] == [(None, "1"), ("1", "2")]
    found = asked(released, "explain", "1")
    assert (found["number"], [e["to"] for e in found["history"]]) == ("1", ["1", "2"])


def test_refused_documents_and_chunks_are_counted_apart(paths: Paths) -> None:
    row = {"uri": "docs/a.md", "sha": "ab", "stage": "validate", "reason": "control", "detail": ""}
    chunk = {**row, "uri": "docs/b.md", "stage": "validate_chunks"}
    write_rows(paths.data / "quarantine/validate.jsonl", [row, {**row, "reason": "mojibake"}])
    write_rows(paths.data / "quarantine/chunks.jsonl", [{**chunk, "chunk_id": "1"}, {**chunk, "chunk_id": "2"}])
    found = asked(paths, "quarantine", "list")
    assert found["counts"] == {"documents": 1, "chunks": 2}
    assert [r["uri"] for r in (*found["documents"], *found["chunks"])] == ["docs/a.md"] * 2 + ["docs/b.md"] * 2


def test_a_cron_line_that_is_none_is_one_clear_line(paths: Paths) -> None:
    error = asked(paths, "schedule", "--cron", "every night")["error"]
    assert "'every night'" in error
    assert "--cron '0 2 * * *'" in error


def test_a_measurement_says_how_to_compare_it_with_the_one_before(paths: Paths) -> None:
    folder = paths.root / "words"
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": f"word{n} here"} for n in range(4)])
    write_rows(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"word{n}"} for n in range(4)])
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(4)))
    first = run(paths, "eval", "--set", str(folder), "--mode", "bm25")[1]
    assert first[-1] == f"Next: ragkeep eval --set {folder} --mode hybrid, to have something to compare with"
    _, lines = run(paths, "eval", "--set", str(folder), "--mode", "vector")
    baseline, candidate = lines[-1].removeprefix("Next: ragkeep gate --baseline ").split(" --candidate ")
    assert asked(paths, "gate", "--baseline", baseline, "--candidate", candidate)["verdict"] in ("pass", "fail")


def test_a_night_shows_numbers_with_intervals_the_main_ones_first(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"mean": 0.5136, "ci": [0.4584, 0.5671], "n": 226}
    write_json(paths.data / "evaluation/scores.json", {"metrics": {"ndcg_at_10": row, "chrf": {**row, "mean": 0.3}}})
    show_night(RESULT, paths, Params(sources=()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[6:10] == [
        "ndcg_at_10\t0.5136   95 % interval 0.458 to 0.567, 226 questions",
        "recall_at_10\t0.6991",
        "citation_validity\t1.0000",
        "chrf\t0.2500",  # measured 0.3 by then: of another night
    ]
    assert "- rr fell from 0.5 to 0.1" in lines
    assert lines[-1] == "Next: open the report and see why"


def test_a_trial_is_told_to_a_person_and_to_a_script(released: Paths) -> None:
    assert run(released, "releases", "trial", "show")[1][0] == "No release has been on trial."
    code, lines = run(released, "releases", "trial", "start", "2", "--json")
    assert (code, "release 2 is the champion" in json.loads(lines[-1])["error"]) == (1, True)
    begin_trial(released, Trial("1-1", 1, 2, "split", 0.25, "user", "2026-11-21", "", 0, 1, "ann", ""))
    text = "\n".join(run(released, "releases", "trial", "show")[1])
    assert "Release 1 against release 2 (split, 25%): runs" in text
    assert "too few answers to say anything" in text
    found = json.loads(run(released, "releases", "trial", "show", "--json")[1][-1])
    assert (found["trial"]["number"], found["winner"]) == ("1", "too few")
