"""Answers given before, found again for a question that asks the same: a paraphrase hits, another intent does not.

A question hits when it is near (cosine) to one that was answered under the same key *and* names the same things: numbers,
negations, identifiers and names. The key holds all an answer depends on (workspace, rights, release, live documents,
model, prompt, sampling), so that a swap, an upload or another user's rights never meet an old answer.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from .types import Answer, Vectors

_NEGATION = frozenset(
    "no not never without cannot neither nor none except unless isn don doesn won can't".split()  # noqa: SIM905
)
_ASKING = frozenset(
    """a an and are as at be by can could do does did for from how i i'd in is it may me of on or please should that the
    this to was were what when where which who whom whose why will with would you your""".split()  # noqa: SIM905
)
_CONTRARY = frozenset(
    """before after first last minimum maximum min max increase decrease enable disable start stop open close add remove
    delete create read write encode decode load dump import export encrypt decrypt compress decompress sync async more
    less longest shortest largest smallest highest lowest best worst oldest newest left right up down earliest
    latest""".split()  # noqa: SIM905
)
_WORD = re.compile(r"[\w.+#'-]*\w")


def names(question: str) -> frozenset[str]:
    """What two questions must share to mean the same: numbers, identifiers, capitalised names, negations, opposites.

    Words of the beginning count as names only where they are written as one elsewhere than by rule.
    """
    found = set()
    for place, word in enumerate(_WORD.findall(question)):
        low = word.lower()
        if low in _ASKING:
            continue
        if (
            any(c.isdigit() for c in word)
            or any(c in "_.+#" for c in word)
            or low in _NEGATION
            or low in _CONTRARY
            or (place and word[0].isupper())
            or any(c.isupper() for c in word[1:])
        ):
            found.add(low.removesuffix("'s"))
    return frozenset(found)


@dataclass(slots=True)
class _Shelf:
    """The answers of one key, oldest first."""

    questions: list[str] = field(default_factory=list)
    named: list[frozenset[str]] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


class AnswerCache:
    """At most `size` answers of all keys together; the key used longest ago goes first. Safe to share between threads."""

    def __init__(self, *, threshold: float, size: int) -> None:
        self._threshold, self._size = threshold, size
        self._shelves: OrderedDict[tuple[Any, ...], _Shelf] = OrderedDict()
        self._lock = Lock()
        self.hits = self.misses = 0

    def find(self, key: tuple[Any, ...], question: str, vector: Vectors) -> Answer | None:
        """Return what was answered to the same question, None when nothing was; `vector` is its unit vector (dim,)."""
        with self._lock:
            shelf = self._shelves.get(key)
            at = self._nearest(shelf, question, vector) if shelf else None
            if shelf is None or at is None:
                self.misses += 1
                return None
            self.hits += 1
            self._shelves.move_to_end(key)
            return shelf.answers[at]

    def _nearest(self, shelf: _Shelf, question: str, vector: Vectors) -> int | None:
        cosines = np.stack(shelf.vectors) @ vector
        asked = names(question)
        for at in np.argsort(-cosines, kind="stable"):
            if cosines[at] < self._threshold:
                return None
            if shelf.named[at] == asked:
                return int(at)
        return None

    def keep(self, key: tuple[Any, ...], question: str, vector: Vectors, answer: Answer) -> None:
        """Keep a whole answer that went as usual; any other, or one that used tools, must not be given twice."""
        usual = all(flag == "rerank-skipped" or flag.startswith("glossary:") for flag in answer.flags)
        if not usual or answer.reason or answer.unsupported or answer.calls:
            return
        with self._lock:
            shelf = self._shelves.setdefault(key, _Shelf())
            self._shelves.move_to_end(key)
            if question in shelf.questions:
                return
            shelf.questions.append(question)
            shelf.named.append(names(question))
            shelf.vectors.append(vector)
            shelf.answers.append(answer)
            self._trim()

    def _trim(self) -> None:
        while sum(len(shelf.answers) for shelf in self._shelves.values()) > self._size:
            oldest = next(iter(self._shelves.values()))
            for column in (oldest.questions, oldest.named, oldest.vectors, oldest.answers):
                del column[0]
            if not oldest.answers:
                self._shelves.popitem(last=False)

    def clear(self, workspace: str = "") -> None:
        """Forget everything, or all of a workspace, which keys begin with: a swap, an erasure."""
        with self._lock:
            for key in [key for key in self._shelves if not workspace or key[0] == workspace]:
                del self._shelves[key]

    def __len__(self) -> int:
        return sum(len(shelf.answers) for shelf in self._shelves.values())
