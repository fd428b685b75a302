"""Read the interaction log: as a stream for the learning side, or all that belongs to one answer.

Any process may read while another writes. Records that are not sealed yet may still be taken back by a full disk or a
power cut, before anyone was told that they were kept: what must not change is read with `sealed=True`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

from ..errors import LogDamaged
from ..types import Interaction
from .erasure import pending
from .index import places_of, read_index
from .records import decode_record, taken_by
from .segments import (
    Segment,
    answer_key,
    first_of,
    footer,
    frame_at,
    frames,
    last_seq,
    open_paths,
    sealed_paths,
)

log = logging.getLogger(__name__)


def segments(folder: Path) -> list[Segment]:
    """List the sealed segments, oldest first, each with its digest. Raises LogDamaged naming one without a footer."""
    return [footer(path) for path in sealed_paths(folder)]


def read(folder: Path, *, after: int = 0, sealed: bool = False, skip_damaged: bool = False) -> Iterator[Interaction]:
    """Yield the records with a sequence number above `after`, in order, one at a time; no log yields none.

    What was erased does not come: its numbers are missing. Raises LogDamaged, naming the segment, where records were
    lost; with `skip_damaged` that is logged and reading goes on with the next whole record.
    """
    erasure, erased = pending(folder), set[str]()
    for path in _paths(folder, 0 if erasure else after, sealed):
        for record in _records(path, skip_damaged, 0 if erasure else after):
            if erasure and erasure.takes(record, erased):
                continue
            if record.seq > after:
                yield record


def last_written(folder: Path) -> int:
    """Find the last sequence number in the log, sealed or not; 0 while there is none. Raises OSError."""
    try:
        return max(map(last_seq, [*open_paths(folder), *sealed_paths(folder)[-1:]]), default=0)
    except FileNotFoundError:  # sealed since it was listed
        return max(map(last_seq, sealed_paths(folder)[-1:]), default=0)


def erased_by(folder: Path, *tombstones: int) -> Iterator[int]:
    """Yield the sequence numbers of what erasures took, given their records': what was made of them knew of it."""
    wanted = set(tombstones)
    for path in sealed_paths(folder):
        with path.open("rb", buffering=2**20) as file:
            yield from (seq for seq, payload in _checked(path, file, True) if taken_by(payload) in wanted)


def _paths(folder: Path, after: int, sealed: bool) -> list[Path]:
    active = [] if sealed else open_paths(folder)  # listed first: one that is sealed meanwhile is in both lists
    paths = sealed_paths(folder)
    paths += [path for path in active if path.with_suffix(".log") not in paths]
    later = [first_of(path) for path in paths[1:]]
    return [path for path, following in zip_longest(paths, later) if following is None or following > after + 1]


def _records(path: Path, skip_damaged: bool, after: int) -> Iterator[Interaction]:
    with _opened(path) as file:
        for seq, payload in _checked(path, file, skip_damaged):
            record = decode_record(seq, payload) if seq > after else None
            if record:
                yield record


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=2**20)
    except FileNotFoundError:  # sealed since it was listed, or removed because it held nothing
        sealed = path.with_suffix(".log")
        return sealed.open("rb", buffering=2**20) if sealed.exists() else BytesIO()


def _checked(path: Path, file: BinaryIO, skip_damaged: bool) -> Iterator[tuple[int, bytes]]:
    """Yield sequence numbers and payloads of a segment, having checked that none is missing between them."""
    end, expected, whole = 0, first_of(path), False
    for frame in frames(file):
        gap = frame.offset != end or (frame.seq != expected and not frame.footer)
        if gap and path.suffix == ".open" and frame.synced <= end:
            return  # the torn tail of a crash that the writer has not seen to yet
        if gap:
            _damage(f"{path}: damaged between records {expected - 1} and {frame.seq}", skip_damaged)
        if frame.footer:
            whole = True
            break
        end, expected = frame.end, frame.seq + 1
        yield frame.seq, frame.payload
    if not whole and path.suffix == ".log":
        _damage(f"{path}: damaged after record {expected - 1}, its footer is missing", skip_damaged)


def _damage(what: str, skip: bool) -> None:
    if not skip:
        raise LogDamaged(f"{what}; restore the file, or read with skip_damaged=True to go on past it")
    log.warning(what)


def find(folder: Path, *answers: str) -> list[Interaction]:
    """Return the records of answers and all that refer to them, oldest first; an empty list where there is none."""
    return find_in(folder, answers, dict.fromkeys(open_paths(folder)))


def find_in(folder: Path, answers: Sequence[str], active: Mapping[Path, Sequence[int] | None]) -> list[Interaction]:
    """Do as `find`, told at which offsets of the segment being written the answers are (None: look for yourself)."""
    wanted, found = {answer_key(answer) for answer in answers}, dict[int, Interaction]()
    for path, places in active.items():
        found |= _at(path, wanted, places)
    for path in sealed_paths(folder):
        index = read_index(path, _digest(path), partial(_scan, path))
        found |= _at(path, wanted, sorted(at for key in wanted for at in places_of(index, key)))
    about = [found[seq] for seq in sorted(found) if found[seq].answer in answers]
    erasure, erased = pending(folder), set[str]()
    return [record for record in about if not (erasure and erasure.takes(record, erased))]


def _digest(path: Path) -> bytes:
    try:
        return bytes.fromhex(footer(path).digest)
    except LogDamaged:
        return bytes(32)


def _scan(path: Path) -> list[tuple[int, int]]:
    with path.open("rb", buffering=2**20) as file:
        return [(frame.key, frame.offset) for frame in frames(file) if not frame.footer]


def _at(path: Path, wanted: set[int], places: Sequence[int] | None) -> dict[int, Interaction]:
    if places is not None and not places:
        return {}
    with _opened(path) as file:
        some = frames(file) if places is None else (frame_at(file, place) for place in places)
        records = [decode_record(f.seq, f.payload) for f in some if f and f.key in wanted and not f.footer]
    return {record.seq: record for record in records if record}
