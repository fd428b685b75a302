"""The first query of a fresh process: CPU-seconds from start to vector, beside sentence-transformers load + encode.

    uv run --group bench python -m benchmarks.embed_query [--project DIR] [--rounds 5] [--json]

Each round starts one process a side. With --project, ours is a whole `ragkeep ask` in that project (a night must have
published there); without, the embedder alone. `ratio` > 1: ours is that much cheaper.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ragkeep.models import packaged_minilm

QUESTION = "How do I parse a date from a string?"
OURS = """
import sys
from pathlib import Path
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
vector = load_embedder(EmbedParams(), Path(sys.argv[1])).embed([sys.argv[2]], role="query")
assert vector.shape == (1, 384)
"""
PEER = """
import sys
from sentence_transformers import SentenceTransformer
vector = SentenceTransformer(sys.argv[1], device="cpu").encode([sys.argv[2]])
assert vector.shape == (1, 384)
"""


def cpu_of(command: list[str], **environment: str) -> float:
    """User and system CPU-seconds of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(rounds: int, project: Path | None, cache: str) -> dict[str, Any]:
    """Start both sides in turn; the first start of each, which fills caches, does not count."""
    python = sys.executable
    ours = [python, "-c", OURS, cache, QUESTION]
    environment = {}
    if project is not None:
        ours = [python, "-m", "ragkeep.cli", "ask", QUESTION]
        environment = {"RAGKEEP_HOME": str(project.resolve())}
    peer = [python, "-c", PEER, str(packaged_minilm()), QUESTION]
    first = cpu_of(ours, **environment)
    cpu_of(peer)
    rows = [(cpu_of(ours, **environment), cpu_of(peer)) for _ in range(rounds)]
    mine, theirs = (statistics.median(side) for side in zip(*rows, strict=True))
    return {
        "ratio": round(theirs / mine, 2),
        "ratio_min": round(min(t / m for m, t in rows), 2),
        "cpu_s": round(mine, 3),
        "peer_cpu_s": round(theirs, 3),
        "cpu_s_first_ever": round(first, 3),
        "what": "ragkeep ask" if project is not None else "embed one query",
    }


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        figures = compare(options.rounds, options.project, cache)
    if not options.json:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
