"""The interaction log beside SQLite as durable (WAL, synchronous=FULL, one insert a transaction), and its reader.

    uv run python -m benchmarks.interactions [--records 2000] [--rounds 3] [--read 1000000] [--folder DIR] [--json]

Every record of both sides is checked, masked and made JSON the same way, and is durable before it is acknowledged.
Callers are threads; "async" is one event loop with so many requests at a time. CPU is that of the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import finish
from ragkeep.interactions import InteractionLog, answered, find, read
from ragkeep.interactions.records import check, encode_record, masked
from ragkeep.interactions.segments import ActiveSegment, answer_key
from ragkeep.types import Answer, Chunk, Hit, Interaction, Usage

CALLERS = (1, 64)


def record(n: int) -> Interaction:
    """Make an answer of about 2.5 kB that showed five chunks."""
    hits = tuple(
        Hit(Chunk(f"{n:032x}", "d", f"docs/page-{n % 97}-{k}.md", "s", "docs", "", (0, 900), (1, 30), "prose", "en"), 0.5)
        for k in range(5)
    )
    text = "Use json.loads(text, parse_float=Decimal) on line 42 and read what it returns [1]. " * 16
    given = Answer(text, (), False, hits, Usage(900, 120), "extractive", "7")
    return answered(f"{n:032x}", f"How do I parse number {n}?", given, workspace="docs", user=f"u{n % 50}", session="s")


class Sqlite:
    """One table, one connection: SQLite has one writer at a time whatever is done."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "log.sqlite", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, answer INTEGER, payload BLOB)")
        self._lock = threading.Lock()

    def append(self, item: Interaction) -> int:
        """Insert one record in a transaction of its own."""
        check(item)
        payload, key = encode_record(masked(item)), answer_key(item.answer) >> 1
        with self._lock:
            return self._db.execute("INSERT INTO log (answer, payload) VALUES (?, ?)", (key, payload)).lastrowid or 0

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def timed(append: Callable[[Interaction], int], records: list[Interaction], callers: int) -> dict[str, float]:
    """Append all records from so many threads."""

    def one(item: Interaction) -> float:
        began = time.perf_counter()
        append(item)
        return time.perf_counter() - began

    with ThreadPoolExecutor(callers) as pool:
        return figures(lambda: list(pool.map(one, records)))


def timed_async(log: InteractionLog, records: list[Interaction], callers: int) -> dict[str, float]:
    """Append all records from one event loop, so many at a time."""

    async def everything() -> list[float]:
        gate, took = asyncio.Semaphore(callers), list[float]()

        async def one(item: Interaction) -> None:
            async with gate:
                began = time.perf_counter()
                await log.append_async(item)
                took.append(time.perf_counter() - began)

        await asyncio.gather(*map(one, records))
        return took

    return figures(lambda: asyncio.run(everything()))


def figures(work: Callable[[], list[float]]) -> dict[str, float]:
    """Run and say appends a second, latency and CPU."""
    cpu, began = time.process_time(), time.perf_counter()
    took = sorted(work())
    wall, spent = time.perf_counter() - began, time.process_time() - cpu
    return {
        "per_s": len(took) / wall,
        "p50_ms": took[len(took) // 2] * 1000,
        "p95_ms": took[int(len(took) * 0.95)] * 1000,
        "cpu_us": spent / len(took) * 1e6,
    }


def one_round(folder: Path, side: str, callers: int, records: list[Interaction]) -> dict[str, float]:
    """Measure one side with a fresh file."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        made: Sqlite | InteractionLog = Sqlite(Path(name)) if side == "sqlite" else InteractionLog(Path(name) / "log")
        try:
            if side == "async" and isinstance(made, InteractionLog):
                return timed_async(made, records, callers)
            return timed(made.append, records, callers)
        finally:
            made.close()


def appending(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Alternate the sides; the median of each figure over the rounds."""
    records = [record(n) for n in range(count)]
    result: dict[str, Any] = {"record_bytes": len(encode_record(masked(records[0])))}
    for callers in CALLERS:
        got: dict[str, list[dict[str, float]]] = {"sqlite": [], "ours": [], "async": []}
        for n in range(rounds):
            for side in sorted(got, reverse=bool(n % 2)):
                got[side].append(one_round(folder, side, callers, records[: count if callers > 1 else count // 4]))
        for side, some in got.items():
            result[f"{side}_{callers}"] = {key: round(statistics.median(f[key] for f in some), 2) for key in some[0]}
        ratios = [a["per_s"] / b["per_s"] for a, b in zip(got["ours"], got["sqlite"], strict=True)]
        result[f"ratio_{callers}"] = round(statistics.median(ratios), 2)
        result[f"ratio_{callers}_range"] = [round(min(ratios), 2), round(max(ratios), 2)]
    return result


def reading(folder: Path, count: int) -> dict[str, Any]:
    """Write so many records, then read them all in a process of its own."""
    log = folder / "read"
    log.mkdir()
    segment = ActiveSegment.create(log, 1)
    payload, old = encode_record(masked(record(0))), b"0" * 32
    for start in range(0, count, 1000):
        ids = [f"{n:032x}" for n in range(start, min(start + 1000, count))]
        segment.add([(answer_key(answer), payload.replace(old, answer.encode())) for answer in ids])
        if segment.end >= 64 * 2**20:
            segment.seal()
            segment = ActiveSegment.create(log, segment.next)
    segment.seal()
    command = [sys.executable, "-m", "benchmarks.interactions", "--reader", str(log)]
    rate, seconds, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = {"read_records": count, "read_mb_per_cpu_s": float(rate), "read_cpu_s": float(seconds)}
    found |= {"read_rss_mb": float(memory), **finding(log, count)}
    shutil.rmtree(log)
    return found


def finding(folder: Path, count: int) -> dict[str, float]:
    """Look answers up, and erase a user of one record, in CPU seconds."""
    began = time.process_time()
    for n in range(0, count, count // 20):
        if len(find(folder, f"{n:032x}")) != 1:
            sys.exit(f"answer {n} was not found")
    each = (time.process_time() - began) / 20
    with InteractionLog(folder) as log:
        log.append(replace(record(count), user="once"))
        began = time.process_time()
        gone = log.erase("user", "once")
    if gone != (count + 1,):
        sys.exit(f"erased {gone}")
    return {"find_cpu_ms": round(each * 1000, 2), "erase_cpu_s": round(time.process_time() - began, 2)}


def reader(folder: Path) -> None:
    """Read a log; print MB a CPU second, CPU seconds, and by how many MB the peak memory grew."""
    next(read(folder))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    count = sum(1 for _ in read(folder))
    spent, after = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = sum(path.stat().st_size for path in folder.glob("*.log"))
    if not count:
        sys.exit("nothing was read")
    print(round(size / 1e6 / spent, 1), round(spent, 2), round((after - before) / 1024, 1))


def main() -> None:
    """Append, then read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    parser.add_argument("--reader", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        return reader(options.reader)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        result = appending(Path(name), options.records, options.rounds)
        if options.read:
            result |= reading(Path(name), options.read)
    return finish({"benchmark": "interactions", "peer": "SQLite WAL, synchronous=FULL", **result})


if __name__ == "__main__":
    main()
