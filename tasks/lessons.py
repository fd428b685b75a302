"""What interactions teach, as files every learner reads: data/trainset/{lessons.jsonl, texts.jsonl, card.json}.

A lesson is a question and how sure its users made us that a chunk answers it. Lessons are split three ways: `train` is
what a learner may see, `select` is for choosing between what it made (an epoch, a fusion weight), `report` is for the
figure that is published and for nothing else. Where the log is thin, questions made from documents stand beside those of
users, for training alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ragkeep.errors import ConfigError
from ragkeep.files import read_json, read_rows, write_json, write_rows

LESSONS, TEXTS, CARD = "lessons.jsonl", "texts.jsonl", "card.json"
Split = Literal["train", "select", "report"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One question, and what its users did with what it found.

    `gains`: chunk id -> 0..1, how sure we are that it answers; `passed`: chunks that were shown above what was taken, or
    voted down. `users` is how many agree. `unseen` says, of a lesson not for training, that none for training has a
    gain in any of its documents. `seqs` are the records it was made of. `synthetic`: no user asked, a rule made it from
    its document; such a lesson is for training only. `accounts` are the pseudonyms of those who spoke. `shown` is all
    that stood before those who asked, of a lesson not for training: what is in neither was never there to be taken.
    """

    id: str
    question: str
    gains: dict[str, float]
    passed: tuple[str, ...] = ()
    workspace: str = "default"
    users: int = 1
    split: Split = "train"
    unseen: bool = False
    seqs: tuple[int, ...] = ()
    synthetic: bool = False
    accounts: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """All lessons, and the texts (`Chunk.embed_text`) of every chunk they name and of a sample of others.

    `card` says where they come from: counts, the window of sequence numbers, what was left out and why, and `simulated`
    where no person was asked. `sha` hashes lessons and texts.
    """

    lessons: tuple[Lesson, ...]
    texts: Mapping[str, str]
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        """The hash that models made of this set carry."""
        return str(self.card.get("sha", ""))

    def of(self, split: Split) -> list[Lesson]:
        """The lessons of one split, in order."""
        return [lesson for lesson in self.lessons if lesson.split == split]

    def asked(self) -> TrainingSet:
        """The set without what nobody asked: made-up questions share their passage's words, and so speak for BM25."""
        return replace(self, lessons=tuple(lesson for lesson in self.lessons if not lesson.synthetic))


def write_set(folder: Path, lessons: Iterable[Lesson], texts: Mapping[str, str], card: dict[str, Any]) -> None:
    """Write a training set; the card, which says that it is whole, comes last."""
    write_rows(folder / LESSONS, (asdict(lesson) for lesson in lessons))
    write_rows(folder / TEXTS, ({"chunk": chunk, "text": text} for chunk, text in sorted(texts.items())))
    write_json(folder / CARD, card)


def read_set(folder: Path) -> TrainingSet:
    """Read a training set. Raises ConfigError where there is none."""
    card = read_json(folder / CARD)
    if card is None:
        raise ConfigError(f"{folder} holds no training set: run `ragkeep learn`, or `dvc repro trainset`")
    lessons = tuple(_lesson(row) for row in read_rows(folder / LESSONS))
    texts = {row["chunk"]: row["text"] for row in read_rows(folder / TEXTS)}
    return TrainingSet(lessons, texts, card)


def _lesson(row: dict[str, Any]) -> Lesson:
    lists: dict[str, Any] = {name: tuple(row[name]) for name in ("passed", "seqs", "accounts", "shown") if name in row}
    return Lesson(**{**row, **lists})
