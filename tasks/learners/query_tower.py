"""The query tower alone, over passage vectors that stay as they are: nothing is embedded or indexed again.

Questions are short, so that training on them costs a tenth of training on passages, and as the passages' vectors are
fixed each question is held against all of them at once instead of the few of its batch. That teaches what the words of
this company's users stand for: words unknown to the base are pieces whose vectors mean nothing yet.

Two things keep documents nobody clicked from losing: a share of every target is what the base would have said, and
beside each batch of questions stand pieces of passages, drawn from all, which must keep the vector the base gives them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkeep.types import Vectors

from ..lessons import Lesson, TrainingSet
from . import Base, Learned, usable
from .encoder import _WORDS, Tower, embed, load_tower, torch_on_one_thread
from .training import batches, contrast, false_negatives, train


@dataclass(frozen=True, slots=True)
class Recipe:
    """One table for every set. `anchor` is the base's share of a target, `steady` weighs the pieces of passages.

    `alike`: see `training.false_negatives`; `share`: see `training.train`. `most` bounds the lessons that are read, the
    newest first, and `steps` the CPU seconds: about one a step.
    """

    epochs: int = 3
    steps: int = 100
    batch: int = 32
    rate: float = 1e-4
    max_tokens: int = 48
    anchor: float = 0.1
    steady: float = 1.0
    pieces: int = 8
    alike: float = 0.95
    share: float = 0.8
    least: int = 50
    most: int = 4000


def learn(lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]) -> Learned:
    """Train the query tower into `out/model`. See `learners.Learner`."""
    return learn_by(Recipe(), lessons, base, out, seed=seed, tick=tick)


def learn_by(
    recipe: Recipe, lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]
) -> Learned:
    """Train by a recipe."""
    began = time.process_time()
    chosen = usable(lessons, "the query tower needs", least=recipe.least, most=recipe.most)
    torch_on_one_thread()
    tower = load_tower(base.model)
    ids = sorted(lessons.texts)
    passages = base.embedder.embed([lessons.texts[i] for i in ids], role="passage")
    problem = _Problem(recipe, tower, chosen, ids, passages, base, [lessons.texts[i] for i in ids], seed)
    folder, sha, card = train(
        "query-tower", problem, lessons, base, out, count=len(chosen), seed=seed, began=began, tick=tick,
        share=recipe.share,
    )  # fmt: skip
    return Learned("query-tower", folder, sha, embed={"query_model": "{folder}"}, card=card)


class _Problem:
    """Questions against all passages; holds what each step needs, and `start`, the tensors to train."""

    def __init__(
        self, recipe: Recipe, tower: Tower, chosen: Sequence[Lesson], ids: Sequence[str], passages: Vectors,
        base: Base, texts: Sequence[str], seed: int,
    ) -> None:  # fmt: skip
        import torch

        self.recipe, self.tower = recipe, tower
        questions = [one.question for one in chosen]
        self.batches = batches([(q,) for q in questions], recipe.batch, epochs=recipe.epochs, seed=seed)
        self.batches = self.batches[: recipe.steps]
        drawn = np.random.default_rng((seed, 1)).integers(0, len(texts), (len(self.batches), recipe.pieces))
        self.drawn = drawn.reshape(-1).tolist()
        pieces = [piece(texts[n], at) for at, n in enumerate(self.drawn)]
        rows = tower.tokenize([*questions, *pieces], "query", recipe.max_tokens)
        self.known = sorted({token for row in rows for token in row})
        place = {token: n for n, token in enumerate(self.known)}
        self.rows = [[place[token] for token in row] for row in rows]
        self.first_piece = len(questions)
        self.passages = torch.from_numpy(passages)
        self.asked = torch.from_numpy(base.embedder.embed(questions, role="query"))
        self.piece_goal = torch.from_numpy(base.embedder.embed(pieces, role="query"))
        at = {chunk: n for n, chunk in enumerate(ids)}
        self.gains = [{at[c]: g for c, g in one.gains.items() if g > 0 and c in at} for one in chosen]
        words = tower.weights[_WORDS][self.known]
        self.start = {n: words if n == _WORDS else w for n, w in tower.weights.items() if _trains(n)}
        self.fixed = {n: w for n, w in tower.weights.items() if not _trains(n)}

    def loss(self, step: int, weights: Any) -> Any:
        """Cross-entropy over all passages, and how far the pieces of passages moved."""
        import torch

        chosen = self.batches[step]
        span = range(step * self.recipe.pieces, (step + 1) * self.recipe.pieces)
        rows = [self.rows[n] for n in chosen] + [self.rows[self.first_piece + n] for n in span]
        made = embed(self.tower, rows, {**self.fixed, **weights})
        asked, steady = made[: len(chosen)], made[len(chosen) :]
        base = self.asked[chosen] @ self.passages.T
        labels = torch.zeros_like(base)
        for row, n in enumerate(chosen):
            for place, gain in self.gains[n].items():
                labels[row, place] = gain
        sure = labels.amax(dim=1)
        banned = false_negatives(base.numpy(), labels.numpy() > 0, self.recipe.alike)
        labels = labels / labels.sum(dim=1, keepdim=True)
        value = contrast(
            asked @ self.passages.T, labels, base, torch.from_numpy(banned), anchor=self.recipe.anchor, sure=sure
        )
        moved = 1 - (steady * self.piece_goal[list(span)]).sum(dim=1).mean()
        return value + self.recipe.steady * moved


def _trains(name: str) -> bool:
    return name.startswith("encoder.") or name in (_WORDS, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")


def piece(text: str, turn: int) -> str:
    """Return one sentence or line of a text, as short as a question; `turn` says which."""
    parts = [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if len(part.split()) > 3] or [text]
    return " ".join(parts[turn % len(parts)].split()[:16])
