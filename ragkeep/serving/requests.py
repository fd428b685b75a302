"""Every request seen from outside: its id, its trace, its line in the log, its place in the metrics, its last resort.

A request goes on with the trace its `traceparent` names. An error that nobody expected becomes an answer here, so that
it too is counted, traced, and found in the log by its id.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from .. import tracing
from . import context
from .observe import METHODS, Observer

Scope: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]
STREAM = b"text/event-stream; charset=utf-8"
QUIET = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: a line is written where one goes wrong."""
log = logging.getLogger(__name__)
lines = logging.getLogger("ragkeep.requests")


class Observed:
    """ASGI middleware around all that answers; `failed` turns an unexpected error into an answer."""

    def __init__(
        self, app: App, *, observer: Observer, failed: Callable[[Request, Exception], Awaitable[Response]]
    ) -> None:
        self.app, self._observer, self._failed = app, observer, failed

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass on, and keep the books."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = secrets.token_hex(8)
        with tracing.entered(_header(scope, b"traceparent")) as trace:
            token = context.begin(request_id=state["request_id"], trace_id=trace)
            try:
                if scope["type"] == "http":
                    await self._http(scope, receive, send)
                else:
                    await self._socket(scope, receive, send)
            finally:
                context.end(token)

    async def _http(self, scope: Scope, receive: Any, send: Any) -> None:
        began, status, first = time.perf_counter(), 0, 0.0
        streams = contextlib.ExitStack()
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        about = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        with tracing.span(method, "server", **about) as span:

            async def sending(message: Any) -> None:
                nonlocal status, first
                if message["type"] == "http.response.start":
                    status, first = message["status"], time.perf_counter() - began
                    message["headers"] = [*message.get("headers", ()), _own_id(scope)]
                    if (b"content-type", STREAM) in message["headers"]:
                        streams.enter_context(self._observer.streaming("sse"))
                await send(message)

            try:
                await self.app(scope, receive, sending)
            except Exception as error:
                span.failed(type(error).__name__)
                if status:  # the answer had begun: it can only be cut off
                    raise
                await (await self._failed(Request(scope), error))(scope, receive, sending)
            finally:
                streams.close()
                self._ended(scope, span, status, (first, time.perf_counter() - began))

    def _ended(self, scope: Scope, span: tracing.Span, status: int, took_s: tuple[float, float]) -> None:
        route, method = _route(scope), scope["method"]
        status = status or 499  # nothing was answered: the client had gone
        self._observer.asked(route, method, status, took_s[0] or took_s[1])
        span.rename(f"{method if method in METHODS else 'HTTP'} {route}")
        told: dict[str, tracing.Value] = {"http.route": route, "http.response.status_code": status}
        span.set(**told)
        if route not in QUIET or status >= 500:
            took = round(1000 * took_s[1], 2)
            about = {"method": method, "route": route, "status": status, "duration_ms": took}
            lines.info("request", extra=about)

    async def _socket(self, scope: Scope, receive: Any, send: Any) -> None:
        """Each question of a WebSocket is a trace of its own: a connection may last for days."""
        began = time.perf_counter()
        try:
            with self._observer.streaming("websocket"):
                await self.app(scope, receive, send)
        except Exception:
            log.exception("a WebSocket on %s failed", _route(scope))
            raise
        finally:
            took = round(1000 * (time.perf_counter() - began), 2)
            lines.info("websocket", extra={"route": _route(scope), "duration_ms": took})


def _header(scope: Scope, name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def _own_id(scope: Scope) -> tuple[bytes, bytes]:
    return b"x-request-id", scope["state"]["request_id"].encode()


def _route(scope: Scope) -> str:
    """The route's template; "none" where there is none."""
    return str(getattr(scope.get("route"), "path", "none"))
