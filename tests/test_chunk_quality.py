"""How well chunks hold exact answers: spans-a, beside plain windows of tokens, retrieved by the same small BM25.

Token recall and IoU as in Smith and Troynikov, "Evaluating Chunking Strategies for Retrieval" (Chroma, 2024), section 3,
over characters: of the answer's characters, how many the five best chunks hold; of all they hold, how many it is.
`pytest -s` prints the figures.
"""

import json
import math
import re
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from ragkeep import tokens
from ragkeep.chunkers import chunk_document
from ragkeep.config import ChunkSection
from ragkeep.types import Document

from .evaldata import evaldata

TOP = 5
Span = tuple[str, int, int]


@cache
def documents() -> dict[str, str]:
    return {
        p.name: p.read_text(encoding="utf-8") for p in sorted(evaldata("spans-a").glob("*.md"))[:10] if p.stem != "README"
    }


def ours() -> list[Span]:
    return [
        (name, *chunk.span)
        for name, text in documents().items()
        for chunk in chunk_document(Document(name, name, "s", "default", text, "prose", "markdown"), ChunkSection())
    ]


def windows(size: int) -> list[Span]:
    """Plain windows of so many tokens."""
    made: list[Span] = []
    for name, text in documents().items():
        offsets = tokens.tokenizer().encode(text, add_special_tokens=False).offsets
        cuts = [*(a for a, _ in offsets[::size]), len(text)]
        made += [(name, a, b) for a, b in pairwise(cuts)]
    return made


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def bm25(texts: list[str], question: str) -> list[int]:
    """The indices of the TOP best texts."""
    counts = [Counter(words(t)) for t in texts]
    lengths = np.array([sum(c.values()) for c in counts])
    scores = np.zeros(len(texts))
    for word in set(words(question)):
        n = np.array([c[word] for c in counts])
        idf = math.log(1 + (len(texts) - np.count_nonzero(n) + 0.5) / (np.count_nonzero(n) + 0.5))
        scores += idf * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * lengths / lengths.mean()))
    return np.argsort(-scores, kind="stable")[:TOP].tolist()


def covered(spans: list[tuple[int, int]]) -> set[int]:
    return {at for a, b in spans for at in range(a, b)}


def measured(spans: list[Span]) -> dict[str, float]:
    """Mean recall, IoU and best-case IoU (only chunks that hold some of the answer) over all questions."""
    texts = documents()
    recall, iou, best = [], [], []
    for line in (evaldata("spans-a") / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        query = json.loads(line)
        mine = [s for s in spans if s[0] == query["doc"]]
        answer = covered([(r["start"], r["end"]) for r in query["references"]])
        top = [mine[i] for i in bm25([texts[n][a:b] for n, a, b in mine], query["text"])]
        held = covered([(a, b) for _, a, b in top])
        ideal = covered(
            [(a, b) for _, a, b in mine if any(a <= r["start"] < b or a < r["end"] <= b for r in query["references"])]
        )
        recall.append(len(held & answer) / len(answer))
        iou.append(len(held & answer) / (sum(b - a for _, a, b in top) + len(answer - held)))
        best.append(len(ideal & answer) / len(ideal | answer))
    means = {"recall": np.mean(recall), "iou": np.mean(iou), "best_iou": np.mean(best)}
    return {name: round(float(value), 4) for name, value in means.items()}


@pytest.mark.timeout(300)
def test_chunks_hold_answers_better_than_plain_windows() -> None:
    """More recall than windows of the same mean size in as much text; a little less than larger ones in far less."""
    spans = ours()
    mean = round(sum(tokens.count(documents()[n][a:b]) for n, a, b in spans) / len(spans))
    mine, same, larger = measured(spans), measured(windows(mean)), measured(windows(256))
    print(f"\nspans-a: ours {mine}\n{mean}-token windows {same}\n256-token windows {larger}")  # noqa: T201
    assert mine["recall"] > same["recall"]
    assert mine["iou"] > same["iou"] - 0.002
    assert mine["recall"] > larger["recall"] - 0.04
    assert mine["iou"] > larger["iou"] + 0.01
