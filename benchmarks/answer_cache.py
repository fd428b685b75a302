"""How often the answer cache would give another question's answer, and how often it knows a paraphrase again.

    uv run python -m benchmarks.answer_cache --set ../shared/data/squad-a --set ../shared/data/medquad-a --json

Every question of a set is asked in turn of a cache that holds all the others: a hit is wrong, for no two ask the same
(questions whose answers are equal are left out). Then each is asked again in other words, made by rules: a hit is right
where it is its own. Also by threshold, with and without the rule that both must name the same things.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from pathlib import Path

import numpy as np

from ragkeep.cache import names
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.types import Vectors

THRESHOLDS = (0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.98)
REWORDED = (
    (r"^(what|which) (is|are|was|were) ", r"can you tell me \1 \2 "),
    (r"^how (do|does|did|can|to) ", r"please explain how \1 "),
    (r"^(who|where|when|why) ", r"I would like to know \1 "),
    (r"^", r"could you say: "),
)


def main() -> None:
    """Print a table, and the figures as JSON on the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", type=Path, action="append", required=True)
    parser.add_argument("--questions", type=int, default=1500)
    parser.add_argument("--cache", type=Path, default=Path(".ragkeep/cache"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    embedder = load_embedder(EmbedParams(), args.cache)
    result = {}
    for folder in args.set:
        asked = read(folder, args.questions)
        again = [reworded(text) for text in asked]
        first = embedder.embed(asked, role="query")
        second = embedder.embed(again, role="query")
        result[folder.name] = {"questions": len(asked), **measured(asked, again, first, second)}
    if not args.json:
        for name, found in result.items():
            sys.stdout.write(f"{name}: {json.dumps(found, indent=1)}\n")
    sys.stdout.write(json.dumps(result) + "\n")


def read(folder: Path, most: int) -> list[str]:
    """Draw questions whose answers differ: one for each distinct answer text or judged document."""
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    random.Random(7).shuffle(rows)
    seen: dict[str, str] = {}
    for row in rows:
        key = " ".join(map(str, row.get("answers") or [row["id"]])).lower()
        seen.setdefault(key, row["text"])
    return sorted({re.sub(r"\s+", " ", text).strip() for text in seen.values()})[:most]


def reworded(text: str) -> str:
    """Say a question in other words."""
    for pattern, other in REWORDED:
        found, count = re.subn(pattern, other, text, count=1, flags=re.IGNORECASE)
        if count:
            return found
    return text


def measured(asked: list[str], again: list[str], first: Vectors, second: Vectors) -> dict[str, object]:
    """Shares of questions, by threshold: wrong hits, and paraphrases known again; by cosine alone and with the names."""
    named, named_again = [names(text) for text in asked], [names(text) for text in again]
    others = first @ first.T
    np.fill_diagonal(others, -1)
    same = second @ first.T
    table: dict[str, object] = {}
    for threshold in THRESHOLDS:
        row = {}
        for rule in ("cosine", "names"):
            wrong = right = astray = 0
            for at in range(len(asked)):
                wrong += _nearest(others[at], named[at], named, threshold, rule) is not None
                hit = _nearest(same[at], named_again[at], named, threshold, rule)
                right += hit == at
                astray += hit not in (None, at)
            n = len(asked)
            row[rule] = {
                "wrong": round(wrong / n, 4), "known_again": round(right / n, 4), "astray": round(astray / n, 4)
            }  # fmt: skip
        table[str(threshold)] = row
    return table


def _nearest(
    cosines: Vectors, asked: frozenset[str], named: list[frozenset[str]], threshold: float, rule: str
) -> int | None:
    for at in np.argsort(-cosines):
        if cosines[at] < threshold:
            return None
        if rule == "cosine" or named[at] == asked:
            return int(at)
    return None


if __name__ == "__main__":
    main()
