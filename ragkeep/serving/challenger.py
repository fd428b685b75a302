"""The challenger on trial, followed: loaded beside the champion, off the request path, and left out where it fails.

A trial never fails a request. One that does not come up, or fails three times in a row, is left out for half a minute and
then tried again; meanwhile the champion answers alone, `/health` says why, and no answer counts for the trial.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

from ..app import Assistant
from ..config import Paths
from ..releases import read_release
from ..trials import Trial, read_trial
from ..types import Release
from .follow import Champion, warm

log = logging.getLogger(__name__)
FAILURES, REST_S = 3, 30.0


@dataclass(frozen=True, slots=True)
class Contest:
    """A trial that runs now, and its challenger, loaded."""

    trial: Trial
    challenger: Assistant


class Challenger:
    """Holds the challenger of the trial that is written down, if one is.

    `load` opens a release, `taken` is called when one takes part (both in a thread).
    """

    def __init__(
        self,
        paths: Paths,
        champion: Champion,
        load: Callable[[Release], Assistant],
        *,
        interval_s: float = 0.25,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self._paths, self._champion, self._load, self._interval_s = paths, champion, load, interval_s
        self._taken = taken
        self._lock, self._looking = Lock(), asyncio.Lock()
        self._contest: Contest | None = None
        self._failures, self._rests, self._again = 0, "", 0.0
        self.trouble = ""
        """Why no challenger takes part though one should, in one line."""

    def against(self, champion: Assistant) -> Contest | None:
        """Return the trial that runs against the release that is to answer, None where none does."""
        contest = self._contest
        if contest is None or contest.trial.champion != champion.release.number or contest.trial.over():
            return None
        return contest

    def replace(self, change: Callable[[Assistant], Assistant]) -> None:
        """Put another assistant of the same release in the challenger's place, if there is one. May take seconds."""
        while (before := self._contest) is not None:
            after = replace(before, challenger=change(before.challenger))
            with self._lock:
                if self._contest is before:
                    self._contest = after
                    return

    def failed(self, error: BaseException) -> None:
        """Take note that the challenger failed at a question; after a few in a row it rests."""
        self._failures += 1
        log.warning("the challenger failed, the champion answers: %s: %s", type(error).__name__, error)
        if self._failures >= FAILURES:
            rests = self._contest.trial.id if self._contest else ""
            self._leave_out(f"it failed {self._failures} times in a row, last: {type(error).__name__}: {error}", rests)

    def worked(self) -> None:
        """Take note that it answered."""
        self._failures = 0

    async def follow(self) -> None:
        """Look at the trial again and again until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:  # whatever it is: the champion answers
                self._leave_out(str(error))
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """Load the challenger of a trial that began, let go of that of one that ended. Raises ReleaseError."""
        async with self._looking:
            trial = read_trial(self._paths)
            if trial is None or trial.over() or trial.champion != self._champion.number:
                self._take(None)
                return
            if self._contest and self._contest.trial == trial:
                return
            with self._lock:
                self._contest = None  # of a trial that is over: not one answer more
            if trial.id == self._rests and time.monotonic() < self._again:
                return
            try:
                release = read_release(self._paths, trial.number)
                assistant = await asyncio.to_thread(warm, self._load, release)
            except Exception as error:  # whatever a backend raises
                why = f"release {trial.number} does not come up: {type(error).__name__}: {error}"
                self._leave_out(why, trial.id)
                return
            self._take(Contest(trial, assistant))
            await asyncio.to_thread(self._taken)  # uploads that came while it was loaded
            log.info("release %d is on trial now (%s, share %g)", trial.number, trial.mode, trial.share)

    def _take(self, contest: Contest | None) -> None:
        with self._lock:
            self._contest, self._failures, self._rests, self.trouble = contest, 0, "", ""

    def _leave_out(self, why: str, rests: str = "") -> None:
        """Let the champion answer alone; the trial named `rests` is tried again after a while."""
        if why != self.trouble:
            log.error("the challenger is left out: %s", why)
        with self._lock:
            self._contest, self._failures, self.trouble = None, 0, why
            self._rests, self._again = rests, time.monotonic() + REST_S
