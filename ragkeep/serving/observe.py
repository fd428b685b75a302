"""What a server counts and traces: Prometheus at /metrics, OpenTelemetry spans where an exporter is configured."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..types import Answer

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Observer:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._tracer = trace.get_tracer("ragkeep")
        self.requests = Counter("ragkeep_requests", "HTTP requests", ["route", "method", "status"], registry=registry)
        self.seconds = Histogram(
            "ragkeep_request_seconds",
            "Time to the first byte of an answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.steps = Histogram(
            "ragkeep_answer_seconds", "Time a step of answering takes", ["step"], buckets=SECONDS, registry=registry
        )
        self.answers = Counter(
            "ragkeep_answers", "Answers: answered, abstained, refused, cached, failed", ["outcome"], registry=registry
        )
        self.tokens = Counter("ragkeep_tokens", "Tokens read and written", ["model", "kind"], registry=registry)
        self.cost = Counter("ragkeep_cost_usd", "US dollars, by the price table", ["model"], registry=registry)
        self.scores = Histogram(
            "ragkeep_retrieval_score", "Score of the best hit", buckets=[n / 10 for n in range(1, 11)], registry=registry
        )
        self.errors = Counter("ragkeep_errors", "Answers that failed, by error", ["error"], registry=registry)
        self.tries = Counter("ragkeep_provider_tries", "Tries of generators", ["model", "outcome"], registry=registry)
        self.votes = Counter("ragkeep_votes", "Votes on answers", ["value"], registry=registry)
        self.open = Gauge("ragkeep_answers_open", "Answers being made", registry=registry)
        self.swaps = Counter("ragkeep_release_swaps", "Releases taken over", registry=registry)
        self.release = Gauge("ragkeep_release", "The number of the release that answers", registry=registry)
        self.logging = Gauge("ragkeep_log_healthy", "1 while interactions are being kept", registry=registry)
        self.queue = Gauge("ragkeep_queue_depth", "Documents that wait, or failed for good", ["state"], registry=registry)
        self.live = Gauge("ragkeep_live_chunks", "Chunks uploaded since the index was built", registry=registry)

    @contextmanager
    def answering(self, workspace: str, model: str) -> Iterator[None]:
        """Count an answer as being made, and trace it."""
        self.open.inc()
        try:
            with self._tracer.start_as_current_span("answer", attributes={"workspace": workspace, "model": model}):
                yield
        finally:
            self.open.dec()

    def trace_id(self) -> str:
        """The id of the trace at hand, or a new one of the same form where nothing is exported."""
        context = trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else secrets.token_hex(16)

    def answered(self, made: Answer, *, cost_usd: float) -> None:
        """Count an answer that was given."""
        outcome = "refused" if made.reason else "abstained" if made.abstained else "answered"
        self.answers.labels("cached" if "cached" in made.flags else outcome).inc()
        self.tokens.labels(made.model, "read").inc(made.usage.prompt_tokens)
        self.tokens.labels(made.model, "written").inc(made.usage.completion_tokens)
        self.cost.labels(made.model).inc(cost_usd)
        for step, took in made.timings_ms.items():
            self.steps.labels(step).observe(took / 1000)
        if made.hits:
            self.scores.observe(made.hits[0].score)

    def failed(self, error: str) -> None:
        """Count an answer that was not given."""
        self.answers.labels("failed").inc()
        self.errors.labels(error).inc()

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self.registry)


class Counted:
    """ASGI middleware: a request id on every answer, and every request counted by its route."""

    def __init__(self, app: Callable[..., object], observer: Observer) -> None:
        self.app, self._observer = app, observer

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        """Pass on, count."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)  # type: ignore[misc]
            return
        began = time.perf_counter()
        scope.setdefault("state", {})["request_id"] = id_ = secrets.token_hex(8)
        method = scope["method"] if scope["method"] in METHODS else "other"  # anybody can make up more

        async def sending(message) -> None:  # type: ignore[no-untyped-def]
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id_.encode())]
                route = getattr(scope.get("route"), "path", "none")
                self._observer.requests.labels(route, method, str(message["status"])).inc()
                self._observer.seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, sending)  # type: ignore[misc]
