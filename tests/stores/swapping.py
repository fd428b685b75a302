"""Swaps and rollbacks of any store while it is read by threads of this process and by another process."""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ragkeep.config import IndexParams
from ragkeep.ports import VectorStore
from tests.stores.building import build, command, say
from tests.stores.killing import ROOT
from tests.stores.reading import Tally, named_batch, reading, total

ROWS = 30


def swap_under_readers(store: VectorStore, path: Path, params: IndexParams, *, requests: int) -> Tally:
    """Swap at most 50 times while so many requests are made; return what all readers saw, and print it."""
    began, swaps = time.monotonic(), min(50, requests // 125)
    for version in ("v0", "v1"):
        build(store, version, named_batch(version, ROWS))
    store.swap("docs", "v0")
    everything: list[Tally] = []
    with reading_process(path, params, everything), reading(store, 3) as threads:
        _swap_to_and_fro(store, swaps, lambda: sum(tally.requests for tally in threads), requests)
    seen = total(everything + threads)
    say(f"{type(store).__name__}: {swaps} swaps in {time.monotonic() - began:.0f} s: {seen}")
    return seen


def _swap_to_and_fro(store: VectorStore, swaps: int, requests: Callable[[], int], wanted: int) -> None:
    """Swap and roll back, and let some ask each time; after each tenth drop what was just live, and build another."""
    other: str | None = "v1"
    for turn in range(1, swaps + 1):
        other = store.swap("docs", other)
        assert other is not None
        enough = requests() + math.ceil(wanted / swaps)
        wait_until(lambda enough=enough: requests() >= enough)  # type: ignore[misc]
        if turn % 10 == 0:
            store.drop(other)
            other = f"v{turn}"
            build(store, other, named_batch(other, ROWS))


def wait_until(reached: Callable[[], bool], timeout_s: float = 3000) -> None:
    """Wait for what happens elsewhere."""
    until = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


@contextmanager
def reading_process(path: Path, params: IndexParams, tallies: list[Tally]) -> Iterator[None]:
    """A process of its own that reads; what it saw is put to the tallies in the end."""
    start = command("tests.stores.reading", path, params)
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        seen = json.loads(process.communicate()[0])
    tallies.append(Tally(**{**seen, "versions": set(seen["versions"])}))
