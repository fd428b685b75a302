"""Does the drift alarm keep quiet where nothing drifts, and ring where it does? On real questions of labelled sets.

    uv run --group bench python -m benchmarks.drift --set DIR --other DIR --other DIR [--splits 100] [--json]

`quiet` splits the questions of --set in random halves, `loud` holds them against those of each --other set, `part`
mixes a share of the other's questions in. `recall` says what a vector moved by a cosine distance costs: the share of the
ten nearest passages that stay. Vectors are kept in --cache.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import finish
from evaluation.beir import read_folder
from evaluation.drift import PSI_ALARM, psi, told_apart
from evaluation.vectors import CachedEmbedder
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.types import Vectors
from tasks.portrait import length_bin

WINDOW = 400
DISTANCES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", type=Path, required=True, help="a folder with corpus.jsonl, queries.jsonl, qrels.tsv")
    parser.add_argument("--other", type=Path, action="append", default=[])
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "ragkeep-drift")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    options = parser.parse_args()
    embedder = CachedEmbedder(load_embedder(EmbedParams(), options.cache), options.cache)
    texts = questions(options.set)
    vectors = embedder.embed(texts, role="query")
    result: dict[str, Any] = {"benchmark": "drift", "set": options.set.name, "window": WINDOW}
    result["quiet"] = quiet(texts, vectors, options.splits)
    for folder in options.other:
        asked = questions(folder)
        result[f"loud {folder.name}"] = loud(vectors, embedder.embed(asked, role="query"), options.splits // 5)
    passages = embedder.embed(list(read_folder(options.set).corpus.values()), role="passage")
    result["recall"] = moved(vectors[:WINDOW], passages)
    finish(result)


def questions(folder: Path) -> list[str]:
    """Read a set's questions, each once, in the order of their text."""
    return sorted(set(read_folder(folder).queries.values()))


def quiet(texts: list[str], vectors: Vectors, splits: int) -> dict[str, Any]:
    """Compare random halves, WINDOW on each side: every alarm is a false one."""
    aucs, ps, lengths = [], [], []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(texts))
        left, right = order[:WINDOW], order[WINDOW : 2 * WINDOW]
        found = told_apart(vectors[left], vectors[right])
        if found is None:
            raise SystemExit(f"{len(texts)} questions are too few for two windows of {WINDOW}")
        aucs.append(found)
        ps.append(found.p)
        counts = [Counter(length_bin(texts[n]) for n in side) for side in (left, right)]
        lengths.append(psi(*counts) or 0.0)
    return {
        "splits": splits, "alarms": sum(one.alarm for one in aucs), "p_below_.05": sum(p < 0.05 for p in ps),
        "auc_median": _of([one.auc for one in aucs], 0.5), "auc_max": _of([one.auc for one in aucs], 1),
        "psi_alarms": sum(value >= PSI_ALARM for value in lengths), "psi_max": _of(lengths, 1),
    }  # fmt: skip


def loud(vectors: Vectors, others: Vectors, splits: int) -> dict[str, Any]:
    """Compare windows in which a share of the questions is of another set; the share of splits with an alarm."""
    found: dict[str, Any] = {}
    for share in (*SHARES, 1.0):
        alarms, aucs = 0, []
        for seed in range(splits):
            rng = np.random.default_rng(seed)
            order, theirs = rng.permutation(len(vectors)), rng.permutation(len(others))
            window = min(WINDOW, int(len(others) / share))
            count = round(share * window)
            now = np.vstack([vectors[order[WINDOW : WINDOW + window - count]], others[theirs[:count]]])
            one = told_apart(vectors[order[:WINDOW]], now)
            alarms += bool(one and one.alarm)
            aucs.append(one.auc if one else 0.5)
        found[f"{share:g}"] = {"alarms": round(alarms / splits, 2), "auc": _of(aucs, 0.5), "n": window}
    return found


def moved(asked: Vectors, passages: Vectors) -> dict[str, float]:
    """Turn every question by a cosine distance in a random direction; the share of its ten nearest that stay."""
    rng = np.random.default_rng(7)
    best = _nearest(asked, passages)
    kept = {}
    for distance in DISTANCES:
        noise = rng.normal(size=asked.shape)
        noise -= (noise * asked).sum(axis=1, keepdims=True) * asked
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        cosine = 1 - distance
        turned = cosine * asked + np.sqrt(1 - cosine**2) * noise
        found = _nearest(turned.astype(np.float32), passages)
        kept[f"{distance:g}"] = round(
            float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, found, strict=True)])), 3
        )
    return kept


def _nearest(asked: Vectors, passages: Vectors) -> list[list[int]]:
    found: list[list[int]] = np.argpartition(-(asked @ passages.T), 10, axis=1)[:, :10].tolist()
    return found


def _of(values: list[float], quantile: float) -> float:
    return round(float(np.quantile(values, quantile)), 3)


if __name__ == "__main__":
    main()
