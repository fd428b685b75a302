"""A share of the answers as MLflow traces, for those who review and label them there: `serve.mlflow_traces: 0.1`.

Sent by a thread of its own from a bounded queue: an answer waits for nothing here. Where the queue is full or MLflow is
away, traces are dropped, counted in `ragkeep_mlflow_traces_total{outcome="dropped"}`, and a warning says so. Personal
data is masked as in the interaction log. An answer that is deleted while its trace waits is not sent; what MLflow has
already is not taken back. The only module of the server that imports mlflow (seconds of CPU), and only
where the share is above 0. The server is MLFLOW_TRACKING_URI's, else the project's own file.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import MissingExtra
from ..pii import mask
from ..types import Answer

EXPERIMENT = "ragkeep answers"
WAITING = 200
WARN_S = 60.0
WAITED_S = 300.0
"""A trace that waited longer is dropped: deletions are remembered for a while only, and it may be of a deleted answer."""
STEPS = ("embed", "retrieve", "rerank", "generate")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that was given, and the ids it is found by; `ended` is Unix time."""

    answer: str
    trace: str
    workspace: str
    session: str
    question: str
    made: Answer
    ended: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    given: Given
    gone: Callable[[], bool]
    since: float


class MlflowTraces:
    """Takes answers and sends some; one for each server. `counted` is told "sent", "dropped" or "erased"."""

    def __init__(self, share: float, uri: str, *, counted: Callable[[str], None]) -> None:
        if not importlib.util.find_spec("mlflow"):
            raise MissingExtra("serve.mlflow_traces", "mlflow")
        self._share, self._uri, self._counted = share, uri, counted
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(WAITING)
        self._warned = float("-inf")
        self._thread = threading.Thread(target=self._work, name="traces for MLflow", daemon=True)
        self._thread.start()

    def offer(self, given: Given, *, gone: Callable[[], bool]) -> None:
        """Take an answer, or let it go; returns at once. `gone`, asked before it is sent: whether it was deleted."""
        if random.random() >= self._share:  # noqa: S311 - a sample
            return
        try:
            self._queue.put_nowait(_Waiting(given, gone, time.monotonic()))
        except queue.Full:
            self._dropped("the queue is full")

    def close(self, timeout_s: float = 3.0) -> None:
        """Send what waits, for a moment, and leave the rest."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _dropped(self, why: str) -> None:
        self._counted("dropped")
        if time.monotonic() - self._warned > WARN_S:
            self._warned = time.monotonic()
            log.warning("traces for MLflow are dropped: %s; ragkeep_mlflow_traces_total counts them", why)

    def _work(self) -> None:
        mlflow: Any = None
        while (one := self._queue.get()) is not None:
            if time.monotonic() - one.since > WAITED_S:
                self._dropped(f"one waited longer than {WAITED_S:.0f} s")
                continue
            try:
                require_reachable(self._uri)
                mlflow = mlflow or _opened(self._uri)
                if one.gone():  # asked last: the first look at MLflow takes seconds
                    self._counted("erased")
                    continue
                _send(mlflow, one.given)
            except Exception as error:  # whatever MLflow raises: an answer was given, and that counts
                self._dropped(f"{type(error).__name__} ({' '.join(str(error).split())[:200]})")
            else:
                self._counted("sent")


def tracking_uri(state: Path) -> str:
    """Where traces go."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state / 'mlflow.db'}"


def require_reachable(uri: str) -> None:
    """Raise OSError where a server is away: MLflow itself would try for minutes."""
    there = urlsplit(uri)
    if there.scheme in ("http", "https"):
        port = there.port or (443 if there.scheme == "https" else 80)
        socket.create_connection((there.hostname or "", port), timeout=2).close()


def _opened(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")  # we have a queue, and want to know of failures
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    mlflow, named = importlib.import_module("mlflow"), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if named is None:  # it set the variable too, and all else here that asks MLflow would go where traces go
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_experiment(EXPERIMENT)
    return mlflow


def _send(mlflow: Any, given: Given) -> None:
    """Write a trace of what happened already. Raises OSError where MLflow could not take it."""
    made = given.made
    total_ns = int(made.timings_ms.get("total", 0.0) * 1e6)
    at = int(given.ended * 1e9) - total_ns
    tags = {"ragkeep.answer": given.answer, "ragkeep.release": made.release, "ragkeep.workspace": given.workspace,
            "ragkeep.trace": given.trace}  # fmt: skip
    with _Listening() as heard:
        root = mlflow.start_span_no_context(
            "answer", span_type="CHAIN", inputs={"question": mask(given.question)[0]}, start_time_ns=at, tags=tags,
            attributes={"model": made.model, "abstained": made.abstained, "cost_tokens": made.usage.completion_tokens},
            metadata={"mlflow.trace.session": given.session},
        )  # fmt: skip
        for step in STEPS:
            took_ns = int(made.timings_ms.get(step, 0.0) * 1e6)
            child = mlflow.start_span_no_context(step, parent_span=root, start_time_ns=at)
            at += took_ns
            child.end(end_time_ns=at)
        sources = [{"uri": hit.chunk.uri, "score": float(hit.score)} for hit in made.sources]
        root.set_outputs({"answer": mask(made.text)[0], "sources": sources})
        root.end(end_time_ns=int(given.ended * 1e9))
    if heard.said:
        raise OSError(heard.said)


class _Listening(logging.Handler):
    """MLflow only logs what it could not send: hear it."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()

    def __enter__(self) -> _Listening:
        self.setLevel(logging.WARNING)
        self._logger = logging.getLogger("mlflow.tracing")
        self._before, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._before
