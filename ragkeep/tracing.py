"""One trace from an HTTP request through the steps of an answer to the provider's own request, by OpenTelemetry.

    with span("retrieval docs-1", **{"gen_ai.operation.name": "retrieval"}) as here:
        here.set(hits=10)

Spans are exported where OTEL_EXPORTER_OTLP_ENDPOINT names a collector (OTLP over HTTP; needs the extra [otel]), and
sampled as OTEL_TRACES_SAMPLER says. Without it `span` hands out one object that does nothing, and nothing is sent. No
text of a question, a document or an answer is ever an attribute, nor the message of an error.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, Self

from .errors import MissingExtra

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

Value = str | bool | int | float
KINDS = ("internal", "server", "client")
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_id: ContextVar[str] = ContextVar("ragkeep_trace", default="")
_incoming: ContextVar[str] = ContextVar("ragkeep_traceparent", default="")
_tracer: Tracer | None = None


class Span(Protocol):
    """A step of the work, as a context manager."""

    def set(self, **attributes: Value) -> None:
        """Add what is known by now."""

    def rename(self, name: str) -> None:
        """Give it the name that is known by now."""

    def failed(self, error: str) -> None:
        """Say what kind of error it was."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...


class _Nothing:
    """What a span is where nothing is traced."""

    __slots__ = ()

    def set(self, **attributes: Value) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def failed(self, error: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        pass


_NOTHING = _Nothing()


class _Open:
    """A span of OpenTelemetry's; what goes wrong within is told by its kind alone."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: OtelSpan) -> None:
        self._span, self._token = span, None

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def failed(self, error: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", error)
        self._span.set_status(StatusCode.ERROR)

    def __enter__(self) -> Self:
        from opentelemetry import context, trace

        self._token = context.attach(trace.set_span_in_context(self._span))  # type: ignore[assignment]
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        from opentelemetry import context

        if kind is not None and issubclass(kind, Exception):  # a client that went away is no error
            self.failed(kind.__name__)
        self._span.end()
        if self._token is not None:
            context.detach(self._token)


def span(name: str, kind: str = "internal", /, **attributes: Value) -> Span:
    """Begin a step of the trace at hand; `kind` is one of KINDS."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind

    return _Open(_tracer.start_span(name, kind=SpanKind[kind.upper()], attributes=attributes))


def enabled() -> bool:
    """Whether spans are recorded at all: what is costly to say need not be said otherwise."""
    return _tracer is not None


@contextmanager
def entered(traceparent: str) -> Iterator[str]:
    """Begin a request: go on with the trace its header `traceparent` names, else with a new one; yield its id.

    A header that is not what W3C's Trace Context says counts for none.
    """
    found = _PARENT.fullmatch(traceparent)
    marks = _id.set(found[1] if found else secrets.token_hex(16)), _incoming.set(traceparent if found else "")
    token = _attach(found) if _tracer is not None else None
    try:
        yield _id.get()
    finally:
        if token is not None:
            from opentelemetry import context

            context.detach(token)
        _incoming.reset(marks[1])
        _id.reset(marks[0])


def _attach(found: re.Match[str] | None) -> Any:
    """Make a remote caller's span, or none, the parent of what follows."""
    from opentelemetry import context, trace

    if found is None:
        return context.attach(context.Context())
    flags = trace.TraceFlags(int(found[3], 16))
    remote = trace.SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
    return context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote), context.Context()))


def trace_id() -> str:
    """The id of the request's trace, 32 hex digits, the same whether spans are exported or not; "" outside of one."""
    return _id.get()


def headers() -> dict[str, str]:
    """What goes along with a request to somebody else: `traceparent`, where there is a trace to go on with."""
    if _tracer is None:
        said = _incoming.get()  # passed on as it came: whoever traces on both sides still sees one trace
        return {"traceparent": said} if said else {}
    from opentelemetry import trace

    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        return {}
    return {"traceparent": f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"}


def follow_boto(session: Any) -> None:
    """Send `traceparent` along with every request of a boto3 session, before it is signed."""

    def add(params: MutableMapping[str, Any], **_: object) -> None:
        params["headers"].update(headers())

    session.events.register("before-call", add, unique_id="ragkeep-traceparent")


def start(version: str, environment: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Export from now on, where the environment names a collector; return what ends it and sends what is left.

    Raises MissingExtra where a collector is named and its exporter is not installed.
    """
    global _tracer
    if not _wanted(environment):
        return lambda: None
    try:
        exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise MissingExtra("OTEL_EXPORTER_OTLP_ENDPOINT", "otel") from None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return int(_id.get(), 16) if _id.get() else super().generate_trace_id()

    name = environment.get("OTEL_SERVICE_NAME") or "ragkeep"
    resource = Resource.create({"service.name": name, "service.version": version})
    provider = TracerProvider(resource=resource, id_generator=Ids())
    provider.add_span_processor(BatchSpanProcessor(exporter.OTLPSpanExporter()))
    _tracer = provider.get_tracer("ragkeep", version)

    def stop() -> None:
        global _tracer
        _tracer = None
        provider.shutdown()

    return stop


def _wanted(environment: Mapping[str, str]) -> bool:
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return not off and any(environment.get(name, "").strip() for name in names)
