"""A hybrid question to OpenSearch: CPU of client and server, beside two searches of opensearch-py fused by rank.

    python -m benchmarks.hybrid_opensearch [--url URL] [--chunks 5000] [--project DIR] [--questions 100] [--json]

Both sides look 100 candidates deep on one index each, the peer's with the server's own analysis, both merged to one
segment. Ours returns both exact scores of every candidate. `recall_at_10` is that of the vector leg against a scan of
all vectors, `explored` what it and a question of the vector leg alone cost by how many neighbours are explored. `ratio`
> 1: ours is that much cheaper.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.types import EmbeddedBatch, Query

from .measure import Compared, cpu_seconds, finish
from .opensearch_corpus import add_options, explore, made_corpus, own_store, questions, receipt, server_seconds
from .opensearch_load import PEER, our_load, peer_load

Question = tuple[str, NDArray[np.float32]]
_DEPTH, _K = 100, 10


def peer_search(client: Any, text: str, vector: NDArray[np.float32]) -> list[tuple[str, dict[str, Any]]]:
    """Search twice and fuse by reciprocal ranks, as guides do."""
    wall = {"term": {"workspace": "default"}}
    near = {"knn": {"vector": {"vector": vector.tolist(), "k": _DEPTH, "filter": wall}}}
    worded = {"bool": {"filter": [wall], "must": [{"match": {"text": text}}]}}
    scores: dict[str, float] = {}
    rows: dict[str, dict[str, Any]] = {}
    for query in (near, worded):
        body = {"query": query, "size": _DEPTH, "_source": ["text", "uri"]}
        for rank, hit in enumerate(client.search(index=PEER, body=body)["hits"]["hits"]):
            scores[hit["_id"]] = scores.get(hit["_id"], 0) + 1 / (61 + rank)
            rows[hit["_id"]] = hit["_source"]
    return [(one, rows[one]) for one in sorted(scores, key=lambda one: -scores[one])[:_K]]


def compare(url: str, corpus: EmbeddedBatch, asked: Sequence[Question], rounds: int) -> dict[str, Any]:
    """Load both sides, then ask both the same questions in turn; the first round warms the server and does not count."""
    from opensearchpy import OpenSearch

    client, store = OpenSearch([url], timeout=300), own_store(url)
    _load(client, store, corpus)

    def ours(text: str, vector: NDArray[np.float32]) -> Any:
        return store.search("load", Query(text, vector=vector, k=_K, candidates=_DEPTH))

    def peer(text: str, vector: NDArray[np.float32]) -> Any:
        return peer_search(client, text, vector)

    spent: dict[str, list[list[float]]] = {"peer": [], "ours": []}
    for number in range(rounds + 1):
        for name, ask in sorted({"peer": peer, "ours": ours}.items(), reverse=number % 2 == 0):
            spent[name].append(_ask(client, ask, asked))
    found = _figures({name: counted[1:] for name, counted in spent.items()})
    found["recall_at_10"] = round(_recall(store, corpus, asked), 4)
    found["explored"] = _explored(client, store, corpus, asked)
    client.indices.delete(index=PEER)
    store.drop("load")
    return found


def _load(client: Any, store: OpenSearchStore, corpus: EmbeddedBatch) -> None:
    client.indices.delete(index=PEER, ignore_unavailable=True)
    store.drop("load")
    peer_load(client, corpus)
    client.indices.forcemerge(index=PEER, max_num_segments=1)
    our_load(store, client, corpus)
    store.finish("load")
    store.seal(receipt(store, "load"))


def _ask(client: Any, ask: Callable[..., Any], asked: Sequence[Question]) -> list[float]:
    """CPU milliseconds of client and server a question, and the median of its milliseconds on the clock."""
    walls: list[float] = []

    def work() -> None:
        for question in asked:
            began = time.perf_counter()
            ask(*question)
            walls.append((time.perf_counter() - began) * 1000)

    before = server_seconds(client)
    spent = cpu_seconds(work)
    server = server_seconds(client) - before
    return [spent / len(asked) * 1000, server / len(asked) * 1000, statistics.median(walls)]


def _figures(spent: dict[str, list[list[float]]]) -> dict[str, Any]:
    both = {name: tuple((client + server) / 1000 for client, server, _ in rounds) for name, rounds in spent.items()}
    found = Compared(both["peer"], both["ours"]).as_json()
    for name, rounds in spent.items():
        client, server, wall = (statistics.median(part) for part in zip(*rounds, strict=True))
        found[name] = {"client_cpu_ms": round(client, 2), "server_cpu_ms": round(server, 2), "p50_ms": round(wall, 2)}
    return found


def _explored(client: Any, store: OpenSearchStore, corpus: EmbeddedBatch, asked: Sequence[Question]) -> dict[str, Any]:
    found = {}
    for explored in (100, 160, 256, 400, 640):
        explore(store, "load", explored)
        before = server_seconds(client)
        share = _recall(store, corpus, asked)
        spent = (server_seconds(client) - before) / len(asked) * 1000
        found[str(explored)] = {"recall_at_10": round(share, 4), "server_cpu_ms": round(spent, 2)}
    return found


def _recall(store: OpenSearchStore, corpus: EmbeddedBatch, asked: Sequence[Question]) -> float:
    ids = np.array([chunk.id for chunk in corpus.chunks])
    shares = []
    for text, vector in asked:
        best = np.argpartition(-(corpus.vectors @ vector), _K)[:_K]
        got = [hit.chunk.id for hit in store.search("load", Query(text, vector=vector, k=_K, mode="vector"))]
        shares.append(np.isin(got, ids[best]).sum() / _K)
    return float(np.mean(shares))


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, chunks=5000)
    parser.add_argument("--questions", type=int, default=100)
    options = parser.parse_args()
    corpus = made_corpus(options.chunks, options.project)
    figures = compare(options.url, corpus, questions(corpus, options.questions), options.rounds)
    finish({"chunks": options.chunks, **figures}, table=not options.json)


if __name__ == "__main__":
    main()
