"""Chunks of real text with made vectors, and what a server spends: shared by the OpenSearch benchmarks.

Texts are pieces of the running Python's standard library. Vectors lie near a few hundred topics in a space of few
dimensions, as an embedder's do: neighbours of random points in 384 dimensions would be harder to find than any real
ones. With --project the vectors and chunks of that project's last night come first.
"""

from __future__ import annotations

import argparse
import os
import sysconfig
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkeep.config import IndexParams, OpenSearchParams
from ragkeep.stores.opensearch import OpenSearchStore, open_store
from ragkeep.types import Chunk, EmbeddedBatch, IndexVersion, content_id, ids_digest

DIM = 384
_LINES = 25


def made_corpus(n: int, project: Path | None = None, *, seed: int = 1) -> EmbeddedBatch:
    """Return n chunks with unit vectors: the project's, then as many made ones as are missing."""
    chunks, vectors = _night(project, n) if project else ([], np.zeros((0, DIM), np.float32))
    more = [_chunk(i, text) for i, text in enumerate(islice(_texts(), n - len(chunks)))]
    made = near(vectors, len(more), seed) if len(vectors) else topics(len(more), seed)
    return EmbeddedBatch((*chunks, *more), np.vstack([vectors, made]))


def stream(n: int, project: Path | None = None, *, size: int = 2048) -> Iterator[EmbeddedBatch]:
    """Yield n chunks of the same kind batch by batch, the same ones each time: for more than fit into memory."""
    chunks, vectors = _night(project, n) if project else ([], np.zeros((0, DIM), np.float32))
    yield from batches(EmbeddedBatch(tuple(chunks), vectors), size)
    made = (_chunk(number, text) for number, text in enumerate(islice(_texts(), n - len(chunks))))
    for seed in count(1):
        more = tuple(islice(made, size))
        if not more:
            return
        yield EmbeddedBatch(more, near(vectors, len(more), seed) if len(vectors) else topics(len(more), seed))


def topics(n: int, seed: int) -> NDArray[np.float32]:
    """Return n unit vectors around 300 topics, in 48 main directions and a little in all."""
    rng = np.random.default_rng(7)
    directions = rng.normal(size=(48, DIM)) * np.linspace(1.5, 0.3, 48)[:, None]
    centres = rng.normal(size=(300, 48))
    rng = np.random.default_rng(seed)
    points = (centres[rng.integers(300, size=n)] + 0.7 * rng.normal(size=(n, 48))) @ directions
    return _unit(points + 0.3 * rng.normal(size=(n, DIM)))


def near(vectors: NDArray[np.float32], n: int, seed: int) -> NDArray[np.float32]:
    """Return n unit vectors, each between two of the given ones, with a little noise."""
    rng = np.random.default_rng(seed)
    one, other = rng.integers(len(vectors), size=(2, n))
    share = rng.uniform(0.2, 0.8, size=(n, 1))
    mixed = _unit(share * vectors[one] + (1 - share) * vectors[other])
    return _unit(mixed + rng.normal(size=(n, DIM)) * 0.3 / np.sqrt(DIM))


def batches(batch: EmbeddedBatch, size: int = 2048) -> Iterator[EmbeddedBatch]:
    """Yield it in pieces as a night writes them."""
    for start in range(0, len(batch.chunks), size):
        yield EmbeddedBatch(batch.chunks[start : start + size], batch.vectors[start : start + size])


def questions(corpus: EmbeddedBatch, n: int, *, seed: int = 3) -> list[tuple[str, NDArray[np.float32]]]:
    """Return n questions: five words of a chunk, and a vector near another one's."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < n:
        words = [w for w in corpus.chunks[int(rng.integers(len(corpus.chunks)))].text.split() if w.isidentifier()]
        if len(words) >= 5:
            text = " ".join(rng.choice(words, 5, replace=False))
            found.append((text, near(corpus.vectors, 1, int(rng.integers(1 << 30)))[0]))
    return found


def add_options(parser: argparse.ArgumentParser, *, chunks: int) -> None:
    """Add where the server is and how much is loaded."""
    default = os.environ.get("RAGKEEP_TEST_OPENSEARCH", "http://127.0.0.1:9200")
    parser.add_argument(
        "--url", default=default, help="a running OpenSearch; its benchmark indexes are deleted afterwards"
    )
    parser.add_argument("--chunks", type=int, default=chunks)
    parser.add_argument("--project", type=Path, help="take chunks and vectors of this project's last night first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the last line only")


def own_store(url: str) -> OpenSearchStore:
    """Open a store for benchmarks alone."""
    return open_store(Path(), IndexParams(opensearch=OpenSearchParams(hosts=(url,), prefix="bench", timeout_s=300)))


def explore(store: OpenSearchStore, index: str, neighbours: int) -> None:
    """Let searches of a version explore so many neighbours from now on, whatever its size."""
    store._checked[index] = store._explored[index] = neighbours


def receipt(store: OpenSearchStore, index: str) -> IndexVersion:
    """Describe what a version holds, so that it can be sealed."""
    ids = list(store.ids(index))
    return IndexVersion(index, "bench", "opensearch", "made", DIM, len(ids), ids_digest(ids))


def server_seconds(client: Any) -> float:
    """Return CPU seconds spent so far by all nodes; `client` is opensearchpy's."""
    time.sleep(1.1)  # nodes tell a figure again that is younger than a second
    nodes = client.nodes.stats(metric="process")["nodes"].values()
    return sum(node["process"]["cpu"]["total_in_millis"] for node in nodes) / 1000


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _texts() -> Iterator[str]:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    files = [file for file in files if "site-packages" not in file.parts]
    for shift in count():  # the same files again, cut elsewhere
        for file in files:
            lines = file.read_text("utf-8", errors="replace").splitlines()[shift * 7 % _LINES :]
            for start in range(0, len(lines), _LINES + shift // _LINES):
                yield "\n".join(lines[start : start + _LINES])


def _chunk(number: int, text: str) -> Chunk:
    return Chunk(
        id=content_id(str(number), text), document_id=content_id(str(number // 20)), uri=f"stdlib/{number // 20}.py",
        source="stdlib", workspace="default", text=text, span=(0, len(text)), lines=(1, _LINES), kind="code",
        language="python", context="made", tokens=200,
    )  # fmt: skip


def _night(project: Path, n: int) -> tuple[list[Chunk], NDArray[np.float32]]:
    from ragkeep.tables import iter_chunks, read_table

    chunks: list[Chunk] = []
    vectors = []
    for path in sorted((project / "data" / "chunks").glob("*.parquet")):
        table, column = read_table(path), read_table(project / "data" / "vectors" / path.name)["vector"]
        chunks += iter_chunks(table)
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors.append(np.asarray(flat, np.float32).reshape(len(table), -1))
    return chunks[:n], np.vstack(vectors)[:n]
