"""What every experiment needs: a set in the product's own store, a simulated log over it, and the figures.

Clicks are simulated, and every figure made of them is: a source at rank r is looked at with probability r**-.7, clicked
with .85 when it is an answer and .08 when not, among the five the hybrid search shows first; then a stated share of the
clicks is moved to another source that was shown. Lessons for training are followed as far as `tasks.claims.meant` says of
such a log. Each is made of one account's clicks, so that nobody agrees with anybody. Vectors of the base are kept in the
temporary folder between runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import finish
from evaluation.compare import Paired
from evaluation.compare import compare as paired
from evaluation.gain import Gain, compare, scores
from evaluation.vectors import CachedEmbedder
from ragkeep.config import EmbedParams
from ragkeep.embedders.openvino import folder as folder_embedder
from ragkeep.embedders.openvino import minilm
from ragkeep.fusion import fuse, ranking
from ragkeep.models import packaged_minilm
from ragkeep.ports import Embedder
from ragkeep.stores.lancedb import LanceStore
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Legs, Query, Vectors, content_id, ids_digest
from tasks.claims import Claim, Opinion, meant, trust
from tasks.learners import Base
from tasks.lessons import Lesson, TrainingSet

from .sets import Labelled, code_set, folder_set, with_jargon

DATA = Path(os.environ.get("RAGKEEP_EVAL_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data").resolve()
KEPT = Path(tempfile.gettempdir()) / "ragkeep-learning"
SHOWN, LOOKS, RIGHT, OTHER = 5, 0.7, 0.85, 0.08
SELECT, SELECT_MOST = 0.15, 300
"""The share of the lessons that chooses weights and is not trained on, and how many are enough for that."""
_ALIAS, _BATCH, _CANDIDATES = "learning", 512, 100


@dataclass
class Bench:
    """A labelled set in the embedded store, under the base and under what was learned; `data` holds other sets."""

    set: Labelled
    data: Path = Path()

    @cached_property
    def embedder(self) -> CachedEmbedder:
        """The base, remembering what it embedded."""
        return CachedEmbedder(minilm(EmbedParams(), KEPT), KEPT)

    @cached_property
    def store(self) -> LanceStore:
        """One store for all sets."""
        return LanceStore(KEPT / "store")

    @cached_property
    def index(self) -> str:
        """The base's index."""
        return self.build(self.embedder)

    def build(self, embedder: Embedder) -> str:
        """Index the corpus with an embedder, unless it was; return the version's name."""
        ids = sorted(self.set.corpus)
        digest = content_id(*(part for i in ids for part in (i, self.set.corpus[i])))
        name = f"{_ALIAS}-{content_id(digest, embedder.fingerprint)[:16]}"
        if name in {version.name for version in self.store.versions(_ALIAS)}:
            return name
        self.store.drop(name)
        self.store.create(name, dim=embedder.dim)
        for at in range(0, len(ids), _BATCH):
            chunks = tuple(_chunk(i, self.set.corpus[i]) for i in ids[at : at + _BATCH])
            vectors = embedder.embed([chunk.text for chunk in chunks], role="passage")
            self.store.write(name, EmbeddedBatch(chunks, vectors))
        self.store.finish(name)
        self.store.seal(
            IndexVersion(name, _ALIAS, "lancedb", embedder.fingerprint, embedder.dim, len(ids), ids_digest(ids))
        )
        return name

    def legs(self, lessons: Sequence[Lesson], vectors: Vectors | None = None, index: str = "") -> dict[str, Legs]:
        """Search both legs of an index (the base's) for each lesson, with these vectors or the base's own."""
        if vectors is None:
            vectors = self.embedder.embed([one.question for one in lessons], role="query")
        found = {}
        for one, vector in zip(lessons, vectors, strict=True):
            query = Query(one.question, vector=vector, k=10, candidates=_CANDIDATES)
            found[one.id] = self.store.legs(index or self.index, query)
        return found

    @property
    def base(self) -> Base:
        """The champion, for a learner."""
        return Base(self.embedder, packaged_minilm(), lambda lessons, vectors: self.legs(lessons, vectors))

    @cached_property
    def report(self) -> list[Lesson]:
        """The test questions with their true answers."""
        unseen = self.set.unseen
        return [
            Lesson(q, self.set.queries[q], _gains(grades), split="report", unseen=q in unseen)
            for q, grades in sorted(self.set.test.items())
        ]

    def good(self, count: int, seed: int) -> TrainingSet:
        """True pairs: `count` training questions with their answers."""
        chosen = self._asked(count, seed)
        lessons = [Lesson(q, self.set.queries[q], _gains(self.set.train[q])) for q in chosen]
        return self._set(lessons, seed, f"good-{count}")

    def seen(self, impressions: int, wrong: float, seed: int) -> list[Impression]:
        """Simulate a log: each impression shows the hybrid top five."""
        asked = [Lesson(q, self.set.queries[q], {}) for q in self._asked(impressions, seed)]
        legs, rng = self.legs(asked), np.random.default_rng((seed, 2))
        made = []
        for one in asked:
            found, right = legs[one.id], _gains(self.set.train[one.id])
            shown = [found.ids[n] for n in ranking(fuse(found, Fusion()), SHOWN)]
            made.append(Impression(one, tuple(shown), frozenset(click(shown, right, wrong, rng)), frozenset(right)))
        return made

    def clicks(self, impressions: int, wrong: float, seed: int) -> TrainingSet:
        """Make a lesson of each impression on which something was clicked, as `tasks.trainset` does."""
        log = self.seen(impressions, wrong, seed)
        shares, lessons, followed = meant_by_rank(log), list[Lesson](), dict[str, dict[str, float]]()
        for one in log:
            if one.clicked:
                above = one.shown[: max(map(one.shown.index, one.clicked))]
                clicked, passed = sorted(one.clicked), tuple(chunk for chunk in above if chunk not in one.clicked)
                lessons.append(replace(one.asked, gains=dict.fromkeys(clicked, 1.0), passed=passed))
                words = [Claim(chunk, "user", 1.0, "click", one.shown.index(chunk) + 1) for chunk in clicked]
                followed[one.asked.id] = trust(words, [Opinion(c, "user", 1.0) for c in clicked], shares)
        made = self._set(lessons, seed, f"clicks-{impressions}-{wrong}")
        train = {one.id for one in made.of("train")}
        return replace(
            made, lessons=tuple(replace(x, gains=followed[x.id]) if x.id in train else x for x in made.lessons)
        )

    def _asked(self, count: int, seed: int) -> list[str]:
        names = sorted(self.set.train)
        return [names[n] for n in np.random.default_rng((seed, 1)).permutation(len(names))[:count].tolist()]

    def _set(self, lessons: list[Lesson], seed: int, how: str) -> TrainingSet:
        cut = min(round(len(lessons) * SELECT), SELECT_MOST)
        split = [replace(one, split="select" if n < cut else "train") for n, one in enumerate(lessons)]
        sha = content_id(self.set.name, how, str(seed))
        return TrainingSet(tuple(split), self.set.corpus, {"sha": sha, "simulated": True})


