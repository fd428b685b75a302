"""Both towers, all weights: the gain is larger than the query tower's alone, and every passage is embedded again.

In-batch negatives (Henderson et al. 2017, arXiv 1705.00652, section 4.3) without two rows that share an answer, and
beside them, for the questions, every passage as the vector the base gave it: all hard negatives at once, for a product
of matrices instead of an encoder's pass each, and a hold on the base, whose space the questions must still fit. (Answers
of this step among negatives of the base would teach only to tell new vectors from old ones.) Passages the base holds for
nearly as good as the answer count as nothing: they may be one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..lessons import Lesson, TrainingSet
from . import Base, Learned, usable
from .encoder import _WORDS, Tower, embed, load_tower, torch_on_one_thread
from .training import batches, contrast, false_negatives, train


@dataclass(frozen=True, slots=True)
class Recipe:
    """One table for every set; see `query_tower.Recipe`. `bank` weighs the frozen passages (0: none).

    `max_tokens` is how much of a passage is read while training; `frozen` lower layers stay as they are. Of n lessons
    the share n / (n + `doubt`) of the way to what they trained is kept (see `training.train`): the fewer, the less.
    """

    epochs: int = 1
    batch: int = 32
    rate: float = 1e-4
    question_tokens: int = 48
    max_tokens: int = 128
    anchor: float = 0.1
    bank: float = 0.5
    alike: float = 0.95
    frozen: int = 0
    doubt: int = 1000
    least: int = 200
    most: int = 4000


def learn(lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]) -> Learned:
    """Train all weights into `out/model`. See `learners.Learner`."""
    return learn_by(Recipe(), lessons, base, out, seed=seed, tick=tick)


def learn_by(
    recipe: Recipe, lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]
) -> Learned:
    """Train by a recipe."""
    began = time.process_time()
    chosen = usable(lessons, "both towers need", least=recipe.least, most=recipe.most)
    torch_on_one_thread()
    tower = load_tower(base.model)
    problem = _Problem(recipe, tower, chosen, lessons, base, seed)
    folder, sha, card = train(
        "both-towers", problem, lessons, base, out, count=len(chosen), seed=seed, began=began, tick=tick,
        share=len(problem.pairs) / (len(problem.pairs) + recipe.doubt),
    )  # fmt: skip
    return Learned(
        "both-towers", folder, sha, embed={"backend": "openvino", "model": "{folder}"}, reindex=True, card=card
    )


class _Problem:
    """Questions and the passages that answer them; a row is one question with one answer."""

    def __init__(
        self, recipe: Recipe, tower: Tower, chosen: Sequence[Lesson], lessons: TrainingSet, base: Base, seed: int
    ) -> None:
        import torch

        self.recipe, self.tower = recipe, tower
        ids = sorted(lessons.texts)
        at = {chunk: n for n, chunk in enumerate(ids)}
        self.pairs = [(one, best) for one in chosen if (best := _best(one, at)) is not None]
        self.answers = [[at[c] for c, g in one.gains.items() if g > 0 and c in at] for one, _ in self.pairs]
        keys = [(one.question, *(c for c, g in one.gains.items() if g > 0)) for one, _ in self.pairs]
        self.batches = batches(keys, recipe.batch, epochs=recipe.epochs, seed=seed)
        questions = tower.tokenize([one.question for one, _ in self.pairs], "query", recipe.question_tokens)
        used = sorted({at[best] for _, best in self.pairs})
        passages = tower.tokenize([lessons.texts[ids[n]] for n in used], "passage", recipe.max_tokens)
        self.known = sorted({token for row in [*questions, *passages] for token in row})
        place = {token: n for n, token in enumerate(self.known)}
        self.questions = [[place[token] for token in row] for row in questions]
        self.passages = {n: [place[token] for token in row] for n, row in zip(used, passages, strict=True)}
        self.positive = [at[best] for _, best in self.pairs]
        self.sure = torch.tensor([one.gains[best] for one, best in self.pairs])
        self.bank = base.embedder.embed([lessons.texts[i] for i in ids], role="passage")
        self.asked = base.embedder.embed([one.question for one, _ in self.pairs], role="query")
        trains = {n: w for n, w in tower.weights.items() if _trains(n, recipe.frozen)}
        self.start = {n: w[self.known] if n == _WORDS else w for n, w in trains.items()}
        self.fixed = {n: w[self.known] if n == _WORDS else w for n, w in tower.weights.items() if n not in trains}

    def loss(self, step: int, weights: Any) -> Any:
        """Cross-entropy of each question over the passages of its batch, and over the base's vectors of all."""
        import torch

        chosen = self.batches[step]
        rows = [self.questions[n] for n in chosen] + [self.passages[self.positive[n]] for n in chosen]
        made = embed(self.tower, rows, {**self.fixed, **weights})
        asked, read = made[: len(chosen)], made[len(chosen) :]
        here = [self.positive[n] for n in chosen]
        value = self._entropy(chosen, asked @ read.T, here)
        if self.recipe.bank:
            frozen = asked @ torch.from_numpy(self.bank).T
            value = value + self.recipe.bank * self._entropy(chosen, frozen, list(range(len(self.bank))))
        return value

    def _entropy(self, chosen: Sequence[int], scores: Any, places: list[int]) -> Any:
        """Hold each question of a batch against the passages at `places`, whose columns `scores` has."""
        import torch

        base = np.asarray(self.asked[chosen] @ self.bank[places].T, np.float32)
        right = np.array([self.positive[n] for n in chosen])[:, None] == np.array(places)[None, :]
        also = np.array([np.isin(places, self.answers[n]) for n in chosen]) & ~right
        banned = torch.from_numpy(false_negatives(base, right, self.recipe.alike) | also)
        labels = torch.from_numpy(right.astype(np.float32))
        sure = self.sure[chosen]
        return contrast(scores, labels, torch.from_numpy(base), banned, anchor=self.recipe.anchor, sure=sure)


def _best(lesson: Lesson, at: dict[str, int]) -> str | None:
    """The surest answer whose text is known; of equals the first by id."""
    known = (c for c, g in lesson.gains.items() if g > 0 and c in at)
    return min(known, key=lambda c: (-lesson.gains[c], c), default=None)


def _trains(name: str, frozen: int) -> bool:
    if name.startswith("encoder.layer."):
        return int(name.split(".")[2]) >= frozen
    return not frozen and name in (_WORDS, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
