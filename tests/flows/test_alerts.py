"""Alerts over a real HTTP server and real commands: told once, over once, and never in the night's way."""

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.alerts import Trouble, tell
from ragkeep.config import AlertParams, Params, Paths, SourceParams
from ragkeep.watched import ALERTS, firing

SECRET = "s3cret-of-the-webhook"
FALL = Trouble("the live index finds 0.5", "Look at the store.", "critical", {"value": 0.5})


class Receiver(ThreadingHTTPServer):
    """Takes what is posted; answers with the statuses in `answers` first, then 200, after `slow_s`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.slow_s = 0.0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        time.sleep(server.slow_s)
        status = server.answers.pop(0) if server.answers else 200
        if status == 200:
            server.got.append(json.loads(body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("ALERT_URL", f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}?token={SECRET}")
        yield server
        server.shutdown()


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_ALERTS", raising=False)
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    return Paths(tmp_path)


def params(*alerts: AlertParams) -> Params:
    return Params(sources=(SourceParams("docs", "docs"),), alerts=alerts)


HOOK = AlertParams("webhook", "ALERT_URL", timeout_s=2.0)


def command(script: str, timeout_s: float = 20.0) -> AlertParams:
    return AlertParams("command", command=(sys.executable, "-c", script), timeout_s=timeout_s)


def test_a_trouble_is_told_once_and_its_end_once(paths: Paths, receiver: Receiver) -> None:
    for _ in range(3):
        tell(paths, params(HOOK), {"recall": FALL})
    assert list(firing(paths)) == ["recall"]
    for _ in range(2):
        tell(paths, params(HOOK), {"recall": None})
    assert [(row["alert"], row["state"]) for row in receiver.got] == [("recall", "firing"), ("recall", "resolved")]
    first = receiver.got[0]
    assert first["text"] == f"ragkeep {paths.root.name}: critical: the live index finds 0.5 Look at the store."
    assert first["about"] == {"value": 0.5}
    assert firing(paths) == {}


def test_what_is_not_looked_at_stays_as_it_is(paths: Paths, receiver: Receiver) -> None:
    tell(paths, params(HOOK), {"recall": FALL})
    tell(paths, params(HOOK), {"night": None})
    assert list(firing(paths)) == ["recall"]
    assert len(receiver.got) == 1


def test_what_grows_worse_or_is_another_case_is_told_again(paths: Paths, receiver: Receiver) -> None:
    for trouble in (Trouble("a", "b"), Trouble("a", "b", "critical"), Trouble("a", "b", "critical", case="2")):
        tell(paths, params(HOOK), {"rollback": trouble})
    assert len(receiver.got) == 3


def test_a_hook_that_fails_is_asked_once_more(paths: Paths, receiver: Receiver) -> None:
    receiver.answers = [503]
    tell(paths, params(HOOK), {"recall": FALL})
    assert len(receiver.got) == 1


def test_one_that_fails_twice_is_told_by_the_next_look_and_shows_no_secret(
    paths: Paths, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500, 500]
    tell(paths, params(HOOK), {"recall": FALL})
    assert receiver.got == []
    assert "could not be told to the webhook ALERT_URL: it answered 500" in caplog.text
    tell(paths, params(HOOK), {"recall": FALL})
    assert len(receiver.got) == 1
    assert SECRET not in caplog.text + (paths.state / ALERTS).read_text() + json.dumps(receiver.got)


def test_an_end_that_could_not_be_told_is_told_later(paths: Paths, receiver: Receiver) -> None:
    tell(paths, params(HOOK), {"recall": FALL})
    receiver.answers = [500, 500]
    tell(paths, params(HOOK), {"recall": None})
    assert firing(paths) == {}
    tell(paths, params(HOOK), {"recall": None})
    assert [row["state"] for row in receiver.got] == ["firing", "resolved"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/nobody", "no url at all", ""])
def test_a_hook_that_is_not_there_harms_nobody(
    paths: Paths, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALERT_URL", url and f"{url}/{SECRET}")
    tell(paths, params(HOOK), {"recall": FALL})
    assert "could not be told" in caplog.text
    assert SECRET not in caplog.text


def test_a_slow_hook_is_not_waited_for(paths: Paths, receiver: Receiver) -> None:
    receiver.slow_s = 30.0
    began = time.monotonic()
    tell(paths, params(AlertParams("webhook", "ALERT_URL", timeout_s=0.2)), {"recall": FALL})
    assert time.monotonic() - began < 20


def test_a_command_reads_the_alert_from_stdin(paths: Paths) -> None:
    out = paths.root / "told.json"
    script = f"import pathlib, sys; pathlib.Path({str(out)!r}).write_text(sys.stdin.read())"
    tell(paths, params(command(script)), {"night": Trouble("the disk is full", "Free some space.", "critical")})
    said = json.loads(out.read_text())
    assert (said["alert"], said["severity"], said["summary"]) == ("night", "critical", "the disk is full")


def test_a_command_that_hangs_is_killed_with_its_children(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    alive = paths.root / "alive"
    script = f"import os, time\nos.fork()\ntime.sleep(4)\nopen({str(alive)!r}, 'w')"
    tell(paths, params(command(script, timeout_s=0.5)), {"night": FALL})
    assert "took longer than 0.5 s" in caplog.text
    time.sleep(4)
    assert not alive.exists()


def test_each_hook_is_told_though_another_fails(paths: Paths, receiver: Receiver) -> None:
    gone = AlertParams("command", command=("no-such-program",))
    tell(paths, params(gone, HOOK), {"recall": FALL})
    tell(paths, params(gone, HOOK), {"recall": FALL})
    assert len(receiver.got) == 1


def test_without_hooks_the_state_is_kept_for_the_page(paths: Paths) -> None:
    tell(paths, params(), {"recall": FALL})
    assert firing(paths)["recall"]["summary"] == FALL.summary
    tell(paths, params(), {"recall": None})
    assert firing(paths) == {}
