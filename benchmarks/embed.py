"""Embedding a corpus: CPU-seconds a chunk, beside sentence-transformers as it comes (fp32, batches of 32).

    uv run --group bench python -m benchmarks.embed [--precision auto|fp32|bf16|int8] [--chunks 2000] [--json]

Chunks of 100 to 250 tokens are cut from the standard library. Both sides get one core, and the same slices in turn,
each side first in every other slice. `ratio` > 1: ours is that much cheaper; cosines are against the peer's vectors.
"""

from __future__ import annotations

import argparse
import os
import random
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.models import packaged_minilm

from .measure import alternate, finish, over


def stdlib_chunks(count: int, *, seed: int = 7) -> list[str]:
    """Cut `count` texts of 100 to 248 tokens (and two special ones) from the running Python's library."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(packaged_minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rng = random.Random(seed)
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    rng.shuffle(files)
    made: list[str] = []
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        spans = tokenizer.encode(text, add_special_tokens=False).offsets
        begin = 0
        while begin + 250 < len(spans) and len(made) < count:
            end = begin + rng.randint(100, 248)
            made.append(text[spans[begin][0] : spans[end - 1][1]])
            begin = end
    rng.shuffle(made)
    return made


def peer() -> Callable[[list[str]], Any]:
    """sentence-transformers with its defaults."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = SentenceTransformer(str(packaged_minilm()), device="cpu")
    return lambda texts: model.encode(texts, show_progress_bar=False)


def compare(texts: list[str], rounds: int, precision: Any, cache: Path) -> dict[str, Any]:
    """Embed each slice with both sides in turn; returns the figures."""
    embedder, theirs = load_embedder(EmbedParams(precision=precision), cache), peer()
    embedder.embed(texts[:20], role="passage")
    theirs(texts[:20])
    slices = [texts[number::rounds] for number in range(rounds)]
    ours_made: list[Any] = []
    peer_made: list[Any] = []
    found = alternate(
        over(slices, theirs, peer_made),
        over(slices, lambda some: embedder.embed(some, role="passage"), ours_made),
        rounds=rounds,
    )
    cosines = (np.concatenate(ours_made) * np.concatenate(peer_made)).sum(axis=1)
    return found.as_json() | {
        "chunks_per_cpu_s": round(len(texts) / sum(found.ours), 2),
        "peer_chunks_per_cpu_s": round(len(texts) / sum(found.peer), 2),
        "cosine_mean": round(float(cosines.mean()), 6),
        "cosine_min": round(float(cosines.min()), 6),
        "chunks": len(texts),
        "embedder": embedder.fingerprint,
    }


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "int8"])
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    with tempfile.TemporaryDirectory() as cache:
        figures = compare(stdlib_chunks(options.chunks), options.rounds, options.precision, Path(cache))
    finish(figures, table=not options.json)


if __name__ == "__main__":
    main()
