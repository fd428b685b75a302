"""Climb the ladder of learners on tonight's index, and measure what it gained: `python -m tasks.learn`.

data/trainset + data/index.json -> models/learned/<learner>/ and data/learned.json, which says what was tried, what of it
is worth promoting and why. Nothing is promoted here: `flows/learn.py` puts the parts through the night's own gate.

Three kinds of lessons keep the figures honest. Learners see those for training. Whether a rung is kept, and the fusion
weight, is chosen on those for selection, each half with weights that the other half tuned. The figure for people is
taken once, at the end, from those for the report, against the release as it is served.

What finds passages that nobody was shown cannot be proven so: nobody could take them. The golden questions can prove it,
the dev ones for choosing and the test ones for the report (tasks/golden.py). A rung that neither proves, yet puts what
people did see in a better order, is one that only people can judge; where nothing else gains, the best of them is
named in data/learned.json as `hope`, for a trial.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from evaluation.gain import GOLDEN, Gain, Rules, Verdict, compare, crossfit, decide, harmed
from ragkeep.config import EmbedParams, LearnParams, Params, Paths, load_params
from ragkeep.embedders import model_folder
from ragkeep.embedders.two_towers import CARD
from ragkeep.errors import ConfigError
from ragkeep.files import read_rows, write_json
from ragkeep.learned import Part, effective, rows_of
from ragkeep.models import packaged_minilm
from ragkeep.route import route
from ragkeep.types import Fusion
from tasks.golden import Golden, Searched, chosen, proven, read_golden
from tasks.learners import Base, Learned, NothingToLearn, learner
from tasks.lessons import Lesson, Split, TrainingSet, read_set
from tasks.second_look import SecondLook
from tasks.shards import chunk_texts
from tasks.sides import Side, has_look, look_of, moves, no_versions_left, served_side, with_learned
from tasks.stage import stage_main, ticking

RUNGS = ("fusion", "glossary", "query-tower", "both-towers", "reranker", "cross-encoder")
"""What can be measured end to end, and so be kept."""
TOWERS = ("query-tower", "both-towers")
"""Those that made-up questions teach anything: words of a collection, to a model that does not know them."""
LOOKS = ("reranker", "cross-encoder")
"""Those that make a second look; a release has one at most."""
MODELLESS = ("fusion", "glossary", "reranker")
"""Those that need no model's weights, and so work over any embedder."""
_ASKED = 4000
"""Held-out lessons of a split that are asked: learners read no more of theirs, and an interval is narrow long before."""
_CHOICE = Rules(min_gain=0, min_lessons=20, min_unseen=-0.02, confidence=0.9)
"""What a rung must show to be kept for the next one; the promise to people is `params.learn` and the night's gate."""
_HEARD = replace(_CHOICE, confidence=0.8, min_gain=0.01)
"""The same for golden questions: they are few, so that less certainty must do here, and trifles are left alone."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One rung: what came of it, in words and numbers; `gain` is of the lessons for selection, or of the golden dev
    questions where those decided.

    `hope` is, of one that was refused, the gain in putting what was shown in order, where there is one.
    """

    learner: str
    kept: bool
    reasons: tuple[str, ...]
    gain: dict[str, Any] | None = None
    card: dict[str, Any] | None = None
    hope: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Hope:
    """A side that was refused, though it puts what people saw in a better order by so many points of nDCG@10."""

    side: Side
    delta: float


