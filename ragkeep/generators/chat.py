"""The chat completions that OpenAI began and most servers speak: what is sent, and how its stream is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from .. import wire
from ..errors import ProviderAway, ProviderBusy, ProviderRefused
from ..ports import Delta, Request
from ..types import Message, Sampling, Usage
from ..wire import Call
from .pieces import Calls, counted

_MAX_EVENT = 1 << 20


def payload(model: str, request: Request, sampling: Sampling) -> dict[str, Any]:
    """Return the body of a request; what was left to the model's own default is not in it."""
    drawn = {"top_p": sampling.top_p, "top_k": sampling.top_k, "stop": list(sampling.stop[:4]) or None}
    functions = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in request.tools]
    return {
        "model": model,
        "messages": [_message(m) for m in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        **{name: value for name, value in drawn.items() if value is not None},
        **({"tools": [{"type": "function", "function": f} for f in functions]} if functions else {}),
    }


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        made["tool_call_id"] = message.call_id
    return made


async def events(chunks: AsyncGenerator[bytes, None], call: Call) -> AsyncGenerator[str, None]:
    """Yield the data of server-sent events. Raises ProviderRefused where one has no end."""
    held, data = b"", list[bytes]()
    async with aclosing(chunks):
        async for chunk in chunks:
            # not str.splitlines: JSON may hold what Python counts as the end of a line
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                line = line.removesuffix(b"\r")
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line and data:
                    yield b"\n".join(data).decode("utf-8", "replace")
                    data = []
            if len(held) + sum(map(len, data)) > _MAX_EVENT:
                raise ProviderRefused(f"{call.what} sends an event of more than {_MAX_EVENT >> 20} MB: is it this model?")
    if data:  # the last empty line is often left out
        yield b"\n".join(data).decode("utf-8", "replace")


async def deltas(said: AsyncGenerator[str, None], call: Call, request: Request) -> AsyncGenerator[Delta, None]:
    """Read the events of a completion. Raises ProviderAway where it is cut, and what the provider reports meanwhile."""
    calls, made, usage, ended = Calls(), 0, None, False
    async with aclosing(said):
        with wire.expecting(call, "chat completion"):
            async for data in said:
                if data.strip() == "[DONE]":
                    ended = True
                    break
                chunk = wire.parsed(call, data)
                _check(chunk, call)
                usage = _usage(chunk) or usage
                choice = (chunk.get("choices") or [{}])[0]
                ended = ended or bool(choice.get("finish_reason"))
                delta = choice.get("delta") or {}
                _add(calls, delta)
                if text := delta.get("content"):
                    made += 1
                    yield Delta(str(text))
    if not ended:
        raise ProviderAway(f"{call.what} cut its answer off: try again, or look at its log")
    for one in calls.whole():
        yield Delta(call=one)
    yield Delta(usage=usage or counted(request, made))


def _check(chunk: dict[str, Any], call: Call) -> None:
    """Raise what a provider reports after it has begun."""
    if error := chunk.get("error"):
        told = error if isinstance(error, dict) else {"message": error}
        said, code = " ".join(str(told.get("message", "")).split())[:300], str(told.get("code") or told.get("type"))
        if code in ("429", "503", "rate_limit_exceeded", "overloaded_error", "overloaded"):
            raise ProviderBusy(f"{call.what} is too busy ({said}): try again later")
        raise ProviderAway(f"{call.what} failed while it answered ({said}): try again, or look at its log")


def _add(calls: Calls, delta: dict[str, Any]) -> None:
    for n, piece in enumerate(delta.get("tool_calls") or []):
        asked = piece.get("function") or {}
        given = asked.get("arguments") or ""
        text = given if isinstance(given, str) else orjson.dumps(given).decode()
        calls.add(piece.get("index", n), call_id=piece.get("id") or "", name=asked.get("name") or "", arguments=text)


def _usage(chunk: dict[str, Any]) -> Usage | None:
    told = chunk.get("usage")
    if not isinstance(told, dict):
        return None
    return Usage(int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or 0))