@dataclass(frozen=True, slots=True)
class Impression:
    """What a question was shown, what of it was clicked, and what was right."""

    asked: Lesson
    shown: tuple[str, ...]
    clicked: frozenset[str]
    right: frozenset[str]


def meant_by_rank(log: Sequence[Impression]) -> dict[int, float]:
    """What share of the clicks of a log the product takes to be meant, by rank."""
    shown = Counter(rank for one in log if one.clicked for rank in range(1, len(one.shown) + 1))
    return meant(shown, Counter(one.shown.index(chunk) + 1 for one in log for chunk in one.clicked))


def click(shown: Sequence[str], gains: Mapping[str, float], wrong: float, rng: np.random.Generator) -> set[str]:
    """Say which of the shown sources a user clicks; a share `wrong` of the clicks lands on another one."""
    clicked = set()
    for rank, chunk in enumerate(shown, 1):
        looked, liked, slipped, other = rng.random(4)
        if looked < rank**-LOOKS and liked < (RIGHT if gains.get(chunk, 0) > 0 else OTHER):
            others = [c for c in shown if c != chunk]
            clicked.add(others[int(other * len(others))] if slipped < wrong and others else chunk)
    return clicked


@dataclass(frozen=True, slots=True)
class Sides:
    """Per-lesson nDCG@10 and recall of both sides on the report, and their gain: one seed."""

    gain: Gain
    before: dict[str, NDArray[np.float64]]
    after: dict[str, NDArray[np.float64]]


