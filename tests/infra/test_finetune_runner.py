"""The container and the script for a rented GPU: the steps in order, a failure that stops them, and the way back."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from ragkeep.cli_finetune import finetune_app

FOLDER = Path(__file__).parents[2] / "infra" / "finetune"
RECORD = '#!/bin/sh\necho $(basename "$0") $* >> "$SAID"\ncase "$*" in *"$FAIL"*) exit 3;; esac\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout that holds the script alone, and programs that only write down how they were called."""
    (tmp_path / "infra" / "finetune").mkdir(parents=True)
    shutil.copy(FOLDER / "run.sh", tmp_path / "infra" / "finetune")
    (tmp_path / "bin").mkdir()
    for name in ("uv", "ssh", "rsync"):
        (tmp_path / "bin" / name).write_text(RECORD)
        (tmp_path / "bin" / name).chmod(0o755)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def run(root: Path, *args: str, fail: str = "nothing fails", **env: str) -> tuple[int, list[str]]:
    """Run the script; returns its code, and what was called."""
    said = root / "said"
    path = f"{root / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        [root / "infra" / "finetune" / "run.sh", *args],
        env={**os.environ, "PATH": path, "SAID": str(said), "FAIL": fail, "JOB": str(root / "job"), **env}, check=False,
    )  # fmt: skip
    return done.returncode, said.read_text().splitlines() if said.exists() else []


def step(line: str) -> str:
    return line.partition("ragkeep finetune ")[2].split(" ")[0]


def test_every_step_is_run_in_order_and_is_a_command(root: Path) -> None:
    code, said = run(root, "all")
    assert code == 0
    assert [step(line) for line in said] == [
        "validate", "prepare-data", "generate-qa", "augment", "train", "evaluate", "merge-adapter", "export",
    ]  # fmt: skip
    assert {step(line) for line in said} <= set(typer.main.get_command(finetune_app).commands)  # type: ignore[attr-defined]
    assert all(f"--config {root / 'job'}/finetune.yaml" in line for line in said)


def test_a_step_that_fails_ends_it_with_its_code(root: Path) -> None:
    code, said = run(root, "all", fail="finetune augment")
    assert code == 3
    assert step(said[-1]) == "augment"


def test_one_step_takes_its_options(root: Path) -> None:
    _, said = run(root, "train", "--method", "dpo")
    assert said[0].endswith("finetune.yaml --method dpo")


def test_what_was_made_elsewhere_comes_back_also_after_a_failure(root: Path) -> None:
    code, said = run(root, "train", "--method", "dpo", fail="infra/finetune/run.sh train", REMOTE="me@gpu", PORT="2222")
    assert code == 3
    assert [line.split(" ")[0] for line in said] == ["rsync", "rsync", "ssh", "rsync"]
    assert "-p 2222" in said[2]
    assert "run.sh train --method dpo" in said[2]
    assert said[3].endswith(f"me@gpu:job/ {root / 'job'}/")


def test_the_image_copies_what_is_there_and_runs_as_nobody_special() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    copied = [
        word for line in lines if line.startswith("COPY") for word in line.split()[1:-1] if not word.startswith("--")
    ]
    assert all((FOLDER.parents[1] / name).exists() for name in copied)
    assert "USER tuner" in lines
    assert "HF_HUB_OFFLINE=1" in "".join(lines)
