"""A glossary: which words of the users stand for which words of the documents, learned from what they took.

People call things by names that no document and no model ever read. Where such a word comes up in question after
question, the passages taken for an answer hold what it stands for more often than passages do, and no other word of those
questions explains it. That is a translation table from questions to passages, found by expectation maximisation: IBM
model 1 (Brown et al. 1993, section 4.1) with a null word, as Berger and Lafferty (1999, section 3) have it for retrieval.

A workspace's words are learned from its own people and for them alone, and never from one account where it has more: one
person's private name for something is nobody else's business. An entry stays only where the evidence is more than chance
(log-likelihood ratio, Dunning 1993, section 4). Words that the passages use as often as the questions do are left alone:
they work. It serves both legs, needs no model and no new index, and can be read: the card says of each entry how many
questions speak for it.
"""

from __future__ import annotations

import math
import re
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragkeep.analysis import terms

from ..lessons import Lesson, TrainingSet
from . import Base, Learned, NothingToLearn, usable

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One table for every set.

    A word is looked into that is in `often` lessons and in a share of all passages below `rare` times its share of the
    questions. `null` weighs the null word; an entry needs `strength` of log-likelihood, and to explain `share` of the
    lessons with its word, at least two of them, over two passages.
    """

    rounds: int = 8
    often: int = 3
    rare: float = 0.2
    null: float = 2.0
    strength: float = 15.0
    share: float = 0.2
    least: int = 30
    most: int = 4000
    words: int = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """A word of questions, what it means, how many lessons have it, in how many of those the answer holds the meaning."""

    workspace: str
    word: str
    means: str
    lessons: int
    found: int
    strength: float


def learn(
    lessons: TrainingSet,
    base: Base,
    out: Path,  # noqa: ARG001 - see Learner; there is nothing to write
    *,
    seed: int,
    tick: Callable[[int, int], None],
) -> Learned:
    """Find the words that stand for others. See `learners.Learner`; writes no files, takes seconds."""
    began, recipe = time.process_time(), Recipe()
    chosen = usable(lessons, "a glossary needs", least=recipe.least, most=recipe.most)
    held = {chunk: frozenset(terms(text)) for chunk, text in lessons.texts.items()}
    entries, words = list[Entry](), dict[str, dict[str, str]]()
    for workspace in sorted({lesson.workspace for lesson in chosen}):
        own = [lesson for lesson in chosen if lesson.workspace == workspace]
        if len(own) >= recipe.least and (found := find(own, lessons.texts, held, recipe, tick)):
            entries += found
            words[workspace] = {one.word: one.means for one in found}
    if not entries:
        raise NothingToLearn("no word of the questions stands for another one of the documents")
    card = {
        "learner": "glossary", "base": base.embedder.fingerprint, "training_set": lessons.sha, "lessons": len(chosen),
        "seed": seed, "recipe": asdict(recipe), "entries": [asdict(one) for one in entries],
        "cpu_s": round(time.process_time() - began, 3),
    }  # fmt: skip
    return Learned("glossary", retrieve={"words": words}, card=card)


def find(
    lessons: Sequence[Lesson], texts: Mapping[str, str], held: Mapping[str, frozenset[str]], recipe: Recipe,
    tick: Callable[[int, int], None],
) -> list[Entry]:  # fmt: skip
    """Return the entries that lessons of one workspace speak for, the strongest first; `held` has the texts' terms."""
    spread = Counter(term for has in held.values() for term in has)
    asked = [frozenset(terms(lesson.question)) for lesson in lessons]
    rows = [(n, chunk) for n, one in enumerate(lessons) for chunk in sorted(one.gains) if _counts(one, chunk, held)]
    count = Counter(term for n, _ in rows for term in asked[n])
    foreign = {w for w, n in count.items()
               if n >= recipe.often and spread[w] / len(held) < recipe.rare * n / len(rows)}  # fmt: skip
    if not foreign:
        return []
    known = {word for word, n in count.items() if n >= recipe.often}
    table = _Table(rows, asked, held, known, {term for term, n in spread.items() if n > 1})
    expected = table.fit(spread, recipe, tick)
    spelled = _spellings(one.question for one in lessons)
    meant = _spellings(texts[chunk] for chunk in sorted({chunk for _, chunk in rows}))
    enough = min(2, len({name for lesson in lessons for name in lesson.accounts}))
    found = []
    for pair in _best(table, expected, foreign):
        word, means = table.pairs[pair]
        among, with_it = count[word], int(table.found[pair])
        strength = _evidence(with_it, among, spread[means] / len(held))
        explained = expected[pair] >= max(2.0, recipe.share * among) and table.passages[pair] > 1
        if not (explained and strength >= recipe.strength and word in spelled and means in meant):
            continue
        speak = {name for n, chunk in rows if word in asked[n] and means in held[chunk] for name in lessons[n].accounts}
        if len(speak) >= enough:
            entry = Entry(lessons[0].workspace, spelled[word], meant[means], among, with_it, round(strength, 1))
            found.append(entry)
    return sorted(found, key=lambda one: (-one.strength, one.word))[: recipe.words]


