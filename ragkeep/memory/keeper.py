"""The keeper of a tier: whether it is up, and what it is told in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from .journal import Journal
from .tier import Entry, Tier, alive, scopes_of

log = logging.getLogger(__name__)
PROBE = "-/-/-"
"""A session that nobody has: reading it shows that a tier can be read."""
UNTRIED = "not tried yet"


class Watched:
    """A tier, whether it is up (`trouble` is None), since when, and who works for it."""

    def __init__(self, tier: Tier) -> None:
        self.tier, self.name = tier, tier.name
        self.threads = ThreadPoolExecutor(8, thread_name_prefix=f"memory-{tier.name}")
        self.trouble: str | None = UNTRIED
        self.up_since = 0.0
        self.wake = asyncio.Event()
        self.tried = asyncio.Event()
        self.brought: dict[str, tuple[Entry, ...]] = {}
        """Sessions found elsewhere: all there is of them."""

    @property
    def up(self) -> bool:
        """Whether it is asked at all."""
        return self.trouble is None

    def fell(self, reason: str) -> None:
        """Take it for down; said once."""
        if self.up or self.trouble == UNTRIED:
            log.warning("memory: %s is down and is skipped: %s", self.name, reason)
        self.trouble = reason

    def rose(self, at: float) -> None:
        """Take it for up, from a time on."""
        if not self.up and self.trouble != UNTRIED:
            log.info("memory: %s is back", self.name)
        self.trouble, self.up_since = None, at


def work(one: Watched, tiers: Sequence[Watched], journal: Journal, clock: Callable[[], float]) -> None:
    """Erase what was forgotten, then tell a tier what it has not been told. One that was down is up after some.

    Blocks. Raises whatever the tier's client does.
    """
    down = not one.up  # one that falls while this runs comes up in another run
    if down:
        one.tier.prepare()
        one.tier.read(PROBE)
        _share_what_is_forgotten(one, tiers)
    for scope, at in journal.buried(one.name).items():
        one.tier.erase(scope, at)
        journal.erased(one.name, scope, at)
    told = _told(one.tier, journal)
    if down:
        one.rose(clock())
    while told:
        told = _told(one.tier, journal)
    while one.brought:
        session, entries = one.brought.popitem()
        _tell(one.tier, {session: entries}, whole_at=clock())


def _told(tier: Tier, journal: Journal) -> bool:
    """Tell a tier the next that waits for it, if anything does."""
    batch, number = journal.batch(tier.name)
    if number:
        _tell(tier, batch)
        journal.done(tier.name, number)
    return bool(number)


def _share_what_is_forgotten(one: Watched, tiers: Sequence[Watched]) -> None:
    """Let a tier that comes up, and those that are up, erase what the other side knows as forgotten."""
    here = one.tier.forgotten()
    for other in tiers:
        if other is one or other.trouble not in (None, UNTRIED):
            continue
        try:
            there = other.tier.forgotten()
            _erase_new(one.tier, there, here)
            _erase_new(other.tier, here, there)
        except Exception as error:  # whatever a tier's client raises: it shares when it comes up itself
            log.debug("memory: %s shares nothing with %s: %s", other.name, one.name, said(error))


def _tell(tier: Tier, batch: Mapping[str, tuple[Entry, ...]], *, whole_at: float = 0.0) -> None:
    """Add entries to a tier that nobody wants forgotten, also if they are forgotten meanwhile."""
    scopes = scopes_of(batch)
    before = tier.forgotten(scopes)
    for session, entries in batch.items():
        left = alive(session, entries, before)
        if left or whole_at:
            tier.add(session, left, whole_at=whole_at)
    _erase_new(tier, tier.forgotten(scopes), before)


def _erase_new(tier: Tier, theirs: Mapping[str, float], its: Mapping[str, float]) -> None:
    for scope, at in theirs.items():
        if at > its.get(scope, 0.0):
            tier.erase(scope, at)


def said(error: Exception) -> str:
    """Say in a line what a tier's client raised."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
