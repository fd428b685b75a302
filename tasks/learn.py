"""Climb the ladder of learners on tonight's index, and measure what it gained: `python -m tasks.learn`.

data/trainset + data/index.json -> models/learned/<learner>/ and data/learned.json, which says what was tried, what of it
is worth promoting and why. Nothing is promoted here: `flows/learn.py` puts the parts through the night's own gate.

Three kinds of lessons keep the figures honest. Learners see those for training. Whether a rung is kept, and the fusion
weight, is chosen on those for selection, each half with weights that the other half tuned. The figure for people is
taken once, at the end, from those for the report, against the release as it is served.

What finds passages that nobody was shown cannot be proven so: nobody could take them. A rung that is refused, yet puts
what people did see in a better order, is one that only people can judge; where nothing else gains, the best of
them is named in data/learned.json as `hope`, for a trial.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.gain import Gain, Rules, Verdict, compare, crossfit, told_of, verdict
from evaluation.vectors import CachedEmbedder
from ragkeep.config import EmbedParams, LearnParams, Params, Paths, RerankParams, RetrieveParams, load_params, parse
from ragkeep.embedders import load_embedder, model_folder, query_fingerprint
from ragkeep.embedders.two_towers import CARD
from ragkeep.errors import ConfigError, IndexMissing
from ragkeep.files import read_json, read_rows, write_json
from ragkeep.glossary import Glossary, glossaries
from ragkeep.learned import Part, base_of, effective, placed, rows_of, tonight
from ragkeep.models import packaged_minilm
from ragkeep.ports import Embedder, Reranker, VectorStore
from ragkeep.rerank import open_reranker
from ragkeep.route import route
from ragkeep.stores import open_store
from ragkeep.tables import iter_chunks, read_table
from ragkeep.types import EmbeddedBatch, Fusion, IndexVersion, Legs, Query, Vectors, content_id, ids_digest
from tasks.learners import Base, Learned, NothingToLearn, learner
from tasks.lessons import Lesson, TrainingSet, read_set
from tasks.second_look import SecondLook, reachable
from tasks.shards import chunk_texts, iter_shards
from tasks.stage import progress, stage_main, ticking

RUNGS = ("fusion", "glossary", "query-tower", "both-towers", "reranker", "cross-encoder")
"""What can be measured end to end, and so be kept."""
TOWERS = ("query-tower", "both-towers")
"""Those that made-up questions teach anything: words of a collection, to a model that does not know them."""
LOOKS = ("reranker", "cross-encoder")
"""Those that make a second look; a release has one at most."""
MODELLESS = ("fusion", "glossary", "reranker")
"""Those that need no model's weights, and so work over any embedder."""
_ALIAS = "learn"
_BATCH = 512


