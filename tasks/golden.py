"""Golden questions as a judge of what was learned: what answers them is known, whatever was shown to anybody.

A side is measured as the night would measure it, on the chunks as they are tonight: the weight is tuned on the dev
questions, the figure is taken from the test questions, and a piece of an answer earns once (`evaluation.metrics`).
Nothing is learned from any of them: tasks/trainset.py leaves out what is like them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.corpus import Corpus
from evaluation.gain import GOLDEN, METRICS, Gain, Rules, halves, ordered, paired_gain
from evaluation.labels import Resolved, Resolver
from evaluation.metrics import Place, earned_at, score_earned
from evaluation.sets import load_sets
from evaluation.tuning import NOWHERE, chunk_places, golden_curves, tune
from ragkeep.config import Params, Paths, RetrieveParams
from ragkeep.route import route
from ragkeep.types import Fusion, Legs, content_id
from tasks.lessons import Lesson, Split
from tasks.second_look import SecondLook


@dataclass(frozen=True, slots=True)
class Golden:
    """The questions that have answers, as lessons without gains: dev is for selection, test for the report.

    `unseen` lessons are about documents nobody trained on. `answers` and `places` say which chunks answer; `sha` hashes
    the test questions.
    """

    lessons: tuple[Lesson, ...] = ()
    answers: Mapping[str, Resolved] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    sha: str = ""

    def of(self, split: str) -> list[Lesson]:
        """The questions of one split, in order."""
        return [lesson for lesson in self.lessons if lesson.split == split]


@dataclass(frozen=True, slots=True)
class Searched:
    """What a side found for all golden questions: lesson id -> legs, and the questions as it words them."""

    legs: Mapping[str, Legs]
    worded: Mapping[str, str]
    params: RetrieveParams
    look: SecondLook | None = None


def read_golden(paths: Paths, params: Params, trained: Collection[str]) -> Golden:
    """Hold the golden sets against tonight's documents; `trained` are the chunks that lessons for training are about.

    Questions whose labels are all gone judge nothing: both sides miss them, whatever they find.
    """
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    if not sets:
        return Golden()
    resolver = Resolver(Corpus(paths.data / "documents"))
    every = (resolver.resolve(q) for one in sets for q in one.questions if q.answerable)
    asked = [r for r in every if any(r.groups)]
    places = chunk_places(paths.data / "chunks", asked)
    documents = {places[chunk][0] for chunk in trained if chunk in places}
    lessons = []
    for r in asked:
        about = {uri for group in r.groups for uri, _, _ in group}
        q = r.question
        split: Split = "select" if q.split == "dev" else "report"
        lessons.append(Lesson(q.id, q.text, {}, workspace=q.workspace, split=split, unseen=not about & documents))
    sha = content_id(*sorted(r.question.digest for r in asked if r.question.split == "test"))
    return Golden(tuple(lessons), {r.question.id: r for r in asked}, places, sha)


def chosen(golden: Golden, base: Searched, new: Searched, rules: Rules) -> Gain:
    """Compare two sides on the dev questions, each half with the weights the other half tuned."""
    every = golden.of("select")
    first, second = halves(every)
    scores, weights = [], []
    for side in (base, new):
        found = [_scores(golden, side, half, _tuned(golden, side, on)) for half, on in ((first, second), (second, first))]
        scores.append({name: np.concatenate([half[name] for half in found]) for name in METRICS})
        weights.append(_tuned(golden, side, every).weight)
    return paired_gain(scores[0], scores[1], [*first, *second], (weights[0], weights[1]), rules, GOLDEN)


def proven(golden: Golden, base: Searched, new: Searched, rules: Rules) -> Gain:
    """Compare two sides on the test questions, which chose nothing, with weights tuned on the dev questions."""
    asked = golden.of("report")
    mixes = [_tuned(golden, side, golden.of("select")) for side in (base, new)]
    before, after = (_scores(golden, side, asked, mix) for side, mix in zip((base, new), mixes, strict=True))
    return paired_gain(before, after, asked, (mixes[0].weight, mixes[1].weight), rules, GOLDEN)


def _tuned(golden: Golden, side: Searched, lessons: Sequence[Lesson]) -> Fusion:
    asked = [golden.answers[lesson.id] for lesson in lessons]
    if not asked:
        return tune({}, side.params).fusion
    return tune(golden_curves(side.legs, asked, side.worded, golden.places, side.params.fusion), side.params).fusion


def _scores(golden: Golden, side: Searched, asked: Sequence[Lesson], mix: Fusion) -> dict[str, NDArray[np.float64]]:
    """Score what a reader would see first: metric -> (n,)."""
    earned = {}
    for lesson in asked:
        best = ordered(side.legs[lesson.id], lesson, mix.on(route(side.worded[lesson.id])), side.look)
        groups = golden.answers[lesson.id].groups
        earned[lesson.id] = earned_at([golden.places.get(chunk, NOWHERE) for chunk in best], groups)
    scores = score_earned(earned, {lesson.id: len(golden.answers[lesson.id].groups) for lesson in asked})
    return {name: np.array([scores[lesson.id][name] for lesson in asked]) for name in METRICS}
