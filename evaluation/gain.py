"""Whether what was learned helps: two retrievers over the same held-out lessons, end to end.

A gain of the vector leg alone shrinks or vanishes once words are searched beside it, and every change of a leg moves the
best weight between the two. So both sides are compared as a user meets them, each with the weight that serves it best on
the lessons for selection; the figure is taken from the lessons for the report, which chose nothing. A side that looks a
second time (a reranker) is measured with that.

What users did is a judge with a bias: only what was served could be taken, so whatever a new side finds besides counts as
wrong. `shown_only` asks a narrower question that has none: in which order does a side put what people saw? That is
no proof, for what was never shown is left out of it, good or bad (condensed lists: Sakai, SIGIR 2007, section 3).
Golden questions have no such bias, and are few: `decide` hears both judges.

Lessons are the rows of `tasks.lessons`, by their shape: this room cannot import that one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ragkeep.errors import ConfigError
from ragkeep.fusion import dcg, fuse, ranking, tune_weight
from ragkeep.types import Fusion, Legs, content_id

from .compare import Paired
from .compare import compare as paired

_K = 10
METRICS = ("ndcg_at_10", "recall_at_10")
LESSONS, GOLDEN = "lessons", "golden questions"
_FEW, _USUAL = 20, 0.95


class Judged(Protocol):
    """What is read of a lesson; see `tasks.lessons.Lesson`."""

    @property
    def id(self) -> str:
        """Its name, by which both sides' legs are found."""

    @property
    def gains(self) -> Mapping[str, float]:
        """Chunk id -> 0..1."""

    @property
    def shown(self) -> Collection[str]:
        """All that was before those who asked."""

    @property
    def split(self) -> str:
        """train, select or report."""

    @property
    def unseen(self) -> bool:
        """Whether no lesson for training has a gain in its documents."""


_One = TypeVar("_One", bound=Judged)


class SecondLook(Protocol):
    """Puts what a search found first in a better order; `depth` is how much of it it is shown."""

    depth: int

    def __call__(self, lesson: Any, ids: Sequence[str], scores: NDArray[np.float32]) -> Sequence[str]:
        """Return the ids, given best first with their fused scores, in the order a reader sees them."""


