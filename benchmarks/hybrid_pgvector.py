"""A hybrid question to PostgreSQL: CPU of client and server, beside two searches fused by rank, and the load before it.

    python -m benchmarks.hybrid_pgvector [--chunks 5000] [--questions 100] [--project DIR] [--layouts] [--json]

Needs POSTGRES_URL of a server on this machine (`eval "$(python -m infra.local.postgres env)"`); its schemas bench and
peer are made anew. The peer is what pgvector's guides show: tsvector with a GIN index and ts_rank_cd beside an HNSW
index, both 100 deep. `recall_at_10` is that of the vector leg against a scan of all vectors. `ratio` > 1: ours is that
much cheaper. --layouts asks for BM25 alone, from three layouts of the words: server milliseconds a question, megabytes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import psycopg
from numpy.typing import NDArray

from ragkeep.analysis import terms
from ragkeep.config import PgVectorParams
from ragkeep.stores.pgvector import PgVectorStore
from ragkeep.types import EmbeddedBatch, IndexVersion, Query, ids_digest

from .measure import Compared, cpu_seconds, finish
from .opensearch_corpus import DIM, add_options, batches, made_corpus, questions

Question = tuple[str, NDArray[np.float32]]
_DEPTH, _K = 100, 10
_PEER = """
drop schema if exists peer cascade; create schema peer;
create table peer.chunks (id text primary key, workspace text, text text, vector vector(384),
    words tsvector generated always as (to_tsvector('english', text)) stored)
"""
_NEAR = "select id, text from peer.chunks where workspace = 'default' order by vector <#> %s limit 100"
_WORDED = """
select id, text from peer.chunks, to_tsquery('english', %s) q where words @@ q and workspace = 'default'
order by ts_rank_cd(words, q) desc limit 100
"""
_FLAT = """
drop schema if exists layouts cascade; create schema layouts;
create table layouts.flat as select word, row, (idf * saturation)::real as weight
    from bench.postings_{0}, unnest(rows, saturations) p (row, saturation);
create index flat_word on layouts.flat (word) include (row, weight);
create table layouts.gin as select row, array_agg(word) as words, array_agg(weight) as weights
    from layouts.flat group by row;