def measure(
    report: Sequence[Lesson], select: Sequence[Lesson], base: Mapping[str, Legs], new: Mapping[str, Legs], *,
    weights: tuple[float | None, float | None] = (None, None), base_fusion: Fusion | None = None,
) -> Sides:  # fmt: skip
    """Compare two retrievers by `evaluation.gain`, keeping the rows."""
    gain = compare(base, new, [*select, *report], weights=weights, base_fusion=base_fusion)
    before = scores(base, report, base_fusion or Fusion("convex", gain.weights[0]))
    return Sides(gain, before, scores(new, report, Fusion("convex", gain.weights[1])))


def pooled(seeds: Sequence[Sides], mask: NDArray[np.bool_] | None = None, metric: str = "ndcg_at_10") -> dict[str, Any]:
    """Average a lesson's scores over the seeds, then compare: the interval is over lessons, not over seeds."""
    before = np.mean([one.before[metric] for one in seeds], axis=0)
    after = np.mean([one.after[metric] for one in seeds], axis=0)
    keep = np.ones(len(before), bool) if mask is None else mask
    found = told(paired(before[keep].tolist(), after[keep].tolist()))
    each = [100 * float(np.mean((one.after[metric] - one.before[metric])[keep])) for one in seeds]
    return found | {"each_seed": [round(value, 2) for value in each]}


def told(one: Paired) -> dict[str, Any]:
    """A comparison for people: nDCG as a fraction, the gain in points."""
    return {
        "base": round(one.base, 4), "new": round(one.new, 4), "points": round(100 * one.delta, 2),
        "interval": [round(100 * one.ci[0], 2), round(100 * one.ci[1], 2)], "n": one.n,
    }  # fmt: skip


def slices(bench: Bench) -> dict[str, NDArray[np.bool_]]:
    """Which rows of the report are about seen and unseen documents, where there are both."""
    unseen = np.array([one.unseen for one in bench.report])
    return {name: mask for name, mask in (("seen", ~unseen), ("unseen", unseen)) if mask.any()}


def read_model(model: Path) -> Embedder:
    """Read what was learned as the product does: from its folder, with OpenVINO, whose files lie beside it."""
    return folder_embedder(EmbedParams(backend="openvino", model=str(model)), model.parent / "read")


def options(doc: str | None, *sets: str) -> argparse.Namespace:
    """Read the command line; `options.sets` are the sets to measure, the default ones unless --set names others.

    A set is `code`, a BEIR-style folder, or one with `+jargon` behind it.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    parser.add_argument("--set", action="append", dest="sets", default=[], help="code, DIR or DIR+jargon; repeatable")
    parser.add_argument("--data", type=Path, default=DATA, help="where sets given by name lie")
    parser.add_argument("--seeds", type=int, default=3)
    read = parser.parse_args()
    read.sets = read.sets or list(sets)
    KEPT.mkdir(parents=True, exist_ok=True)
    return read


def opened(name: str, data: Path) -> Bench:
    """Open a set by its name on the command line."""
    plain, _, jargon = name.partition("+")
    if plain == "code":
        return Bench(code_set(), data)
    path = Path(plain)
    found = folder_set(path if path.is_dir() else data / plain)
    return Bench(with_jargon(found) if jargon else found, data)


def run(doc: str | None, experiment: Callable[[Bench, range], dict[str, Any]], *sets: str) -> None:
    """Measure each set, print as it goes, and end with one JSON line."""
    read = options(doc, *sets)
    found: dict[str, Any] = {}
    for name in read.sets:
        began = time.process_time()
        bench = opened(name, read.data)
        found[bench.set.name] = experiment(bench, range(1, read.seeds + 1)) | {
            "home_game": bench.set.home, "cpu_s": round(time.process_time() - began, 1),
        }  # fmt: skip
        if not read.json:
            print(bench.set.name, *(f"\n  {k}: {v}" for k, v in found[bench.set.name].items()), flush=True)
    finish({"experiment": (doc or "").split(":")[0].lower(), "seeds": read.seeds, "sets": found})


def silent(_done: int, _total: int) -> None:
    """Show no progress."""


def _gains(grades: Mapping[str, int]) -> dict[str, float]:
    top = max([1, *grades.values()])
    return {chunk: grade / top for chunk, grade in grades.items() if grade > 0}


def _chunk(name: str, text: str) -> Chunk:
    return Chunk(
        id=name, document_id=name, uri=f"{_ALIAS}/{name}", source=_ALIAS, workspace="default", text=text,
        span=(0, len(text)), lines=(1, text.count("\n") + 1), kind="prose", language="",
    )  # fmt: skip
