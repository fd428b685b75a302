"""A cross-encoder from the embedder's own weights: it reads the question and a text together, ten texts a question.

The expensive second look. Its score alone ranks worse than the mix it stands behind (-3.1 points on code); as a sum of
z-scores with the mix's it was better (+3.9 over reciprocal ranks, where the tuned mix alone gains 3.3). So the share it
gets is learned too, on lessons its weights never saw, and a share of 0 ends the matter.

Listwise softmax over what was taken and three that were not: passed over first, then the best of the mix (Cao et al.,
ICML 2007, section 4.2, with one right answer).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkeep.config import RerankParams
from ragkeep.embedders.pairs import joined
from ragkeep.fusion import dcg
from ragkeep.rerank import order
from ragkeep.rerankers.pairs import HEAD, MAX_TOKENS, QUESTION_TOKENS, pairs_reranker
from ragkeep.types import content_id

from ..lessons import Lesson, TrainingSet
from . import Base, Learned, NothingToLearn, usable
from .encoder import _WORDS, Tower, embed, load_tower, torch_on_one_thread
from .reranker import Shown, first_hits
from .training import batches, train

DEPTH, TUNED = 10, 0.2
"""Texts a question that are read; the share of the lessons that chooses the mix and trains nothing."""
SHARES = tuple(step / 10 for step in range(11))
SHARP = 100.0
"""What scores are multiplied by: the head then moves as far in a step as the encoder can follow at one rate."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One table for every set; `others` are what was not taken, for each lesson."""

    epochs: int = 1
    batch: int = 8
    rate: float = 5e-5
    others: int = 3
    question_tokens: int = QUESTION_TOKENS
    max_tokens: int = MAX_TOKENS
    least: int = 200
    most: int = 1500


def learn(lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]) -> Learned:
    """Train the cross-encoder into `out/model`. See `learners.Learner`."""
    return learn_by(Recipe(), lessons, base, out, seed=seed, tick=tick)


def learn_by(
    recipe: Recipe, lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]
) -> Learned:
    """Train by a recipe."""
    began = time.process_time()
    chosen = usable(lessons, "the cross-encoder needs", least=recipe.least, most=recipe.most)
    torch_on_one_thread()
    shown, texts = first_hits(chosen, lessons, base, 2 * DEPTH)
    tuning = [one for one in chosen if int(content_id("mix", one.id)[:4], 16) < TUNED * 0x10000]
    held = {one.id for one in tuning}
    rows = [
        (one, row) for one in chosen
        if one.id not in held and (row := _row(one, shown[one.id].ids, {**lessons.texts, **texts}, recipe.others))
    ]  # fmt: skip
    if not rows or not tuning:
        raise NothingToLearn("no lesson's answer is among the first twenty: there is nothing to put in a better order")
    problem = _Problem(recipe, load_tower(base.model), rows, {**lessons.texts, **texts}, seed)
    folder, sha, card = train(
        "cross-encoder", problem, lessons, base, out, count=len(chosen), seed=seed, began=began, tick=tick
    )
    curve = _curve(folder, tuning, shown, texts)
    share = SHARES[int(np.argmax(curve))]
    if share == 0:
        raise NothingToLearn("the cross-encoder adds nothing to the mix on lessons that it was not trained on")
    card |= {"mix": share, "mix_curve": dict(zip(map(str, SHARES), np.round(curve, 6).tolist(), strict=True))}
    card["cpu_s"] = round(time.process_time() - began, 1)
    serving = {"backend": "pairs", "model": "{folder}", "depth": DEPTH, "top": 0, "margin": 1.0, "mix": share}
    return Learned("cross-encoder", folder, sha, retrieve={"rerank": serving}, card=card)


def _row(lesson: Lesson, shown: Sequence[str], texts: Mapping[str, str], others: int) -> list[str]:
    """The surest answer and what was not taken: passed over, then found first; [] where that is too little."""
    answers = [c for c, g in lesson.gains.items() if g > 0]
    best = min((c for c in answers if c in texts), key=lambda c: (-lesson.gains[c], c), default=None)
    wrong = [c for c in dict.fromkeys([*lesson.passed, *shown]) if c not in answers and c in texts][:others]
    return [best, *wrong] if best is not None and len(wrong) == others else []


def _curve(
    folder: Path, tuning: Sequence[Lesson], shown: Mapping[str, Shown], texts: Mapping[str, str]
) -> NDArray[np.float64]:
    """The mean nDCG@10 at each of SHARES, by the model as serving reads it."""
    model = pairs_reranker(RerankParams(model=str(folder)))
    means = np.zeros(len(SHARES))
    for one in tuning:
        ids, first = shown[one.id].ids[:DEPTH], shown[one.id].scores[:DEPTH]
        made = model.score(one.question, [texts[chunk] for chunk in ids])
        gains = np.array([one.gains.get(chunk, 0.0) for chunk in ids])
        ideal = dcg(np.sort(np.array(list(one.gains.values()), float))[::-1][:DEPTH])
        means += [dcg(gains[order(made, first, share)]) / ideal for share in SHARES]
    return means / len(tuning)


class _Problem:
    """Lists of an answer and what was not taken; a row of tokens is a question and one of them."""

    def __init__(
        self, recipe: Recipe, tower: Tower, lists: Sequence[tuple[Lesson, list[str]]], texts: Mapping[str, str], seed: int
    ) -> None:
        import torch

        self.recipe, self.tower = recipe, tower
        limit = min(recipe.max_tokens, tower.encoder.max_tokens)
        questions = tower.tokenize([one.question for one, _ in lists], "query", min(recipe.question_tokens, limit - 1))
        named = sorted({chunk for _, row in lists for chunk in row})
        read = dict(zip(named, tower.tokenize([texts[chunk] for chunk in named], "passage", limit), strict=True))
        rows = [[joined(q, read[chunk], limit) for chunk in row] for q, (_, row) in zip(questions, lists, strict=True)]
        self.known = sorted({token for row in rows for pair in row for token in pair})
        place = {token: n for n, token in enumerate(self.known)}
        self.rows = [[[place[token] for token in pair] for pair in row] for row in rows]
        self.sure = torch.tensor([one.gains[row[0]] for one, row in lists])
        self.batches = batches([(one.question,) for one, _ in lists], recipe.batch, epochs=recipe.epochs, seed=seed)
        words = tower.weights[_WORDS][self.known]
        trained = {n: w for n, w in tower.weights.items() if n.startswith(("encoder.", "embeddings.LayerNorm."))}
        self.start = {**trained, _WORDS: words, HEAD: torch.zeros(tower.encoder.hidden)}
        self.fixed = {n: w for n, w in tower.weights.items() if n not in self.start}

    def loss(self, step: int, weights: Any) -> Any:
        """Cross-entropy of each list, its answer first."""
        import torch

        chosen = self.batches[step]
        made = embed(self.tower, [pair for n in chosen for pair in self.rows[n]], {**self.fixed, **weights})
        scores = SHARP * (made @ weights[HEAD]).view(len(chosen), -1)
        sure = self.sure[chosen]
        return -(torch.nn.functional.log_softmax(scores, dim=1)[:, 0] * sure).sum() / sure.sum()
