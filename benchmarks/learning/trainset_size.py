"""A training set from a million interactions: seconds, CPU and peak memory of the stage, in a process of its own.

    uv run python -m benchmarks.learning.trainset_size [--records 1000000] [--json]

Two of five records are answers that showed ten of 20,000 chunks, three are votes and clicks on them; questions are
drawn from a vocabulary of 20,000 words, every fifth is asked again. Must stay below 2 GB.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragkeep.config import LearnParams, Params, Paths, SourceParams
from ragkeep.interactions import answered, clicked, voted
from ragkeep.interactions.records import encode_record
from ragkeep.interactions.segments import ActiveSegment, answer_key
from ragkeep.tables import chunks_table
from ragkeep.types import Answer, Chunk, Citation, Hit, Interaction, content_id
from tasks.shards import shard_of, write_shard

CHUNKS, USERS, WORDS, SHARDS, SHOWN = 20_000, 2_000, 20_000, 16, 10
LIMIT_MB = 2000


def chunk(n: int) -> Chunk:
    """Make a chunk of 120 words."""
    draw = random.Random(n)
    text = " ".join(f"w{draw.randrange(WORDS)}" for _ in range(120))
    uri = f"docs/{n // 10}.md"
    return Chunk(content_id(str(n)), "d", uri, "docs", "default", text, (n % 10 * 700, n % 10 * 700 + 700), (1, 9),
                 "prose", "en")  # fmt: skip


def records(count: int, chunks: list[Chunk]) -> Iterator[Interaction]:
    """Yield answers, each with one or two acts on it."""
    draw, asked, made = random.Random(7), list[str](), 0
    while made < count:
        again = asked and draw.random() < 0.2
        words = [f"w{draw.randrange(WORDS)}" for _ in range(8)]
        question = draw.choice(asked) if again else f"How does the {' '.join(words)}?"
        if not again:
            asked.append(question)
        hits = tuple(Hit(draw.choice(chunks), 0.5) for _ in range(SHOWN))
        given = Answer("So it does [1]. " * 20, (Citation(hits[0].chunk.uri, (1, 9), "q", 1.0),), False, hits,
                       model="extractive", release="7")  # fmt: skip
        about = {"workspace": "default", "user": f"u{draw.randrange(USERS)}", "session": f"s{draw.randrange(10**5)}"}
        yield answered(answer := f"{made:032x}", question, given, **about)
        rank = draw.randrange(SHOWN)
        yield clicked(answer, rank + 1, chunk=hits[rank].chunk.id, uri=hits[rank].chunk.uri, **about)
        made += 2
        if draw.random() < 0.5:
            yield voted(answer, draw.choice([1, 1, 1, -1]), **about)
            made += 1


def write(root: Path, count: int) -> int:
    """Write the project; return the log's bytes."""
    chunks = [chunk(n) for n in range(CHUNKS)]
    for number in range(SHARDS):
        table = chunks_table(one for one in chunks if shard_of(one.uri, SHARDS) == number)
        write_shard(root / "data" / "chunks", number, table, "key")
    log = Paths(root).interactions
    log.mkdir(parents=True)
    segment, batch = ActiveSegment.create(log, 1), list[tuple[int, bytes]]()
    for record in records(count, chunks):
        batch.append((answer_key(record.answer), encode_record(record)))
        if len(batch) == 1000:
            segment.add(batch)
            batch = []
            if segment.end >= 64 * 2**20:
                segment.seal()
                segment = ActiveSegment.create(log, segment.next)
    if batch:
        segment.add(batch)
    segment.seal()
    return sum(path.stat().st_size for path in log.glob("*.log"))


def stage(root: Path) -> dict[str, Any]:
    """Run the stage here and say what it took."""
    from tasks import trainset

    began, cpu = time.monotonic(), time.process_time()
    stats = trainset.run(Paths(root), Params(sources=(SourceParams("docs", "."),), learn=LearnParams()))
    return stats | {
        "wall_s": round(time.monotonic() - began, 1), "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


def main() -> None:
    """Write a log, make its training set, print one line of JSON; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(stage(options.stage)))
        return
    with tempfile.TemporaryDirectory() as name:
        size = write(Path(name), options.records)
        command = [sys.executable, "-m", "benchmarks.learning.trainset_size", "--stage", name]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    print(json.dumps({"records": options.records, "log_mb": round(size / 1e6), **found, "limit_mb": LIMIT_MB}))
    sys.exit(found["peak_mb"] > LIMIT_MB)


if __name__ == "__main__":
    main()