@dataclass(frozen=True, slots=True)
class _Bench:
    """What rungs are tried on: tonight, and both judges; `golden` is empty where golden questions are too few."""

    paths: Paths
    lessons: TrainingSet
    golden: Golden


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Learn and measure; return how many rungs gained and the gain of all that did."""
    lessons, params = read_set(paths.data / "trainset"), effective(params, paths.data, paths.cache)
    out = paths.root / "models" / "learned"
    write_json(out / "trainset.json", lessons.card)  # what models here were learned from, also where there are none
    if unknown := [name for name in params.learn.ladder if name not in RUNGS]:
        raise ConfigError(f"params.yaml: learn.ladder has {unknown[0]!r}; what can be promoted is {', '.join(RUNGS)}")
    if params.retrieve.fusion != "convex":
        _leave(paths, lessons, [], reasons=("what is learned is measured with convex fusion, and params.yaml has rrf",))
        return {"lessons": len(lessons.lessons), "kept": 0}
    golden, silent = _judges(paths, params, lessons)
    if why := _too_few(lessons, golden, params.learn):
        _leave(paths, lessons, [], reasons=(why,))
        return {"lessons": len(lessons.lessons), "kept": 0}
    bench = _Bench(paths, _bounded(lessons), golden)
    served = served_side(paths, params)
    side, firm, tried, hopes = served, None, list[Tried](), list[_Hope]()
    with no_versions_left(served.store):
        for name in params.learn.ladder:
            below = side
            side, outcome, hope = _rung(bench, name, side, out / name)
            if outcome.kept and firm is None and (outcome.gain or {})["judge"] == GOLDEN:
                firm = below  # what lessons proved so far: not to be lost with what golden questions chose
            tried.append(outcome)
            hopes += [hope] if hope else []
        gain, promote, reasons = _final(bench, served, side)
        if not promote and firm and firm.parts != served.parts:
            again, promote, why_not = _final(bench, served, firm, more=1)
            if promote:
                lost = f"with what golden questions chose besides, not: {reasons[0]}"
                side, gain, reasons = firm, again, (*why_not, lost)
        hoped = None if promote else _hoped(bench, served, hopes)
    if silent and not promote and (gain or hoped):
        reasons = (*reasons, silent)
    _leave(paths, lessons, tried, side.parts if promote else (), gain, reasons, hoped, golden.sha if gain else "")
    point = gain.overall["ndcg_at_10"].delta if gain else 0.0
    return {"lessons": len(lessons.lessons), "kept": sum(one.kept for one in tried), "gain": round(point, 4)}


def _bounded(lessons: TrainingSet) -> TrainingSet:
    """Ask `_ASKED` lessons of each held-out split at most, whatever the log holds: by id, which is a hash."""
    held = (sorted(lessons.of(split), key=lambda one: one.id)[:_ASKED] for split in ("select", "report"))
    asked = {one.id for part in held for one in part}
    return replace(lessons, lessons=tuple(one for one in lessons.lessons if one.split == "train" or one.id in asked))


def _judges(paths: Paths, params: Params, lessons: TrainingSet) -> tuple[Golden, str]:
    """Read the golden questions, none where they are too few to choose and to prove anything; then say so as well."""
    if not lessons.of("report"):
        return Golden(), ""
    golden = read_golden(paths, params, {chunk for lesson in lessons.of("train") for chunk in lesson.gains})
    counts, needed = (
        (len(golden.of("select")), len(golden.of("report"))),
        (_CHOICE.min_lessons, params.learn.min_measured),
    )
    if counts[0] >= needed[0] and counts[1] >= needed[1]:
        return golden, ""
    have, want = (f"{dev} dev and {test} test questions" for dev, test in (counts, needed))
    return Golden(), f"golden questions in the words people use may prove more: {have} have answers, {want} are needed"


def _too_few(lessons: TrainingSet, golden: Golden, learn: LearnParams) -> str:
    """Say how many lessons are missing, "" where there are enough: none is learned from that nothing can judge."""
    why = "there are too few lessons to learn from and to measure with"
    have = len(lessons.of("report"))
    missing = learn.min_measured - have
    if missing > 0 and not (have and golden.lessons):
        more = math.ceil(missing / learn.report)
        return (
            f"{why}: {have} are held out for the report and learn.min_measured is {learn.min_measured}; about {more:,} "
            "more questions that users rate, open sources of or correct are needed (made-up questions do not count)"
        )
    return "" if lessons.of("train") and lessons.of("select") else why


def _rung(bench: _Bench, name: str, side: Side, out: Path) -> tuple[Side, Tried, _Hope | None]:
    """Try one learner on top of what was kept so far; return the better side, what came of it, what is hoped of it."""
    paths, lessons = bench.paths, bench.lessons
    if any(part.learner == name and part.version and part.trainset == lessons.sha for part in side.parts):
        return side, Tried(name, kept=False, reasons=("what is live has learned this from these very lessons",)), None
    seen = lessons if name in TOWERS else lessons.asked()
    if name == "fusion":
        seen = replace(seen, lessons=tuple(seen.of("train")))  # it would read those for selection, too
    try:
        made = _learn(paths, name, side, seen, out)
    except NothingToLearn as error:
        return side, Tried(name, kept=False, reasons=(str(error),)), None
    other = with_learned(paths, side, made, lessons)
    taken, look = _chosen(paths, side, other, lessons)
    # the weight is what the night tunes on these very questions
    known = None if name == "fusion" else _known(bench, side, other, "select", _HEARD)
    order = cache(lambda: _in_order(paths, side, other, lessons.of("select"), _weights_of(known)))
    gain, judged = decide(taken, known, order, rules=_CHOICE, golden_rules=_HEARD)
    if look and "rerank" in made.retrieve:
        judged = _in_time(judged, look.p95_ms, side.params.learn.rerank_ms)
        made = replace(made, card={**made.card, "p95_ms": look.p95_ms})
        _write_card(made, side)  # again: "Why this answer?" says what a question costs
    outcome = Tried(name, kept=judged.promote, reasons=judged.reasons, gain=gain.as_json(), card=made.card)
    if judged.promote and gain.judge != GOLDEN:
        return (_mixed_anew(paths, other, lessons, out) if moves(made) else other), outcome, None
    # kept by golden questions its weight is the one they tune: clicks would choose another, for the same bias
    side = replace(other, weight=gain.weights[1]) if judged.promote else side
    if not moves(made) or (has_look(side.parts) and not has_look(other.parts)):  # it would take a second look off
        return side, outcome, None
    better = order().overall["ndcg_at_10"]
    if better.delta <= 0 or better.n < _CHOICE.min_lessons or (known and harmed(known, _HEARD)):
        return side, outcome, None
    if not outcome.kept:
        told = f"it puts what was shown in a better order, {order().told()}: only people can judge what it finds besides"
        outcome = replace(outcome, reasons=(*outcome.reasons, told), hope=order().as_json())
    return side, outcome, _Hope(other, better.delta)


def _weights_of(known: Gain | None) -> tuple[float | None, float | None]:
    """The weights golden questions tuned, those of the night; else each side's are tuned on lessons."""
    return known.weights if known else (None, None)


