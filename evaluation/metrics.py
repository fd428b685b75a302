"""Rankings judged: which hit earns what, and the measures by ir-measures; a question without a ranking scores 0.

Metric names are those of MLflow, which refuses "@": ndcg_at_10, recall_at_1, recall_at_5, recall_at_10, rr (cut at 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ragkeep.types import Hit

from .labels import Group
from .names import Span

CUTOFF = 10
"""How deep a ranking is judged, whatever k a caller asks for."""
MEASURES = {
    "nDCG@10": "ndcg_at_10",
    "R@1": "recall_at_1",
    "R@5": "recall_at_5",
    "R@10": "recall_at_10",
    "RR@10": "rr",
}

Place = Span
"""Where a hit stands: (uri, start, end)."""


def place(hit: Hit) -> Place:
    """Return where a hit stands."""
    return hit.chunk.uri, *hit.chunk.span


def covers(hit: Place, label: Span) -> bool:
    """Whether a hit shows a label: they share half of the label, or half of the hit.

    Half of the label: most of a short answer is on the page. Half of the hit: any piece of a class of a thousand
    lines is a piece of the answer, and no chunk could hold half of it.
    """
    if hit[0] != label[0]:
        return False
    shared = min(hit[2], label[2]) - max(hit[1], label[1])
    return shared > 0 and 2 * shared >= min(hit[2] - hit[1], label[2] - label[1])


def earned_at(ranking: Sequence[Place], groups: Sequence[Group]) -> list[list[int]]:
    """Say, for every rank, which groups are found there for the first time.

    A group earns its gain once. A later hit on a group already found earns nothing and keeps its rank, as any other
    useless hit does: it takes a place that something new could have had, and a measure that skipped it would reward
    filling the page with pieces of one function.
    """
    found: set[int] = set()
    earned = []
    for hit in ranking:
        new = [n for n, g in enumerate(groups) if n not in found and any(covers(hit, span) for span in g)]
        found.update(new)
        earned.append(new)
    return earned


def first_rank(earned: Sequence[Sequence[int]]) -> int | None:
    """Return the rank, from 1, of the first hit that earned something."""
    return next((rank for rank, new in enumerate(earned, 1) if new), None)


def score_earned(earned: Mapping[str, Sequence[Sequence[int]]], groups: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Score every question of `groups` (id -> number of groups); one that is not in `earned` scores 0.

    A hit that finds several groups counts as that many hits in a row: the same score as the smaller chunks it
    is made of would have had side by side, and never more than a perfect ranking.
    """
    qrels = {q: {f"g{n}": 1 for n in range(max(1, total))} for q, total in groups.items()}
    run = {q: _documents(ranks) for q, ranks in earned.items() if groups.get(q)}
    return score_run(qrels, run)


def _documents(ranks: Sequence[Sequence[int]]) -> list[str]:
    return [name for rank, new in enumerate(ranks) for name in ([f"g{n}" for n in new] or [f"other{rank}"])]


def score_run(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """Score rankings of document ids, best first, against graded judgments: query -> metric -> value, 0..1.

    Every query of `qrels` is in the result, in sorted order; queries of `run` without judgments are not.
    """
    import ir_measures

    scores = {q: dict.fromkeys(MEASURES.values(), 0.0) for q in sorted(qrels)}
    # scores fall by rank so that the measures' own way to break ties never decides
    ranked = {q: {d: float(-n) for n, d in reversed(list(enumerate(docs)))} for q, docs in run.items() if q in qrels}
    if ranked:
        measures = [ir_measures.parse_measure(name) for name in MEASURES]
        for found in ir_measures.calc(measures, {q: dict(d) for q, d in qrels.items()}, ranked)[1]:
            scores[found.query_id][MEASURES[str(found.measure)]] = float(found.value)
    return scores
