"""A night in which one chunk in a hundred changed: the new version carried from the live one, beside a whole build.

    python -m benchmarks.opensearch_carry [--url URL] [--chunks 20000] [--changed 0.01] [--project DIR] [--rounds 1]

CPU seconds of client and server until the version is finished, and recall at 10 of the carried one. `ratio` > 1:
carrying is that much cheaper.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.segment import pack, row_digest
from ragkeep.types import EmbeddedBatch
from tasks.recall import Probe, probes, recall

from .measure import Compared, cpu_seconds, finish
from .opensearch_corpus import DIM, add_options, batches, made_corpus, own_store, receipt, server_seconds


def whole(store: OpenSearchStore, corpus: EmbeddedBatch) -> None:
    """Build a version from nothing."""
    store.create("whole", dim=DIM)
    for batch in batches(corpus):
        store.write("whole", batch)
    store.finish("whole")


def carried(store: OpenSearchStore, corpus: EmbeddedBatch) -> None:
    """Build it from the sealed version `base`, as the index stage does."""
    rows = {c.id: row_digest(pack(c), v) for c, v in zip(corpus.chunks, corpus.vectors, strict=True)}
    kept = store.carry("carried", base="base", rows=rows)
    left = [row for row, chunk in enumerate(corpus.chunks) if chunk.id not in kept]
    for batch in batches(EmbeddedBatch(tuple(corpus.chunks[row] for row in left), corpus.vectors[left])):
        store.write("carried", batch)
    store.finish("carried")


def changed(corpus: EmbeddedBatch, share: float) -> EmbeddedBatch:
    """Leave out the last chunks of a corpus that is larger by as many: the same count, some gone, some new."""
    n = round(len(corpus.chunks) / (1 + share))
    return EmbeddedBatch(corpus.chunks[-n:], corpus.vectors[-n:])


def compare(url: str, corpus: EmbeddedBatch, share: float, rounds: int) -> dict[str, Any]:
    """Seal the version before, then build the next both ways in turn."""
    from opensearchpy import OpenSearch

    client, store, after = OpenSearch([url], timeout=300), own_store(url), changed(corpus, share)
    names = ("base", "whole", "carried")
    for name in names:
        store.drop(name)
    n = len(after.chunks)
    store.create("base", dim=DIM)
    for batch in batches(EmbeddedBatch(corpus.chunks[:n], corpus.vectors[:n])):
        store.write("base", batch)
    store.finish("base")
    store.seal(receipt(store, "base"))
    spent: dict[str, list[tuple[float, float]]] = {"whole": [], "carried": []}
    sides: dict[str, Callable[[], None]] = {
        "whole": lambda: whole(store, after),
        "carried": lambda: carried(store, after),
    }
    for number in range(rounds):
        for name in sorted(sides, reverse=number % 2 == 0):
            store.drop(name)
            spent[name].append(_timed(client, sides[name]))
    found = recall(store, "carried", _questions(after), batches(after))
    for name in names:
        store.drop(name)
    both = {name: tuple(cpu for cpu, _ in timed) for name, timed in spent.items()}
    walls = {f"{name}_wall_s": round(min(wall for _, wall in timed), 1) for name, timed in spent.items()}
    return {**Compared(both["whole"], both["carried"]).as_json(), **walls, "recall_at_10": round(found, 4)}


def _timed(client: Any, work: Callable[[], None]) -> tuple[float, float]:
    server, began = server_seconds(client), time.perf_counter()
    spent = cpu_seconds(work)
    wall = time.perf_counter() - began
    return spent + server_seconds(client) - server, wall


def _questions(corpus: EmbeddedBatch) -> list[Probe]:
    rows = np.linspace(0, len(corpus.chunks) - 1, 100).astype(int)
    return probes([Probe(corpus.chunks[row].workspace, corpus.vectors[row]) for row in rows])


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, chunks=20_000)
    parser.add_argument("--changed", type=float, default=0.01, help="share of the chunks that is gone, and that is new")
    options = parser.parse_args()
    corpus = made_corpus(round(options.chunks * (1 + options.changed)), options.project)
    figures = compare(options.url, corpus, options.changed, options.rounds)
    finish({"chunks": options.chunks, "changed": options.changed, **figures}, table=not options.json)


if __name__ == "__main__":
    main()
