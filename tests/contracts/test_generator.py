"""What every Generator must do; a backend is done when it passes here. Add yours to BACKENDS below.

What those behind a network must do besides, when it fails, is in test_generator_faults.py.
"""

import asyncio
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.generators.extractive import extractive
from ragkeep.generators.local import local
from ragkeep.generators.resilient import Resilient
from ragkeep.ports import Delta, Generator, Request, Tool
from ragkeep.prompts import messages
from ragkeep.testing import ScriptedGenerator
from ragkeep.types import Chunk, Hit, Message, Sampling, ToolCall, Usage
from tests.generators import tiny
from tests.providers import KEYS, REMOTE, REPLY, provider
from tests.stores.amazon import forget_aws, log_in

TEXT = "Pumps are serviced yearly by the vendor. The seal of a pump is replaced every second year."
LANGUAGE_MODELS = [*REMOTE, "local", "resilient"]
BACKENDS = ["extractive", "scripted", *LANGUAGE_MODELS]
SEARCH = Tool("search", "Search.", {"type": "object", "properties": {"query": {"type": "string"}}})
TORCH = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")


def request(question: str = "How often are pumps serviced by the vendor?", **more: Any) -> Request:
    chunk = Chunk("c", "d", "manual.md", "s", "default", TEXT, (0, len(TEXT)), (1, 1), "prose", "en")
    hits = (Hit(chunk, 0.9),)
    return Request(question, hits, messages(question, hits), **more)


def collect(generator: Generator, asked: Request, **sampling: Any) -> list[Delta]:
    async def all_of() -> list[Delta]:
        return [delta async for delta in generator.stream(asked, Sampling(**sampling))]

    return asyncio.run(all_of())


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not TORCH:
        pytest.skip("torch and transformers are not installed: pip install 'ragkeep[torch]'")
    return tiny.make(tmp_path_factory.mktemp("tiny"), REPLY)


def make(name: str, stack: ExitStack, asked: pytest.FixtureRequest) -> Generator:
    if name == "extractive":
        return extractive(GeneratorParams(), params=AnswerParams())
    if name == "scripted":
        return ScriptedGenerator(REPLY)
    if name == "local":
        return local(GeneratorParams("local", model=str(asked.getfixturevalue("tiny_model"))), params=AnswerParams())
    if name == "resilient":
        return Resilient([make("openai", stack, asked), make("scripted", stack, asked)], deadline_s=20)
    return stack.enter_context(provider(name)).generator()


def made(name: str, asked: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Generator]:
    forget_aws(monkeypatch, folder)
    log_in(monkeypatch, KEYS)
    with ExitStack() as stack:
        yield make(name, stack, asked)


@pytest.fixture(params=BACKENDS)
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Generator]:
    yield from made(request.param, request, monkeypatch, tmp_path)


@pytest.fixture(params=LANGUAGE_MODELS)
def language_model(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Generator]:
    yield from made(request.param, request, monkeypatch, tmp_path)


def test_it_has_a_name(generator: Generator) -> None:
    assert generator.name


def test_claims_carry_the_number_of_their_snippet(generator: Generator) -> None:
    text = text_of(collect(generator, request()))
    assert "[1]" in text
    assert "yearly" in text


def test_the_last_delta_has_the_usage(generator: Generator) -> None:
    *before, last = collect(generator, request())
    assert isinstance(last.usage, Usage)
    assert all(delta.usage is None for delta in before)
    assert last.usage.completion_tokens > 0


def test_equal_requests_at_temperature_0_give_equal_text(generator: Generator) -> None:
    first, second = (collect(generator, request()) for _ in range(2))
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
    async def one() -> str:
        async with aclosing(generator.stream(request(), Sampling(200))) as pieces:
            return "".join([piece.text async for piece in pieces])

    async def both() -> list[str]:
        return await asyncio.gather(one(), one())

    first, second = asyncio.run(both())
    assert first == second


def test_the_text_comes_in_pieces_and_is_whole(language_model: Generator) -> None:
    deltas = collect(language_model, request())
    assert text_of(deltas).strip() == REPLY
    assert sum(bool(delta.text) for delta in deltas) > 3


def test_most_tokens_are_kept_to(language_model: Generator) -> None:
    assert text_of(collect(language_model, request(), max_tokens=3)).strip() == "Pumps are serviced"


@pytest.mark.parametrize("stop", [("by the",), ("never", "vendor"), (" by", "s y", "[1")])
def test_a_stop_string_and_what_follows_is_not_shown(language_model: Generator, stop: tuple[str, ...]) -> None:
    text = text_of(collect(language_model, request(), stop=stop)).strip()
    assert text == min((REPLY.partition(word)[0].strip() for word in stop), key=len)


def test_drawing_parameters_are_taken(language_model: Generator) -> None:
    deltas = collect(language_model, request(), temperature=0.5, top_p=0.9, top_k=3)
    assert text_of(deltas).strip() == REPLY


def test_a_tool_is_asked_for_by_name_with_arguments(language_model: Generator) -> None:
    *calls, last = [delta for delta in collect(language_model, request(tools=(SEARCH,))) if not delta.text.strip()]
    assert [(one.call.name, one.call.arguments) for one in calls if one.call] == [("search", {"query": "pumps"})]
    assert last.usage


def test_what_a_tool_said_is_answered(language_model: Generator) -> None:
    asked = request(tools=(SEARCH,))
    said = (
        Message("assistant", "", calls=(ToolCall("c1", "search", {"query": "pumps"}),)),
        Message("tool", TEXT, call_id="c1"),
    )
    deltas = collect(language_model, Request(asked.question, asked.hits, asked.messages + said, asked.tools))
    assert text_of(deltas).strip() == REPLY
