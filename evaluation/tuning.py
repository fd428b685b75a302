"""The fusion weights that serve the dev questions best, by the measure the test questions are scored with.

One weight for all, and one for the questions of the code route where there are enough of them and it helps them for
sure. What a few questions prefer by chance is worse for the next ones (docs/performance.md), so the rest keep the common
weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkeep.config import RetrieveParams
from ragkeep.fusion import WEIGHTS, best_weight, fuse, ranking
from ragkeep.ports import Embedder, VectorStore
from ragkeep.route import ROUTES, route
from ragkeep.tables import read_table, rows_mask
from ragkeep.types import Fusion, IndexVersion, Legs, Query, Route

from .labels import Resolved
from .metrics import CUTOFF, Place, earned_at, score_earned

ENOUGH, SURE = 20, 2.0
"""The code route gets its own weight from so many dev questions on, where it gains so many standard errors on them."""
NOWHERE: Place = ("", 0, 0)
Curves = dict[Route, NDArray[np.float64]]
"""Each route's questions at each of WEIGHTS: nDCG@10, float64 (n, 21)."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fusion and how it was found; `dev` holds the dev questions' nDCG@10 of both legs and of their mix.

    `routes` counts the dev questions of each route.
    """

    fusion: Fusion
    tuned_on: str
    questions: int
    dev: dict[str, float]
    routes: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return data/evaluation/fusion.json."""
        return {
            "method": self.fusion.method, "weight": self.fusion.weight, "code_weight": self.fusion.code_weight,
            "tuned_on": self.tuned_on, "questions": self.questions, "routes": self.routes,
            "dev": {name: round(value, 6) for name, value in self.dev.items()},
        }  # fmt: skip


def tune(curves: Curves, params: RetrieveParams) -> Tuned:
    """Choose the weights params ask for; "auto" is the best of the curves, the default without dev questions."""
    fixed = None if isinstance(params.weight, str) else params.weight
    curves = {name: rows for name, rows in curves.items() if len(rows)}
    counts: dict[str, int] = {name: len(rows) for name, rows in curves.items()}
    questions = sum(counts.values())
    if not questions:
        weight = Fusion().weight if fixed is None else fixed
        return Tuned(Fusion(params.fusion, weight), "default" if fixed is None else "params", 0, {})
    fusion = _best(curves, params) if fixed is None else Fusion(params.fusion, fixed)
    every = np.concatenate(list(curves.values()))
    mixed = np.concatenate([rows[:, _nearest(fusion.on(name).weight)] for name, rows in curves.items()])
    dev = {"bm25": float(every[:, 0].mean()), "vector": float(every[:, -1].mean()), "hybrid": float(mixed.mean())}
    return Tuned(fusion, "dev" if fixed is None else "params", questions, dev, counts)


def _best(curves: Curves, params: RetrieveParams) -> Fusion:
    common = best_weight(np.concatenate(list(curves.values())).mean(axis=0))
    rows = curves.get("code", np.zeros((0, len(WEIGHTS))))
    if len(rows) < ENOUGH:
        return Fusion(params.fusion, common)
    own = best_weight(rows.mean(axis=0))
    gains = rows[:, _nearest(own)] - rows[:, _nearest(common)]
    sure = gains.mean() > SURE * gains.std(ddof=1) / len(gains) ** 0.5
    return Fusion(params.fusion, common, own if sure else None)


def _nearest(weight: float) -> int:
    return int(np.argmin([abs(w - weight) for w in WEIGHTS]))


def all_legs(
    store: VectorStore, embedder: Embedder, index: IndexVersion, texts: Mapping[str, tuple[str, str]], candidates: int
) -> dict[str, Legs]:
    """Search both legs for every question: id -> (text, workspace)."""
    vectors = embedder.embed([text for text, _ in texts.values()], role="query")
    found = {}
    for vector, (q, (text, workspace)) in zip(vectors, texts.items(), strict=True):
        query = Query(text, vector=vector, k=CUTOFF, workspace=workspace, candidates=candidates)
        found[q] = store.legs(index.name, query)
    return found


def golden_curves(
    legs: Mapping[str, Legs],
    asked: Sequence[Resolved],
    texts: Mapping[str, str],
    places: Mapping[str, Place],
    method: str,
) -> Curves:
    """Return the nDCG@10 of labelled questions at each of WEIGHTS, by their routes; no key for a route without any.

    `texts` are the questions as they were searched, by id: a glossary's words may take another route, and do in serving.
    """
    groups = {r.question.id: r.groups for r in asked if r.question.answerable}
    counts = {q: len(found) for q, found in groups.items()}
    columns = []
    for weight in WEIGHTS:
        mix = Fusion("rrf" if method == "rrf" else "convex", weight)
        earned = {q: earned_at(_fused(legs[q], mix, places), groups[q]) for q in groups}
        scores = score_earned(earned, counts)
        columns.append([scores[q]["ndcg_at_10"] for q in groups])
    rows = np.asarray(columns, np.float64).T
    taken = np.asarray([route(texts[q]) for q in groups])
    return {name: rows[taken == name] for name in ROUTES if (taken == name).any()}


def _fused(legs: Legs, mix: Fusion, places: Mapping[str, Place]) -> list[Place]:
    return [places.get(legs.ids[n], NOWHERE) for n in ranking(fuse(legs, mix), CUTOFF)]


def chunk_places(folder: Path, asked: Sequence[Resolved]) -> dict[str, Place]:
    """Say where every chunk of the labelled documents stands: chunk id -> place."""
    uris = {uri for r in asked for group in r.groups for uri, _, _ in group}
    places = {}
    for shard in sorted(folder.glob("[0-9]*.parquet")):
        table = read_table(shard, ["id", "uri", "start", "end"])
        asked_for = [uri in uris for uri in table["uri"].to_pylist()]
        for row in table.filter(rows_mask(asked_for)).to_pylist():
            places[row["id"]] = (row["uri"], row["start"], row["end"])
    return places
