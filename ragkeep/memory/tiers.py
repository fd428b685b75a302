"""A Memory over tiers: an answer waits for the first one that is up, all others are told in the background.

append: into the journal, durably, then to the first tier that is up.     recent: from the tiers in order, until one
knows that it has all there is; what is found goes back to the first that is up. A tier that fails or is slow is down:
nobody waits for it any more, `trouble` and the log say so, and its keeper tries it every second. Before it counts as up
it erases what the others know as forgotten; then it is told what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import StoreError
from ..types import Message
from .buffer import recall
from .journal import Journal
from .keeper import Watched, said, work
from .tier import KEEP, TURN_CHARS, Entry, Tier, alive, covers, scopes_of

log = logging.getLogger(__name__)
T = TypeVar("T")
RETRY_S = 1.0
"""How often a tier that is down is tried."""
LOOK_S = 30.0
"""How often a keeper looks for work that another process of this machine left."""
BROUGHT = 1000
"""Sessions at most that wait to be brought back."""
START_S = 2.0
FORGET_S = 5.0
CLOSE_S = 5.0


class TieredMemory:
    """See ports.Memory. Use it from one event loop."""

    def __init__(
        self,
        tiers: Sequence[Tier],
        journal: Journal,
        *,
        buffer_tokens: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal, self._buffer_tokens, self._clock = journal, buffer_tokens, clock
        self._watched = [Watched(tier) for tier in tiers]
        self._names = [tier.name for tier in tiers]
        self._keepers: list[asyncio.Task[None]] = []
        self._lock, self._last_at = threading.Lock(), 0.0
        self._stopping = False
        self._broken: str | None = None
        journal.only(self._names)
        with contextlib.suppress(RuntimeError):  # outside of a loop they start with the first call
            asyncio.get_running_loop()
            self._start()

    @property
    def trouble(self) -> str | None:
        """Which tiers are down and why; None while all are up."""
        found = [f"{one.name}: {one.trouble}" for one in self._watched if one.trouble and one.tried.is_set()]
        return "; ".join([f"journal: {self._broken}", *found] if self._broken else found) or None

    async def append(self, session: str, *turns: Message) -> None:
        """See ports.Memory."""
        _check(session)
        await self._started()
        entries = tuple(self._entry(turn) for turn in turns)
        kept = await self._noted(self._journal.put, session, entries, self._names)
        for one in self._watched:
            if one.up and await self._ask(one, lambda tier: _added(tier, session, entries)):
                kept = True
                break
        self._wake()
        if not kept:
            raise StoreError(f"what was said is not kept, no tier is up: {self._broken}")

    async def recent(self, session: str) -> list[Message]:
        """See ports.Memory."""
        _check(session)
        await self._started()
        waiting: list[tuple[tuple[Entry, ...], dict[str, float]]] = []
        if not await self._noted(lambda: waiting.append((self._journal.of(session), self._journal.buried()))):
            return []  # what was forgotten is not known
        pending, buried = waiting[0]
        pending = tuple(alive(session, pending, await self._forgotten_of(session))) if pending else ()
        entries = alive(session, _joined(await self._find(session), pending), buried)
        return recall([entry.message for entry in entries], self._buffer_tokens)

    async def _forgotten_of(self, session: str) -> dict[str, float]:
        """What another server may have forgotten, whose tombstones are in the tiers and not in the journal here."""
        scopes = scopes_of([session])
        for one in self._watched:
            found = await self._ask(one, lambda tier: tier.forgotten(scopes)) if one.up else None
            if found is not None:
                return found
        return {}

    async def _noted(self, call: Callable[..., None], *values: object) -> bool:
        """Use the journal; False where its disk fails, which is said once."""
        try:
            await asyncio.to_thread(call, *values)
        except StoreError as error:
            if self._broken is None:
                log.error("memory: %s", error)
            self._broken = str(error)
            return False
        self._broken = None
        return True

    async def forget(self, session: str) -> None:
        """See ports.Memory."""
        _check(session)
        await self._forget(session)

    async def forget_all(self, scope: str) -> None:
        """See ports.Memory."""
        if not scope.endswith("/") or scope.count("/") > 2:
            raise ValueError(f"{scope!r} must be <workspace>/ or <workspace>/<user>/, as session_name writes it")
        await self._forget(scope)

    async def close(self) -> None:
        """See ports.Memory."""
        self._stopping = True
        self._wake()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=CLOSE_S)
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for one in self._watched:
            one.threads.shutdown(wait=one.up, cancel_futures=True)
            with contextlib.suppress(Exception):
                one.tier.close()
        self._journal.close()

    def _start(self) -> None:
        if not self._keepers:
            self._keepers = [asyncio.create_task(self._keep(one), name=f"memory {one.name}") for one in self._watched]

    async def _started(self) -> None:
        """See that the keepers work; the first callers wait a moment for each tier's first try."""
        self._start()
        new = [one.tried.wait() for one in self._watched if not one.tried.is_set()]
        if new:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*new), START_S)
            for one in self._watched:
                one.tried.set()

    async def _find(self, session: str) -> tuple[Entry, ...]:
        """Look through the tiers in order, and bring what is found back to the first that is up."""
        found: tuple[Entry, ...] = ()
        first: Watched | None = None
        complete = True
        for one in self._watched:
            kept = await self._ask(one, lambda tier: tier.read(session)) if one.up else None
            if kept is None:
                complete = first is None  # what only a tier above the first one has is on its way down
                continue
            first = first or one
            found = _joined(found, kept.entries)
            if kept.whole_at >= max(one.up_since, 1e-6):
                complete = True
                if first is one:
                    return found
                break
        if first and complete and first is not self._watched[-1] and len(first.brought) < BROUGHT:
            first.brought[session] = found
            first.wake.set()
        return found

    async def _ask(self, one: Watched, call: Callable[[Tier], T]) -> T | None:
        """Ask a tier, for as long as it may take; None where it does not answer, and then it is down."""
        try:
            return await asyncio.wait_for(self._in(one, call), one.tier.patience_s)
        except TimeoutError:
            one.fell(f"it took longer than {one.tier.patience_s} s")
        except Exception as error:  # whatever a tier's client raises
            one.fell(said(error))
        one.wake.set()
        return None

    async def _forget(self, scope: str) -> None:
        await self._started()
        at = self._now()
        await asyncio.to_thread(self._journal.bury, scope, at, self._names)
        for one in self._watched:
            for session in [name for name in one.brought if covers(scope, name)]:
                one.brought.pop(session, None)
        erasing = [self._in(one, lambda tier: tier.erase(scope, at)) for one in self._watched if one.up]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*erasing, return_exceptions=True), FORGET_S)
        self._wake()  # the keepers erase again, and only then is it no longer remembered for them

    async def _in(self, one: Watched, call: Callable[[Tier], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(one.threads, call, one.tier)

    def _wake(self) -> None:
        for one in self._watched:
            one.wake.set()

    async def _keep(self, one: Watched) -> None:
        """Work for one tier until told to stop, and then once more."""
        while True:
            one.wake.clear()
            last = self._stopping
            try:
                await self._in(one, lambda _: work(one, self._watched, self._journal, self._clock))
            except Exception as error:  # whatever a tier's client raises
                one.fell(said(error))
            one.tried.set()
            if last:
                return
            if self._broken and one is self._watched[0]:  # so that it is known to work again before anybody asks
                await self._noted(self._journal.probe)
            well = one.up and self._broken is None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(one.wake.wait(), LOOK_S if well else RETRY_S)
            if not well and not self._stopping:
                await asyncio.sleep(RETRY_S / 4)

    def _entry(self, turn: Message) -> Entry:
        at = self._now()
        return Entry(f"{round(at * 1e6):016d}-{secrets.token_hex(4)}", at, turn.role, turn.content[:TURN_CHARS])

    def _now(self) -> float:
        """The time, later each time it is asked: turns sort as they were said, and after what was forgotten."""
        with self._lock:
            self._last_at = max(self._clock(), self._last_at + 2e-6)
            return self._last_at


def _added(tier: Tier, session: str, entries: Sequence[Entry]) -> bool:
    tier.add(session, entries)
    return True


def _joined(*parts: Sequence[Entry]) -> tuple[Entry, ...]:
    by_id = {entry.id: entry for part in parts for entry in part}
    return tuple(by_id[id_] for id_ in sorted(by_id)[-KEEP:])


def _check(session: str) -> None:
    if session.count("/") != 2 or session.endswith("/"):
        raise ValueError(f"{session!r} must be <workspace>/<user>/<id>, as session_name writes it")
