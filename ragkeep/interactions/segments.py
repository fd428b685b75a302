"""Segments of the interaction log on disk: framed records, the footer that seals them, and an index by answer.

A segment is named by its first sequence number: `<first>.open` while it is written, `<first>.log` once sealed, with
`<first>.idx` beside it, which can be made again at any time. A frame is a header (magic, CRC-32 of all that follows,
length, synced, sequence number, key of the answer id; little-endian, 32 bytes) and a payload of JSON. `synced` says how
many bytes of the file were durable when the frame was written: that tells damage to what had been acknowledged from a
tail that a power cut left torn. JSON holds no control characters, so a frame's magic never occurs inside a payload.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from ..errors import LogDamaged
from ..files import fsync_dir
from .index import write_index

RECORD, FOOTER = b"RKr\x01", b"RKf\x01"
HEAD = struct.Struct("<4sIIIQQ")
CHECKED = struct.Struct("<IIQQ")
SEALED = struct.Struct("<QQQ32s")
MAX_RECORD = 16 * 2**20


class Frame(NamedTuple):
    """A whole frame at `offset` of its file; the next one begins at `end`."""

    offset: int
    end: int
    footer: bool
    seq: int
    key: int
    synced: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """What a sealed segment's footer says: sequence numbers first to last, and the BLAKE3 of the bytes before it."""

    path: Path
    count: int
    first: int
    last: int
    digest: str


def answer_key(answer: str) -> int:
    """Hash an answer id to the 64 bits that frames and indexes carry; 0 for none."""
    return int.from_bytes(blake3(answer.encode()).digest(8), "little") | 1 if answer else 0


def encode(seq: int, key: int, payload: bytes, *, synced: int, magic: bytes = RECORD) -> bytes:
    """Make the bytes of one frame."""
    checked = CHECKED.pack(len(payload), synced, seq, key)
    return b"".join((magic, zlib.crc32(payload, zlib.crc32(checked)).to_bytes(4, "little"), checked, payload))


def frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the whole frames of a file in order; bytes that are none show as an offset past the last end."""
    offset: int | None = 0
    file.seek(0)
    while offset is not None:
        found = _frame(file, offset)
        if found is None:
            offset = _resync(file, offset + 1)
            file.seek(offset or 0)
            continue
        yield found
        offset = found.end


def frame_at(file: BinaryIO, offset: int) -> Frame | None:
    """Read the frame at an offset, None where there is no whole one."""
    file.seek(offset)
    return _frame(file, offset)


def _frame(file: BinaryIO, offset: int) -> Frame | None:
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    magic, crc, length, synced, seq, key = HEAD.unpack(head)
    if (magic != RECORD and magic != FOOTER) or length > MAX_RECORD:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[8:])) != crc:
        return None
    return Frame(offset, offset + HEAD.size + length, magic == FOOTER, seq, key, synced, payload)


def _resync(file: BinaryIO, offset: int) -> int | None:
    """Find where the next whole frame begins, at or after an offset."""
    file.seek(offset)
    window = file.read(2**20)
    while len(window) >= HEAD.size:
        at = window.find(b"RK")
        while at >= 0:
            if window[at : at + 4] in (RECORD, FOOTER) and frame_at(file, offset + at):
                return offset + at
            at = window.find(b"RK", at + 1)
        offset += len(window) - 3
        file.seek(offset)
        window = file.read(2**20)
    return None


def sealed_paths(folder: Path) -> list[Path]:
    """List the sealed segments, oldest first."""
    return sorted(folder.glob("[0-9]*.log"))


def open_paths(folder: Path) -> list[Path]:
    """List segments that are not sealed: none, or the one being written."""
    return sorted(folder.glob("[0-9]*.open"))


def first_of(path: Path) -> int:
    """Read the first sequence number from a segment's name."""
    return int(path.stem)


def footer(path: Path) -> Segment:
    """Read the footer of a sealed segment. Raises LogDamaged where it is not whole."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END) - HEAD.size - SEALED.size
        found = frame_at(file, at) if at >= 0 else None
    if found is None or not found.footer:
        raise LogDamaged(f"{path}: the footer is damaged; read with skip_damaged=True to go on past it")
    count, first, last, digest = SEALED.unpack(found.payload)
    return Segment(path, count, first, last, digest.hex())


def last_seq(path: Path) -> int:
    """Find the last sequence number of a segment, also of a damaged one."""
    try:
        return footer(path).last
    except LogDamaged:
        with path.open("rb") as file:
            return max((f.seq for f in frames(file) if not f.footer), default=first_of(path) - 1)


def seal_bytes(count: int, first: int, last: int, digest: bytes) -> bytes:
    """Make the footer's frame."""
    return encode(last, 0, SEALED.pack(count, first, last, digest), synced=0, magic=FOOTER)


