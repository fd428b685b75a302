"""Tell callers in threads and in event loops how the write went."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TypeAlias

from ..errors import LogUnavailable

log = logging.getLogger(__name__)
Waiter: TypeAlias = "Future[int] | asyncio.Future[int]"
Outcome: TypeAlias = "tuple[Waiter, int | LogUnavailable]"


def settle(outcomes: Sequence[Outcome]) -> None:
    """Tell every caller, those of one event loop with one call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
    for waiter, outcome in outcomes:
        if isinstance(waiter, Future):
            _tell(waiter, outcome)
        else:
            by_loop.setdefault(waiter.get_loop(), []).append((waiter, outcome))
    for loop, some in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell_all, some)
        except RuntimeError:
            log.debug("an event loop ended before its records were written")


def _tell_all(outcomes: Sequence[Outcome]) -> None:
    for waiter, outcome in outcomes:
        if not waiter.done():
            _tell(waiter, outcome)


def _tell(waiter: Waiter, outcome: int | LogUnavailable) -> None:
    if isinstance(outcome, int):
        waiter.set_result(outcome)
    else:
        waiter.set_exception(outcome)
