"""What tracing costs an answer: CPU microseconds of a whole request with spans exported, and without.

    uv run --group bench python -m benchmarks.tracing [--requests 150] [--rounds 5] [--json]

One server in this process, 200 chunks, the hash embedder, no model: what is left is the server's own work, so that the
share is the largest there can be. A collector takes the spans and forgets them. `ratio`: with tracing / without.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fastapi.testclient import TestClient

from benchmarks.measure import alternate, finish
from benchmarks.opensearch_corpus import made_corpus
from benchmarks.serve import project
from ragkeep import tracing
from ragkeep.config import Paths, load_params
from ragkeep.serving.app import create_app


class _Forgets(BaseHTTPRequestHandler):
    """Takes what is sent."""

    def do_POST(self) -> None:
        """Say thanks."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def collector() -> Iterator[str]:
    """Run a collector; yield its url."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forgets) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def off_ns() -> float:
    """Nanoseconds that a span costs where nothing is traced."""
    began = time.process_time()
    for _ in range(200_000):
        with tracing.span("step"):
            pass
    return (time.process_time() - began) / 200_000 * 1e9


def main() -> None:
    """Ask in turn with and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, collector() as url:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
        paths = Paths(Path(folder))
        key = project(paths.root, made_corpus(200), "http://127.0.0.1:9/v1", embed="hash")
        with TestClient(create_app(paths, load_params(paths.params)), base_url="http://127.0.0.1") as client:
            client.headers["Authorization"] = f"Bearer {key}"

            def ask() -> None:
                for n in range(options.requests):
                    asked = {"message": f"how is json number {n} parsed?", "stream": False, "model": "extractive"}
                    assert client.post("/v1/chat", json=asked).status_code == 200

            def traced() -> None:
                stop = tracing.start("bench")
                ask()
                stop()

            alternate(traced, ask, rounds=1)
            compared = alternate(traced, ask, rounds=options.rounds)
    took = compared.as_json()
    on_us, off_us = (round(took[side] / options.requests * 1e6) for side in ("peer_cpu_s", "ours_cpu_s"))
    found = {name: took[name] for name in ("ratio", "ratio_range")}
    finish({"benchmark": "tracing", "on_us": on_us, "off_us": off_us, "span_off_ns": round(off_ns()), **found})


if __name__ == "__main__":
    main()
