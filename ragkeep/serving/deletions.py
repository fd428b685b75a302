"""Deletions, written down before they begin: a server that is killed in the middle of one finishes it when it starts.

with deletions.noted("document", asdict(record)): ...     # the note goes when all is deleted
for note in deletions.open(): ...                         # at the start: what was cut short
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..errors import NotFound
from ..files import fsync_dir, read_json, write_json
from ..types import content_id

What: TypeAlias = Literal["document", "workspace", "session"]


@dataclass(frozen=True, slots=True)
class Note:
    """A deletion that is to be finished: `value` is the document's record, the workspace's id, or whose session it is."""

    what: What
    value: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{content_id(self.what, self.value['id'])}.json"


class Deletions:
    """The notes of one project, a file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> list[Note]:
        """Return the deletions that were not finished. Blocks."""
        return [Note(**read_json(path)) for path in sorted(self._folder.glob("*.json"))]

    @contextmanager
    def noted(self, what: What, value: dict[str, Any]) -> Iterator[None]:
        """Write down what is being deleted; the note stays where that fails, unless there was nothing to delete."""
        note = Note(what, value)
        write_json(self._folder / note.name, asdict(note))
        with self.finishing(note):
            yield

    @contextmanager
    def finishing(self, note: Note) -> Iterator[None]:
        """Forget a note once its deletion is done."""
        try:
            yield
        except NotFound:
            self._forget(note)
            raise
        self._forget(note)

    def _forget(self, note: Note) -> None:
        (self._folder / note.name).unlink(missing_ok=True)
        fsync_dir(self._folder)
