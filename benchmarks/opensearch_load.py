"""Chunks into OpenSearch: documents a CPU-second, client and server together, beside opensearch-py's helpers.bulk.

    python -m benchmarks.opensearch_load [--url URL] [--chunks 5000] [--project DIR] [--rounds 3] [--json]

The peer writes the same texts and vectors as Python dicts into an index with the server's own analysis and refresh.
Ours cuts the words in the client. Both refresh in the end; what merging costs afterwards is told apart. `ratio` > 1:
ours is that much cheaper.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.opensearch_index import bulk_lines, words
from ragkeep.types import EmbeddedBatch

from .measure import Compared, cpu_seconds, finish
from .opensearch_corpus import DIM, add_options, batches, made_corpus, own_store, server_seconds

PEER = "bench-peer"


def peer_load(client: Any, corpus: EmbeddedBatch) -> None:
    """Load as opensearch-py's guide does."""
    from opensearchpy import helpers

    method = {
        "name": "hnsw",
        "engine": "lucene",
        "space_type": "cosinesimil",
        "parameters": {"m": 16, "ef_construction": 100},
    }
    fields = {"text": {"type": "text"}, "uri": {"type": "keyword"}, "workspace": {"type": "keyword"}}
    vector = {"type": "knn_vector", "dimension": DIM, "method": method}
    settings = {"index": {"knn": True, "number_of_shards": 1, "number_of_replicas": 0}}
    client.indices.create(
        index=PEER, body={"settings": settings, "mappings": {"properties": {**fields, "vector": vector}}}
    )

    def actions() -> Iterator[dict[str, Any]]:
        for chunk, row in zip(corpus.chunks, corpus.vectors, strict=True):
            source = {"text": chunk.embed_text, "uri": chunk.uri, "workspace": chunk.workspace, "vector": row.tolist()}
            yield {"_index": PEER, "_id": chunk.id, "_source": source}

    helpers.bulk(client, actions(), request_timeout=300)
    client.indices.refresh(index=PEER)


def our_load(store: OpenSearchStore, client: Any, corpus: EmbeddedBatch) -> None:
    """Load as a night does."""
    store.create("load", dim=DIM)
    for batch in batches(corpus):
        store.write("load", batch)
    client.indices.refresh(index="bench-index.load")


def _timed(client: Any, work: Callable[[], None]) -> tuple[float, float, float]:
    """CPU seconds of client and server, and seconds on the clock."""
    server, began = server_seconds(client), time.perf_counter()
    spent = cpu_seconds(work)
    return spent, server_seconds(client) - server, time.perf_counter() - began


def compare(url: str, corpus: EmbeddedBatch, rounds: int) -> dict[str, Any]:
    """Load with both in turn; the first load of each, which warms the server, does not count."""
    from opensearchpy import OpenSearch

    client, store = OpenSearch([url], timeout=300), own_store(url)
    sides: dict[str, Callable[[], None]] = {
        "peer": lambda: peer_load(client, corpus),
        "ours": lambda: our_load(store, client, corpus),
    }
    spent: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    merging: list[float] = []
    for number in range(rounds + 1):
        for name in sorted(sides, reverse=number % 2 == 0):
            client.indices.delete(index=PEER, ignore_unavailable=True)
            store.drop("load")
            spent[name].append(_timed(client, sides[name]))
            if name == "ours" and number == rounds:
                merging.append(_timed(client, lambda: store.finish("load"))[1])
    client.indices.delete(index=PEER, ignore_unavailable=True)
    store.drop("load")
    return _figures(spent, len(corpus.chunks)) | {"merge_server_cpu_s": round(merging[0], 2)} | _client_alone(corpus)


def _figures(spent: dict[str, list[tuple[float, float, float]]], n: int) -> dict[str, Any]:
    counted = {name: rounds[1:] for name, rounds in spent.items()}
    both = {name: tuple(client + server for client, server, _ in rounds) for name, rounds in counted.items()}
    found = Compared(both["peer"], both["ours"]).as_json()
    for name, rounds in counted.items():
        client, server, wall = (sum(part) / len(rounds) for part in zip(*rounds, strict=True))
        found[name] = {
            "client_cpu_s": round(client, 2),
            "server_cpu_s": round(server, 2),
            "wall_s": round(wall, 2),
            "docs_per_cpu_s": round(n / (client + server)),
            "client_us_per_doc": round(client / n * 1e6, 1),
        }
    return found


def _client_alone(corpus: EmbeddedBatch) -> dict[str, float]:
    """Tell the parts of our client's cost: cutting words, and making the request's lines (which cuts words too)."""
    n = len(corpus.chunks)
    cutting = cpu_seconds(lambda: [words(chunk.embed_text) for chunk in corpus.chunks])
    lines = cpu_seconds(lambda: sum(len(line) for _, line in bulk_lines(corpus)))
    return {"words_us_per_doc": round(cutting / n * 1e6, 1), "lines_us_per_doc": round(lines / n * 1e6, 1)}


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, chunks=5000)
    options = parser.parse_args()
    figures = compare(options.url, made_corpus(options.chunks, options.project), options.rounds)
    finish({"chunks": options.chunks, **figures}, table=not options.json)


if __name__ == "__main__":
    main()
