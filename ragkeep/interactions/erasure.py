"""Erase a user, a session or a document from the log, so that its text is gone from the disk.

The order makes it safe to kill anywhere: the erasure is written down (`erasing.json`), its tombstone appended, the
segment being written sealed, every sealed segment with something of it written anew and swapped, the note removed.
The next open of the log finishes what it finds noted; until then readers leave out what the note names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, get_args

import orjson
from blake3 import blake3

from ..errors import LogDamaged
from ..files import fsync_dir, read_json, replacing, write_json
from ..types import Interaction, content_id
from .records import decode_record, now, shell
from .segments import answer_key, encode, first_of, frames, last_seq, seal_bytes

What: TypeAlias = Literal["user", "session", "document"]
NOTE = "erasing.json"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What goes: `value` is a user's or session's id, or a document's uri; in one workspace, or in all (None).

    Session ids are chosen by clients, so that two people may use the same: a session is erased for its `user`.
    """

    what: What
    value: str
    workspace: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        if self.what not in get_args(What) or not self.value:
            raise ValueError(f"cannot erase {self.what!r}: name a {', '.join(get_args(What))}, and which one")
        if (self.what == "session") != bool(self.user):
            raise ValueError(f"cannot erase a {self.what} of user {self.user!r}: a session, and it alone, needs its user")

    def takes(self, record: Interaction, answers: set[str]) -> bool:
        """Whether a record goes; records are shown in order, and `answers` collects the answers that went.

        With a user go all their records, with a session all its user's in it, with a document every answer that showed
        it and every click on it; with an answer goes all that refers to it, whoever it is from. Tombstones stay.
        """
        if record.kind == "erase" or (self.workspace and record.workspace != self.workspace):
            return False
        goes = record.answer in answers or self._names(record)
        if goes and record.kind == "answer":
            answers.add(record.answer)
        return goes

    def _names(self, record: Interaction) -> bool:
        if self.what == "user":
            return record.user == self.value
        if self.what == "session":
            return record.session == self.value and record.user == self.user
        rows = (record.payload, *record.payload.get("shown", ()))
        return any(row.get("uri") == self.value for row in rows)

    def tombstone(self) -> Interaction:
        """Make the record of the erasure; a person is named by a hash only."""
        value = self.value if self.what == "document" else content_id(self.what, self.value)
        payload = {"what": self.what, "value": value}
        return Interaction(0, now(), "erase", self.workspace or "", "", "", "", "", payload)


def pending(folder: Path) -> Erasure | None:
    """Read the note of an erasure that is not finished."""
    row = read_json(folder / NOTE)
    return Erasure(**row) if row else None


def note(folder: Path, erasure: Erasure) -> None:
    """Write down, durably, that an erasure is to be finished."""
    write_json(folder / NOTE, asdict(erasure))


def forget(folder: Path) -> None:
    """Remove the note of a finished erasure, durably."""
    (folder / NOTE).unlink(missing_ok=True)
    fsync_dir(folder)


def rewrite(path: Path, erasure: Erasure, tombstone: int, answers: set[str]) -> list[int]:
    """Put shells in place of what an erasure takes from a sealed segment; return the sequence numbers taken.

    Segments come in order and share `answers`. Raises OSError; then the segment is as it was.
    """
    with path.open("rb", buffering=2**20) as file:
        taken, torn = _taken(file, erasure, answers)
        if not taken and not torn:
            return []
        with replacing(path) as new:
            _copy(path, file, new, set(taken), tombstone)
    return taken


def _taken(file: BinaryIO, erasure: Erasure, answers: set[str]) -> tuple[list[int], bool]:
    """Find what goes, and whether damaged bytes hold the name of it."""
    needle, keys = orjson.dumps(erasure.value), {answer_key(answer) for answer in answers}
    taken, torn, end = list[int](), False, 0
    for frame in frames(file):
        if frame.offset != end:
            torn |= needle in _between(file, end, frame.offset)
            file.seek(frame.end)
        end = frame.end
        record = decode_record(frame.seq, frame.payload) if needle in frame.payload or frame.key in keys else None
        if record and erasure.takes(record, answers):
            taken.append(frame.seq)
            keys |= {frame.key} if record.kind == "answer" else set()
    return taken, torn or needle in _between(file, end, None)


def _between(file: BinaryIO, start: int, stop: int | None) -> bytes:
    file.seek(start)
    return file.read() if stop is None else file.read(stop - start)


def _copy(path: Path, file: BinaryIO, new: Path, taken: set[int], tombstone: int) -> None:
    """Write a segment anew with the same sequence numbers, and check it. Damaged records become shells too."""
    digest, count, last = blake3(), 0, last_seq(path)
    with new.open("wb", buffering=2**20) as out:
        for seq, key, payload in _filled(file, first_of(path), last, tombstone):
            gone = seq in taken
            data = encode(seq, 0 if gone else key, shell(tombstone) if gone else payload, synced=0)
            out.write(data)
            digest.update(data)
            count += 1
        out.write(seal_bytes(count, first_of(path), last, digest.digest()))
    with new.open("rb", buffering=2**20) as written:
        whole = [frame.seq for frame in frames(written) if not frame.footer]
    if whole != list(range(first_of(path), last + 1)):
        raise LogDamaged(f"{path}: what was written anew does not hold every record; the old file stays")


def _filled(file: BinaryIO, first: int, last: int, tombstone: int) -> Iterator[tuple[int, int, bytes]]:
    file.seek(0)
    expected = first
    for frame in frames(file):
        upto = last + 1 if frame.footer else frame.seq
        yield from ((seq, 0, shell(tombstone)) for seq in range(expected, upto))
        if frame.footer:
            return
        yield frame.seq, frame.key, frame.payload
        expected = frame.seq + 1
    yield from ((seq, 0, shell(tombstone)) for seq in range(expected, last + 1))