class ActiveSegment:
    """The segment being written. One thread uses it; an OSError leaves it torn until `cut` succeeds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = self.next = first_of(path)
        self.end = self.count = 0
        self.damaged = False
        self.places: dict[int, list[int]] = {}
        self._hash = blake3()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @classmethod
    def create(cls, folder: Path, first: int) -> ActiveSegment:
        """Start an empty segment, durably."""
        made = cls(folder / f"{first:020d}.open")
        try:
            os.ftruncate(made._fd, 0)
            fsync_dir(folder)
        except OSError:
            made.close()
            raise
        return made

    @classmethod
    def recover(cls, path: Path) -> ActiveSegment | None:
        """Open what a crash left: cut the torn tail off, or finish the sealing (then None)."""
        found = cls(path)
        with path.open("rb", buffering=2**20) as file:
            kept, sealed = _recoverable(file)
            found.end = sealed.offset if sealed else kept
            found._index(file)
            found._rehash(file)
        if sealed:
            found._rename()
            return None
        found.cut()
        if found.damaged:
            found.seal()
            return None
        return found

    def add(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Append (key, payload) pairs; durable on return. Raises OSError: nothing of them counts, `cut` comes next."""
        data, places, at = [], [], self.end
        for seq, (key, payload) in enumerate(records, self.next):
            data.append(encode(seq, key, payload, synced=self.end))
            places.append((key, at))
            at += len(data[-1])
        joined = b"".join(data)
        self._write(joined)
        self._hash.update(joined)
        for key, place in places:
            self.places.setdefault(key, []).append(place)
        self.end, self.next, self.count = at, self.next + len(records), self.count + len(records)

    def cut(self) -> None:
        """Take off what was written after the last durable record."""
        if not self.renamed:
            os.ftruncate(self._fd, self.end)
            os.fsync(self._fd)

    @property
    def renamed(self) -> bool:
        """Whether it has its sealed name already, though perhaps not durably: only `seal` may follow."""
        return self.path.suffix == ".log"

    def probe(self) -> None:
        """Raise OSError unless a page can be written durably; the file is left as it was."""
        self.cut()
        self._write(bytes(4096))
        self.cut()

    def seal(self) -> Path:
        """Write the footer and take the name of a sealed segment, durably; may be repeated after an OSError."""
        if not self.renamed:
            self._write(seal_bytes(self.count, self.first, self.next - 1, self._hash.digest()))
        return self._rename()

    def close(self) -> None:
        """Close the file; what was added stays."""
        os.close(self._fd)

    def discard(self) -> None:
        """Remove a segment without records."""
        self.path.unlink()
        self.close()

    def _write(self, data: bytes) -> None:
        view, at = memoryview(data), self.end
        while view:
            done = os.pwrite(self._fd, view, at)
            view, at = view[done:], at + done
        os.fdatasync(self._fd)

    def _rename(self) -> Path:
        os.fsync(self._fd)
        sealed = self.path = self.path.rename(self.path.with_suffix(".log"))
        fsync_dir(sealed.parent)
        self.close()
        write_index(sealed, self._hash.digest(), ((k, at) for k, some in self.places.items() for at in some))
        return sealed

    def _index(self, file: BinaryIO) -> None:
        end, expected = 0, self.first
        for frame in frames(file):
            if frame.offset >= self.end:
                break
            self.damaged |= frame.offset != end or frame.seq != expected
            end, expected = frame.end, frame.seq + 1
            self.count, self.next = self.count + 1, frame.seq + 1
            self.places.setdefault(frame.key, []).append(frame.offset)

    def _rehash(self, file: BinaryIO) -> None:
        file.seek(0)
        left = self.end
        while left and (data := file.read(min(left, 2**20))):
            self._hash.update(data)
            left -= len(data)


def _recoverable(file: BinaryIO) -> tuple[int, Frame | None]:
    """Find how much of an unsealed segment counts, and its footer where only the renaming was missing.

    A gap that a later frame knew to be durable is damage and is kept; any other is where a crash tore the file. The
    footer is written when all before it is durable.
    """
    end, gaps = 0, list[int]()
    for frame in frames(file):
        if frame.offset != end:
            gaps.append(end)
        if frame.footer:
            return frame.offset, frame
        gaps = [gap for gap in gaps if gap >= frame.synced]
        end = frame.end
    return (gaps[0] if gaps else end), None
