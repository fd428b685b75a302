import asyncio
import time
from collections.abc import AsyncGenerator, Iterator

import pytest

from ragkeep.errors import ProviderAway, ProviderBusy, ProviderError, ProviderRefused
from ragkeep.generators.resilient import Resilient
from ragkeep.ports import Delta, Request
from ragkeep.retrying import Budget
from ragkeep.testing import ScriptedGenerator
from ragkeep.types import Sampling
from tests.contracts.test_generator import collect, request, text_of
from tests.providers import REPLY, Provider, nobody, provider


class Planned:
    """A Generator that fails as planned, one error a try, and then answers."""

    def __init__(self, name: str, *plan: ProviderError | float | None) -> None:
        self.name, self.plan, self.tries = name, list(plan), 0

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        self.tries += 1
        planned = self.plan.pop(0) if self.plan else None
        if isinstance(planned, ProviderError):
            raise planned
        await asyncio.sleep(planned or 0)
        async for piece in ScriptedGenerator(REPLY).stream(request, sampling):
            yield piece


AWAY, BUSY, REFUSED = ProviderAway("a: away"), ProviderBusy("a: busy", 0.1), ProviderRefused("a: refused")


@pytest.fixture
def there() -> Iterator[Provider]:
    with provider("openai") as made:
        yield made


def test_what_may_pass_is_tried_again() -> None:
    planned = Planned("a", AWAY, BUSY)
    assert text_of(collect(Resilient([planned], deadline_s=20), request())) == REPLY
    assert planned.tries == 3


def test_the_asked_wait_is_kept() -> None:
    begun = time.monotonic()
    collect(Resilient([Planned("a", ProviderBusy("busy", 0.7))], deadline_s=20), request())
    assert time.monotonic() - begun > 0.7


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    planned = Planned("a", ProviderBusy("busy", 30))
    with pytest.raises(ProviderBusy) as caught:
        collect(Resilient([planned], deadline_s=5), request())
    assert (planned.tries, caught.value.retry_after_s) == (1, 30)


def test_a_refusal_is_not_tried_again_and_the_next_one_answers() -> None:
    first, second = Planned("a", REFUSED), Planned("b")
    deltas = collect(Resilient([first, second], deadline_s=20), request())
    assert (first.tries, text_of(deltas)) == (1, REPLY)
    assert [delta.model for delta in deltas if delta.model] == ["b"]


def test_a_long_wait_is_left_to_those_who_have_no_other() -> None:
    first, second = Planned("a", ProviderBusy("busy", 30)), Planned("b")
    begun = time.monotonic()
    assert collect(Resilient([first, second], deadline_s=60), request())[0].model == "b"
    assert time.monotonic() - begun < 20


def test_once_a_piece_was_passed_on_nothing_is_tried_again(there: Provider) -> None:
    there.faults = ["cut"]
    with pytest.raises(ProviderAway):
        collect(Resilient([there.generator(), Planned("b")], deadline_s=20), request())
    assert len(there.asked) == 1


def test_what_keeps_failing_is_left_alone_and_says_so() -> None:
    planned = Planned("a", *[AWAY] * 50)
    generator = Resilient([planned], deadline_s=20)
    for _ in range(2):
        with pytest.raises(ProviderError):
            collect(generator, request())
    tries = planned.tries
    with pytest.raises(ProviderBusy, match=r"left alone for \d+ s: a: away"):
        collect(generator, request())
    assert planned.tries == tries == 5


def test_nothing_lasts_longer_than_the_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(ProviderAway, match=r"within the 0\.5 s"):
        collect(Resilient([Planned("a", 30.0)], deadline_s=0.5), request())
    assert time.monotonic() - begun < 20


def test_a_stream_is_ended_at_the_deadline(there: Provider) -> None:
    there.pace_s = 0.3
    with pytest.raises(ProviderAway, match="did not end"):
        collect(Resilient([there.generator()], deadline_s=1), request())


def test_all_errors_are_told_when_none_answers() -> None:
    generator = Resilient([Planned("a", REFUSED), Planned("b", ProviderRefused("b: refused"))], deadline_s=5)
    with pytest.raises(ProviderRefused, match="a: refused; b: refused"):
        collect(generator, request())


def test_a_client_may_choose_who_is_asked_first(there: Provider) -> None:
    both = Resilient([Planned("a"), Planned("b", REFUSED)], deadline_s=5)
    assert both.starting_with("b").names == ("b", "a")
    assert collect(both.starting_with("b"), request())[0].model == "a"
    with pytest.raises(KeyError):
        both.starting_with("c")


def test_every_try_is_recorded() -> None:
    seen = list[tuple[str, str]]()
    generator = Resilient(
        [Planned("a", AWAY, REFUSED), Planned("b")], deadline_s=20, record=lambda *one: seen.append(one)
    )
    collect(generator, request())
    assert seen == [("a", "away"), ("a", "refused"), ("b", "answered")]


def test_tries_over_200_requests_stay_within_a_fifth_more() -> None:
    budget = Budget()
    more = 0
    for _ in range(200):
        budget.earn()
        more += sum(budget.spend() for _ in range(2))
    assert 30 <= more <= 40


def test_nobody_listening_falls_back(there: Provider) -> None:
    generator = Resilient([there.generator(url=nobody()), ScriptedGenerator(REPLY)], deadline_s=20)
    assert collect(generator, request())[0].model == "scripted"


def test_closing_it_closes_what_it_asked(there: Provider) -> None:
    there.pace_s = 0.2

    async def leave() -> None:
        pieces = Resilient([there.generator()], deadline_s=20).stream(request(), Sampling())
        await anext(pieces)
        await pieces.aclose()
        while not there.closed:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(leave(), 1))
