"""Stage outputs on S3: pushed, lost, and pulled into another clone with the same hashes."""

import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.projects import Project

PULLED = ("sources", "documents", "quarantine", "validation", "chunks", "vectors", "evaluation/answers.jsonl")
STAGES = ("ingest", "validate", "chunk", "validate_chunks", "embed")
Dvc = Callable[..., subprocess.CompletedProcess[str]]


def dvc(project: Project, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{project.env['PATH']}"
    command = [sys.executable, "-m", "dvc", *args]
    return subprocess.run(
        command, cwd=project.root, env={**project.env, "PATH": path, **env}, capture_output=True, text=True, timeout=300
    )


def git(root: Path, *args: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(root), *who, *args], check=True, capture_output=True)


@pytest.fixture
def stored(project: Project, s3: dict[str, str]) -> Project:
    """A project after its first night whose DVC remote is a new bucket."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed: pip install 'ragkeep[s3]'")
    from botocore.session import Session

    bucket = f"ragkeep-{uuid.uuid4().hex}"
    keys = {"aws_access_key_id": s3["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": s3["AWS_SECRET_ACCESS_KEY"]}
    client = Session().create_client("s3", s3["AWS_DEFAULT_REGION"], endpoint_url=s3["AWS_ENDPOINT_URL_S3"], **keys)
    client.create_bucket(Bucket=bucket)
    stored = project.having(**s3)
    assert dvc(stored, "remote", "add", "-d", "store", f"s3://{bucket}/night").returncode == 0
    return stored


def files(project: Project) -> dict[str, bytes]:
    """The bytes of all that DVC keeps."""
    found = [p for name in PULLED for p in sorted((project.root / "data" / name).glob("**/*"))]
    found += [project.root / "data" / name for name in PULLED if (project.root / "data" / name).is_file()]
    return {str(p.relative_to(project.root)): p.read_bytes() for p in found if p.is_file()}


def cloned(project: Project, root: Path) -> Project:
    """Commit what a person would commit, and clone it elsewhere."""
    kept = ("params.yaml", "dvc.yaml", "dvc.lock", ".dvc/config", ".dvcignore", "data", "docs", "questions.jsonl")
    git(project.root, "add", *kept, "ragkeep", "evaluation", "tasks", "flows")
    git(project.root, "commit", "-qm", "a night")
    git(project.root, "clone", "-q", str(project.root), str(root))
    return Project(root, project.env)


@pytest.mark.slow
def test_another_clone_pulls_the_same_bytes_and_has_none_of_it_to_make(stored: Project, tmp_path: Path) -> None:
    before = files(stored)
    assert dvc(stored, "push").returncode == 0
    clone = cloned(stored, tmp_path / "clone")
    shutil.rmtree(stored.root)
    pulled = dvc(clone, "pull", "--allow-missing")  # there was no learning: its outputs have no hashes yet
    assert pulled.returncode == 0, pulled.stderr
    assert files(clone) == before
    began = time.time()
    clone.run("nightly")
    assert clone.ran_since(began) & set(STAGES) == set()
    assert files(clone) == before


@pytest.mark.slow
def test_a_wrong_key_and_a_missing_bucket_are_refused_by_name(stored: Project) -> None:
    wrong = dvc(stored, "push", AWS_SECRET_ACCESS_KEY="wrong")
    assert (wrong.returncode != 0, "Forbidden" in wrong.stderr) == (True, True), wrong.stderr
    assert dvc(stored, "remote", "add", "gone", f"s3://ragkeep-{uuid.uuid4().hex}/night").returncode == 0
    gone = dvc(stored, "push", "-r", "gone")
    assert (gone.returncode != 0, "bucket does not exist" in gone.stderr) == (True, True), gone.stderr
    assert "Traceback" not in wrong.stderr + gone.stderr
