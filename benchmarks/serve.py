"""What a server of 20,000 chunks costs and how fast it answers, over loopback, with a client of its own.

    uv run --group bench python -m benchmarks.serve [--chunks 20000] [--seconds 30] [--rate 20] [--json]

Its start to ready in CPU seconds; `POST /v1/search` at a steady rate, requests sent when they are due whatever became
of those before; the first token of a stream with the extractive generator; memory of streams that wait. The chunks are
pieces of the standard library with made vectors, the questions are embedded by the real embedder. Times of requests are
wall time of a machine shared with the client: compare the server's CPU time, which is given beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from benchmarks.opensearch_corpus import made_corpus, questions
from ragkeep.config import IndexParams, Paths, load_params
from ragkeep.database import Database
from ragkeep.embedders import load_embedder
from ragkeep.releases import point, save_release
from ragkeep.serving.keys import Keys
from ragkeep.serving.principal import ALL, LOCAL, SCOPES
from ragkeep.stores import open_store
from ragkeep.types import EmbeddedBatch, Fusion, IndexVersion, Release, ids_digest

HERE = str(Path(__file__).parents[1])
TICKS = os.sysconf("SC_CLK_TCK")


def project(root: Path, corpus: EmbeddedBatch, silent: str, *, embed: str = "minilm") -> str:
    """Publish the corpus as release 1 of a new project; return an API key. `silent` is the url of a mute model.

    With `embed` hash its vectors are made anew.
    """
    paths = Paths(root)
    raw = {
        "sources": [{"name": "stdlib", "path": "."}],
        "embed": {"backend": embed},
        "answer": {
            "cache": {"size": 0},
            "generators": [{"backend": "extractive"}, {"backend": "openai", "name": "mute", "url": silent, "model": "m"}],
        },
        "serve": {"limits": {"key_per_minute": 0, "workspace_per_minute": 0}},
    }
    paths.params.write_text(yaml.safe_dump(raw))
    params = load_params(paths.params)
    embedder = load_embedder(params.embed, paths.cache)
    embedder.embed(["warm"], role="query")  # the graph is exported once, and kept
    if embed == "hash":
        texts = [chunk.embed_text for chunk in corpus.chunks]
        corpus = EmbeddedBatch(corpus.chunks, embedder.embed(texts, role="passage"))
    store = open_store(IndexParams(), paths)
    store.create("docs-bench", dim=embedder.dim)
    store.write("docs-bench", corpus)
    store.finish("docs-bench")
    digest = ids_digest(chunk.id for chunk in corpus.chunks)
    version = IndexVersion(
        "docs-bench", "docs", "lancedb", embedder.fingerprint, embedder.dim, len(corpus.chunks), digest
    )
    store.seal(version)
    serving = {"embed": asdict(params.embed), "retrieve": asdict(params.retrieve), "answer": asdict(params.answer)}
    save_release(paths, Release(1, "bench", version, Fusion(), "extractive", serving, "", "", {}, ""))
    point(paths, 1, previous=None, token=1)
    database = Database(paths.serving)
    _, secret = Keys(database).create("bench", roles={ALL: "admin"}, scopes=SCOPES, by=LOCAL)
    database.close()
    return secret


@dataclass(frozen=True, slots=True)
class Running:
    """A server of its own process."""

    pid: int
    url: str
    key: str
    start_cpu_s: float

    def cpu_s(self) -> float:
        """CPU seconds it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Bytes that are its own."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(int(found) for found in re.findall(r"Private_\w+:\s+(\d+) kB", rollup)) * 1024

    def client(self) -> httpx.AsyncClient:
        """Ask it."""
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60, limits=limits
        )


@contextmanager
def serving(root: Path, key: str, **env: str) -> Iterator[Running]:
    """Start `ragkeep serve`, wait until it is ready, and stop it."""
    command = [sys.executable, "-m", "ragkeep.cli", "serve", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": HERE, **env}
    with (root / "server.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": HERE, **env},
        )
    assert process.stdout
    try:
        url = next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        here = Running(process.pid, url, key, 0.0)
        while httpx.get(f"{url}/health/ready", timeout=30).status_code != 200:
            time.sleep(0.01)
        yield Running(process.pid, url, key, here.cpu_s())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def at_a_rate(rate: float, seconds: float, ask: Callable[[int], Awaitable[float]]) -> tuple[list[float], int]:
    """Ask when it is due; return the seconds each took, counted from when it was due, and how many failed."""
    loop, began, took, failed = asyncio.get_running_loop(), time.perf_counter(), list[float](), 0

    async def one(n: int) -> None:
        nonlocal failed
        due = began + n / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            until = await ask(n)
            took.append(until - due)
        except (httpx.HTTPError, AssertionError):
            failed += 1

    await asyncio.gather(*(loop.create_task(one(n)) for n in range(int(rate * seconds))))
    return took, failed


