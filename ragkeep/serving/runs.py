"""Answers under way: their events are kept, so that a client that lost its connection reads on where it was.

When the last reader of an answer has gone and none comes back within `grace_s`, the work is stopped, upstream too.
What was said until then stays readable for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

GRACE_S = 0.5
FIRST_S = 1.0
"""How long the first reader may take to come: one whose client has gone already never does."""
KEPT_S = 600.0
KEPT = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an answer: `start`, `sources`, `token`, `done` or `error`; the last two are the last."""

    number: int
    name: str
    data: dict[str, Any]

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.name in ("done", "error")


@dataclass(eq=False)
class Run:
    """One answer under way or ended; `owner` is who may read it, `session` its conversation's name in memory."""

    id: str
    owner: str
    session: str = ""
    events: list[Event] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    ended_at: float | None = None
    readers: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _leaving: asyncio.TimerHandle | None = None

    def put(self, name: str, data: dict[str, Any]) -> None:
        """Add an event and wake the readers."""
        event = Event(len(self.events) + 1, name, data)
        self.events.append(event)
        if event.last:
            self.ended_at = time.monotonic()
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether its last event is there."""
        return self.ended_at is not None

    async def read(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield the events from `after` on, those to come too, until the last."""
        self._enter()
        try:
            at = after
            while True:
                while at < len(self.events):
                    event = self.events[at]
                    at += 1
                    yield event
                    if event.last:
                        return
                if self.ended:  # a reader that was past the end
                    return
                await self._changed.wait()
        finally:
            self._leave()

    def cancel(self) -> None:
        """Stop the work now; the run ends with an error event of its own."""
        if self.task and not self.task.done():
            self.task.cancel()

    def _enter(self) -> None:
        self.readers += 1
        if self._leaving:
            self._leaving.cancel()
            self._leaving = None

    def _leave(self) -> None:
        self.readers -= 1
        if not self.readers and not self.ended:
            self.leave(GRACE_S)

    def leave(self, seconds: float) -> None:
        """Stop the work where nobody comes to read within so many seconds."""
        self._leaving = asyncio.get_running_loop().call_later(seconds, self.cancel)


class Ended:
    """Sessions, named as in memory, that were erased: nothing more of what was asked there before is written."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def add(self, session: str) -> None:
        """Note a session that is being erased, and forget those that were long ago: their answers are over."""
        now = time.monotonic()
        self._at = {name: at for name, at in self._at.items() if now - at < KEPT_S} | {session: now}

    def since(self, session: str, at: float) -> bool:
        """Whether a session was erased then, by the monotonic clock, or later."""
        return self._at.get(session, 0.0) >= at


class Runs:
    """The answers of this process, by id."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def start(self, id_: str, owner: str, work: Callable[[Run], Awaitable[None]], *, session: str = "") -> Run:
        """Begin an answer; `work` puts its events and ends it, also when it is cancelled."""
        self._forget()
        run = self._runs[id_] = Run(id_, owner, session)
        run.task = asyncio.create_task(self._work(run, work), name=f"answer {id_}")
        run.leave(FIRST_S)
        return run

    def of(self, session: str) -> list[Run]:
        """Return the answers of a session, under way and ended, that are still known."""
        return [run for run in self._runs.values() if run.session == session]

    async def end(self, session: str) -> None:
        """Stop the answers of a session, wait until they ended, and forget them."""
        found = self.of(session)
        for run in found:
            run.cancel()
        await asyncio.gather(*(run.task for run in found if run.task), return_exceptions=True)
        for run in found:
            self._runs.pop(run.id, None)

    def find(self, id_: str, owner: str) -> Run | None:
        """Return an answer of this owner; None also where it is another's."""
        run = self._runs.get(id_)
        return run if run and run.owner == owner else None

    async def stop(self) -> None:
        """Cancel all that is under way, and wait for it."""
        tasks = [run.task for run in self._runs.values() if run.task and not run.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """How many answers are being made."""
        return sum(not run.ended for run in self._runs.values())

    async def _work(self, run: Run, work: Callable[[Run], Awaitable[None]]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await work(run)
            finally:
                if not run.ended:
                    run.put("error", {"code": "stopped", "message": "the answer was stopped before it was complete"})

    def _forget(self) -> None:
        now = time.monotonic()
        for id_, run in list(self._runs.items()):
            old = run.ended_at is not None and now - run.ended_at > KEPT_S
            if old or (len(self._runs) > KEPT and run.ended):
                del self._runs[id_]
