"""What every Generator must do; a backend is done when it passes here. Add yours to GENERATORS below."""

import asyncio
from collections.abc import Callable

import pytest

from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.generators.extractive import extractive
from ragkeep.ports import Delta, Generator, Request
from ragkeep.prompts import messages
from ragkeep.testing import ScriptedGenerator
from ragkeep.types import Chunk, Hit, Sampling, Usage

TEXT = "Pumps are serviced yearly by the vendor. The seal of a pump is replaced every second year."
GENERATORS: dict[str, Callable[[], Generator]] = {
    "extractive": lambda: extractive(GeneratorParams(), params=AnswerParams()),
    "scripted": lambda: ScriptedGenerator("Pumps are serviced yearly by the vendor. [1]"),
}


def request(question: str = "How often are pumps serviced by the vendor?") -> Request:
    chunk = Chunk("c", "d", "manual.md", "s", "default", TEXT, (0, len(TEXT)), (1, 1), "prose", "en")
    hits = (Hit(chunk, 0.9),)
    return Request(question, hits, messages(question, hits))


async def collect(generator: Generator, asked: Request, max_tokens: int = 200) -> list[Delta]:
    return [delta async for delta in generator.stream(asked, Sampling(max_tokens))]


@pytest.fixture(params=sorted(GENERATORS))
def generator(request: pytest.FixtureRequest) -> Generator:
    return GENERATORS[request.param]()


def test_it_has_a_name(generator: Generator) -> None:
    assert generator.name


def test_claims_carry_the_number_of_their_snippet(generator: Generator) -> None:
    text = "".join(delta.text for delta in asyncio.run(collect(generator, request())))
    assert "[1]" in text
    assert "yearly" in text


def test_the_last_delta_has_the_usage(generator: Generator) -> None:
    *before, last = asyncio.run(collect(generator, request()))
    assert isinstance(last.usage, Usage)
    assert all(delta.usage is None for delta in before)
    assert last.usage.completion_tokens > 0


def test_equal_requests_at_temperature_0_give_equal_text(generator: Generator) -> None:
    first, second = (asyncio.run(collect(generator, request())) for _ in range(2))
    assert first == second


def test_a_stream_can_be_closed_at_any_point(generator: Generator) -> None:
    async def leave_early() -> None:
        stream = generator.stream(request(), Sampling(200))
        await anext(stream)
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    asyncio.run(leave_early())


def test_two_streams_run_side_by_side(generator: Generator) -> None:
    async def both() -> list[list[Delta]]:
        return await asyncio.gather(collect(generator, request()), collect(generator, request()))

    first, second = asyncio.run(both())
    assert first == second