async def search(server: Running, texts: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Search at a rate."""
    async with server.client() as client:

        async def ask(n: int) -> float:
            answer = await client.post("/v1/search", json={"query": texts[n % len(texts)], "k": 10})
            assert answer.status_code == 200
            return time.perf_counter()

        await at_a_rate(rate, 2, ask)
        before = server.cpu_s()
        took, failed = await at_a_rate(rate, seconds, ask)
        return {**figures(took, failed), "server_cpu_ms": round(1000 * (server.cpu_s() - before) / len(took), 2)}


async def first_tokens(server: Running, texts: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Ask for streams; the time of the first token counts."""
    async with server.client() as client:

        async def ask(n: int) -> float:
            asked = {"message": texts[n % len(texts)], "model": "extractive"}
            first = 0.0
            async with client.stream("POST", "/v1/chat", json=asked) as answer:
                assert answer.status_code == 200
                async for line in answer.aiter_lines():
                    first = first or (time.perf_counter() if line == "event: token" else 0.0)
            assert first
            return first

        await at_a_rate(rate, 2, ask)
        before = server.cpu_s()
        took, failed = await at_a_rate(rate, seconds, ask)
        return {**figures(took, failed), "server_cpu_ms": round(1000 * (server.cpu_s() - before) / len(took), 2)}


async def idle(server: Running, count: int) -> float:
    """Open streams that wait for a model, after as many before that warmed up; return MB of memory each."""
    async with server.client() as client:
        await _waiting(client, server, 20)
        before = server.memory()
        return round((await _waiting(client, server, count) - before) / count / 1e6, 3)


async def _waiting(client: httpx.AsyncClient, server: Running, count: int) -> int:
    ready, done = asyncio.Semaphore(0), asyncio.Event()

    async def one(n: int) -> None:
        asked = {"message": f"What does function {n} do?", "model": "mute"}
        async with client.stream("POST", "/v1/chat", json=asked) as answer:
            async for line in answer.aiter_lines():
                if line == "event: sources":
                    break
            ready.release()
            await done.wait()

    tasks = [asyncio.create_task(one(n)) for n in range(count)]
    for _ in range(count):
        await ready.acquire()
    await asyncio.sleep(1)
    found = server.memory()
    done.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(2)
    return found


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """A model that begins to answer and then says nothing."""

    async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: wait\n\n")
        await reader.read(1 << 20)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(said, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def figures(took: list[float], failed: int) -> dict[str, Any]:
    """Milliseconds at 50 and 95 percent, and what failed."""
    p50, p95 = np.percentile(took, [50, 95]) * 1000
    return {"requests": len(took), "errors": failed, "p50_ms": round(p50, 1), "p95_ms": round(p95, 1)}


async def measured(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all of it."""
    corpus = made_corpus(options.chunks)
    texts = [text for text, _ in questions(corpus, 200)]
    async with mute() as silent:
        key = await asyncio.to_thread(project, root, corpus, silent)
        starts = []
        for _ in range(3):
            with serving(root, key) as server:
                starts.append(server.start_cpu_s)
        with serving(root, key) as server:
            found = await search(server, texts, options.rate, options.seconds)
            tokens = await first_tokens(server, texts, 1, options.seconds)
            again = await first_tokens(server, texts, 1, options.seconds)
            waiting = await idle(server, 100)
    return {
        "start_cpu_s": starts,
        "search": found,
        "first_token": tokens,
        "first_token_again": again,
        "idle_stream_mb": waiting,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = asyncio.run(measured(Path(folder), options))
    print(json.dumps({"benchmark": "serve", "chunks": options.chunks, **made}))


if __name__ == "__main__":
    main()
