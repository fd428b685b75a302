"""What a server counts: Prometheus at /metrics. No label takes a value that a client could choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client import disable_created_metrics as _no_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ..cache import AnswerCache
from ..types import Answer
from ..watched import PARTS

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_no_created_metrics()  # type: ignore[no-untyped-call] # a second series for every counter, which nobody reads


class Observer:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.cache: AnswerCache | None = None
        registry.register(_CacheCollector(self))

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"ragkeep_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"ragkeep_{name}", what, labels, registry=registry)

        def seconds(name: str, what: str, *labels: str) -> Histogram:
            return Histogram(f"ragkeep_{name}_seconds", what, labels, buckets=SECONDS, registry=registry)

        self.requests = counter("requests", "HTTP requests", "route", "method", "status")
        self.seconds = seconds("request", "Time to the first byte of an answer", "route")
        self.streams = gauge("streams_open", "Connections that wait for events", "kind")
        self.answers = counter("answers", "Answers: answered, abstained, refused, cached, failed", "outcome")
        self.steps = seconds("answer", "Time a step of answering takes", "step")
        self.errors = counter("errors", "Answers that failed, by error", "error")
        self.open = gauge("answers_open", "Answers being made")
        self.tokens = counter("tokens", "Tokens read and written", "model", "kind")
        self.cost = counter("cost_usd", "US dollars, by the price table", "model")
        self.scores = Histogram(
            "ragkeep_retrieval_score", "Score of the best hit", buckets=[n / 10 for n in range(1, 11)], registry=registry
        )
        self.tries = counter("provider_tries", "Tries of generators", "model", "outcome")
        self.budgets = counter("budget_verdicts", "Budgets asked: ok, warn, cheaper, refuse", "state")
        self.limited = counter("rate_limited", "Requests over a limit a minute")
        self.votes = counter("votes", "Votes on answers, opened sources and corrections", "value")
        self.unlogged = counter("answers_unlogged", "Answers given that the interaction log did not keep")
        self.logging = gauge("log_healthy", "1 while interactions are being kept")
        self.swaps = counter("release_swaps", "Releases taken over")
        self.release = gauge("release", "The number of the release that answers, 0 for none")
        self.rejected = gauge("release_rejected", "1 while the newest release does not come up")
        self.queue = gauge("queue_depth", "Documents that wait, or failed for good", "state")
        self.live = gauge("live_chunks", "Chunks uploaded since the index was built")
        self.watched = gauge("monitor", "What the last look at the live release measured", "figure")
        self.alarms = gauge("monitor_alarm", "1 while the last look at this part raises an alarm", "part")
        self.looked = gauge("monitor_time_seconds", "When the live release was last looked at, Unix time; 0 for never")
        self.mlflow = counter("mlflow_traces", "Traces for MLflow: sent, dropped, erased before", "outcome")
        self.trial = counter(
            "trial_answers", "Answers of a trial: champion, challenger, interleaved, shadowed; fallback, dropped, failed",
            "outcome",
        )  # fmt: skip
        self._known_from_the_start()

    def _known_from_the_start(self) -> None:
        """Show series before their first event: a rate from nothing to one cannot be told otherwise."""
        for outcome in ("answered", "abstained", "refused", "cached", "failed"):
            self.answers.labels(outcome)
        for state in ("ok", "warn", "cheaper", "refuse"):
            self.budgets.labels(state)
        for state in ("waiting", "dead"):
            self.queue.labels(state)
        for kind in ("sse", "websocket"):
            self.streams.labels(kind)
        for outcome in ("sent", "dropped", "erased"):
            self.mlflow.labels(outcome)
        for outcome in ("champion", "challenger", "interleaved", "shadowed", "fallback", "dropped", "failed"):
            self.trial.labels(outcome)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count an answer as being made."""
        self.open.inc()
        try:
            yield
        finally:
            self.open.dec()

    @contextmanager
    def streaming(self, kind: str) -> Iterator[None]:
        """Count a connection that waits for events: sse or websocket."""
        open_ = self.streams.labels(kind)
        open_.inc()
        try:
            yield
        finally:
            open_.dec()

    def answered(self, made: Answer, *, cost_usd: float) -> None:
        """Count an answer that was given."""
        outcome = "refused" if made.reason else "abstained" if made.abstained else "answered"
        self.answers.labels("cached" if "cached" in made.flags else outcome).inc()
        if made.model:  # none was asked for a refusal
            self.tokens.labels(made.model, "read").inc(made.usage.prompt_tokens)
            self.tokens.labels(made.model, "written").inc(made.usage.completion_tokens)
            self.cost.labels(made.model).inc(cost_usd)
        for step, took in made.timings_ms.items():
            self.steps.labels(step).observe(took / 1000)
        if made.hits and "cached" not in made.flags:
            self.scores.observe(made.hits[0].score)

    def failed(self, error: str) -> None:
        """Count an answer that was not given."""
        self.answers.labels("failed").inc()
        self.errors.labels(error).inc()

    def asked(self, route: str, method: str, status: int, took_s: float) -> None:
        """Count a request; `route` is a template, never the path itself."""
        self.requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self.seconds.labels(route).observe(took_s)

    def saw(self, found: Mapping[str, Any]) -> None:
        """Show what the last look found: its figures, and which parts raise an alarm."""
        self.watched.clear()  # what cannot be told any more has no value
        for name, value in found["figures"].items():
            self.watched.labels(name).set(value)
        for part in PARTS:
            self.alarms.labels(part).set(part in found["alarms"])
        self.looked.set(datetime.fromisoformat(found["at"]).timestamp())

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self.registry)


class _CacheCollector(Collector):
    """What the answer cache, which counts by itself, found and did not find."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def collect(self) -> Iterator[CounterMetricFamily]:
        found = CounterMetricFamily("ragkeep_cache_lookups", "Lookups in the answer cache", labels=["outcome"])
        cache = self._observer.cache
        found.add_metric(["hit"], cache.hits if cache else 0)
        found.add_metric(["miss"], cache.misses if cache else 0)
        yield found
