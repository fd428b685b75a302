"""Releases from the command line: what lets one in, the way back, and what is kept for it."""

import json
import shutil
import time

import yaml

from tests.e2e.projects import Project


def test_rolling_back_answers_from_the_release_before_at_once(project: Project) -> None:
    (project.root / "docs" / "guide.md").write_text("# Guide\n\nNever touch the flux capacitor.\n")
    assert project.run("nightly").json["release"] == "2"
    assert "flux capacitor" in project.run("search", "flux capacitor").json["hits"][0]["text"]
    assert project.run("releases", "rollback", "--reason", "wrong guide").json["release"] == "1"
    found = project.run("search", "flux capacitor").json
    assert found["release"] == "1"
    assert not any("flux capacitor" in h["text"] for h in found["hits"])
    assert [e["action"] for e in project.run("releases", "history").json["events"]] == ["publish", "publish", "rollback"]
    night = project.run("nightly").json
    assert (night["published"], night["verdict"], night["release"]) == (False, "unchanged", "1")
    assert "`ragkeep releases promote 2` takes it again" in night["reasons"][0]
    assert project.run("releases", "promote", "2").json["release"] == "2"


def test_questions_kept_anywhere_are_asked_again_when_they_change(project: Project) -> None:
    path = project.root / "questions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    shorter = [row for row in rows if row["id"] != "test-09"]
    path.write_text("".join(json.dumps(row) + "\n" for row in shorter))
    before = time.time()
    assert project.run("nightly").json["verdict"] == "unchanged"
    assert project.ran_since(before) == {"scan", "evaluate"}
    asked = (project.root / "data" / "evaluation" / "by_query.jsonl").read_text()
    assert '"test-08"' in asked
    assert '"test-09"' not in asked


def test_a_live_release_that_no_longer_passes_is_not_called_unchanged(project: Project) -> None:
    project.params(gate={"floors": {"unanswerable_abstained": 0.5}})
    ran = project.run("nightly", check=1)
    assert (ran.json["verdict"], ran.json["published"], ran.json["release"]) == ("fail", False, "1")
    (reason,) = ran.json["reasons"]
    assert reason.startswith("unanswerable_abstained was not measured: add questions")
    assert project.run("nightly", check=1).json["verdict"] == "fail"


def test_without_a_release_asking_says_what_to_do(project: Project) -> None:
    shutil.rmtree(project.state / "releases")
    assert "run `ragkeep nightly` first" in project.run("ask", "anything?", check=1).json["error"]


def test_prune_keeps_the_way_back(project: Project) -> None:
    project.params(index={"keep": 1})
    for n in range(2):
        (project.root / "docs" / "guide.md").write_text(f"# Guide\n\nEdition {n}.\n")
        project.run("nightly")
    kept = project.run("prune").json
    assert kept["versions"] == []
    assert project.run("releases", "rollback").json["release"] == "2"
    assert yaml.safe_load((project.root / "params.yaml").read_text())["index"]["keep"] == 1
