"""What putting a follow-up behind its subject is worth: retrieval for questions of conversations, with and without it.

    uv run python -m benchmarks.followups --set ../shared/data/mtrag-a --json

A set with `history` beside each question (turns of role and text) and BEIR-style judgements. Passages are indexed whole.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.beir import read_folder
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.rewrite import follows, standalone
from ragkeep.stores.memory import MemoryStore
from ragkeep.types import Chunk, EmbeddedBatch, Message, Query

K = 10
ROLES: dict[str, Literal["user", "assistant"]] = {"user": "user", "agent": "assistant", "assistant": "assistant"}


def main() -> None:
    """Print recall and nDCG at 10 of all questions, and of those taken for follow-ups."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(".ragkeep/cache"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    embedder = load_embedder(EmbedParams(), args.cache)
    passages, store = rows(args.set / "corpus.jsonl"), MemoryStore()
    chunks = tuple(chunk(row) for row in passages)
    store.create("docs", dim=embedder.dim)
    store.write("docs", EmbeddedBatch(chunks, embedder.embed([c.embed_text for c in chunks], role="passage")))
    store.finish("docs")
    relevant = read_folder(args.set).test
    asked = [row for row in rows(args.set / "queries.jsonl") if row["id"] in relevant]
    scores: dict[str, list[tuple[float, float, float]]] = {"as asked": [], "made to stand alone": []}
    for row in asked:
        history = tuple(Message(ROLES[turn["role"]], turn["text"]) for turn in row["history"])
        for name, text in (("as asked", row["text"]), ("made to stand alone", standalone(row["text"], history))):
            vector = embedder.embed([text], role="query")[0]
            found = [hit.chunk.uri for hit in store.search("docs", Query(text, vector, k=K))]
            wanted = relevant[row["id"]]
            follow = bool(history) and follows(row["text"])
            scores[name].append((recall(found, wanted), ndcg(found, wanted), float(follow)))
    result: dict[str, Any] = {"questions": len(asked), "follow_ups": int(sum(s[2] for s in scores["as asked"]))}
    for name, found_scores in scores.items():
        table = np.array(found_scores)
        leaning = table[table[:, 2] > 0]
        result[name] = {
            "recall_at_10": round(float(table[:, 0].mean()), 4), "ndcg_at_10": round(float(table[:, 1].mean()), 4),
            "follow_ups_recall_at_10": round(float(leaning[:, 0].mean()), 4) if len(leaning) else None,
        }  # fmt: skip
    sys.stdout.write(json.dumps(result, indent=None if args.json else 1) + "\n")


def rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def chunk(row: dict[str, Any]) -> Chunk:
    """A passage as one chunk, its uri the passage's id."""
    id_, text = str(row.get("_id", row.get("id"))), str(row["text"])
    return Chunk(id_, id_, id_, "set", "default", text, (0, len(text)), (1, 1), "prose", "en", str(row.get("title", "")))


def recall(found: list[str], wanted: Mapping[str, float]) -> float:
    """The share of the relevant passages that were found."""
    return len(set(found) & wanted.keys()) / len(wanted)


def ndcg(found: list[str], wanted: Mapping[str, float]) -> float:
    """nDCG at 10."""
    gains = np.array([wanted.get(id_, 0.0) for id_ in found])
    best = np.sort(np.array(list(wanted.values())))[::-1][:K]
    discount = 1 / np.log2(np.arange(2, K + 2))
    return float((gains * discount[: len(gains)]).sum() / (best * discount[: len(best)]).sum())


if __name__ == "__main__":
    main()
