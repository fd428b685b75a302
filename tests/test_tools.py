import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from ragkeep import tools
from ragkeep.ports import Delta, Request, Tool
from ragkeep.tools import Ability, Done, ToolError, check, run, search, stream_with_tools
from ragkeep.tools_files import files
from ragkeep.types import Hit, Sampling, ToolCall, Usage
from tests.contracts.test_generator import request
from tests.providers import REPLY, provider

ECHO = Ability(
    Tool("echo", "", {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}),
    lambda asked: str(asked["text"]),
)


class Asking:
    """A Generator that asks for what it is told, a list of calls a turn, and then answers."""

    name = "asking"

    def __init__(self, *turns: list[ToolCall]) -> None:
        self.turns, self.requests = list(turns), list[Request]()

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        for call in self.turns.pop(0) if self.turns else []:
            yield Delta(call=call)
        yield Delta(REPLY)
        yield Delta(usage=Usage(10, 1))


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(f"c-{name}", name, arguments)


def streamed(generator: Any, abilities: list[Ability], **more: Any) -> list[Delta | Done]:
    async def all_of() -> list[Delta | Done]:
        return [one async for one in stream_with_tools(generator, request(), Sampling(), abilities, **more)]

    return asyncio.run(all_of())


def done(one: ToolCall, *abilities: Ability) -> Done:
    return asyncio.run(run(one, {ability.tool.name: ability for ability in abilities}))


def test_a_call_is_done_recorded_and_told_to_the_model() -> None:
    asking = Asking([call("echo", text="hello")])
    found = [one for one in streamed(asking, [ECHO]) if isinstance(one, Done)]
    assert [(one.text, one.ok) for one in found] == [("hello", True)]
    asked, said = asking.requests[1].messages[-2:]
    assert (asked.role, asked.calls[0].name, said.role, said.content, said.call_id) == (
        "assistant", "echo", "tool", "hello", "c-echo",
    )  # fmt: skip


def test_the_usage_is_that_of_all_turns() -> None:
    last = streamed(Asking([call("echo", text="x")]), [ECHO])[-1]
    assert isinstance(last, Delta)
    assert last.usage == Usage(20, 2)


def test_an_unknown_tool_is_answered_with_those_there_are() -> None:
    assert done(call("rm"), ECHO).text == "There is no tool 'rm'. There are: echo."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "must have 'text'"),
        ({"text": 1}, "arguments.text must be of type string"),
        ({"text": "a", "shell": "b"}, "must not have 'shell'; known are text"),
    ],
)
def test_bad_arguments_are_answered_with_what_is_wrong(arguments: dict[str, Any], said: str) -> None:
    found = done(call("echo", **arguments), ECHO)
    assert said in found.text
    assert not found.ok


def test_what_is_no_json_is_answered_so() -> None:
    assert "no JSON object" in done(ToolCall("c", "echo", {}, malformed="{oops"), ECHO).text


def test_turns_are_bounded() -> None:
    asking = Asking(*[[call("echo", text="again")] for _ in range(50)])
    found = [one for one in streamed(asking, [ECHO], turns=3) if isinstance(one, Done)]
    assert (len(found), len(asking.requests)) == (3, 4)
    assert "answer now" in asking.requests[-1].messages[-1].content


def test_calls_of_one_turn_are_bounded() -> None:
    found = [one for one in streamed(Asking([call("echo", text="x")] * 20), [ECHO]) if isinstance(one, Done)]
    assert sum(one.ok for one in found) == tools.CALLS
    assert len(found) == 20


def test_a_tool_that_fails_or_hangs_does_not_end_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "TIMEOUT_S", 0.1)

    def fails(_: dict[str, Any]) -> str:
        raise ValueError("a password in a traceback")

    def slow(_: dict[str, Any]) -> str:
        time.sleep(0.5)
        return ""

    assert done(call("echo", text=""), Ability(ECHO.tool, fails)).text == "echo failed."
    assert "longer than" in done(call("echo", text=""), Ability(ECHO.tool, slow)).text


def test_what_a_search_finds_can_be_cited() -> None:
    [hit] = request().hits
    again = Hit(hit.chunk, 0.5)
    asking = Asking([call("search", query="pumps")], [call("search", query="seals")])
    found = [one for one in streamed(asking, [search(lambda query: [again])]) if isinstance(one, Done)]
    assert [one.text[:3] for one in found] == ["[2]", "[3]"]
    assert asking.requests[-1].hits == (hit, again, again)


def test_a_provider_is_taken_through_its_tools() -> None:
    with provider("openai") as there:
        found = streamed(there.generator(), [search(lambda query: list(request().hits))])
    assert [one.call.arguments for one in found if isinstance(one, Done)] == [{"query": "pumps"}]
    assert "".join(one.text for one in found if isinstance(one, Delta)) == REPLY


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (True, {"type": "integer"}, "type integer"),
        (0, {"type": "integer", "minimum": 1}, "between 1"),
        ("c", {"type": "string", "enum": ["a", "b"]}, "one of a, b"),
        ("abc", {"type": "string", "maxLength": 2}, "at most 2"),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, "x[1] must be of type integer"),
        ({"free": 1}, {"type": "object"}, ""),
    ],
)
def test_values_are_checked_by_their_schema(value: Any, schema: dict[str, Any], wrong: str) -> None:
    assert wrong in check(value, schema, "x")
    assert bool(wrong) == bool(check(value, schema, "x"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "sub").mkdir(parents=True)
    (made / "sub/a.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "secret.txt").write_text("secret")
    (made / ".env").write_text("secret")
    (made / "link.txt").symlink_to(tmp_path / "secret.txt")
    (made / "out").symlink_to(tmp_path)
    os.mkfifo(made / "pipe")
    (made / "binary").write_bytes(b"\0\1")
    return made


def asked(root: Path, tool: str, **arguments: Any) -> Done:
    return done(call(tool, **arguments), *files(root))


def test_lines_of_a_file_are_read_with_their_numbers(root: Path) -> None:
    assert asked(root, "read_file", path="sub/a.txt", first_line=2, last_line=2).text == "2: two"
    assert asked(root, "read_file", path="./sub//a.txt").text.startswith("1: one\n2: two")


def test_a_folder_is_listed_without_what_is_hidden(root: Path) -> None:
    assert asked(root, "list_files", path=".").text == "binary\npipe\nsub/"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "sub/../../secret.txt", "/etc/passwd", "link.txt", "out/secret.txt", ".env", "sub/a.txt/..",
        "pipe", "binary", "nothing", "", "a\0b", "sub", "sub/.../x", "\ud800",
    ],
)  # fmt: skip
def test_nothing_outside_the_folder_is_read(root: Path, path: str) -> None:
    found = asked(root, "read_file", path=path)
    assert not found.ok
    assert "secret" not in found.text.replace("secret.txt", "")


def test_a_folder_turned_into_a_link_meanwhile_is_not_followed(root: Path) -> None:
    (root / "sub/a.txt").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(root.parent)
    assert not asked(root, "read_file", path="sub/secret.txt").ok
    assert not asked(root, "list_files", path="sub").ok


def test_a_tool_says_what_it_cannot_do() -> None:
    def cannot(_: dict[str, Any]) -> str:
        raise ToolError("no such thing")

    assert done(call("echo", text=""), Ability(ECHO.tool, cannot)).text == "echo could not do this: no such thing"