def _in_order(
    paths: Paths,
    base: Side,
    new: Side,
    asked: Sequence[Lesson],
    weights: tuple[float | None, float | None] = (None, None),
) -> Gain:
    """Compare how two sides put what was shown in order."""
    legs = base.legs(asked), new.legs(asked)
    looks = look_of(paths, base, legs[0]), look_of(paths, new, legs[1])
    return crossfit(*legs, asked, rules=_CHOICE, weights=weights, looks=looks, shown_only=True)


def _hoped(bench: _Bench, served: Side, hopes: Sequence[_Hope]) -> Side | None:
    """Return the side that was not proven and is worth a trial: it orders what was shown better in the report, too."""
    for hope in sorted(hopes, key=lambda one: -one.delta):
        gain = _in_order(bench.paths, served, hope.side, bench.lessons.of("report"))
        if gain.overall["ndcg_at_10"].delta > 0:
            return hope.side
    return None


def _in_time(judged: Verdict, p95_ms: float, most_ms: float) -> Verdict:
    """Hold what a second look costs against what it may cost."""
    told = f"the second look costs {p95_ms:.0f} CPU ms a question at the 95th percentile: at most {most_ms:.0f}"
    if p95_ms <= most_ms:
        return Verdict(judged.promote, (*judged.reasons, told))
    return Verdict(False, (told, *judged.reasons))


