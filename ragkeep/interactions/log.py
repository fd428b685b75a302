"""The writer of the interaction log: many callers, one thread that writes and fsyncs what has gathered.

An acknowledgement comes after the fsync. While one group is being written the next one gathers, so that a group waits for
one fsync at most and nobody waits for company. One process writes at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..errors import Busy, LogUnavailable, describe
from ..types import Interaction
from .acknowledge import Waiter, settle
from .erasure import Erasure, What, forget, note, pending, rewrite
from .reading import find_in
from .records import check, encode_record, masked
from .segments import MAX_RECORD, ActiveSegment, answer_key, first_of, last_seq, open_paths, sealed_paths

log = logging.getLogger(__name__)
MAX_WAITING = 64 * 2**20
"""Bytes that may wait for a slow disk before callers are turned away."""
PROBE_S = 1.0
STALLED_S = 5.0


@dataclass(frozen=True, slots=True)
class _Entry:
    key: int
    payload: bytes
    waiter: Waiter
    seal: bool = False


class InteractionLog:
    """Append interactions durably; `with InteractionLog(paths.interactions) as log: log.append(voted(...))`.

    Opening mends what a crash left and finishes an erasure that was cut short. Raises Busy where another process has the
    log open. A segment is sealed at `segment_bytes`, after `seal_after_s`, at an erasure and on close.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = 64 * 2**20, seal_after_s: float = 3600.0) -> None:
        self.folder = folder
        self._segment_bytes, self._seal_after_s = segment_bytes, seal_after_s
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _locked(folder)
        try:
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise
        self._error: str | None = None
        self._waiting: list[_Entry] = []
        self._bytes = 0
        self._closing = False
        self._writing_since: float | None = None
        self._wake = threading.Condition()
        self._erasing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="interaction-log", daemon=True)
        self._thread.start()
        self._finish_noted()

    def append(self, record: Interaction) -> int:
        """Mask and write a record; return its sequence number once it is durable.

        Raises ValueError for a record that readers do not expect, LogUnavailable when it was not kept.
        """
        waiter: Future[int] = Future()
        self._submit(record, waiter)
        return waiter.result()

    async def append_async(self, record: Interaction) -> int:
        """Do as `append` from an event loop, holding no thread. A caller that is cancelled may still be written."""
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._submit(record, waiter)
        return await waiter

    def find(self, *answers: str) -> list[Interaction]:
        """Return the records of answers and all that refer to them, oldest first."""
        active, keys = self._active, {answer_key(answer) for answer in answers}
        if active is None or active.renamed:
            return find_in(self.folder, answers, {})
        return find_in(self.folder, answers, {active.path: [at for key in keys for at in active.places.get(key, ())]})

    @property
    def last(self) -> int:
        """The sequence number of the last record that is durable; 0 while there is none."""
        return self._next - 1

    def erase(self, what: What, value: str, *, workspace: str | None = None, user: str | None = None) -> tuple[int, ...]:
        """Erase a user, a `user`'s session or a document (its uri) from all that was written before; return what went.

        Blocks for about a second a gigabyte: call it in a thread. Raises LogUnavailable where it could not be finished:
        readers leave it out from now on, and the next `erase` or opening finishes it.
        """
        erasure = Erasure(what, value, workspace, user)
        with self._erasing:
            try:
                earlier = pending(self.folder)
                if earlier:
                    self._finish(earlier)
                note(self.folder, erasure)
                return self._finish(erasure)
            except OSError as error:
                raise LogUnavailable(f"{self.folder}: not erased yet: {describe(error)}") from error

    @property
    def healthy(self) -> bool:
        """Whether records are being kept: the last write went well, and none has hung for five seconds."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """What keeps records from being written, in one line."""
        since = self._writing_since
        if since is not None and time.monotonic() - since > STALLED_S:
            return f"{self.folder}: the disk has not answered for {time.monotonic() - since:.0f} s"
        return self._error

    def close(self) -> None:
        """Write what waits, seal the segment and let the next process in."""
        with self._wake:
            if self._closing:
                return
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        os.close(self._lock)

    def __enter__(self) -> InteractionLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recover(self) -> None:
        for left in list(self.folder.glob("*.tmp")):
            left.unlink()
        sealed = sealed_paths(self.folder)
        self._next = last_seq(sealed[-1]) + 1 if sealed else 1
        self._active: ActiveSegment | None = None
        for path in open_paths(self.folder):
            self._active = ActiveSegment.recover(path)
            self._next = self._active.next if self._active else last_seq(path.with_suffix(".log")) + 1
        self._began = time.monotonic()

    def _submit(self, record: Interaction, waiter: Waiter, *, seal: bool = False) -> None:
        check(record)
        payload = encode_record(masked(record))
        if len(payload) > MAX_RECORD:
            raise ValueError(f"{record.kind}: {len(payload):,} bytes are more than a record may have ({MAX_RECORD:,})")
        with self._wake:
            if self._closing:
                raise LogUnavailable(f"{self.folder}: the log is closed")
            if self._bytes > MAX_WAITING:
                raise LogUnavailable(f"{self.folder}: the disk does not keep up; {len(self._waiting):,} records wait")
            self._waiting.append(_Entry(answer_key(record.answer), payload, waiter, seal))
            self._bytes += len(payload)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._waiting and not self._closing:
                    self._wake.wait(self._patience())
                batch, self._waiting, self._bytes = self._waiting, [], 0
                closing = self._closing
            if batch:
                self._commit(batch)
            elif closing:
                return self._end()
            else:
                self._tend()

    def _patience(self) -> float | None:
        """Seconds until something is due without a record: a probe of a sick disk, or the seal of an old segment."""
        if self._error:
            return PROBE_S
        return max(0.0, self._began + self._seal_after_s - time.monotonic()) if self._active else None

    def _commit(self, batch: Sequence[_Entry]) -> None:
        self._writing_since = time.monotonic()
        try:
            first = self._write([(entry.key, entry.payload) for entry in batch])
        except Exception as error:  # whatever it is: the thread goes on, and nobody waits for ever
            self._failed(error)
            refusal = LogUnavailable(f"{self.folder}: not kept: {_said(error)}")
            settle([(entry.waiter, refusal) for entry in batch])
        else:
            if any(entry.seal for entry in batch) or self._due():
                self._try(self._seal)
            settle([(entry.waiter, seq) for seq, entry in enumerate(batch, first)])
        finally:
            self._writing_since = None

    def _write(self, records: Sequence[tuple[int, bytes]]) -> int:
        if self._active and self._error:
            self._active.cut()
        if self._active and self._active.renamed:
            self._seal()
        if self._active is None:
            self._active, self._began = ActiveSegment.create(self.folder, self._next), time.monotonic()
        first = self._next
        self._active.add(records)
        self._next, self._error = self._active.next, None
        return first

    def _due(self) -> bool:
        old = time.monotonic() - self._began >= self._seal_after_s
        return self._active is not None and (old or self._active.end >= self._segment_bytes)

    def _seal(self) -> None:
        if self._active and self._active.count:
            self._active.seal()
            self._active = None

    def _tend(self) -> None:
        """With nothing to write: seal a segment that is old, or see whether a sick disk is well again."""
        if self._error:
            self._try(self._probe)
        if self._due():
            self._try(self._seal)
            self._began = time.monotonic()

    def _probe(self) -> None:
        if self._active is None:
            self._active = ActiveSegment.create(self.folder, self._next)
        if self._active.renamed:
            self._seal()
        else:
            self._active.probe()
        self._error = None

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._error is None:
            log.error("%s: %s", self.folder, _said(error))
        self._error = f"{self.folder}: {_said(error)}"
        try:
            if self._active:
                self._active.cut()
        except OSError:
            log.debug("%s: not mended yet", self.folder)

    def _end(self) -> None:
        if self._active and not self._active.count:
            self._active.discard()
            self._active = None
        self._try(self._seal)
        if self._active:
            self._active.close()

    def _finish_noted(self) -> None:
        noted = pending(self.folder)
        if noted:
            try:
                self._finish(noted)
            except (OSError, LogUnavailable) as error:
                log.error("%s: an erasure is not finished yet: %s", self.folder, error)

    def _finish(self, erasure: Erasure) -> tuple[int, ...]:
        waiter: Future[int] = Future()
        self._submit(erasure.tombstone(), waiter, seal=True)
        tombstone = waiter.result()
        if any(first_of(path) <= tombstone for path in open_paths(self.folder)):
            raise LogUnavailable(f"{self.folder}: not erased yet: {self.trouble}")
        answers, taken = set[str](), list[int]()
        for path in sealed_paths(self.folder):
            if first_of(path) <= tombstone:
                taken += rewrite(path, erasure, tombstone, answers)
        forget(self.folder)
        return tuple(taken)


def _locked(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Busy(
            f"{folder}: another process writes the interaction log; stop it, or give it another state folder"
        ) from None
    return fd


def _said(error: Exception) -> str:
    return describe(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
