"""The release that answers now, followed: a promotion or a rollback is picked up between two requests.

A new release is loaded and tried beside the one that answers; only then are they swapped, by one reference, so that an
answer is made by exactly one release. One that does not come up is never used: the old one answers on, and `reject` is
told, which takes it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import Lock

from ..app import Assistant
from ..config import Paths
from ..errors import (
    DimensionMismatch,
    IndexMissing,
    ProviderError,
    RagkeepError,
    ReceiptMismatch,
    ReleaseError,
    StoreError,
)
from ..releases import pointer, read_release
from ..types import Query, Release

log = logging.getLogger(__name__)
TRIES, AGAIN_S = 3, 2.0
"""A release is given up after so many tries, so many seconds apart: a store may be away for a moment."""
WARM_UP = "What is this about?"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A release that did not come up, why, and when (Unix time)."""

    number: int
    reason: str
    at: float


def passing(error: Exception) -> bool:
    """Whether a release may be sound all the same: a store, a model's server or a disk is away for now."""
    if isinstance(error, IndexMissing | DimensionMismatch | ReceiptMismatch):
        return False
    return isinstance(error, ProviderError | StoreError | OSError)


def warm(load: Callable[[Release], Assistant], release: Release) -> Assistant:
    """Load a release and ask its index and its reranker once, as a request would. Raises what keeps it from answering."""
    assistant = load(release)
    vector = assistant.embedder.embed([WARM_UP], role="query")[0]
    assistant.store.search(release.index.name, Query(WARM_UP, vector, k=1))
    if assistant.reranker:
        with contextlib.suppress(ProviderError):  # its server is away: answers do without it meanwhile
            assistant.reranker.score(WARM_UP, [WARM_UP])
    return assistant


class Champion:
    """Holds the assistant that answers; `follow` keeps it the champion's.

    `load` opens a release (it runs in a thread), `reject` takes one back that does not come up.
    """

    def __init__(
        self,
        paths: Paths,
        load: Callable[[Release], Assistant],
        *,
        reject: Callable[[Release, str], Awaitable[None]] | None = None,
        interval_s: float = 0.25,
        swapped: Callable[[Assistant], None] = lambda _: None,
    ) -> None:
        self._paths, self._load, self._reject, self._interval_s = paths, load, reject, interval_s
        self._swapped = swapped
        self._lock = Lock()
        self._failing, self._failed, self._again = 0, 0, 0.0
        self._looking = asyncio.Lock()
        self._assistant: Assistant | None = None
        self.rejected: Rejected | None = None
        self._failure: Rejected | None = None  # the last; one whose store is away is never taken back
        self.swaps = 0
        self._trouble = ""

    @property
    def assistant(self) -> Assistant:
        """The assistant that answers; keep it for the whole of a request. Raises ReleaseError while there is none."""
        if self._assistant is None:
            raise ReleaseError(self.why_none)
        return self._assistant

    @property
    def why_none(self) -> str:
        """Why nothing answers, where nothing does."""
        found = self._failure
        if found is None:
            return "nothing is published yet: run `ragkeep nightly` first"
        return f"release {found.number} does not come up: {found.reason}"

    @property
    def number(self) -> int | None:
        """The number of the release that answers."""
        return self._assistant.release.number if self._assistant else None

    def replace(self, change: Callable[[Assistant], Assistant]) -> None:
        """Put another assistant of the same release in the place of the one that answers, if there is one."""
        while (before := self._assistant) is not None:
            after = change(before)  # it may take seconds: requests go on meanwhile, and so may a swap
            with self._lock:
                if self._assistant is before:
                    self._assistant = after
                    return

    async def follow(self) -> None:
        """Look at the pointer again and again until cancelled."""
        while True:
            try:
                await self.look()
            except (
                OSError,
                ValueError,
                TypeError,
                RagkeepError,
            ) as error:  # the old one answers on
                if str(error) != self._trouble:
                    log.error("the champion cannot be read: %s", error)
                self._trouble = str(error)
            else:
                self._trouble = ""
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """Load and take what the pointer names, if that is another release than the one that answers."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        at = pointer(self._paths)
        if at is None:
            self._failure = None
        if at is None or at.number == self.number:
            return
        if time.monotonic() < self._again:
            return
        release = read_release(self._paths, at.number)
        began = time.monotonic()
        try:
            assistant = await asyncio.to_thread(warm, self._load, release)
        except Exception as error:  # whatever a backend raises: the old release answers on
            reason = f"{type(error).__name__}: {error}"
            log.error("release %d does not come up: %s", release.number, reason)
            self._failure = Rejected(release.number, reason, time.time())
            self._failed = self._failed + 1 if self._failing == release.number else 1
            self._failing, self._again = release.number, time.monotonic() + AGAIN_S
            if passing(error) or self._failed < TRIES:
                return
            self.rejected = self._failure
            await self._take_back(release, reason)
            return
        with self._lock:
            self._assistant, self.rejected, self._failure = assistant, None, None
        self.swaps += 1
        self._swapped(assistant)
        log.info("release %d answers now, after %.2f s", release.number, time.monotonic() - began)

    async def _take_back(self, release: Release, reason: str) -> None:
        if self._reject is None:
            return
        self._again = time.monotonic() + AGAIN_S
        try:
            await self._reject(release, reason)
        except Exception as error:  # tried again at the next look
            log.error("release %d could not be taken back: %s", release.number, error)
