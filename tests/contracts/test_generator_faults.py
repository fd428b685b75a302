"""What every generator behind a network must do when it fails: the right error in time, and nothing left running."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from ragkeep.errors import ProviderAway, ProviderBusy, ProviderError, ProviderRefused
from ragkeep.ports import Generator
from ragkeep.types import Sampling
from tests.contracts.test_generator import collect, request, text_of
from tests.providers import KEYS, REMOTE, REPLY, SECRET, Provider, nobody, provider
from tests.stores.amazon import forget_aws, log_in


@pytest.fixture(params=REMOTE)
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Provider]:
    forget_aws(monkeypatch, tmp_path)
    log_in(monkeypatch, KEYS)
    with provider(request.param) as made:
        yield made


def failing(there: Provider, fault: str, timeout_s: float = 5.0) -> ProviderError:
    there.faults = [fault]
    begun = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        collect(there.generator(timeout_s=timeout_s), request())
    assert time.monotonic() - begun < timeout_s + 20
    assert "\n" not in str(caught.value)
    return caught.value


def test_429_says_how_long_to_wait(there: Provider) -> None:
    error = failing(there, "429")
    assert isinstance(error, ProviderBusy)
    assert error.retry_after_s == 0.05
    assert "Too many tokens" in str(error)


def test_503_is_busy_without_a_time(there: Provider) -> None:
    error = failing(there, "503")
    assert isinstance(error, ProviderBusy)
    assert error.retry_after_s is None


@pytest.mark.parametrize("fault", ["500", "reset", "cut", "cut-cleanly"])
def test_what_may_pass_is_away(there: Provider, fault: str) -> None:
    assert isinstance(failing(there, fault), ProviderAway)


@pytest.mark.parametrize("fault", ["hang", "silent", "trickle"])
def test_silence_ends_in_time_however_it_is_kept(there: Provider, fault: str) -> None:
    error = failing(there, fault, timeout_s=0.8)
    assert isinstance(error, ProviderAway)
    assert "silent for 0.8 s" in str(error)


def test_nobody_there_is_away(there: Provider) -> None:
    with pytest.raises(ProviderAway, match="no connection"):
        collect(there.generator(url=nobody()), request())


@pytest.mark.parametrize("fault", ["400", "bad-json", "html"])
def test_what_is_no_answer_is_refused(there: Provider, fault: str) -> None:
    assert isinstance(failing(there, fault), ProviderRefused)


def test_a_key_is_in_no_message(there: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    if there.kind == "sagemaker":
        pytest.skip("takes no key")
    monkeypatch.setenv("MODEL_KEY", SECRET)
    there.faults = ["401"]
    with pytest.raises(ProviderRefused) as caught:
        collect(there.generator(key="MODEL_KEY"), request())
    assert SECRET not in repr(caught.value)
    assert "check its key" in str(caught.value)


def test_a_cut_stream_has_passed_on_what_came(there: Provider) -> None:
    there.faults, shown = ["cut"], list[str]()

    async def read() -> None:
        async for piece in there.generator().stream(request(), Sampling()):
            shown.append(piece.text)

    with pytest.raises(ProviderAway):
        asyncio.run(read())
    assert REPLY.startswith("".join(shown).strip())
    assert shown


def test_the_first_piece_comes_before_the_last_is_made(there: Provider) -> None:
    there.pace_s = 0.05

    async def first() -> int:
        async with aclosing(there.generator().stream(request(), Sampling())) as pieces:
            await anext(pieces)
            return there.sent

    assert asyncio.run(first()) < 8


def closed_in(there: Provider, generator: Generator, *, cancel: bool) -> float:
    """Seconds from giving a stream up until the server sees its connection closed."""
    there.pace_s = 1.0

    async def leave() -> float:
        pieces = generator.stream(request(), Sampling())
        await anext(pieces)
        left = time.monotonic()
        if cancel:
            reading = asyncio.create_task(anext(pieces))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        else:
            await pieces.aclose()
        while not there.closed:
            await asyncio.sleep(0.01)
        return there.closed[0] - left

    return asyncio.run(asyncio.wait_for(leave(), 20))


@pytest.mark.parametrize("cancel", [False, True])
def test_giving_up_stops_the_work_upstream_at_once(there: Provider, cancel: bool) -> None:
    assert closed_in(there, there.generator(), cancel=cancel) < 5
    assert there.sent < 8


def test_what_amazon_signs_is_checked(there: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    if there.kind == "openai":
        pytest.skip("nothing is signed")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(ProviderRefused, match=r"signature we calculated"):
        collect(there.generator(), request())


def test_after_a_failure_it_answers_again(there: Provider) -> None:
    failing(there, "500")
    assert text_of(collect(there.generator(), request())) == REPLY
