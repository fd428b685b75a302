"""What each request and each re-run pays often, and must stay small: CPU milliseconds of one call, the median of many.

    uv run python -m benchmarks.small_calls [--rounds 20] [--json]

Personal data masked in 4 kB, a question routed, an API key looked up, and the kept vectors of 20,000 texts read back.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import cpu_seconds, finish
from ragkeep.database import Database
from ragkeep.pii import mask
from ragkeep.route import route
from ragkeep.serving.keys import Keys
from ragkeep.serving.principal import LOCAL
from ragkeep.vector_cache import VectorCache, text_key

LINE = "How do I parse JSON on line 42 with json.loads(s, cls=Mine) in Python 3.11? token = x['k']\n"
TEXTS, DIM = 20_000, 384


def main() -> None:
    """Measure each call `rounds` times, after one that does not count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, VectorCache(Path(folder), "benchmark", DIM) as cache:
        texts = [text_key(f"text {n}") for n in range(TEXTS)]
        cache.put_many(texts, np.ones((TEXTS, DIM), np.float32))
        keys = Keys(Database(Path(folder) / "serving.sqlite"))
        _, secret = keys.create("benchmark", roles={"default": "reader"}, scopes=["chat"], by=LOCAL)
        question = (LINE * 50)[:4096]
        figures = {
            "mask_4kb_cpu_ms": milliseconds(lambda: mask(question), 10, rounds),
            "route_cpu_ms": milliseconds(lambda: route(LINE), 1000, rounds),
            "key_lookup_cpu_ms": milliseconds(lambda: keys.principal(secret), 100, rounds),
            "vectors_20000_cpu_ms": milliseconds(lambda: cache.get_many(texts), 1, rounds),
        }
        keys.database.close()
    finish({"benchmark": "small_calls", "rounds": rounds, **figures}, table=True)


def milliseconds(call: Callable[[], Any], times: int, rounds: int) -> float:
    """CPU milliseconds of one call: the median over `rounds` of the mean over `times`."""

    def side() -> None:
        for _ in range(times):
            call()

    side()
    return round(1000 * statistics.median(cpu_seconds(side) for _ in range(rounds)) / times, 4)


if __name__ == "__main__":
    main()
