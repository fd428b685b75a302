"""A second look at the first twenty: weights of a few features of question and text, learned from what users took.

A cross-encoder from the embedder's weights lost 3 points alone on code and costs 260 ms a question on one core
(docs/learning.md); features of words cost a millisecond. A linear sum of six cannot overfit some hundred lessons, and
the place a text was found in is one of them, so that the ranking stays as it was where words say nothing.

Pairs as in RankNet (Burges et al., ICML 2005, section 3): what was taken against what was passed over above it, and
against what stood below. Where only clicks teach, the place's weight is overrated (users see the top first), which keeps
the learned order near the first stage's.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragkeep.analysis import idf, terms
from ragkeep.files import fsync_dir, fsync_file
from ragkeep.fusion import fuse, ranking, tune_weight
from ragkeep.models import sha256
from ragkeep.rerankers.features import NAMES, TERMS, features
from ragkeep.types import Fusion

from ..lessons import Lesson, TrainingSet
from . import Base, Learned, NothingToLearn, usable

LEAST, MOST, DEPTH = 50, 2000, 20
_RIDGE, _STEPS = 1e-3, 60


def learn(lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]) -> Learned:
    """Learn a features reranker into `out/model`. See `learners.Learner`."""
    began = time.process_time()
    chosen = usable(lessons, "the reranker needs", least=LEAST, most=MOST)
    shown, texts = first_hits(chosen, lessons, base, DEPTH)
    rarity = _rarity(lessons.texts)
    differences: list[NDArray[np.float32]] = []
    for done, one in enumerate(chosen, 1):
        differences += _differences(one, shown[one.id].ids, texts, rarity)
        tick(done, len(chosen))
    if not differences:
        raise NothingToLearn("no lesson's answer is among the first twenty: there is nothing to put in a better order")
    weights = fitted(np.array(differences, np.float64))
    _save(out / "model", weights, rarity)
    card = {
        "learner": "reranker", "base": base.embedder.fingerprint, "training_set": lessons.sha, "lessons": len(chosen),
        "seed": seed, "weights": dict(zip(NAMES, np.round(weights, 6).tolist(), strict=True)),
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    serving = {"backend": "features", "model": "{folder}", "depth": DEPTH, "top": 0, "margin": 1.0}
    return Learned(
        "reranker", out / "model", sha256(out / "model" / "model.safetensors"), retrieve={"rerank": serving}, card=card
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """What was found first for a lesson, best first: chunk ids and fused scores, float32 (n,)."""

    ids: list[str]
    scores: NDArray[np.float32]


def first_hits(
    chosen: Sequence[Lesson], lessons: TrainingSet, base: Base, depth: int
) -> tuple[dict[str, Shown], Mapping[str, str]]:
    """Return what tuned fusion finds first for each lesson, best first, and the texts of all of it.

    What nobody clicked has a text as well as what somebody did: a reranker that saw only the latter would learn that.
    """
    legs = base.legs(chosen, None)
    fusion = Fusion("convex", tune_weight([legs[one.id] for one in chosen], [one.gains for one in chosen]))
    fused = {name: fuse(one, fusion) for name, one in legs.items()}
    places = {name: ranking(scores, depth) for name, scores in fused.items()}
    named = {legs[name].ids[n] for name, found in places.items() for n in found}
    texts = lessons.texts if base.texts is None else base.texts(named)
    kept = {name: [n for n in found if legs[name].ids[n] in texts] for name, found in places.items()}
    return {name: Shown([legs[name].ids[n] for n in found], fused[name][found]) for name, found in kept.items()}, texts


def fitted(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit weights (6,) so that each row, an answer's features less another's, sums to more than 0: by Newton."""
    weights = np.zeros(differences.shape[1])
    for _ in range(_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(differences @ weights, -30, 30)))
        slope = differences.T @ wrong / len(differences) - _RIDGE * weights
        bend = (differences * (wrong * (1 - wrong))[:, None]).T @ differences / len(differences)
        step = np.linalg.solve(bend + _RIDGE * np.eye(len(weights)), slope)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _differences(
    lesson: Lesson, shown: Sequence[str], texts: Mapping[str, str], rarity: Mapping[str, float]
) -> Sequence[NDArray[np.float32]]:
    """Features of what was taken less those of each other one among the first twenty."""
    rows = features(lesson.question, [texts[chunk] for chunk in shown], rarity)
    gains = np.array([lesson.gains.get(chunk, 0.0) for chunk in shown])
    return [rows[i] - rows[j] for i in np.flatnonzero(gains > 0) for j in np.flatnonzero(gains == 0)]


def _rarity(texts: Mapping[str, str]) -> dict[str, float]:
    counts = Counter(term for text in texts.values() for term in set(terms(text)))
    return {term: idf(len(texts), count) for term, count in sorted(counts.items()) if count > 1}


def _save(folder: Path, weights: NDArray[np.float64], rarity: Mapping[str, float]) -> None:
    """Write the folder durably: one file, so that its hash is of all that scores."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    new = folder / "model.safetensors.tmp"
    held = {"weights": weights.astype(np.float32), "rarity": np.array(list(rarity.values()), np.float32)}
    save_file(held, new, metadata={TERMS: json.dumps(list(rarity), ensure_ascii=False)})
    fsync_file(new)
    new.replace(folder / "model.safetensors")
    fsync_dir(folder)
