"""Which questions are the same, and which are those of an evaluation.

Two questions are as alike as their sets of content terms (stemmed, stop words left out) and of pairs of such terms in
order: "how do I parse JSON?" is "parsing JSON", "convert a list to a string" is not "convert a string to a list".
Whatever is decided here about a question is not decided otherwise when later ones come.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ragkeep.analysis import terms
from ragkeep.types import content_id
from tasks.near_duplicates import HASHES, Hashes, Shingles, jaccard, rows_a_band, shingles, signatures

CROWD = 20
"""Of many questions that share a band, each is compared with the first so many."""
_BATCH = 4096
_MIXER = np.uint64(0x9E3779B97F4A7C15)


def normalised(question: str) -> str:
    """What two spellings of a question have in common: its words, case and punctuation aside."""
    return " ".join("".join(c if c.isalnum() else " " for c in question.casefold()).split())


def canonical(question: str) -> str:
    """The content terms of a question, sorted, each once; of one that has none, its words."""
    return " ".join(sorted(set(terms(question)))) or normalised(question)


def share(kind: str, text: str) -> float:
    """Place a text between 0 and 1 by its hash: the same everywhere and for ever."""
    return int(content_id("trainset", kind, text)[:13], 16) / 16**13


class Likeness:
    """Turns questions into sets that can be held against each other."""

    def __init__(self) -> None:
        self._words = Hashes()

    def of(self, question: str) -> Shingles:
        """Sorted distinct hashes of terms and of pairs of neighbouring terms; of words where there are no terms."""
        content = " ".join(terms(question)) or normalised(question)
        found: Shingles = np.union1d(shingles(content, self._words, 1), shingles(content, self._words, 2))
        return found


class Known:
    """Questions that must not be learned from; `near(question)` says how near the nearest of them is."""

    def __init__(self, questions: Iterable[str], likeness: Likeness) -> None:
        self._likeness = likeness
        self._sizes: list[int] = []
        self._holding: dict[int, list[int]] = defaultdict(list)
        for question in questions:
            found = likeness.of(question)
            for one in found.tolist():
                self._holding[one].append(len(self._sizes))
            self._sizes.append(len(found))

    def near(self, question: str) -> float:
        """Return the highest likeness to any of them, 0..1."""
        if not self._sizes:
            return 0.0
        asked = self._likeness.of(question)
        shared = Counter(known for one in asked.tolist() for known in self._holding.get(one, ()))
        return max((n / (len(asked) + self._sizes[known] - n) for known, n in shared.items()), default=0.0)


def leaders(questions: Sequence[str], threshold: float, likeness: Likeness) -> list[int]:
    """Say of each question which earlier one it repeats, itself where none: leaders repeat nobody.

    A question joins the leader it is most like, from `threshold` on. Questions that come later change nothing for those
    before them.
    """
    chosen = list(range(len(questions)))
    candidates: dict[int, list[int]] = defaultdict(list)
    for a, b in sorted(_pairs(_signed(questions, likeness), rows_a_band(threshold))):
        candidates[b].append(a)
    for b, earlier in sorted(candidates.items()):
        mine = likeness.of(questions[b])
        found = [(jaccard(likeness.of(questions[a]), mine), -a) for a in earlier if chosen[a] == a]
        best, first = max(found, default=(0.0, 0))
        if best >= threshold:
            chosen[b] = -first
    return chosen


def _signed(questions: Sequence[str], likeness: Likeness) -> NDArray[np.uint32]:
    parts = [np.zeros((0, HASHES), np.uint32)]
    for at in range(0, len(questions), _BATCH):
        parts.append(signatures([likeness.of(question) for question in questions[at : at + _BATCH]]))
    return np.concatenate(parts)


def _pairs(signed: NDArray[np.uint32], rows: int) -> set[tuple[int, int]]:
    """Pairs (earlier, later) that agree on a whole band of their signatures."""
    found: set[tuple[int, int]] = set()
    for at in range(0, signed.shape[1], rows):
        band = np.zeros(len(signed), np.uint64)
        for column in signed[:, at : at + rows].T:
            band = (band ^ column) * _MIXER
            band ^= band >> np.uint64(29)
        for group in _groups(band):
            for n, later in enumerate(group):
                found.update((earlier, later) for earlier in group[: min(n, CROWD)])
    return found


def _groups(band: NDArray[np.uint64]) -> Iterator[list[int]]:
    """Yield the numbers of the rows that are equal, in order, where there is more than one."""
    if not len(band):
        return
    order = np.argsort(band, kind="stable")
    edges = np.flatnonzero(band[order][1:] != band[order][:-1]) + 1
    bounds = [0, *edges.tolist(), len(order)]
    for start, stop in pairwise(bounds):
        if stop - start > 1:
            yield order[start:stop].tolist()