def _learn(paths: Paths, name: str, side: Side, lessons: TrainingSet, out: Path) -> Learned:
    written = load_params(paths.params).retrieve
    if name == "fusion" and (written.weight != "auto" or written.fusion != "convex"):
        raise NothingToLearn("params.yaml fixes retrieve.weight or retrieve.fusion, and what is written there wins")
    if name in LOOKS and written.rerank.backend:
        raise NothingToLearn("params.yaml sets retrieve.rerank, and what is written there wins")
    if name != "glossary":  # which is about what people say, not about what an earlier glossary made of it
        lessons = side.worded_set(lessons)
    plain = replace(side, params=replace(side.params, retrieve=replace(side.params.retrieve, glossary={}, words={})))
    model = Path() if name in MODELLESS else _model(side.params.embed, paths, questions=name == "query-tower")
    base = Base(side.embedder, model, plain.legs, lambda ids: chunk_texts(paths.data / "chunks", ids))
    with ticking(f"learn {name}") as tick:
        made = learner(name)(lessons, base, out, seed=side.params.learn.seed, tick=tick)
    made = replace(made, card={**made.card, "synthetic": sum(one.synthetic for one in lessons.of("train"))})
    if made.folder is None:
        return made
    # the name it keeps for good: an embedder's fingerprint holds it, and so do cached vectors and parts above it
    folder = out / f"{made.learner}-{made.sha256[:12]}"
    for old in out.glob(f"{made.learner}-*"):  # what is kept of earlier runs is kept elsewhere
        shutil.rmtree(old)
    made.folder.rename(folder)
    made = replace(made, folder=folder)
    _write_card(made, side)
    return made


def _write_card(made: Learned, side: Side) -> None:
    if made.folder is not None:
        write_json(made.folder / CARD, {**made.card, "passages": side.embedder.fingerprint})


def _mixed_anew(paths: Paths, side: Side, lessons: TrainingSet, out: Path) -> Side:
    """Find the fusion weight of a side whose vectors are new, on lessons its model was not trained on."""
    fresh = replace(lessons, lessons=tuple(replace(lesson, split="train") for lesson in lessons.of("select")))
    try:
        made = _learn(paths, "fusion", side, fresh, out.with_name(f"{out.name}-fusion"))
    except NothingToLearn:
        return side
    return with_learned(paths, side, made, lessons)


def _chosen(paths: Paths, base: Side, new: Side, lessons: TrainingSet) -> tuple[Gain, SecondLook | None]:
    """Compare two sides on the lessons for selection, by the weights as they are where a weight is what was learned.

    Returns the new side's second look as well, which knows what it cost.
    """
    chosen = lessons.of("select")
    weights = (base.weight, new.weight) if "weight" in new.parts[-1].retrieve else (None, None)
    legs = base.legs(chosen), new.legs(chosen)
    looks = look_of(paths, base, legs[0]), look_of(paths, new, legs[1])
    return crossfit(*legs, chosen, rules=_CHOICE, weights=weights, looks=looks), looks[1]


def _known(bench: _Bench, base: Side, new: Side, split: Split, rules: Rules) -> Gain | None:
    """Compare two sides on the golden questions for selection or for the report; None where there are too few."""
    golden = bench.golden
    if not golden.lessons:
        return None
    asked = [*golden.of("select"), *(golden.of("report") if split == "report" else ())]
    found = []
    for side in (base, new):
        legs, worded = side.legs(asked), {lesson.id: side.put(lesson) for lesson in asked}
        found.append(Searched(legs, worded, side.params.retrieve, look_of(bench.paths, side, legs)))
    return (chosen if split == "select" else proven)(golden, found[0], found[1], rules)


