"""Embedding a corpus: CPU-seconds a chunk, beside sentence-transformers as it comes (fp32, batches of 32).

    uv run --group bench python -m benchmarks.embed [--precision auto|fp32|bf16|int8] [--chunks 2000] [--json]

Chunks of 100 to 250 tokens are cut from the standard library. Both sides get one core, and the same slices in turn,
each side first in every other slice. `ratio` > 1: ours is that much cheaper; cosines are against the peer's vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.models import packaged_minilm


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


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU-seconds of this process for one call, and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def peer() -> Callable[[list[str]], Any]:
    """sentence-transformers with its defaults."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = SentenceTransformer(str(packaged_minilm()), device="cpu")
    return lambda texts: model.encode(texts, show_progress_bar=False)


def compare(texts: list[str], rounds: int, precision: Any, cache: Path) -> dict[str, Any]:
    """Embed each slice with both sides in turn; returns the figures."""
    embedder = load_embedder(EmbedParams(precision=precision), cache)
    sides = {"ours": lambda some: embedder.embed(some, role="passage"), "peer": peer()}
    for run in sides.values():
        run(texts[:20])
    spent: dict[str, list[float]] = {"ours": [], "peer": []}
    cosines: list[float] = []
    for number in range(rounds):
        some = texts[number::rounds]
        made = {}
        for name in sorted(sides, reverse=bool(number % 2)):
            seconds, made[name] = timed(lambda name=name, some=some: sides[name](some))
            spent[name].append(seconds)
        cosines.extend((made["ours"] * made["peer"]).sum(axis=1).tolist())
    ratios = [p / o for o, p in zip(spent["ours"], spent["peer"], strict=True)]
    return {
        "ratio": round(sum(spent["peer"]) / sum(spent["ours"]), 3),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "chunks_per_cpu_s": round(len(texts) / sum(spent["ours"]), 2),
        "peer_chunks_per_cpu_s": round(len(texts) / sum(spent["peer"]), 2),
        "cosine_mean": round(float(np.mean(cosines)), 6),
        "cosine_min": round(float(np.min(cosines)), 6),
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
    if not options.json:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
