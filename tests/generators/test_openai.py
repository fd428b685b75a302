import logging
from collections.abc import Iterator

import pytest

from ragkeep.backends import GENERATORS, load
from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.errors import ConfigError
from tests.contracts.test_generator import SEARCH, collect, request, text_of
from tests.providers import REPLY, Provider, provider


@pytest.fixture
def there() -> Iterator[Provider]:
    with provider("openai") as made:
        yield made


def test_what_a_server_does_not_know_is_left_out_from_then_on(there: Provider, caplog: pytest.LogCaptureFixture) -> None:
    there.unknown = ("stream_options", "top_k", "max_tokens")
    generator = there.generator()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert text_of(collect(generator, request(), top_k=3, max_tokens=200)) == REPLY
    assert len(there.asked) == 3 + 2
    assert there.asked[-1].body["max_completion_tokens"] == 200
    assert "does not take max_tokens, stream_options, top_k" in caplog.text


def test_a_server_that_does_not_count_is_counted_for(there: Provider) -> None:
    there.counts = False
    usage = collect(there.generator(), request())[-1].usage
    assert usage
    assert usage.completion_tokens == len(REPLY.split())
    assert usage.prompt_tokens > 50


def test_what_was_not_given_is_not_sent(there: Provider) -> None:
    collect(there.generator(), request())
    assert {"top_p", "top_k", "stop", "tools"}.isdisjoint(there.asked[0].body)


def test_the_key_comes_from_the_environment(there: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY", raising=False)
    with pytest.raises(ConfigError, match="MODEL_KEY, which is not set"):
        there.generator(key="MODEL_KEY")


def test_it_needs_a_url_and_a_model() -> None:
    with pytest.raises(ConfigError, match="url and a model"):
        load(GENERATORS, "openai", spec=GeneratorParams("openai"), params=AnswerParams())


def test_arguments_that_are_no_json_are_handed_on_as_they_were_written() -> None:
    from ragkeep.generators.pieces import parse_call

    assert parse_call("c", "search", "{not json").malformed == "{not json"
    assert SEARCH.name == parse_call("c", "search", "").name
