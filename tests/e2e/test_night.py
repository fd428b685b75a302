"""The night, from the command line: what a user sees the first time, the second time, and when something is wrong."""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.projects import Project


def test_the_first_night_publishes_a_measured_release(first_night: Project) -> None:
    result = json.loads((first_night.root / "first.json").read_text())
    assert result["published"]
    assert result["verdict"] == "pass"
    assert result["release"] == "1"
    assert result["documents"] == {"seen": 11, "changed": 11, "deleted": 0, "quarantined": 0}
    assert result["chunks"]["total"] == result["chunks"]["embedded"] >= 11
    assert result["scores"]["ndcg_at_10"] > 0.3
    assert Path(result["report"]).read_text().count("<html") == 1
    assert (result["monitor"]["recall_at_10"], result["monitor"]["alarms"]) == (1.0, [])


def test_the_release_answers_with_lines_that_exist(first_night: Project) -> None:
    found = first_night.run("search", "compress a folder into a tar archive", "--mode", "bm25").json["hits"]
    assert found[0]["uri"] == "docs/archive.py"
    lines = (first_night.root / "docs" / "archive.py").read_text().splitlines()
    first, last = found[0]["lines"]
    assert found[0]["text"].strip() in "\n".join(lines[first - 1 : last])


def test_an_unchanged_night_publishes_nothing_and_starts_no_server(project: Project) -> None:
    before = project.receipts()
    result = project.run("nightly").json
    assert (result["verdict"], result["published"], result["release"]) == ("unchanged", False, "1")
    assert result["seconds"] < 5
    assert result["chunks"]["embedded"] == 0
    assert project.receipts() == before


def test_dvc_repro_after_a_night_does_nothing_more(project: Project) -> None:
    before = project.receipts()
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.root, env=path_env(project), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for stage in ("ingest", "validate", "chunk", "validate_chunks", "embed", "index", "evaluate"):
        assert f"Stage '{stage}' didn't change, skipping" in done.stdout + done.stderr
    assert project.receipts() == before


def path_env(project: Project) -> dict[str, str]:
    return {**project.env, "PATH": f"{Path(sys.executable).parent}:{project.env['PATH']}"}


def test_one_edited_function_reembeds_only_its_chunk_and_a_deleted_document_vanishes(project: Project) -> None:
    edited = project.root / "docs" / "greet.py"
    edited.write_text(edited.read_text().replace("friendly hello", "zebra striped salutation"))
    (project.root / "docs" / "guide.md").unlink()
    result = project.run("nightly").json
    assert result["published"]
    assert (result["documents"]["changed"], result["documents"]["deleted"]) == (1, 1)
    assert result["chunks"]["embedded"] == 1
    hits = project.run("search", "zebra salutation").json["hits"]
    assert hits[0]["uri"] == "docs/greet.py"
    hits = project.run("search", "open the lid before the engine").json["hits"]
    assert "docs/guide.md" not in {h["uri"] for h in hits}


def test_changed_chunk_sizes_rerun_only_what_follows(project: Project) -> None:
    project.params(chunk={"prose": {"target_tokens": 60, "max_tokens": 64, "overlap_tokens": 8}})
    before = time.time()
    project.run("nightly")
    assert project.ran_since(before) == {"scan", "chunk", "validate_chunks", "embed", "index", "evaluate"}


def test_shuffled_vectors_are_refused_and_the_live_release_answers_on(project: Project) -> None:
    shuffling = project.root / "shuffled.py"
    shuffling.write_text(SHUFFLED)
    project.params(
        embed={"backend": "shuffled:shuffled"}, retrieve={"weight": 1.0}, gate={"min_effect": 0.0, "floors": {}}
    )
    ran = project.run("nightly", check=1, PYTHONPATH=f"{project.root}:{project.env['PYTHONPATH']}")
    assert ran.json["verdict"] == "fail"
    assert not ran.json["published"]
    assert any("ndcg_at_10" in reason for reason in ran.json["reasons"])
    assert ran.json["release"] == "1"
    assert {"text", "base", "new"} <= set(ran.json["losses"][0])
    evidence = project.root / "data" / "evaluation"
    base = project.state / "releases" / project.run("explain").json["evaluation"] / "evaluation"
    judged = project.run("gate", "--baseline", str(base), "--candidate", str(evidence), check=None)
    assert judged.json["verdict"] == "fail"
    assert {q["id"] for q in judged.json["questions"]} == {f"test-{n:02d}" for n in range(10)}


SHUFFLED = '''
"""An embedder whose passages have other passages' vectors: what a broken retriever looks like."""
import hashlib
from ragkeep.config import EmbedParams
from ragkeep.testing import hash_embedder

class Shuffled:
    def __init__(self, inner):
        self.inner, self.name, self.dim = inner, "shuffled", inner.dim
        self.fingerprint, self.max_tokens = "shuffled", inner.max_tokens
    def embed(self, texts, *, role):
        shuffled = [hashlib.sha256(t.encode()).hexdigest() for t in texts]
        return self.inner.embed(texts if role == "query" else shuffled, role=role)

def shuffled(params, cache):
    return Shuffled(hash_embedder(params=params, cache=cache))
'''
