"""`ragkeep keys` and `ragkeep queue` as a person and a script meet them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkeep.cli import app
from ragkeep.database import Database
from ragkeep.errors import RagkeepError
from ragkeep.queues import open_queue
from ragkeep.serving.keys import Keys
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


def test_a_key_is_made_listed_and_revoked(state: Path) -> None:
    made = run_json("keys", "create", "app", "--role", "default:writer", "--role", "notes:reader", "--days", "30")
    keys = Keys(Database(state))
    assert keys.principal(made["key"]).roles == {"default": "writer", "notes": "reader"}
    assert made["scopes"] == ["chat", "documents"]
    assert made["expires_at"] > made["created_at"]
    listed = run("keys", "list")
    assert made["id"] in listed
    assert made["key"] not in listed
    run("keys", "revoke", made["id"])
    with pytest.raises(RagkeepError, match="unknown, revoked or expired"):
        keys.principal(made["key"])


@pytest.mark.parametrize("wrong", [("--role", "default"), ("--role", "default:boss"), ("--role", "A B:reader")])
def test_a_role_that_is_none_says_what_one_looks_like(state: Path, wrong: tuple[str, str]) -> None:
    with pytest.raises(RagkeepError, match=r"default:reader|a-z"):
        run("keys", "create", "app", *wrong)


def test_dead_letters_are_shown_and_redriven(state: Path) -> None:
    queue = open_queue(QueueParams(tries=1), state)
    queue.put(Job("a", "docs", {}))
    taken = queue.take()
    assert taken
    queue.fail(taken, "it is encrypted")
    assert "it is encrypted" in run("queue", "show")
    assert run_json("queue", "redrive") == {"redriven": 1}
    assert run_json("queue", "show")["depth"] == {"waiting": 1, "taken": 0, "dead": 0}
