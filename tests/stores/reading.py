"""Readers that search on and on and count what goes wrong; also run as a process of its own until its input ends."""

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import numpy as np

from ragkeep.errors import RagkeepError
from ragkeep.ports import VectorStore
from ragkeep.types import Chunk, EmbeddedBatch, Hit, Query, content_id
from tests.stores.building import DIM, given, say

TRIES = 3
"""A caller asks again twice at most."""


@dataclass(slots=True)
class Tally:
    """What readers saw; `repeated` searches failed and went well at the second or third try."""

    requests: int = 0
    repeated: int = 0
    failed: list[str] = field(default_factory=list)
    empty: int = 0
    mixed: int = 0
    slowest_s: float = 0.0
    versions: set[str] = field(default_factory=set)

    def add(self, other: "Tally") -> None:
        """Count what another reader saw too."""
        for name in ("requests", "repeated", "failed", "empty", "mixed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.versions |= other.versions


def named_batch(version: str, n: int) -> EmbeddedBatch:
    """n chunks whose uri and text say which version they are of."""
    chunks = tuple(
        Chunk(
            id=content_id(version, str(i)), document_id=f"d{i}", uri=f"{version}/{i}.md", source="docs",
            workspace="default", text=f"shared words of {version}", span=(0, 5), lines=(1, 1), kind="prose",
            language="en",
        )
        for i in range(n)
    )  # fmt: skip
    vectors = np.random.default_rng(3).normal(size=(n, DIM)).astype(np.float32)
    return EmbeddedBatch(chunks, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def read(store: VectorStore, tally: Tally, ended: Callable[[], bool]) -> None:
    """Search behind the alias in every mode until told to end."""
    vector = np.ones(DIM, np.float32) / np.sqrt(np.float32(DIM))
    for mode in itertools.cycle(("vector", "keyword", "hybrid")):
        if ended():
            return
        query = Query("shared words", vector=vector, k=5, mode=mode, candidates=20)  # type: ignore[arg-type]
        began = time.monotonic()
        hits = _asked(store, query, tally)
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
        tally.requests += 1
        _judge(hits, tally)


def _asked(store: VectorStore, query: Query, tally: Tally) -> list[Hit] | None:
    for attempt in range(TRIES):
        try:
            hits = store.search("docs", query)
            tally.repeated += attempt > 0
            return hits
        except RagkeepError as error:
            said = f"{type(error).__name__}: {error}"
    tally.failed.append(said)
    return None


def _judge(hits: list[Hit] | None, tally: Tally) -> None:
    if hits is None:
        return
    named = {(hit.chunk.uri.partition("/")[0], hit.chunk.text.rpartition(" ")[2]) for hit in hits}
    tally.empty += not hits
    tally.mixed += len(named) > 1 or any(uri != text for uri, text in named)
    tally.versions |= {uri for uri, _ in named}


@contextmanager
def reading(store: VectorStore, threads: int) -> Iterator[list[Tally]]:
    """Let threads read as long as the context lasts; yields what each has seen so far."""
    end, tallies = threading.Event(), [Tally() for _ in range(threads)]
    readers = [threading.Thread(target=read, args=(store, tally, end.is_set)) for tally in tallies]
    for reader in readers:
        reader.start()
    try:
        yield tallies
    finally:
        end.set()
        for reader in readers:
            reader.join()


def total(tallies: list[Tally]) -> Tally:
    """Add up what readers saw."""
    everything = Tally()
    for tally in tallies:
        everything.add(tally)
    return everything


def main() -> None:
    """Read with one thread until the input ends, then say what was seen."""
    with reading(given(), 1) as tallies:
        say("ready")
        sys.stdin.read()
    say(json.dumps({**asdict(tallies[0]), "versions": sorted(tallies[0].versions)}))


if __name__ == "__main__":
    main()