def _final(bench: _Bench, served: Side, side: Side, *, more: int = 0) -> tuple[Gain | None, bool, tuple[str, ...]]:
    """Take the figure: what is served against all that was kept, on questions that chose nothing.

    `more` counts the candidates that this run has had judged already.
    """
    if side.parts == served.parts:
        return None, False, ("no rung gained anything: what is served stays",)
    paths, lessons = bench.paths, bench.lessons
    asked = [*lessons.of("select"), *lessons.of("report")]
    before, heard = (looks + more for looks in _asked_before(paths, bench.golden.sha))
    rules = Rules(min_lessons=side.params.learn.min_measured, confidence=1 - 0.05 / (1 + before))
    # one look more, for the lessons judge first
    golden_rules = replace(rules, confidence=1 - 0.05 / (2 + heard))
    known = _known(bench, served, side, "report", golden_rules)
    legs = served.legs(asked), side.legs(asked)

    def mix(lesson: Lesson) -> Fusion:
        return served.served.on(route(served.put(lesson)))

    new = [one for one in side.parts if one not in served.parts]
    moved, fixed = (
        any(one.embed or "words" in one.retrieve for one in new),
        isinstance(side.params.retrieve.weight, float),
    )
    weight = side.weight if fixed else known.weights[1] if moved and known else None  # as it would be served
    taken = compare(
        *legs, asked, rules=rules, weights=(None, weight), base_fusion=mix,
        new_fusion=None if weight is not None or any(one.embed for one in new) else mix,
        looks=(look_of(paths, served, legs[0]), look_of(paths, side, legs[1])),
    )  # fmt: skip
    order = partial(_in_order, paths, served, side, lessons.of("report"), _weights_of(known))
    gain, judged = decide(taken, known, order, rules=rules, golden_rules=golden_rules)
    looks = [f"these lessons judged {before} candidates before"] if before else []
    looks += [f"these golden questions {heard}"] if known and heard else []
    return gain, judged.promote, (*judged.reasons, *([", ".join(looks)] if looks else []))


def _asked_before(paths: Paths, golden: str) -> tuple[int, int]:
    """Count the candidates that were judged before, for each look may be a lucky one: by lessons for the report since
    the last promotion, which bring others, and by these very golden questions ever.
    """
    runs = [row for row in read_rows(paths.models / "history.jsonl") if row.get("gain")]
    last = max((n for n, row in enumerate(runs) if row["published"] and row.get("retrieval", True)), default=-1)
    return len(runs) - 1 - last, sum(bool(golden) and row.get("golden") == golden for row in runs)


def _model(embed: EmbedParams, paths: Paths, *, questions: bool) -> Path:
    """Find the folder that passages, or questions, are embedded with. Raises ConfigError for one that is not here."""
    if embed.backend == "minilm" and not (questions and embed.query_model):
        return packaged_minilm()
    if embed.backend not in ("minilm", "openvino", "torch"):
        ladder = ", ".join(MODELLESS)
        raise ConfigError(f"embed.backend {embed.backend} cannot be trained here: set learn.ladder to [{ladder}]")
    return model_folder((embed.query_model if questions else "") or embed.model, paths.cache)


def _leave(
    paths: Paths,
    lessons: TrainingSet,
    tried: Sequence[Tried],
    parts: Sequence[Part] = (),
    gain: Gain | None = None,
    reasons: Sequence[str] = (),
    hoped: Side | None = None,
    golden: str = "",
) -> None:
    """Write data/learned.json; where `parts` is empty, nothing is worth promoting, but `hoped` may be worth a trial."""

    def rows(parts: Sequence[Part]) -> list[dict[str, Any]]:
        return rows_of([part if part.version else _in_out(paths, part) for part in parts])

    write_json(
        paths.data / "learned.json",
        {
            "trainset": lessons.sha,
            "lessons": {split: len(lessons.asked().of(split)) for split in ("train", "select", "report")},
            "synthetic": sum(one.synthetic for one in lessons.lessons),
            "simulated": bool(lessons.card.get("simulated")),
            "tried": [{**asdict(one), "reasons": list(one.reasons)} for one in tried],
            "parts": rows(parts),
            "hope": rows(hoped.parts) if hoped else [],
            "gain": gain.as_json() if gain else None,
            "golden": golden,
            "reasons": list(reasons),
        },
    )


def _in_out(paths: Paths, part: Part) -> Part:
    """Name a new part's folder as it stands below models/learned; the champion's are kept elsewhere already."""
    folder = Path(part.folder).relative_to(paths.root / "models" / "learned") if part.folder else ""
    return replace(part, folder=str(folder))


if __name__ == "__main__":
    stage_main("learn", run)
