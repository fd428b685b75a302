"""A share of the answers reaches MLflow; none waits for it, and those that it misses are counted."""

import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkeep.serving import mlflow_traces
from ragkeep.serving.mlflow_traces import WAITING, Given, MlflowTraces
from ragkeep.types import Answer, Usage

TIMINGS = {"embed": 5.0, "retrieve": 10.0, "generate": 80.0, "total": 100.0}
MADE = Answer(
    "Ask anna@example.org.", (), abstained=False, hits=(), model="m", release="7", usage=Usage(3, 4), timings_ms=TIMINGS
)
GIVEN = Given("a1", "t" * 32, "default", "s1", "Who is anna@example.org?", MADE, time.time())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_trace_holds_steps_and_ids_and_no_personal_data(tmp_path: Path) -> None:
    uri, counted = f"sqlite:///{tmp_path / 'mlflow.db'}", Counter[str]()
    traces = MlflowTraces(1.0, uri, counted=lambda outcome: counted.update([outcome]))
    traces.offer(GIVEN, gone=lambda: False)
    traces.close(timeout_s=120)
    assert counted == {"sent": 1}
    program = (
        f"import mlflow; mlflow.set_tracking_uri({uri!r})\n"
        "(one,) = mlflow.search_traces(experiment_ids=['1'], return_type='list')\n"
        "print([s.name for s in one.data.spans], one.info.tags['ragkeep.answer'], one.info.execution_duration, one.data)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.startswith("['answer', 'embed', 'retrieve', 'rerank', 'generate'] a1 100")
    assert "anna@" not in told


def test_without_its_server_traces_are_dropped_counted_and_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    counted, done = Counter[str](), threading.Event()

    def count(outcome: str) -> None:
        counted.update([outcome])
        if counted["dropped"] == 2 * WAITING:
            done.set()

    traces = MlflowTraces(1.0, "http://127.0.0.1:9", counted=count)
    began = time.thread_time()
    for _ in range(2 * WAITING):
        traces.offer(GIVEN, gone=lambda: False)
    assert time.thread_time() - began < 0.5
    assert done.wait(20)
    traces.close()
    assert counted == {"dropped": 2 * WAITING}
    assert sum("are dropped" in record.message for record in caplog.records) == 1


def test_a_share_is_sampled() -> None:
    counted = Counter[str]()
    traces = MlflowTraces(0.1, "http://127.0.0.1:9", counted=lambda outcome: counted.update([outcome]))
    for _ in range(1000):
        traces.offer(GIVEN, gone=lambda: False)
    traces.close(timeout_s=20)
    assert 50 < counted["dropped"] < 170


def test_an_answer_deleted_while_its_trace_waits_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, sent, deleted = Counter[str](), list[str](), set[str]()
    sending, go_on = threading.Event(), threading.Event()

    def slow(_mlflow: Any, given: Given) -> None:
        sending.set()
        assert go_on.wait(20)
        sent.append(given.answer)

    monkeypatch.setattr(mlflow_traces, "_opened", lambda _uri: object())
    monkeypatch.setattr(mlflow_traces, "_send", slow)
    traces = MlflowTraces(1.0, f"sqlite:///{tmp_path / 'mlflow.db'}", counted=lambda outcome: counted.update([outcome]))
    for answer in ("a1", "a2", "a3"):
        traces.offer(replace(GIVEN, answer=answer), gone=lambda answer=answer: answer in deleted)  # type: ignore[misc]
    assert sending.wait(20)
    deleted.add("a2")
    go_on.set()
    traces.close(timeout_s=20)
    assert (sent, counted) == (["a1", "a3"], {"sent": 2, "erased": 1})
