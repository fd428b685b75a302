"""Small versions for the tests of stores; also run as a process that builds until it is killed."""

import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ragkeep.backends import STORES, load
from ragkeep.config import IndexParams, parse
from ragkeep.ports import VectorStore
from ragkeep.stores.segment import pack, row_digest
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


def digests(batch: EmbeddedBatch) -> dict[str, str]:
    """What `carry` is told of the chunks."""
    return {c.id: row_digest(pack(c), v) for c, v in zip(batch.chunks, batch.vectors, strict=True)}


def opened(path: Path, params: IndexParams) -> VectorStore:
    """Open the store that params name."""
    store: VectorStore = load(STORES, params.backend, path=path, params=params)
    return store


def command(module: str, path: Path, params: IndexParams, *arguments: str) -> list[str]:
    """What starts a module as a process of its own that opens the same store; see `given`."""
    return [sys.executable, "-m", module, str(path), json.dumps(asdict(params)), *arguments]


def given() -> VectorStore:
    """Open the store that the command line names."""
    return opened(Path(sys.argv[1]), parse(IndexParams, json.loads(sys.argv[2]), "index"))


def say(line: str) -> None:
    """Tell the process that started this one."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def contents(night: int) -> EmbeddedBatch:
    """What there is in a night: all new every third one, else some chunks more or less than the night before."""
    return chunk_batch([30, 33, 31][night % 3], salt=night // 3)


def build_as_a_night(store: VectorStore, index: str, batch: EmbeddedBatch) -> None:
    """Build as tasks/index.py does: over what an earlier try left, with what the live version holds already."""
    store.drop(index)
    base, carried = next(iter(store.versions("docs")), None), set[str]()
    if base is None:
        store.create(index, dim=DIM)
    else:
        carried = store.carry(index, base=base.name, rows=digests(batch))
    left = [row for row, chunk in enumerate(batch.chunks) if chunk.id not in carried]
    for rows in (left[::2], left[1::2]):
        store.write(index, EmbeddedBatch(tuple(batch.chunks[row] for row in rows), batch.vectors[rows]))
    store.finish(index)
    receipt = IndexVersion(index, "docs", "any", "hash/1", DIM, len(batch.chunks), ids_digest(digests(batch)), index)
    store.seal(receipt)


def build_and_swap_forever(store: VectorStore, first: int) -> None:
    """Each night a new version: build, swap, drop all but the last two; each swap said on stdout once it is done."""
    store.create("warm-up", dim=DIM)  # imports what building takes
    store.drop("warm-up")
    say("ready")
    for night in itertools.count(first):
        index = f"docs-{night:06}"
        build_as_a_night(store, index, contents(night))
        store.swap("docs", index)
        say(index)
        for old in store.versions("docs")[2:]:
            store.drop(old.name)


if __name__ == "__main__":
    build_and_swap_forever(given(), int(sys.argv[3]))
