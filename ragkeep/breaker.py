"""A circuit breaker: what has failed several times in a row is not asked for a while, and then by one caller first.

    breaker = Breaker(failures=3, rest_s=5.0)
    with breaker.guard(is_away):
        ask()

closed: everybody asks. open: nobody does, `guard` raises Resting at once. half-open, once `rest_s` have passed: one
caller asks; its success closes the circuit, its failure opens it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class Resting(Exception):
    """Not asked: `cause` is the last failure, `wait_s` how long nobody will ask."""

    def __init__(self, cause: Exception, wait_s: float) -> None:
        super().__init__(f"not asked for {wait_s:.1f} s more: {cause}")
        self.cause, self.wait_s = cause, wait_s


class Breaker:
    """Opens after `failures` in a row, for `rest_s` seconds of `clock`. Safe to share between threads."""

    def __init__(self, *, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures, self._rest_s, self._clock = failures, rest_s, clock
        self._lock = Lock()
        self._in_a_row, self._cause = 0, Exception("nothing failed yet")
        self._until: float | None = None  # None: closed
        self._trying = False

    @contextmanager
    def guard(self, away: Callable[[Exception], bool]) -> Iterator[None]:
        """Run the block, unless the circuit is open; an error counts as a failure where `away` says so.

        Any other error is an answer, and counts as a success. Raises Resting.
        """
        alone = self._enter()
        try:
            yield
        except Exception as error:
            self._leave(error if away(error) else None)
            raise
        else:
            self._leave(None)
        finally:
            if alone:  # also when the try was interrupted: the next caller may try
                with self._lock:
                    self._trying = False

    def _enter(self) -> bool:
        """Let a caller in; return whether it is the one that tries."""
        with self._lock:
            if self._until is None:
                return False
            wait_s = self._until - self._clock()
            if wait_s > 0 or self._trying:
                raise Resting(self._cause, max(wait_s, 0.0))
            self._trying = True
            return True

    def _leave(self, failure: Exception | None) -> None:
        with self._lock:
            if failure is None:
                self._in_a_row, self._until = 0, None
                return
            self._in_a_row, self._cause = self._in_a_row + 1, failure
            if self._in_a_row >= self._failures:
                self._until = self._clock() + self._rest_s