Looks = tuple[SecondLook | None, SecondLook | None]
"""Those of base and new."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a candidate must show. `min_unseen` and `min_guard` are changes of nDCG@10 that are still borne.

    They are held against the estimate, not its lower bound: with a few hundred lessons a bound would refuse candidates
    that change nothing. What is borne as a loss is no gain worth a change, whose lower bound must be above 0 besides:
    of twenty models taught by chance one was measurably better. `min_lessons` for the report, below which nothing is
    promoted.
    """

    min_gain: float = 0.005
    min_unseen: float = -0.005
    min_guard: float = -0.01
    min_lessons: int = 30
    confidence: float = _USUAL
    resamples: int = 9999
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Gain:
    """Both sides on the questions for the report: metric -> comparison, for all of them and for each slice.

    `weights` are the fusion weights of base and new; `slices` has "seen" and "unseen" where such questions are; `judge`
    is what the questions are, lessons or golden questions, and `confidence` that of the intervals.
    """

    overall: dict[str, Paired]
    slices: dict[str, dict[str, Paired]]
    weights: tuple[float, float]
    judge: str = LESSONS
    confidence: float = _USUAL

    def told(self, cut: str = "") -> str:
        """Say it in one line, of all questions or of a slice: points, interval, over how many of what."""
        one = (self.slices[cut] if cut else self.overall)[METRICS[0]]
        low, high = (f"{100 * bound:+.2f}" for bound in one.ci)
        sure = "" if self.confidence == _USUAL else f" at {100 * self.confidence:.4g} %"
        return f"{_points(one.delta)} [{low}, {high}]{sure} over {one.n} {self.judge}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON objects, numbers as they are."""
        return {
            "overall": {name: asdict(one) for name, one in self.overall.items()},
            "slices": {cut: {name: asdict(one) for name, one in of.items()} for cut, of in self.slices.items()},
            "weights": {"base": self.weights[0], "new": self.weights[1]},
            "judge": self.judge,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to promote, and every reason in words, those that speak against it first."""

    promote: bool
    reasons: tuple[str, ...]


def compare(
    base_legs: Mapping[str, Legs],
    new_legs: Mapping[str, Legs],
    lessons: Sequence[Judged],
    *,
    rules: Rules | None = None,
    weights: tuple[float | None, float | None] = (None, None),
    base_fusion: Fusion | Callable[[Any], Fusion] | None = None,
    new_fusion: Fusion | Callable[[Any], Fusion] | None = None,
    looks: Looks = (None, None),
) -> Gain:
    """Compare two retrievers, given as lesson id -> both legs, on `lessons`.

    A side's weight is tuned on the lessons whose split is select, unless `weights` gives it or `base_fusion` or
    `new_fusion` says how that side mixes a lesson; `looks` are their second looks. A lesson without legs scores 0.
    Raises ConfigError where none is for the report.
    """
    rules = rules or Rules()
    asked = [lesson for lesson in lessons if lesson.split == "report" and any(g > 0 for g in lesson.gains.values())]
    if not asked:
        raise ConfigError("no lesson is held out for the report: collect more interactions before learning from them")
    chosen = [lesson for lesson in lessons if lesson.split == "select"]
    base = base_fusion or Fusion("convex", _weight(base_legs, chosen, weights[0]))
    new = new_fusion or Fusion("convex", _weight(new_legs, chosen, weights[1]))
    before, after = scores(base_legs, asked, base, looks[0]), scores(new_legs, asked, new, looks[1])
    first, second = (mix.weight if isinstance(mix, Fusion) else mix(asked[0]).weight for mix in (base, new))
    return paired_gain(before, after, asked, (first, second), rules)


def crossfit(
    base_legs: Mapping[str, Legs],
    new_legs: Mapping[str, Legs],
    lessons: Sequence[Judged],
    *,
    rules: Rules | None = None,
    weights: tuple[float | None, float | None] = (None, None),
    looks: Looks = (None, None),
    shown_only: bool = False,
) -> Gain:
    """Compare two retrievers on all of `lessons`, whatever their split, each half with the weights the other half tuned.

    For choosing, where there are few: none is lost to tuning. `weights` in the result are those tuned on all, `looks`
    the sides' second looks, which tune nothing; `shown_only` leaves out of both sides' lists what nobody saw.
    """
    rules = rules or Rules()
    parts = halves([one for one in lessons if any(g > 0 for g in one.gains.values())])
    asked = [*parts[0], *parts[1]]
    sides = []
    for legs, given, look in ((base_legs, weights[0], looks[0]), (new_legs, weights[1], looks[1])):
        fusions = [Fusion("convex", _weight(legs, other, given)) for other in reversed(parts)]
        found = [
            scores(legs, half, fusion, look, shown_only=shown_only) for half, fusion in zip(parts, fusions, strict=True)
        ]
        sides.append({name: np.concatenate([half[name] for half in found]) for name in METRICS})
    tuned = (_weight(base_legs, asked, weights[0]), _weight(new_legs, asked, weights[1]))
    return paired_gain(sides[0], sides[1], asked, tuned, rules)


def halves(lessons: Sequence[_One]) -> tuple[list[_One], list[_One]]:
    """Deal lessons into two halves by the hash of their names: a lesson is always in the same one."""
    dealt: tuple[list[_One], list[_One]] = ([], [])
    for lesson in lessons:
        dealt[int(content_id("half", lesson.id)[0], 16) % 2].append(lesson)
    return dealt


def paired_gain(
    before: Mapping[str, NDArray[np.float64]],
    after: Mapping[str, NDArray[np.float64]],
    asked: Sequence[Judged],
    weights: tuple[float, float],
    rules: Rules,
    judge: str = LESSONS,
) -> Gain:
    """Compare the scores of two sides, metric -> float64 (n,), over `asked`, n questions in the same order."""
    unseen = np.array([lesson.unseen for lesson in asked], bool)
    cuts = {name: mask for name, mask in (("seen", ~unseen), ("unseen", unseen)) if mask.any()}
    return Gain(
        overall=_paired(before, after, np.ones(len(asked), bool), rules),
        slices={name: _paired(before, after, mask, rules) for name, mask in cuts.items()},
        weights=weights,
        judge=judge,
        confidence=rules.confidence,
    )


def scores(
    legs: Mapping[str, Legs],
    lessons: Sequence[Judged],
    fusion: Fusion | Callable[[Any], Fusion],
    look: SecondLook | None = None,
    *,
    shown_only: bool = False,
) -> dict[str, NDArray[np.float64]]:
    """Return metric -> float64 (n,): what each lesson's first ten hits are worth, mixed one way or each its own."""
    ndcg, recall = np.zeros(len(lessons)), np.zeros(len(lessons))
    for row, lesson in enumerate(lessons):
        if lesson.id in legs:
            mix = fusion if isinstance(fusion, Fusion) else fusion(lesson)
            ndcg[row], recall[row] = _score(legs[lesson.id], lesson, mix, look, shown_only=shown_only)
    return {"ndcg_at_10": ndcg, "recall_at_10": recall}


def verdict(gain: Gain, *, guard: Paired | None = None, rules: Rules | None = None) -> Verdict:
    """Judge a gain; `guard` compares both sides on a set of another domain. A candidate that ties is not promoted."""
    rules = rules or Rules()
    one = gain.overall["ndcg_at_10"]
    against: list[str] = []
    held: list[str] = []

    def check(passed: bool, text: str) -> None:
        (held if passed else against).append(text)

    check(one.n >= rules.min_lessons, f"{one.n} {gain.judge} were held out, {rules.min_lessons} are needed")
    wanted = "the lower bound must be above 0"
    if rules.min_gain:
        wanted += f", the gain at least {_points(rules.min_gain)}"
    check(one.ci[0] > 0 and one.delta >= rules.min_gain, f"end to end {gain.told()}: {wanted}")
    other = gain.slices.get("unseen", {}).get("ndcg_at_10")
    if other is not None and other.n >= _FEW:
        told = f"unseen documents {gain.told('unseen')}: at least {_points(rules.min_unseen)}"
        check(other.delta >= rules.min_unseen, told)
    elif other is not None:
        held.append(f"unseen documents {gain.told('unseen')}: fewer than {_FEW}, which tell nothing")
    if guard is not None:
        check(guard.delta >= rules.min_guard, f"guard set {_points(guard.delta)}: at least {_points(rules.min_guard)}")
    return Verdict(not against, (*against, *held))


def decide(
    taken: Gain, known: Gain | None, order: Callable[[], Gain], *, rules: Rules, golden_rules: Rules
) -> tuple[Gain, Verdict]:
    """Hear both judges: `taken` is the gain on lessons, `known` the one on golden questions, None where those are few.

    Lessons prove it, unless the golden questions show harm. Or golden questions do, unless the order of what was shown
    does, the one thing that lessons say of passages nobody could take. Returns the gain that decides.
    """
    by_lessons = verdict(taken, rules=rules)
    if known is None:
        return taken, by_lessons
    told = f"end to end {known.told()}"
    if by_lessons.promote:
        if harmed(known, rules):
            return taken, Verdict(False, (f"{told}: measurably worse", *by_lessons.reasons))
        return taken, Verdict(True, (*by_lessons.reasons, told))
    by_labels = verdict(known, rules=golden_rules)
    if not by_labels.promote:
        return taken, Verdict(False, (*by_lessons.reasons, *by_labels.reasons))
    shown = order()
    seen = f"the order of what was shown {shown.told()}"
    if harmed(shown, rules):
        return taken, Verdict(False, (f"{seen}: measurably worse", *by_lessons.reasons, told))
    biased = f"not by lessons, where nobody could take what was not shown: {by_lessons.reasons[0]}"
    return known, Verdict(True, (*by_labels.reasons, seen, biased))


def harmed(gain: Gain, rules: Rules) -> bool:
    """Whether it is a loss of more than `min_guard`, and of more than chance: p below 5 %, however often was looked."""
    one = gain.overall[METRICS[0]]
    return one.delta < rules.min_guard and one.p < 1 - _USUAL


def headline(gain: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison of all lessons that decides, of a gain as JSON: nDCG@10 unless it names another `measure`."""
    one: dict[str, Any] = gain["overall"][gain.get("measure", METRICS[0])]
    return one


def _points(value: float) -> str:
    return f"{100 * value:+.2f} points"


def _weight(legs: Mapping[str, Legs], lessons: Sequence[Judged], given: float | None) -> float:
    found = [(legs[lesson.id], lesson.gains) for lesson in lessons if lesson.id in legs]
    return tune_weight([one for one, _ in found], [gains for _, gains in found]) if given is None else given


def _score(
    legs: Legs, lesson: Judged, fusion: Fusion, look: SecondLook | None, *, shown_only: bool
) -> tuple[float, float]:
    """nDCG@10 and the share of what has a gain that is among the first ten."""
    gains = lesson.gains
    best = ordered(legs, lesson, fusion, look, everything=shown_only)
    if shown_only:
        seen = {*lesson.shown, *gains}
        best = [chunk for chunk in best if chunk in seen]
    best = best[:_K]
    got = np.array([gains.get(chunk, 0.0) for chunk in best])
    ideal = dcg(np.sort(np.array(list(gains.values()), float))[::-1][:_K])
    return float(dcg(got) / ideal), float(np.count_nonzero(got) / sum(g > 0 for g in gains.values()))


def ordered(
    legs: Legs, lesson: Judged, fusion: Fusion, look: SecondLook | None = None, *, everything: bool = False
) -> Sequence[str]:
    """The chunk ids a reader sees, best first: ten at least where so many were found, or all."""
    fused, first = fuse(legs, fusion), max(_K, look.depth) if look else _K
    places = ranking(fused, len(legs.ids) if everything else first)
    best = [legs.ids[n] for n in places]
    return best if look is None else [*look(lesson, best[:first], fused[places[:first]]), *best[first:]]


def _paired(
    before: Mapping[str, NDArray[np.float64]],
    after: Mapping[str, NDArray[np.float64]],
    mask: NDArray[np.bool_],
    rules: Rules,
) -> dict[str, Paired]:
    return {
        name: paired(
            before[name][mask].tolist(), after[name][mask].tolist(),
            confidence=rules.confidence, resamples=rules.resamples, seed=rules.seed,
        )
        for name in METRICS
    }  # fmt: skip
