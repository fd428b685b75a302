"""What a model may have done for it, and how: an allow-list of tools, checked arguments, a bounded number of turns.

    abilities = [*files(root), search(retrieve), aws_reader(["ec2", "s3"])]
    async for piece in stream_with_tools(generator, request, sampling, abilities): ...   # Delta, and a Done for each call

A call of an unknown tool, with bad arguments, or that fails, is answered with a message the model can mend it by. Every
call is handed to the caller as `Done`, for the trace. Tools read, none of them writes, and what they say is data.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from .errors import RagkeepError
from .ports import Delta, Generator, Request, Tool
from .prompts import snippet
from .types import Hit, Message, Sampling, ToolCall, Usage

log = logging.getLogger(__name__)

TURNS = 4
CALLS = 8
"""As many calls of one turn are done."""
TIMEOUT_S = 20.0
MAX_CHARS = 16_000
"""As much of what a tool says is shown to the model."""
_ENOUGH = "There are no more tool calls: answer now with what you have."


class ToolError(Exception):
    """A tool cannot do this; the message is for the model."""


@dataclass(frozen=True, slots=True)
class Ability:
    """A tool and what does it: a blocking function of the checked arguments that returns text, or hits to be cited.

    It may raise ToolError.
    """

    tool: Tool
    do: Callable[[dict[str, Any]], str | list[Hit]]


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was answered: what the model was told, whether it was done, and the hits that were found.

    The hits are numbered on from those of the request: an answer may cite them.
    """

    call: ToolCall
    text: str
    ok: bool
    seconds: float
    hits: tuple[Hit, ...] = ()


async def stream_with_tools(
    generator: Generator,
    request: Request,
    sampling: Sampling,
    abilities: Sequence[Ability],
    *,
    turns: int = TURNS,
) -> AsyncGenerator[Delta | Done, None]:
    """Yield the answer's pieces, and each call once it is done; the last piece has the usage of all turns.

    After `turns` turns with calls the model is told to answer; calls it makes then are not done. Raises as
    `Generator.stream` does.
    """
    known = {ability.tool.name: ability for ability in abilities}
    request = replace(request, tools=tuple(ability.tool for ability in abilities))
    usage, model = Usage(), ""
    for turn in range(turns + 1):
        text, calls = "", list[ToolCall]()
        async with aclosing(generator.stream(request, sampling)) as pieces:
            async for piece in pieces:
                usage = _sum(usage, piece.usage)
                text += piece.text
                calls += [piece.call] if piece.call else []
                if piece.text or (piece.model and piece.model != model):
                    yield Delta(piece.text, model=piece.model)
                model = piece.model or model
        if not calls or turn == turns:
            break
        done = list[Done]()
        for n, call in enumerate(calls):
            done.append(await run(call, known, first=len(request.hits) + 1) if n < CALLS else _refuse(call, _ENOUGH))
            request = replace(request, hits=request.hits + done[-1].hits)
            yield done[-1]
        request = replace(request, messages=request.messages + _history(text, done, last=turn + 1 == turns))
    yield Delta(usage=usage)


async def run(call: ToolCall, known: dict[str, Ability], *, first: int = 1) -> Done:
    """Do one call; whatever goes wrong is said in the text. Hits are numbered from `first`."""
    begun = time.monotonic()
    ability = known.get(call.name)
    if ability is None:
        return _refuse(call, f"There is no tool {call.name!r}. There are: {', '.join(sorted(known)) or 'none'}.")
    wrong = check(call.arguments, ability.tool.parameters, "arguments")
    if call.malformed or wrong:
        return _refuse(
            call, f"The arguments of {call.name} are wrong: {wrong if not call.malformed else 'no JSON object'}."
        )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await asyncio.to_thread(ability.do, call.arguments)
    except (ToolError, RagkeepError) as error:
        return replace(_refuse(call, f"{call.name} could not do this: {error}"), seconds=time.monotonic() - begun)
    except TimeoutError:
        return replace(_refuse(call, f"{call.name} took longer than {TIMEOUT_S:g} s."), seconds=TIMEOUT_S)
    except Exception:  # a tool's own fault must not end the answer; what it says may be no business of the model
        log.exception("the tool %s failed", call.name)
        return replace(_refuse(call, f"{call.name} failed."), seconds=time.monotonic() - begun)
    hits = tuple(found) if isinstance(found, list) else ()
    text = found if isinstance(found, str) else "\n\n".join(snippet(n, hit) for n, hit in enumerate(hits, first))
    return Done(call, _short(text) or "Nothing was found.", True, time.monotonic() - begun, hits)


def _refuse(call: ToolCall, why: str) -> Done:
    return Done(call, why, False, 0.0)


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}\n(cut after {MAX_CHARS:,} characters)"


def _history(text: str, done: Sequence[Done], *, last: bool) -> tuple[Message, ...]:
    """The turn as messages: what the model said and asked for, and what the tools said."""
    asked = Message("assistant", text, calls=tuple(one.call for one in done))
    said = [Message("tool", one.text, call_id=one.call.id) for one in done]
    if last:
        said[-1] = replace(said[-1], content=f"{said[-1].content}\n\n{_ENOUGH}")
    return asked, *said


def _sum(a: Usage, b: Usage | None) -> Usage:
    return Usage(a.prompt_tokens + b.prompt_tokens, a.completion_tokens + b.completion_tokens) if b else a


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def check(value: Any, schema: dict[str, Any], where: str) -> str:
    """Say what is wrong with a value by a JSON Schema, "" where nothing is.

    Read are type, enum, minimum, maximum, maxLength, items, properties and required; a property that is not named is
    wrong.
    """
    kind = schema.get("type", "object")
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} must be of type {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} must be one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{where} must be between {schema.get('minimum')} and {schema.get('maximum')}"
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        return f"{where} must have at most {schema['maxLength']} characters"
    if isinstance(value, list) and "items" in schema:
        return next(filter(None, (check(v, schema["items"], f"{where}[{n}]") for n, v in enumerate(value))), "")
    if isinstance(value, dict) and "properties" in schema:
        return _check_properties(value, schema, where)
    return ""


def _check_properties(value: dict[str, Any], schema: dict[str, Any], where: str) -> str:
    known = schema["properties"]
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where} must have {name!r}"
    for name in value:
        if name not in known:
            return f"{where} must not have {name!r}; known are {', '.join(known) or 'none'}"
    return next(filter(None, (check(v, known[name], f"{where}.{name}") for name, v in value.items())), "")


def search(retrieve: Callable[[str], list[Hit]], *, limit: int = 5) -> Ability:
    """Let a model search the index, with the rights `retrieve` was made with; what is found may be cited."""
    text = {"type": "string", "description": "what to look for, in a few words", "maxLength": 1000}
    tool = Tool(
        "search",
        "Search the documents. Returns numbered snippets, to be cited by their numbers.",
        {"type": "object", "properties": {"query": text}, "required": ["query"]},
    )
    return Ability(tool, lambda arguments: retrieve(arguments["query"])[:limit])
