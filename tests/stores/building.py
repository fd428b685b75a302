"""Small versions for the tests of the embedded store; also run as a process that is killed."""

import itertools
import sys
from pathlib import Path

import numpy as np

from ragkeep.ports import VectorStore
from ragkeep.stores.lancedb import open_store
from ragkeep.types import Chunk, EmbeddedBatch, IndexVersion, ids_digest

DIM = 8


def chunk_batch(n: int, *, reverse: bool = False, salt: int = 0) -> EmbeddedBatch:
    """n chunks with vectors; salt makes other ones."""
    numbers = list(range(n))[:: -1 if reverse else 1]
    chunks = tuple(
        Chunk(
            id=f"{salt:016x}{i:016x}", document_id="d", uri=f"docs/{i % 3}.md", source="docs", workspace="default",
            text=f"word{i} shared words of chunk {i}", span=(0, 5), lines=(1, 1), kind="prose", language="en",
        )
        for i in numbers
    )  # fmt: skip
    vectors = np.stack([np.random.default_rng(i).normal(size=DIM).astype(np.float32) for i in numbers])
    return EmbeddedBatch(chunks, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def build(store: VectorStore, index: str, *batches: EmbeddedBatch) -> None:
    """Create, write, finish and seal."""
    store.create(index, dim=DIM)
    for batch in batches:
        store.write(index, batch)
    store.finish(index)
    ids = list(store.ids(index))
    store.seal(IndexVersion(index, "docs", "lancedb", "hash/1", DIM, len(ids), ids_digest(ids), index))


def build_and_swap_forever(path: Path) -> None:
    """Each night a new version: build, swap, drop all but the last two; each step said on stdout once it is done."""
    store = open_store(path)
    for night in itertools.count(int(sys.argv[2])):
        index = f"docs-{night:06}"
        build(store, index, chunk_batch(5, salt=night), chunk_batch(6 + night % 5, salt=night))
        store.swap("docs", index)
        sys.stdout.write(f"{index}\n")
        sys.stdout.flush()
        for old in store.versions("docs")[2:]:
            store.drop(old.name)


if __name__ == "__main__":
    build_and_swap_forever(Path(sys.argv[1]))
