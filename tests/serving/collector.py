"""An OpenTelemetry collector and a model's server in one, for tests: what was sent to it is kept."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EVENTS = [
    'data: {"choices":[{"delta":{"content":"Pumps are serviced yearly by the vendor. [1]"}}]}',
    'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5}}',
    "data: [DONE]",
]


@dataclass
class Collector:
    """Where it listens, the spans it was sent, and the headers a model was asked with."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def named(self, name: str) -> Any:
        """Return the one span of a name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def wait_for(self, name: str) -> None:
        """Wait for a span, which ends a moment after its answer."""
        deadline = time.monotonic() + 20
        while not any(span.name == name for span in self.spans) and time.monotonic() < deadline:
            time.sleep(0.01)

    def above(self, span: Any) -> list[str]:
        """Name a span's ancestors, the nearest first."""
        by_id = {one.span_id: one for one in self.spans}
        parent = by_id.get(span.parent_span_id)
        return [parent.name, *self.above(parent)] if parent else []


@contextmanager
def collector() -> Iterator[Collector]:
    """Run one on a free port."""
    there = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    there.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self._send(200, "application/x-protobuf", b"")
            else:
                there.asked.append({name.lower(): value for name, value in self.headers.items()})
                self._send(there.status, "text/event-stream", "\n\n".join([*EVENTS, ""]).encode())

        def _send(self, status: int, media: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", media)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        there.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield there
        server.shutdown()
