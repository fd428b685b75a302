"""`ragkeep queue` as a person and a script meet it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkeep.cli import app
from ragkeep.errors import RagkeepError
from ragkeep.queues import open_queue
from ragkeep.serving.params import QueueParams
from ragkeep.types import Job


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("sources: [{name: docs, path: docs}]\nserve: {queue: {tries: 1}}\n")
    monkeypatch.setenv("RAGKEEP_HOME", str(tmp_path))
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    return tmp_path / ".ragkeep" / "serving.sqlite"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, RagkeepError):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_dead_letters_are_shown_and_redriven(state: Path) -> None:
    queue = open_queue(QueueParams(tries=1), state)
    queue.put(Job("a", "docs", {}))
    taken = queue.take()
    assert taken
    queue.fail(taken, "it is encrypted")
    assert "it is encrypted" in run("queue", "show")
    assert run_json("queue", "redrive") == {"redriven": 1}
    assert run_json("queue", "show")["depth"] == {"waiting": 1, "taken": 0, "dead": 0}
