"""Nights in which something is wrong: one clear line, and what is live answers on."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.e2e.projects import TOPICS, Project


def test_a_lost_index_is_noticed_and_built_again(project: Project) -> None:
    shutil.rmtree(project.state / "store")
    assert project.run("doctor", check=1).json["ok"] is False
    project.run("nightly")
    assert project.run("search", "tar archive").json["hits"]


def test_an_unreadable_document_is_quarantined_with_its_reason(project: Project) -> None:
    (project.root / "docs" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing follows")
    result = project.run("nightly").json
    assert result["documents"]["quarantined"] == 1
    (row,) = project.run("quarantine", "list").json["documents"]
    assert row["uri"] == "docs/broken.pdf"
    shown = project.run("quarantine", "show", "docs/broken.pdf").json
    assert shown["refused"][0]["reason"] == row["reason"]


def test_a_night_with_hardly_any_documents_stops_and_leaves_the_live_release(project: Project) -> None:
    for name in list(TOPICS)[:9]:
        (project.root / "docs" / f"{name}.py").unlink()
    ran = project.run("nightly", check=1)
    assert "validate" in ran.json["error"]
    assert project.run("search", "tar archive").json["release"] == "1"


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"chunk": {"prosa": {}}}, "unknown key 'prosa'"),
        ({"sources": [{"name": "gone", "path": "nowhere"}]}, "gone"),
        ({"embed": {"backend": "minilmm"}}, "did you mean 'minilm'?"),
        ({"evaluate": {"sets": ["nowhere.jsonl"]}}, "nowhere.jsonl"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(project: Project, sections: dict[str, object], said: str) -> None:
    good = (project.root / "params.yaml").read_text()
    project.params(**sections)
    ran = project.run("nightly", check=None)
    assert ran.code in (1, 2)
    assert said in ran.json["error"]
    assert "Traceback" not in ran.err
    (project.root / "params.yaml").write_text(good)
    assert project.run("search", "tar archive").json["release"] == "1"


def test_a_second_night_meanwhile_is_told_to_wait(project: Project) -> None:
    with sqlite3.connect(project.state / "lease.sqlite") as db:
        db.execute("UPDATE lease SET released = 0, host = 'elsewhere/x', expires = 9e12")
    ran = project.run("nightly", check=1)
    assert "another night is running" in ran.json["error"]


def test_a_night_that_is_stopped_says_so(project: Project) -> None:
    """The whole group is told, as service managers do: the stage goes with the night."""
    (project.root / "docs" / "new.py").write_text('def new() -> None:\n    """Made last night."""\n')
    began = time.time()
    night = subprocess.Popen(
        [sys.executable, "-m", "ragkeep.cli", "nightly", "--json"], cwd=project.root, env=project.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    while not project.ran_since(began):
        assert night.poll() is None
        time.sleep(0.05)
    os.killpg(night.pid, signal.SIGTERM)
    out, err = night.communicate(timeout=120)
    assert (night.returncode, json.loads(out.splitlines()[-1])["error"][:7]) == (130, "stopped"), err
    assert project.run("search", "tar archive").json["release"] == "1"
