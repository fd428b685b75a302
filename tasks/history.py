"""The interaction log as the learning side needs it: what was asked and shown, and what people did with it.

Records come one at a time, in the order of their sequence numbers and of nothing else: clocks jump. What is kept of each
is small, so that a window of a million records stays well below 2 GB (`python -m benchmarks.learning.trainset_size`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ragkeep.interactions import impressions, read
from ragkeep.interactions.segments import last_seq, sealed_paths
from ragkeep.types import Interaction

SHOWN = 50
"""Sources kept of an answer; nobody scrolls further."""


class Place(NamedTuple):
    """Where a chunk stood when it was shown: its id, and should that be gone, its characters `start` to `end`."""

    chunk: str
    workspace: str
    uri: str
    start: int
    end: int


class Act(NamedTuple):
    """What a user did with an answer; `place` is what was opened (-1: none), `value` a vote's."""

    seq: int
    user: str
    kind: str
    rank: int = 0
    place: int = -1
    value: int = 0
    text: str = ""


@dataclass(slots=True)
class Asked:
    """An answer: who asked what, the places shown by rank, the ranks cited, and the question before it (-1: none).

    `reformulates` says that the asker's program called it another wording of the one before.
    """

    seq: int
    user: str
    workspace: str
    question: str
    shown: tuple[int, ...]
    cited: tuple[int, ...]
    before: int
    reformulates: bool = False


@dataclass(slots=True)
class History:
    """The window: answers in order, the places they showed, the acts on each answer by its number."""

    answers: list[Asked] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    acts: dict[int, list[Act]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    first: int = 0
    last: int = 0
    simulated: int = 0
    on_unknown: int = 0
    longest_run: dict[str, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Let go of what was said, and keep the counts."""
        self.answers, self.places, self.acts = [], [], {}

    @property
    def records(self) -> int:
        """How many records were read."""
        return sum(self.kinds.values())


def window_start(folder: Path, window: int) -> int:
    """Return the sequence number after which the newest `window` records come."""
    sealed = sealed_paths(folder)
    return max(0, last_seq(sealed[-1]) - window) if sealed else 0


def read_history(folder: Path, window: int) -> History:
    """Read the sealed part of the log, its newest `window` numbers; damage is logged and read past."""
    start = window_start(folder, window)
    return build(read(folder, after=start, sealed=True, skip_damaged=True))


def build(records: Iterable[Interaction]) -> History:
    """Take in records in order.

    What a challenger computed in the shadow is left out. Answers with interleaved sources are taken like all others: the
    ranks are those that people saw, whichever side chose what stood there.
    """
    made, reader = History(), _Reader()
    for record in records:
        if record.kind == "shadow":  # nobody saw it
            continue
        made.first = made.first or record.seq
        made.last = record.seq
        made.kinds[record.kind] += 1
        made.simulated += record.user.startswith("sim:")
        if record.kind == "answer":
            reader.answer(made, record)
        elif record.kind != "erase":
            reader.act(made, record)
    return made


class _Reader:
    """What is needed only while reading: names to numbers."""

    def __init__(self) -> None:
        self._places: dict[Place, int] = {}
        self._answers: dict[str, int] = {}
        self._last: dict[tuple[str, str, str], int] = {}
        self._words: dict[str, str] = {}
        self._runs: dict[str, tuple[int, str]] = {}

    def answer(self, made: History, record: Interaction) -> None:
        number, payload = len(made.answers), record.payload
        session = (record.workspace, record.user, record.session)
        shown = tuple(self._numbered(made, record))
        before = self._last.get(session, -1)
        question = payload["rewritten"] or payload["question"]
        made.answers.append(
            Asked(
                record.seq, self._one(record.user), self._one(record.workspace), self._one(question), shown,
                tuple(rank for rank in payload["cited"] if rank <= len(shown)),
                self._answers.get(payload["reformulates"] or "", before), bool(payload["reformulates"]),
            )
        )  # fmt: skip
        self._answers[record.answer] = self._last[session] = number
        self._runs.pop(record.user, None)

    def _numbered(self, made: History, record: Interaction) -> Iterator[int]:
        for one in impressions(record)[:SHOWN]:
            place = Place(self._one(one.chunk), self._one(record.workspace), self._one(one.uri), *one.span)
            number = self._places.setdefault(place, len(self._places))
            if number == len(made.places):
                made.places.append(place)
            yield number

    def act(self, made: History, record: Interaction) -> None:
        """Keep an act on an answer of the window; one on an answer that is older or erased teaches nothing."""
        about = self._answers.get(record.answer)
        if about is None or made.answers[about].workspace != record.workspace:
            made.on_unknown += 1
            return
        payload, shown = record.payload, made.answers[about].shown
        rank = payload.get("rank", 0)
        place = shown[rank - 1] if 0 < rank <= len(shown) else -1
        if place >= 0 and made.places[place].chunk != payload["chunk"]:
            place = -1  # a click on what was not there
        said = Act(
            record.seq, self._one(record.user), record.kind, rank, place, payload.get("value", 0),
            payload.get("text", ""),
        )  # fmt: skip
        made.acts.setdefault(about, []).append(said)
        self._count_run(made, record)

    def _count_run(self, made: History, record: Interaction) -> None:
        """Count on how many answers in a row a user acted without asking anything."""
        run, last = self._runs.get(record.user, (0, ""))
        run += record.answer != last
        self._runs[record.user] = (run, record.answer)
        made.longest_run[record.user] = max(run, made.longest_run.get(record.user, 0))

    def _one(self, text: str) -> str:
        """The same object for the same text: users, chunks and questions come again and again."""
        return self._words.setdefault(text, text)
