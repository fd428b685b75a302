"""The fusion weight that serves the dev questions best, by the measure the test questions are scored with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkeep.config import RetrieveParams
from ragkeep.fusion import WEIGHTS, best_weight, fuse, ranking
from ragkeep.ports import Embedder, VectorStore
from ragkeep.tables import read_table, rows_mask
from ragkeep.types import Fusion, IndexVersion, Legs, Query

from .labels import Resolved
from .metrics import CUTOFF, Place, earned_at, score_earned

_NOWHERE: Place = ("", 0, 0)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fusion and how it was found; `dev` holds the dev questions' nDCG@10 of both legs and of their mix."""

    fusion: Fusion
    tuned_on: str
    questions: int
    dev: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return data/evaluation/fusion.json."""
        return {
            "method": self.fusion.method, "weight": self.fusion.weight, "tuned_on": self.tuned_on,
            "questions": self.questions, "dev": {name: round(value, 6) for name, value in self.dev.items()},
        }  # fmt: skip


def tune(curve: NDArray[np.float64] | None, questions: int, params: RetrieveParams) -> Tuned:
    """Choose the weight params ask for; "auto" is the best of the curve, the default without dev questions."""
    fixed = None if isinstance(params.weight, str) else params.weight
    if curve is None:
        weight = Fusion().weight if fixed is None else fixed
        return Tuned(Fusion(params.fusion, weight), "default" if fixed is None else "params", 0, {})
    weight = best_weight(curve) if fixed is None else fixed
    nearest = int(np.argmin([abs(w - weight) for w in WEIGHTS]))
    dev = {"bm25": float(curve[0]), "vector": float(curve[-1]), "hybrid": float(curve[nearest])}
    return Tuned(Fusion(params.fusion, weight), "dev" if fixed is None else "params", questions, dev)


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


def golden_curve(
    legs: Mapping[str, Legs], asked: Sequence[Resolved], places: Mapping[str, Place], method: str
) -> NDArray[np.float64] | None:
    """Return the mean nDCG@10 of labelled questions at each of WEIGHTS, float64 (21,); None without questions."""
    groups = {r.question.id: r.groups for r in asked if r.question.answerable}
    if not groups:
        return None
    counts = {q: len(found) for q, found in groups.items()}
    means = []
    for weight in WEIGHTS:
        mix = Fusion("rrf" if method == "rrf" else "convex", weight)
        earned = {q: earned_at(_fused(legs[q], mix, places), groups[q]) for q in groups}
        means.append(np.mean([s["ndcg_at_10"] for s in score_earned(earned, counts).values()]))
    return np.asarray(means, np.float64)


def _fused(legs: Legs, mix: Fusion, places: Mapping[str, Place]) -> list[Place]:
    return [places.get(legs.ids[n], _NOWHERE) for n in ranking(fuse(legs, mix), CUTOFF)]


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
