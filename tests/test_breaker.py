"""A circuit that is open lets nobody through until it has rested, and then one first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkeep.breaker import Breaker, Resting

FAILURES, REST_S = 3, 5.0
Outcome = Literal["well", "away", "refused", "interrupted"]
RAISED: dict[str, BaseException] = {
    "away": TimeoutError("away"),
    "refused": ValueError(),
    "interrupted": KeyboardInterrupt(),
}


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def away(error: Exception) -> bool:
    return isinstance(error, TimeoutError)


def call(breaker: Breaker, outcome: Outcome) -> bool:
    """Ask once; return whether the breaker let it through."""
    try:
        with breaker.guard(away):
            if outcome in RAISED:
                raise RAISED[outcome]
    except Resting:
        return False
    except (TimeoutError, ValueError, KeyboardInterrupt):
        return True
    return True


def opened() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(failures=FAILURES, rest_s=REST_S, clock=clock)
    assert all(call(breaker, "away") for _ in range(FAILURES))
    return breaker, clock


STEPS = st.lists(st.tuples(st.floats(0, 2 * REST_S), st.sampled_from(["well", "away", "away", "refused", "interrupted"])))


@given(STEPS)
def test_it_asks_unless_the_last_three_failed_within_the_rest(steps: list[tuple[float, Outcome]]) -> None:
    clock = Clock()
    breaker = Breaker(failures=FAILURES, rest_s=REST_S, clock=clock)
    in_a_row, failed_at = 0, clock.now
    for passed, outcome in steps:
        clock.now += passed
        asked = call(breaker, outcome)
        assert asked == (in_a_row < FAILURES or clock.now >= failed_at + REST_S)
        if asked and outcome == "away":
            in_a_row, failed_at = in_a_row + 1, clock.now
        elif asked and outcome != "interrupted":
            in_a_row = 0


def test_an_open_circuit_says_why_and_for_how_long() -> None:
    breaker, clock = opened()
    clock.now += 2
    with pytest.raises(Resting, match=r"not asked for 3\.0 s more: away") as error, breaker.guard(away):
        pass
    assert (error.value.cause, error.value.wait_s) == (RAISED["away"], 3.0)


@pytest.mark.parametrize(("outcome", "then"), [("well", True), ("refused", True), ("away", False), ("interrupted", True)])
def test_after_the_rest_one_try_decides(outcome: Outcome, then: bool) -> None:
    breaker, clock = opened()
    clock.now += REST_S
    assert call(breaker, outcome)
    assert call(breaker, "well") == then


def test_while_one_tries_the_others_are_not_let_through() -> None:
    breaker, clock = opened()
    clock.now += REST_S
    with breaker.guard(away):
        assert not any(call(breaker, "well") for _ in range(3))
    assert all(call(breaker, "well") for _ in range(3))


def test_of_many_threads_one_tries() -> None:
    breaker, clock = opened()
    clock.now += REST_S
    together, tried = Barrier(8), Event()

    def ask(wait: Callable[[float], bool]) -> bool:
        together.wait()
        try:
            with breaker.guard(away):
                return wait(10)
        except Resting:
            return False

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, tried.wait) for _ in range(8)]
        while sum(future.done() for future in asking) < 7:
            pass
        tried.set()
        assert sorted(future.result() for future in asking) == [False] * 7 + [True]
