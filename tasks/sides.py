"""Ways to search, side by side: the one that is served, and what each rung of the ladder makes of it.

A side is a whole release in the making: what embeds, over which version, mixed how, looked at again by what, and the
parts that make it so. Learning puts one part after another on top; only a model of both towers needs a new version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from evaluation.vectors import CachedEmbedder
from ragkeep.config import Params, Paths, RerankParams, RetrieveParams, load_params, parse
from ragkeep.embedders import load_embedder, query_fingerprint
from ragkeep.errors import IndexMissing
from ragkeep.files import read_json
from ragkeep.glossary import Glossary, glossaries
from ragkeep.learned import Part, base_of, placed, tonight
from ragkeep.ports import Embedder, Reranker, VectorStore
from ragkeep.rerank import open_reranker
from ragkeep.stores import open_store
from ragkeep.tables import iter_chunks, read_table
from ragkeep.types import EmbeddedBatch, Fusion, IndexVersion, Legs, Query, Vectors, content_id, ids_digest
from tasks.learners import Learned
from tasks.lessons import Lesson, TrainingSet
from tasks.second_look import SecondLook, reachable
from tasks.shards import chunk_texts, iter_shards
from tasks.stage import progress

_ALIAS = "learn"
_BATCH = 512


@dataclass(frozen=True)
class Side:
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


def served_side(paths: Paths, params: Params) -> Side:
    """Open tonight's version the way it would be served."""
    receipt, fusion = read_json(paths.data / "index.json"), read_json(paths.data / "evaluation" / "fusion.json")
    if receipt is None or fusion is None:
        raise IndexMissing("there is no index of tonight to learn on: run `ragkeep nightly` first")
    embedder = CachedEmbedder(load_embedder(params.embed, paths.cache), paths.cache)
    version = IndexVersion(**receipt)
    mix = Fusion(fusion["method"], fusion["weight"], fusion.get("code_weight"))
    store = open_store(params.index, paths)
    reranker = open_reranker(params.retrieve.rerank, paths.cache)
    return Side(params, store, version, embedder, tuple(tonight(paths.data)), mix.weight, reranker, mix)


@contextmanager
def no_versions_left(store: VectorStore) -> Iterator[None]:
    """Leave no index of a rung behind, not even a killed run's."""
    try:
        yield
    finally:
        for version in store.versions(_ALIAS):
            store.drop(version.name)


def with_learned(paths: Paths, side: Side, made: Learned, lessons: TrainingSet) -> Side:
    """Put what was learned on top of a side; passages are embedded anew, into a version beside, where it needs that."""
    changes = {**made.embed, "query_model": ""} if made.reindex else made.embed
    part = Part(
        learner=made.learner, base=_beneath(paths, side, made), embed=changes, retrieve=made.retrieve,
        folder=str(made.folder or ""), sha256=made.sha256, trainset=lessons.sha,
    )  # fmt: skip
    left, written = _left(side, made), load_params(paths.params).retrieve
    embed = replace(side.params.embed, **placed(changes, made.folder or ""))
    retrieve = side.params.retrieve
    if has_look(side.parts) and not has_look(left):
        retrieve = replace(retrieve, rerank=RerankParams())
    if any("weight" in one.retrieve for one in side.parts if one not in left):
        retrieve = replace(retrieve, weight=written.weight)  # what was learned for other legs goes with its part
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


def has_look(parts: Sequence[Part]) -> bool:
    """Whether any of these is a second look."""
    return any("rerank" in part.retrieve for part in parts)


def _beneath(paths: Paths, side: Side, made: Learned) -> str:
    """Name the embedder that a part will stand on once the parts it replaces are gone; words stand on none."""
    if "words" in made.retrieve:
        return ""
    if made.reindex:
        return base_of(load_params(paths.params).embed, paths.cache)
    return side.embedder.fingerprint if made.embed else query_fingerprint(side.embedder)


def _left(side: Side, made: Learned) -> tuple[Part, ...]:
    """Which parts stay beside a new one: none of its kind, and none learned for what it changes."""
    gone = {made.learner, "fusion"} if moves(made) else {made.learner}
    looks = moves(made) or "rerank" in made.retrieve
    left = [one for one in side.parts if one.learner not in gone and not (looks and "rerank" in one.retrieve)]
    return tuple(one for one in left if not (made.reindex and one.base))


def moves(made: Learned) -> bool:
    """Whether what the legs find is another thing with it, so that what mixes and orders it must be found anew."""
    return bool(made.embed) or "words" in made.retrieve


def _build(paths: Paths, side: Side) -> IndexVersion:
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


def look_of(paths: Paths, side: Side, legs: Mapping[str, Legs]) -> SecondLook | None:
    """A side's second look over what its legs found, None where it has none."""
    if side.reranker is None:
        return None
    params, served = side.params.retrieve.rerank, side.served
    weights = [side.weight, served.weight, served.weight if served.code_weight is None else served.code_weight]
    named = reachable(legs.values(), params.depth, weights)
    return SecondLook(side.reranker, params, chunk_texts(paths.data / "chunks", named), side.put)
