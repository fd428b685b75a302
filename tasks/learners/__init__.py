"""Learners: each turns lessons into one part of a better release. One learner a file, cheapest first in LADDER.

A learner is a function of lessons, base and seed. It sees the lessons for training and for selection, never those the
report is about; it writes safetensors and a card into a folder of its own, and neither measures what is published nor
promotes anything. The same lessons, base and seed give the same bytes on one CPU, also after a kill in the middle.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ragkeep.errors import ConfigError, RagkeepError
from ragkeep.ports import Embedder
from ragkeep.types import Legs, Vectors

from ..lessons import Lesson, TrainingSet

LADDER = {
    "fusion": "tasks.learners.fusion:learn",
    "glossary": "tasks.learners.glossary:learn",
    "query-tower": "tasks.learners.query_tower:learn",
    "both-towers": "tasks.learners.both_towers:learn",
    "reranker": "tasks.learners.reranker:learn",
    "cross-encoder": "tasks.learners.cross_encoder:learn",
}
"""Learner name -> "module:function", cheapest first."""


class NothingToLearn(RagkeepError):
    """There are too few lessons, or none that teach this learner anything; the message says which."""


@dataclass(frozen=True, slots=True)
class Base:
    """The champion, as far as a learner needs it.

    `embedder` built its index, `model` is the sentence-transformers folder that embedder was read from (safetensors).
    `legs` searches both legs of its live index for lessons, with the vectors given (float32 (n, dim)) or the embedder's
    own: lesson id -> Legs. `texts` reads the texts of chunks by id, those too that no lesson names; None where the
    training set has them all.
    """

    embedder: Embedder
    model: Path
    legs: Callable[[Sequence[Lesson], Vectors | None], Mapping[str, Legs]]
    texts: Callable[[Collection[str]], Mapping[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """What a learner made: what it changes in the sections embed and retrieve of params.yaml, and the files for it.

    `folder` holds the files ("" in `folder` and `sha256` where there are none); inside `embed` and `retrieve` the text
    "{folder}" stands for wherever they will be kept. `reindex`: passages must be embedded again. `card` is JSON: learner,
    base, training set, lessons used, seed, hyperparameters, curve of the selection measure, CPU seconds.
    """

    learner: str
    folder: Path | None = None
    sha256: str = ""
    embed: dict[str, Any] = field(default_factory=dict)
    retrieve: dict[str, Any] = field(default_factory=dict)
    reindex: bool = False
    card: dict[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """See the module."""

    def __call__(
        self, lessons: TrainingSet, base: Base, out: Path, *, seed: int, tick: Callable[[int, int], None]
    ) -> Learned:
        """Learn into the folder `out`, which may hold what a killed run left; `tick(done, total)` is told of progress.

        Raises NothingToLearn, MissingExtra without torch, ModelError on a base it cannot train.
        """
        ...


def usable(lessons: TrainingSet, who: str, *, least: int, most: int) -> list[Lesson]:
    """Return lessons for training whose answers' texts are known, the newest `most` of them, in order.

    No passage is taught by more than a hundredth of them (or ten): so much love for one is a campaign, and what is left
    of it moves little. Raises NothingToLearn below `least`; `who` ("both towers need") begins the sentence.
    """
    found = [one for one in lessons.of("train") if any(g > 0 and c in lessons.texts for c, g in one.gains.items())]
    found = found[-most:]
    cap, counts, kept = max(10, len(found) // 100), Counter[str](), []
    for one in reversed(found):
        loved = [c for c, g in one.gains.items() if g > 0]
        if all(counts[c] < cap for c in loved):
            counts.update(loved)
            kept.append(one)
    if len(kept) < least:
        raise NothingToLearn(f"{who} {least} lessons for training, there are {len(kept)}")
    return kept[::-1]


def learner(name: str) -> Learner:
    """Import a learner of LADDER. Raises ConfigError on another name."""
    if name not in LADDER:
        raise ConfigError(f"params.yaml: learn.ladder names {name!r}; there are: {', '.join(LADDER)}")
    module, _, function = LADDER[name].partition(":")
    made: Learner = getattr(importlib.import_module(module), function)
    return made
