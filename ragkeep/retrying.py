"""When and how often to ask a provider again: waits with full jitter (Brooker 2015), and a budget over all requests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_WAIT_S, MOST_WAIT_S = 0.5, 8.0


@dataclass(slots=True)
class Budget:
    """How many more tries there may be: `held` at first, `share` of one more with every request, at most `held`.

    Over n requests there are at most `share * n + held` tries more: with these numbers 1.2 n from n = 200 on.
    """

    share: float = 0.15
    held: float = 10.0
    left: float = 10.0

    def earn(self) -> None:
        """Count a request."""
        self.left = min(self.held, self.left + self.share)

    def spend(self) -> bool:
        """Take one more try, if there is one."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


def waits(tries: int) -> Iterator[float | None]:
    """Yield a random wait in seconds before each try but the first, from a range that doubles, then None."""
    for n in range(tries - 1):
        yield random.uniform(0, min(MOST_WAIT_S, FIRST_WAIT_S * 2**n))  # noqa: S311 - no secret
    yield None
