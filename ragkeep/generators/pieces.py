"""What generators over a network share: stop strings, tool calls put together from pieces, tokens where none are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import orjson

from ..ports import Delta, Request
from ..types import ToolCall, Usage

Deltas = AsyncGenerator[Delta, None]


async def until(pieces: Deltas, stop: Sequence[str], request: Request) -> Deltas:
    """Pass pieces on up to the first of the stop strings, also one that is cut between pieces; then end the stream.

    What could be the beginning of one is held back until it is known. Providers stop by themselves; not all of them
    take every stop string, and some show it.
    """
    held, made = "", 0
    async with aclosing(pieces):
        async for piece in pieces:
            made += bool(piece.text)
            held += piece.text
            cut = min((at for word in stop if word and (at := held.find(word)) >= 0), default=-1)
            if cut >= 0:
                if held[:cut]:
                    yield Delta(held[:cut])
                yield Delta(usage=piece.usage or counted(request, made))
                return
            keep = 0 if piece.usage or piece.call else _begun(held, stop)
            text, held = held[: len(held) - keep], held[len(held) - keep :]
            if piece.usage or piece.call:
                if text:
                    yield Delta(text)
                yield Delta(usage=piece.usage, call=piece.call)
            elif text:
                yield Delta(text)


def _begun(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    return max((n for word in stop for n in range(1, len(word)) if text.endswith(word[:n])), default=0)


def counted(request: Request, pieces: int) -> Usage:
    """Estimate tokens for a provider that does not count: a quarter of the characters read, the pieces written."""
    return Usage(sum(len(m.content) for m in request.messages) // 4, pieces)


@dataclass(slots=True)
class Calls:
    """Tool calls as they come in pieces, by their place in the answer."""

    ids: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)

    def add(self, place: int, *, call_id: str = "", name: str = "", arguments: str = "") -> None:
        """Add a piece; a second id at one place begins another call."""
        if call_id and self.ids.get(place, call_id) != call_id:
            place = len(self.ids)
        self.ids.setdefault(place, call_id or f"call_{place}")
        self.names[place] = self.names.get(place) or name
        self.arguments[place] = self.arguments.get(place, "") + arguments

    def whole(self) -> list[ToolCall]:
        """Return the calls, in order."""
        return [parse_call(self.ids[n], self.names[n], self.arguments[n]) for n in sorted(self.ids)]


def parse_call(call_id: str, name: str, arguments: str) -> ToolCall:
    """Read a call's arguments; what is no JSON object is kept as it was written, for the model to be told."""
    try:
        found = orjson.loads(arguments or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return ToolCall(call_id, name, {}, malformed=arguments[:1000] or "null")
    return ToolCall(call_id, name, found)


_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


async def tool_calls(pieces: Deltas) -> Deltas:
    """Read calls that a model writes into its text, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`."""
    held, count = "", 0
    async with aclosing(pieces):
        async for piece in pieces:
            held += piece.text
            while (at := held.find(_OPEN)) >= 0 and (end := held.find(_CLOSE, at)) >= 0:
                if held[:at].strip():
                    yield Delta(held[:at])
                yield Delta(call=_written(f"call_{count}", held[at + len(_OPEN) : end]))
                held, count = held[end + len(_CLOSE) :], count + 1
            keep = len(held) - held.find(_OPEN) if _OPEN in held else _begun(held, [_OPEN])
            text, held = held[: len(held) - keep], held[len(held) - keep :]
            if text and (text.strip() or not count):
                yield Delta(text)
            if piece.usage:
                if held and _OPEN not in held:
                    yield Delta(held)
                yield Delta(usage=piece.usage)


def _written(call_id: str, text: str) -> ToolCall:
    try:
        found = orjson.loads(text)
        return parse_call(call_id, str(found["name"]), orjson.dumps(found.get("arguments", {})).decode())
    except (ValueError, KeyError, TypeError, AttributeError):
        return ToolCall(call_id, "", {}, malformed=text.strip()[:1000])
