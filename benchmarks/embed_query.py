"""The first query of a fresh process: CPU-seconds from start to vector, beside sentence-transformers load + encode.

    uv run --group bench python -m benchmarks.embed_query [--project DIR] [--rounds 5] [--json]

Each round starts one process a side. With --project, ours is a whole `ragkeep ask` in that project (a night must have
published there); without, the embedder alone. `ratio` > 1: ours is that much cheaper.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ragkeep.models import packaged_minilm

from .measure import alternate, cpu_seconds, finish

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


def compare(rounds: int, project: Path | None, cache: str) -> dict[str, Any]:
    """Start both sides in turn; the first start of each, which fills caches, does not count."""
    ours = [sys.executable, "-c", OURS, cache, QUESTION]
    if project is not None:
        ours = [sys.executable, "-m", "ragkeep.cli", "ask", QUESTION]
        os.environ["RAGKEEP_HOME"] = str(project.resolve())
    peer = [sys.executable, "-c", PEER, str(packaged_minilm()), QUESTION]
    first = cpu_seconds(ours)
    cpu_seconds(peer)
    found = alternate(peer, ours, rounds=rounds).as_json()
    return found | {
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
    finish(figures, table=not options.json)


if __name__ == "__main__":
    main()
