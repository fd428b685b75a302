"""A million chunks in OpenSearch: load, merge to one segment, questions; the corpus is never in memory.

    python -m benchmarks.million [--url URL] [--chunks 1000000] [--project DIR] [--questions 200] [--json]

Vectors lie between those of the project's last night, with noise (without --project near made topics); texts are
pieces of the standard library, cut elsewhere each time. Seconds of CPU are told for client and server apart, progress
on stderr. `recall_at_10`, by how many neighbours are explored (the last is what searches do), is held against a scan of
all vectors, by the functions that guard a night's version; beside it `vector_ms`, the mean of such a search.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.opensearch_search import explored
from ragkeep.types import EmbeddedBatch, Query
from tasks.recall import Probe, nearest, probes, share_found

from .measure import cpu_seconds, finish
from .opensearch_corpus import DIM, add_options, explore, own_store, questions, receipt, server_seconds, stream

Question = tuple[str, NDArray[np.float32]]
INDEX = "million"
_SAMPLED = 10_000
_EXPLORED = (400, 1000, 2000)


class Costs:
    """CPU seconds of client and server, and seconds on the clock, of the parts of the work."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.figures: dict[str, dict[str, float]] = {}

    def of(self, name: str, work: Callable[[], None]) -> None:
        """Do it and note what it costs."""
        server, began = server_seconds(self._client), time.perf_counter()
        spent, wall = cpu_seconds(work), time.perf_counter() - began
        took = {"client_cpu_s": spent, "server_cpu_s": server_seconds(self._client) - server, "wall_s": wall}
        self.figures[name] = {key: round(value, 1) for key, value in took.items()}
        print(name, self.figures[name], file=sys.stderr, flush=True)


def load(store: OpenSearchStore, corpus: Iterator[EmbeddedBatch]) -> float:
    """Write all of it; CPU seconds of writing alone, without making the corpus."""
    written, writing, began = 0, 0.0, time.perf_counter()
    for number, batch in enumerate(corpus):
        before = time.process_time()
        written += store.write(INDEX, batch)
        writing += time.process_time() - before
        if number % 25 == 24:
            print(f"{written} chunks after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return writing


def ask(store: OpenSearchStore, asked: list[Question]) -> list[float]:
    """Ask each hybrid question once; milliseconds on the clock, sorted."""
    took = []
    for text, vector in asked:
        began = time.perf_counter()
        store.search(INDEX, Query(text, vector=vector, k=10))
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


def measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Load, finish, ask, compare with a scan; delete the index."""
    from opensearchpy import OpenSearch

    client, store, n = OpenSearch([url], timeout=300), own_store(url), options.chunks
    costs, took = Costs(client), list[float]()
    store.drop(INDEX)
    store.create(INDEX, dim=DIM)
    costs.of("load", lambda: took.append(load(store, stream(n, options.project))))
    segments = _primaries(client)["segments"]["count"]
    costs.of("merge", lambda: store.finish(INDEX))
    store.seal(receipt(store, INDEX))
    sample = _sample(n, options)
    asked = questions(sample, options.questions)
    ask(store, asked)  # warms the server
    walls: list[float] = []
    costs.of("questions", lambda: walls.extend(ask(store, asked)))
    rows = np.linspace(0, len(sample.chunks) - 1, 100).astype(int)
    asked_near = probes([Probe("default", sample.vectors[row]) for row in rows])
    usual = explored(n, 1)
    found = recalls(store, asked_near, nearest(asked_near, stream(n, options.project)), usual)
    figures = {
        "chunks": n,
        **costs.figures,
        "docs_per_cpu_s": round(n / (took[0] + costs.figures["load"]["server_cpu_s"])),
        "client_us_per_doc": round(took[0] / n * 1e6, 1),
        "client_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "segments_before_merge": segments,
        "disk_bytes_per_doc": round(_primaries(client)["store"]["size_in_bytes"] / n),
        "p50_ms": round(statistics.median(walls), 1),
        "p95_ms": round(walls[int(len(walls) * 0.95)], 1),
        "recall_at_10": found[str(usual)]["recall_at_10"],
        "explored": found,
    }
    store.drop(INDEX)
    return figures


def recalls(
    store: OpenSearchStore, asked: Sequence[Probe], best: NDArray[np.float32], usual: int
) -> dict[str, dict[str, float]]:
    """Recall, and the mean milliseconds of a search, by how many neighbours are explored."""
    found = {}
    for neighbours in (*_EXPLORED, usual):
        explore(store, INDEX, neighbours)
        began, share = time.perf_counter(), share_found(store, INDEX, asked, best)
        took = (time.perf_counter() - began) / len(asked) * 1000
        found[str(neighbours)] = {"recall_at_10": round(share, 4), "vector_ms": round(took, 1)}
    return found


def _primaries(client: Any) -> dict[str, Any]:
    name = f"bench-index.{INDEX}"
    client.indices.refresh(index=name)
    found: dict[str, Any] = client.indices.stats(index=name)["indices"][name]["primaries"]
    return found


def _sample(n: int, options: argparse.Namespace) -> EmbeddedBatch:
    """Take the last chunks of each of the first batches, for questions and probes."""
    parts = list(islice(stream(n, options.project), _SAMPLED // 1024))
    chunks = tuple(chain.from_iterable(part.chunks[-1024:] for part in parts))
    return EmbeddedBatch(chunks, np.vstack([part.vectors[-1024:] for part in parts]))


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, chunks=1_000_000)
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    finish(measure(options.url, options), table=not options.json)


if __name__ == "__main__":
    main()
