"""Chunks into OpenSearch: documents a CPU-second, client and server together, beside opensearch-py's helpers.bulk.

    python -m benchmarks.opensearch_load [--url URL] [--chunks 5000] [--project DIR] [--rounds 3] [--json]

The peer writes the same chunks as Python dicts: the same fields to filter by, all else in `_source`, the usual graph, the
server's own analysis and refresh. Ours cuts the words in the client. `ratio` > 1: ours is that much cheaper until all
can be found, `ratio_merged` until each is one segment. `recall_at_10` is that of both graphs then, by how many neighbours
are explored. A first round with some of the chunks warms the server and does not count; our cache of words is warm too,
and what they cost a process that is new to them is told apart, as `new_words_us_per_doc`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.opensearch_index import bulk_lines
from ragkeep.stores.segment import FILTERS
from ragkeep.types import EmbeddedBatch

from .measure import Compared, cpu_seconds, finish
from .opensearch_corpus import DIM, add_options, batches, made_corpus, own_store, questions, server_seconds

PEER = "bench-peer"
_EXPLORED, _K, _WARMING = (128, 256, 400), 10, 5000
Timed = tuple[float, float, float]
"""CPU seconds of client and server, and seconds on the clock."""
Round = tuple[Timed, Timed]
"""Loading and merging."""


def peer_load(client: Any, corpus: EmbeddedBatch) -> None:
    """Load as opensearch-py's guide does, everything a hit of ours can show or be filtered by."""
    from opensearchpy import helpers

    parameters = {"m": 16, "ef_construction": 100}
    method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil", "parameters": parameters}
    keyword = {"type": "keyword"}
    keywords = dict.fromkeys((*FILTERS, "workspace"), keyword)
    rest = {"type": "object", "enabled": False}
    vector = {"type": "knn_vector", "dimension": DIM, "method": method}
    settings = {"index": {"knn": True, "number_of_shards": 1, "number_of_replicas": 0}}
    fields = {**keywords, "text": {"type": "text"}, "rest": rest, "vector": vector}
    client.indices.create(index=PEER, body={"settings": settings, "mappings": {"properties": fields}})

    def actions() -> Iterator[dict[str, Any]]:
        for chunk, row in zip(corpus.chunks, corpus.vectors, strict=True):
            source = {name: getattr(chunk, name) for name in keywords}
            rest = {name: getattr(chunk, name) for name in ("context", "span", "lines", "tokens", "meta")}
            source |= {"text": chunk.embed_text, "rest": rest, "vector": row.tolist()}
            yield {"_index": PEER, "_id": chunk.id, "_source": source}

    helpers.bulk(client, actions(), request_timeout=300)
    client.indices.refresh(index=PEER)


def our_load(store: OpenSearchStore, client: Any, corpus: EmbeddedBatch) -> None:
    """Load as a night does."""
    store.create("load", dim=DIM)
    for batch in batches(corpus):
        store.write("load", batch)
    client.indices.refresh(index="bench-index.load")


def _timed(client: Any, work: Callable[[], None]) -> Timed:
    server, began = server_seconds(client), time.perf_counter()
    spent = cpu_seconds(work)
    return spent, server_seconds(client) - server, time.perf_counter() - began


def compare(url: str, corpus: EmbeddedBatch, rounds: int) -> dict[str, Any]:
    """Load with both in turn."""
    from opensearchpy import OpenSearch

    client, store = OpenSearch([url], timeout=300), own_store(url)
    loaded = EmbeddedBatch(corpus.chunks[:_WARMING], corpus.vectors[:_WARMING])
    loads: dict[str, Callable[[], None]] = {
        "peer": lambda: peer_load(client, loaded),
        "ours": lambda: our_load(store, client, loaded),
    }
    merges: dict[str, Callable[[], None]] = {
        "peer": lambda: client.indices.forcemerge(index=PEER, max_num_segments=1),
        "ours": lambda: store.finish("load"),
    }
    told: dict[str, Any] = _new_words(corpus)
    spent: dict[str, list[Round]] = {name: [] for name in loads}
    for number in range(rounds + 1):
        for name in sorted(loads, reverse=number % 2 == 0):
            client.indices.delete(index=PEER, ignore_unavailable=True)
            store.drop("load")
            spent[name].append((_timed(client, loads[name]), _timed(client, merges[name])))
            if number == rounds:
                told[f"{name}_recall_at_10"] = _recall(client, PEER if name == "peer" else "bench-index.load", corpus)
        loaded = corpus
    client.indices.delete(index=PEER, ignore_unavailable=True)
    store.drop("load")
    return _figures({name: all_of[1:] for name, all_of in spent.items()}, len(corpus.chunks)) | told


def _figures(spent: dict[str, list[Round]], n: int) -> dict[str, Any]:
    loaded = {name: tuple(client + server for (client, server, _), _ in each) for name, each in spent.items()}
    merging = {name: tuple(client + server for _, (client, server, _) in each) for name, each in spent.items()}
    whole = {name: tuple(map(sum, zip(loaded[name], merging[name], strict=True))) for name in spent}
    found = Compared(loaded["peer"], loaded["ours"]).as_json()
    found["ratio_merged"] = round(Compared(whole["peer"], whole["ours"]).ratio, 2)
    for name, each in spent.items():
        client, server, wall = (statistics.median(part) for part in zip(*(load for load, _ in each), strict=True))
        found[name] = {
            "client_cpu_s": round(client, 2),
            "server_cpu_s": round(server, 2),
            "merge_cpu_s": round(statistics.median(merging[name]), 2),
            "wall_s": round(wall, 2),
            "docs_per_cpu_s": round(n / (client + server)),
            "client_us_per_doc": round(client / n * 1e6, 1),
        }
    return found


def _new_words(corpus: EmbeddedBatch) -> dict[str, float]:
    """Tell what cutting all texts into words costs a process that met none of them."""
    spent = cpu_seconds(lambda: sum(len(line) for _, line in bulk_lines(corpus)))
    known = cpu_seconds(lambda: sum(len(line) for _, line in bulk_lines(corpus)))
    n = len(corpus.chunks)
    return {"lines_us_per_doc": round(known / n * 1e6, 1), "new_words_us_per_doc": round((spent - known) / n * 1e6, 1)}


def _recall(client: Any, index: str, corpus: EmbeddedBatch) -> dict[str, float]:
    """Share of the ten nearest by a scan among the best ten of those explored, the same questions for both sides."""
    ids, asked = np.array([chunk.id for chunk in corpus.chunks]), [vector for _, vector in questions(corpus, 100)]
    best = [ids[np.argpartition(-(corpus.vectors @ vector), _K)[:_K]] for vector in asked]
    found = {}
    for explored in _EXPLORED:
        shares = []
        for vector, wanted in zip(asked, best, strict=True):
            near = {"knn": {"vector": {"vector": vector.tolist(), "k": explored}}}
            answer = client.search(index=index, body={"query": near, "size": _K, "_source": False})
            shares.append(np.isin([hit["_id"] for hit in answer["hits"]["hits"]], wanted).sum() / _K)
        found[str(explored)] = round(statistics.mean(shares), 4)
    return found


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, chunks=5000)
    options = parser.parse_args()
    figures = compare(options.url, made_corpus(options.chunks, options.project), options.rounds)
    finish({"chunks": options.chunks, **figures}, table=not options.json)


if __name__ == "__main__":
    main()