@dataclass(frozen=True)
class _Side:
    """A way to search: what embeds, over which version, mixed how, looked at again by what; the parts that make it."""

    params: Params
    store: VectorStore
    version: IndexVersion
    embedder: Embedder
    parts: tuple[Part, ...]
    weight: float
    reranker: Reranker | None = None
    served: Fusion = field(default_factory=Fusion)

    def put(self, lesson: Lesson) -> str:
        """Say how this side words a lesson's question."""
        return self._glossary(lesson.workspace).apply(lesson.question)

    @cached_property
    def _glossary(self) -> Callable[[str], Glossary]:
        return glossaries(self.params.retrieve)

    def worded(self, lessons: Sequence[Lesson]) -> list[Lesson]:
        """Put lessons' questions as this side searches for them."""
        return [replace(lesson, question=self.put(lesson)) for lesson in lessons]

    def worded_set(self, lessons: TrainingSet) -> TrainingSet:
        """Put all of a training set's questions so; it is another set then, with a hash of its own."""
        words = (self.params.retrieve.glossary, self.params.retrieve.words)
        if not any(words):
            return lessons
        card = lessons.card | {"sha": content_id(lessons.sha, json.dumps(words, sort_keys=True))}
        return replace(lessons, lessons=tuple(self.worded(lessons.lessons)), card=card)

    def legs(self, lessons: Sequence[Lesson], vectors: Vectors | None = None) -> Mapping[str, Legs]:
        """Search both legs for lessons: lesson id -> Legs; see `tasks.learners.Base`."""
        lessons = self.worded(lessons)
        if vectors is None:
            vectors = self.embedder.embed([lesson.question for lesson in lessons], role="query")
        deep = self.params.retrieve.candidates
        return {
            lesson.id: self.store.legs(
                self.version.name,
                Query(lesson.question, vector=vector, workspace=lesson.workspace, candidates=deep),
            )
            for lesson, vector in zip(lessons, vectors, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Tried:
    """One rung: what came of it, in words and numbers; `gain` is of the lessons for selection.

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

    side: _Side
    delta: float


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
    if why := _too_few(lessons, params.learn):
        _leave(paths, lessons, [], reasons=(why,))
        return {"lessons": len(lessons.lessons), "kept": 0}
    served = _served(paths, params)
    side, tried, hopes = served, list[Tried](), list[_Hope]()
    with _versions(served.store):
        for name in params.learn.ladder:
            side, outcome, hope = _rung(paths, name, side, lessons, out / name, params.learn.seed)
            tried.append(outcome)
            hopes += [hope] if hope else []
        gain, promote, reasons = _final(paths, served, side, lessons)
        hoped = None if promote else _hoped(paths, served, hopes, lessons)
    _leave(paths, lessons, tried, side.parts if promote else (), gain, reasons, hoped)
    point = gain.overall["ndcg_at_10"].delta if gain else 0.0
    return {"lessons": len(lessons.lessons), "kept": sum(one.kept for one in tried), "gain": round(point, 4)}


def _too_few(lessons: TrainingSet, learn: LearnParams) -> str:
    """Say how many lessons are missing, "" where there are enough: none is learned from that nothing can judge."""
    why = "there are too few lessons to learn from and to measure with"
    have = len(lessons.of("report"))
    missing = learn.min_measured - have
    if missing > 0:
        more = math.ceil(missing / learn.report)
        return (
            f"{why}: {have} are held out for the report and learn.min_measured is {learn.min_measured}; about {more:,} "
            "more questions that users rate, open sources of or correct are needed (made-up questions do not count)"
        )
    return "" if lessons.of("train") and lessons.of("select") else why


def _served(paths: Paths, params: Params) -> _Side:
    """Open tonight's version the way it would be served."""
    receipt, fusion = read_json(paths.data / "index.json"), read_json(paths.data / "evaluation" / "fusion.json")
    if receipt is None or fusion is None:
        raise IndexMissing("there is no index of tonight to learn on: run `ragkeep nightly` first")
    embedder = CachedEmbedder(load_embedder(params.embed, paths.cache), paths.cache)
    version = IndexVersion(**receipt)
    mix = Fusion(fusion["method"], fusion["weight"], fusion.get("code_weight"))
    store = open_store(params.index, paths)
    reranker = open_reranker(params.retrieve.rerank, paths.cache)
    return _Side(params, store, version, embedder, tuple(tonight(paths.data)), mix.weight, reranker, mix)


@contextmanager
def _versions(store: VectorStore) -> Iterator[None]:
    """Leave no index of a rung behind, not even a killed run's."""
    try:
        yield
    finally:
        for version in store.versions(_ALIAS):
            store.drop(version.name)


def _rung(
    paths: Paths, name: str, side: _Side, lessons: TrainingSet, out: Path, seed: int
) -> tuple[_Side, Tried, _Hope | None]:
    """Try one learner on top of what was kept so far; return the better side, what came of it, what is hoped of it."""
    if any(part.learner == name and part.version and part.trainset == lessons.sha for part in side.parts):
        return side, Tried(name, kept=False, reasons=("what is live has learned this from these very lessons",)), None
    seen = lessons if name in TOWERS else lessons.asked()
    if name == "fusion":
        seen = replace(seen, lessons=tuple(seen.of("train")))  # it would read those for selection, too
    try:
        made = _learn(paths, name, side, seen, out, seed)
    except NothingToLearn as error:
        return side, Tried(name, kept=False, reasons=(str(error),)), None
    other = _with(paths, side, made, lessons)
    gain, look = _chosen(paths, side, other, lessons)
    judged = verdict(gain, rules=_CHOICE)
    if look and "rerank" in made.retrieve:
        judged = _in_time(judged, look.p95_ms, side.params.learn.rerank_ms)
        made = replace(made, card={**made.card, "p95_ms": look.p95_ms})
        _write_card(made, side)  # again: "Why this answer?" says what a question costs
    outcome = Tried(name, kept=judged.promote, reasons=judged.reasons, gain=gain.as_json(), card=made.card)
    if judged.promote:
        return (_mixed_anew(paths, other, lessons, out, seed) if _moves(made) else other), outcome, None
    if not _moves(made) or (_second(side.parts) and not _second(other.parts)):  # it would take a second look off
        return side, outcome, None
    ordered = _in_order(paths, side, other, lessons.of("select"))
    better = ordered.overall["ndcg_at_10"]
    if better.delta <= 0 or better.n < _CHOICE.min_lessons:
        return side, outcome, None
    told = f"it puts what was shown in a better order, {told_of(better)}: only people can judge what it finds besides"
    outcome = replace(outcome, reasons=(*outcome.reasons, told), hope=ordered.as_json())
    return side, outcome, _Hope(other, better.delta)


def _in_order(paths: Paths, base: _Side, new: _Side, asked: Sequence[Lesson]) -> Gain:
    """Compare how two sides put what was shown in order."""
    legs = base.legs(asked), new.legs(asked)
    looks = _look(paths, base, legs[0]), _look(paths, new, legs[1])
    return crossfit(*legs, asked, rules=_CHOICE, looks=looks, shown_only=True)


def _hoped(paths: Paths, served: _Side, hopes: Sequence[_Hope], lessons: TrainingSet) -> _Side | None:
    """Return the refused side that is worth a trial: it orders what was shown better in the report's lessons, too."""
    for hope in sorted(hopes, key=lambda one: -one.delta):
        gain = _in_order(paths, served, hope.side, lessons.of("report"))
        if gain.overall["ndcg_at_10"].delta > 0:
            return hope.side
    return None


def _in_time(judged: Verdict, p95_ms: float, most_ms: float) -> Verdict:
    """Hold what a second look costs against what it may cost."""
    told = f"the second look costs {p95_ms:.0f} CPU ms a question at the 95th percentile: at most {most_ms:.0f}"
    if p95_ms <= most_ms:
        return Verdict(judged.promote, (*judged.reasons, told))
    return Verdict(False, (told, *judged.reasons))


def _learn(paths: Paths, name: str, side: _Side, lessons: TrainingSet, out: Path, seed: int) -> Learned:
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
        made = learner(name)(lessons, base, out, seed=seed, tick=tick)
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


def _write_card(made: Learned, side: _Side) -> None:
    if made.folder is not None:
        write_json(made.folder / CARD, {**made.card, "passages": side.embedder.fingerprint})


def _mixed_anew(paths: Paths, side: _Side, lessons: TrainingSet, out: Path, seed: int) -> _Side:
    """Find the fusion weight of a side whose vectors are new, on lessons its model was not trained on."""
    fresh = replace(lessons, lessons=tuple(replace(lesson, split="train") for lesson in lessons.of("select")))
    try:
        made = _learn(paths, "fusion", side, fresh, out.with_name(f"{out.name}-fusion"), seed)
    except NothingToLearn:
        return side
    return _with(paths, side, made, lessons)


_CHOICE = Rules(min_gain=0, min_lessons=20, min_unseen=-0.02, confidence=0.9)
"""What a rung must show to be kept for the next one; the promise to people is `params.learn` and the night's gate."""


def _with(paths: Paths, side: _Side, made: Learned, lessons: TrainingSet) -> _Side:
    """Put what was learned on top of a side; passages are embedded anew, into a version beside, where it needs that."""
    changes = {**made.embed, "query_model": ""} if made.reindex else made.embed
    part = Part(
        learner=made.learner, base=_beneath(paths, side, made), embed=changes, retrieve=made.retrieve,
        folder=str(made.folder or ""), sha256=made.sha256, trainset=lessons.sha,
    )  # fmt: skip
    left = _left(side, made)
    embed = replace(side.params.embed, **placed(changes, made.folder or ""))
    retrieve = side.params.retrieve
    if _second(side.parts) and not _second(left):
        retrieve = replace(retrieve, rerank=RerankParams())
    changed = asdict(retrieve) | placed(made.retrieve, made.folder or "")
    retrieve = parse(RetrieveParams, changed, f"learned by {made.learner}: retrieve")
    reranker = side.reranker
    if retrieve.rerank != side.params.retrieve.rerank:
        reranker = open_reranker(retrieve.rerank, paths.cache)
    params = replace(side.params, embed=embed, retrieve=retrieve)
    side = replace(side, params=params, parts=(*left, part), reranker=reranker)
    if isinstance(retrieve.weight, float):
        side = replace(side, weight=retrieve.weight)
    if not made.embed:
        return side
    embedder = CachedEmbedder(load_embedder(embed, paths.cache), paths.cache)
    side = replace(side, embedder=embedder)
    return replace(side, version=_build(paths, side)) if made.reindex else side


def _second(parts: Sequence[Part]) -> bool:
    """Whether any of these is a second look."""
    return any("rerank" in part.retrieve for part in parts)


def _beneath(paths: Paths, side: _Side, made: Learned) -> str:
    """Name the embedder that a part will stand on once the parts it replaces are gone; words stand on none."""
    if "words" in made.retrieve:
        return ""
    if made.reindex:
        return base_of(load_params(paths.params).embed, paths.cache)
    return side.embedder.fingerprint if made.embed else query_fingerprint(side.embedder)


def _left(side: _Side, made: Learned) -> tuple[Part, ...]:
    """Which parts stay beside a new one: none of its kind, and none learned for what it changes."""
    gone = {made.learner, "fusion"} if _moves(made) else {made.learner}
    looks = _moves(made) or "rerank" in made.retrieve
    left = [one for one in side.parts if one.learner not in gone and not (looks and "rerank" in one.retrieve)]
    return tuple(one for one in left if not (made.reindex and one.base))


def _moves(made: Learned) -> bool:
    """Whether what the legs find is another thing with it, so that what mixes and orders it must be found anew."""
    return bool(made.embed) or "words" in made.retrieve


def _build(paths: Paths, side: _Side) -> IndexVersion:
    """Build a version of tonight's chunks with a side's embedder; its vectors stay in the cache for the night to find."""
    embedder = side.embedder
    name = f"{_ALIAS}-{content_id(embedder.fingerprint, side.version.digest)[:16]}"
    kept = set(side.store.ids(side.version.name))
    side.store.drop(name)
    side.store.create(name, dim=embedder.dim)
    with progress("embed with what was learned", len(kept)) as advance:
        for shard in iter_shards(paths.data / "chunks"):
            chunks = [chunk for chunk in iter_chunks(read_table(shard)) if chunk.id in kept]
            for begin in range(0, len(chunks), _BATCH):
                batch = tuple(chunks[begin : begin + _BATCH])
                vectors = embedder.embed([chunk.embed_text for chunk in batch], role="passage")
                side.store.write(name, EmbeddedBatch(batch, vectors))
                advance(len(batch))
    side.store.finish(name)
    version = IndexVersion(
        name, _ALIAS, side.version.store, embedder.fingerprint, embedder.dim, len(kept), ids_digest(kept)
    )
    side.store.seal(version)
    return version


def _chosen(paths: Paths, base: _Side, new: _Side, lessons: TrainingSet) -> tuple[Gain, SecondLook | None]:
    """Compare two sides on the lessons for selection, by the weights as they are where a weight is what was learned.

    Returns the new side's second look as well, which knows what it cost.
    """
    chosen = lessons.of("select")
    weights = (base.weight, new.weight) if "weight" in new.parts[-1].retrieve else (None, None)
    legs = base.legs(chosen), new.legs(chosen)
    looks = _look(paths, base, legs[0]), _look(paths, new, legs[1])
    return crossfit(*legs, chosen, rules=_CHOICE, weights=weights, looks=looks), looks[1]


def _look(paths: Paths, side: _Side, legs: Mapping[str, Legs]) -> SecondLook | None:
    """A side's second look over what its legs found, None where it has none."""
    if side.reranker is None:
        return None
    params, served = side.params.retrieve.rerank, side.served
    weights = [side.weight, served.weight, served.weight if served.code_weight is None else served.code_weight]
    named = reachable(legs.values(), params.depth, weights)
    return SecondLook(side.reranker, params, chunk_texts(paths.data / "chunks", named), side.put)


def _final(paths: Paths, served: _Side, side: _Side, lessons: TrainingSet) -> tuple[Gain | None, bool, tuple[str, ...]]:
    """Take the figure: what is served against all that was kept, on lessons that chose nothing."""
    if side.parts == served.parts:
        return None, False, ("no rung gained anything: what is served stays",)
    asked = [*lessons.of("select"), *lessons.of("report")]
    fixed = isinstance(side.params.retrieve.weight, float)
    before, weight = _asked_before(paths), side.weight if fixed else None
    rules = Rules(min_lessons=side.params.learn.min_measured, confidence=1 - 0.05 / (1 + before))
    legs = served.legs(asked), side.legs(asked)

    def mix(lesson: Lesson) -> Fusion:
        return served.served.on(route(served.put(lesson)))

    new = [one for one in side.parts if one not in served.parts]
    gain = compare(
        *legs, asked, rules=rules, weights=(None, weight), base_fusion=mix,
        new_fusion=None if any(one.embed or "weight" in one.retrieve for one in new) else mix,
        looks=(_look(paths, served, legs[0]), _look(paths, side, legs[1])),
    )  # fmt: skip
    judged = verdict(gain, rules=rules)
    times = (
        (f"these lessons judged {before} candidates before: the interval is at {rules.confidence:.1%}",) if before else ()
    )
    return gain, judged.promote, (*judged.reasons, *times)


def _asked_before(paths: Paths) -> int:
    """Count the candidates that lessons for the report judged since the last promotion: each look may be a lucky one."""
    runs = [row for row in read_rows(paths.models / "history.jsonl") if row.get("gain")]
    last = max((n for n, row in enumerate(runs) if row["published"] and row.get("retrieval", True)), default=-1)
    return len(runs) - 1 - last


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
    hoped: _Side | None = None,
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
            "reasons": list(reasons),
        },
    )


def _in_out(paths: Paths, part: Part) -> Part:
    """Name a new part's folder as it stands below models/learned; the champion's are kept elsewhere already."""
    folder = Path(part.folder).relative_to(paths.root / "models" / "learned") if part.folder else ""
    return replace(part, folder=str(folder))


if __name__ == "__main__":
    stage_main("learn", run)