create index gin_words on layouts.gin using gin (words)
"""
_LAYOUTS = {
    "arrays": """select p.row, sum(q.times * w.idf * p.saturation)::real as score
        from unnest(%(words)s::text[], %(times)s::int[]) q (word, times)
        join bench.postings_{0} w on w.workspace = 'default' and w.word = q.word,
        unnest(w.rows, w.saturations) p (row, saturation) group by 1 order by 2 desc limit 100""",
    "a row a posting": """select row, sum(times * weight)::real from layouts.flat
        join unnest(%(words)s::text[], %(times)s::int[]) q (word, times) using (word)
        group by 1 order by 2 desc limit 100""",
    "arrays of chunks with GIN": """select row, sum(times * weight)::real
        from layouts.gin, unnest(words, weights) p (word, weight)
        join unnest(%(words)s::text[], %(times)s::int[]) q (word, times) using (word)
        where words && %(words)s::text[] group by 1 order by 2 desc limit 100""",
}
_BYTES = {
    "arrays": "select pg_total_relation_size('bench.postings_{0}')",
    "a row a posting": "select pg_total_relation_size('layouts.flat')",
    "arrays of chunks with GIN": "select pg_total_relation_size('layouts.gin')",
}


def server_seconds(session: psycopg.Connection[Any]) -> float:
    """CPU seconds spent so far by the server's main process and its children, the ended ones too."""
    main = _stat(session.info.backend_pid)[1]
    stats = {path.name: _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    counted = [stat for pid, stat in stats.items() if stat and main in (pid, stat[1])]
    return sum(int(ticks) for stat in counted for ticks in stat[11:15]) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (the state) on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def our_load(store: PgVectorStore, session: psycopg.Connection[Any], corpus: EmbeddedBatch) -> dict[str, Any]:
    """Write and finish a version; what each costs."""
    store.create("load", dim=DIM)
    found: dict[str, Any] = {}
    for name, work in (
        ("write", lambda: [store.write("load", batch) for batch in batches(corpus)]),
        ("finish", lambda: store.finish("load")),
    ):
        server, began = server_seconds(session), time.perf_counter()
        client = cpu_seconds(work)
        took = {"client_cpu_s": client, "server_cpu_s": server_seconds(session) - server}
        found[name] = {key: round(value, 2) for key, value in took.items()}
        found[name]["wall_s"] = round(time.perf_counter() - began, 2)
    ids = list(store.ids("load"))
    store.seal(IndexVersion("load", "bench", "pgvector", "made", DIM, len(ids), ids_digest(ids)))
    return found


def peer_load(session: psycopg.Connection[Any], corpus: EmbeddedBatch) -> None:
    """Load the peer's table and build both its indexes."""
    session.execute(_PEER)
    with session.cursor().copy("copy peer.chunks (id, workspace, text, vector) from stdin") as copy:
        for chunk, vector in zip(corpus.chunks, corpus.vectors, strict=True):
            copy.write_row((chunk.id, chunk.workspace, chunk.embed_text.replace("\0", " "), str(vector.tolist())))
    session.execute("set maintenance_work_mem = '1GB'")
    session.execute("create index on peer.chunks using hnsw (vector vector_ip_ops) with (ef_construction = 100)")
    session.execute("create index on peer.chunks using gin (words)")
    session.execute("vacuum analyze peer.chunks")
    session.execute("set hnsw.ef_search = 256")


def peer_search(session: psycopg.Connection[Any], text: str, vector: NDArray[np.float32]) -> list[tuple[str, str]]:
    """Search twice and fuse by reciprocal ranks, as guides do."""
    near = session.execute(_NEAR, [str(vector.tolist())]).fetchall()
    worded = session.execute(_WORDED, [" | ".join(text.split())]).fetchall()
    scores: Counter[str] = Counter()
    for rows in (near, worded):
        for rank, (one, _) in enumerate(rows):
            scores[one] += 1 / (61 + rank)  # type: ignore[assignment]
    shown = dict(near) | dict(worded)
    return [(one, shown[one]) for one, _ in scores.most_common(_K)]


def compare(
    store: PgVectorStore, session: psycopg.Connection[Any], asked: Sequence[Question], rounds: int
) -> dict[str, Any]:
    """Ask both the same questions in turn; the first round warms the server and does not count."""

    def ours(text: str, vector: NDArray[np.float32]) -> Any:
        return store.search("load", Query(text, vector=vector, k=_K, candidates=_DEPTH))

    def peer(text: str, vector: NDArray[np.float32]) -> Any:
        return peer_search(session, text, vector)

    spent: dict[str, list[list[float]]] = {"peer": [], "ours": []}
    for number in range(rounds + 1):
        for name, ask in sorted({"peer": peer, "ours": ours}.items(), reverse=number % 2 == 0):
            spent[name].append(_ask(session, ask, asked))
    both = {name: tuple((c + s) / 1000 for c, s, _ in counted[1:]) for name, counted in spent.items()}
    found = Compared(both["peer"], both["ours"]).as_json()
    for name, counted in spent.items():
        client, server, wall = (statistics.median(part) for part in zip(*counted[1:], strict=True))
        found[name] = {"client_cpu_ms": round(client, 2), "server_cpu_ms": round(server, 2), "p50_ms": round(wall, 2)}
    return found


def _ask(session: psycopg.Connection[Any], ask: Callable[..., Any], asked: Sequence[Question]) -> list[float]:
    """CPU milliseconds of client and server a question, and the median of its milliseconds on the clock."""
    walls: list[float] = []

    def work() -> None:
        for question in asked:
            began = time.perf_counter()
            ask(*question)
            walls.append((time.perf_counter() - began) * 1000)

    before = server_seconds(session)
    spent = cpu_seconds(work)
    server = server_seconds(session) - before
    return [spent / len(asked) * 1000, server / len(asked) * 1000, statistics.median(walls)]


def recall(store: PgVectorStore, corpus: EmbeddedBatch, asked: Sequence[Question]) -> float:
    """Share of the ten nearest by a scan that the vector leg finds."""
    ids = [chunk.id for chunk in corpus.chunks]
    shares = []
    for text, vector in asked:
        best = np.argpartition(-(corpus.vectors @ vector), _K)[:_K]
        got = {hit.chunk.id for hit in store.search("load", Query(text, vector=vector, k=_K, mode="vector"))}
        shares.append(len(got & {ids[row] for row in best}) / _K)
    return float(np.mean(shares))


def layouts(session: psycopg.Connection[Any], build: int, asked: Sequence[Question]) -> dict[str, Any]:
    """Ask each layout of the words for the same BM25 scores."""
    session.execute(_FLAT.replace("{0}", str(build)))
    session.execute("vacuum analyze layouts.flat")
    session.execute("vacuum analyze layouts.gin")
    found = {}
    for name, text in _LAYOUTS.items():

        def ask(question: str, _: Any, text: str = text.replace("{0}", str(build))) -> Any:
            counts = Counter(terms(question))
            return session.execute(text, {"words": [*counts], "times": [*counts.values()]}).fetchall()

        _ask(session, ask, asked)
        size = session.execute(_BYTES[name].replace("{0}", str(build))).fetchone()
        assert size is not None
        server = round(_ask(session, ask, asked)[1], 2)
        found[name] = {"server_cpu_ms": server, "megabytes": round(size[0] / 1e6, 1)}
    session.execute("drop schema layouts cascade")
    return found


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, chunks=5000)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--layouts", action="store_true")
    options = parser.parse_args()
    url = os.environ["POSTGRES_URL"]
    password = urlsplit(url).password or ""
    os.environ["RAGKEEP_PGVECTOR_PASSWORD"] = unquote(password)
    store = PgVectorStore(PgVectorParams(url.replace(f":{password}@", "@"), prefix="bench", timeout_s=300))
    settings = "-c client_min_messages=error -c jit=off -c max_parallel_workers_per_gather=0"
    with psycopg.connect(url, autocommit=True, options=settings) as session:
        session.execute("drop schema if exists bench cascade")
        corpus = made_corpus(options.chunks, options.project)
        asked = questions(corpus, options.questions)
        figures = our_load(store, session, corpus)
        if options.layouts:
            figures["layouts"] = layouts(session, 1, asked)
        else:
            peer_load(session, corpus)
            figures |= compare(store, session, asked, options.rounds)
        figures["recall_at_10"] = round(recall(store, corpus, asked), 4)
        store.close()
        session.execute("drop schema if exists bench cascade; drop schema if exists peer cascade")
    if not options.json:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    finish({"chunks": options.chunks, **figures})


if __name__ == "__main__":
    main()