def _counts(lesson: Lesson, chunk: str, held: Mapping[str, frozenset[str]]) -> bool:
    return lesson.gains[chunk] > 0 and chunk in held


class _Table:
    """What could explain what: a cell is a term of one answer that its question lacks; its pairs, each word beside it.

    Of the questions those in `known` are words, of the answers those in `twice` are terms: one passage alone shows no
    meaning. `found` counts the answers a pair was seen in, `passages` how many different ones.
    """

    def __init__(
        self, rows: Sequence[tuple[int, str]], asked: Sequence[frozenset[str]], held: Mapping[str, frozenset[str]],
        known: set[str], twice: set[str],
    ) -> None:  # fmt: skip
        numbers: dict[tuple[str, str], int] = {}
        pair, cell, place = array("q"), array("q"), array("q")
        self.cells, self.beside = list[str](), array("q")
        places = {chunk: at for at, chunk in enumerate(sorted({chunk for _, chunk in rows}))}
        for n, chunk in rows:
            words = sorted(asked[n] & known)
            for term in sorted(held[chunk] & twice - asked[n]) if words else ():
                for word in words:
                    number = numbers.setdefault((word, term), len(numbers))
                    pair.append(number)
                    cell.append(len(self.cells))
                    place.append(places[chunk])
                self.cells.append(term)
                self.beside.append(len(words))
        self.pairs = list(numbers)
        self._pair, self._cell = np.array(pair), np.array(cell)
        self.found = np.bincount(self._pair, minlength=len(self.pairs))
        apart = np.unique(self._pair * len(places) + np.array(place))
        self.passages = np.bincount(apart // len(places), minlength=len(self.pairs))

    def fit(self, spread: Mapping[str, int], recipe: Recipe, tick: Callable[[int, int], None]) -> NDArray[np.float64]:
        """Return the expected number of answers in which each pair is why its term is there."""
        null = recipe.null * np.array([spread[term] for term in self.cells]) / sum(spread.values())
        names: dict[str, int] = {}
        word = np.array([names.setdefault(one, len(names)) for one, _ in self.pairs])
        expected: NDArray[np.float64] = np.ones(len(self.pairs))
        for done in range(recipe.rounds):
            chance = expected / np.bincount(word, expected)[word]
            share = chance[self._pair] / np.array(self.beside)[self._cell]
            share /= (np.bincount(self._cell, share, len(self.cells)) + null)[self._cell]
            expected = np.bincount(self._pair, share, len(self.pairs)).astype(np.float64)
            tick(done + 1, recipe.rounds)
        return expected


def _best(table: _Table, expected: NDArray[np.float64], foreign: set[str]) -> list[int]:
    """For each foreign word its likeliest pair; of equals the first by name."""
    best: dict[str, int] = {}
    for number, (word, term) in enumerate(table.pairs):
        if word in foreign and term not in foreign:
            other = best.get(word)
            if other is None or (-expected[number], term) < (-expected[other], table.pairs[other][1]):
                best[word] = number
    return list(best.values())


def _evidence(found: int, among: int, usual: float) -> float:
    """Twice the log-likelihood ratio of `found` of `among` against a share of `usual`; 0 where it is not more."""
    share = found / among
    if share <= usual:
        return 0.0
    left = among - found
    other = left * math.log((1 - share) / (1 - usual)) if left else 0.0
    return 2 * (found * math.log(share / usual) + other)


def _spellings(texts: Iterable[str]) -> dict[str, str]:
    """How each single-term word is written most: term -> word in lower case; of equals the first by name."""
    counts: dict[str, Counter[str]] = {}
    for text in texts:
        for word in _WORD.findall(text):
            made = terms(word)
            if len(made) == 1:
                counts.setdefault(made[0], Counter())[word.casefold()] += 1
    return {term: min(found, key=lambda w: (-found[w], w)) for term, found in counts.items()}
