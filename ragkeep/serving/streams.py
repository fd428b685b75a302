"""Answers as they are made, over HTTP (server-sent events) and over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import Response

from .runs import Event, Run

HEARTBEAT_S = 15.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def described(*names: str) -> dict[int | str, dict[str, Any]]:
    """A stream of events for the OpenAPI description: the schema is that of one event."""
    event = {"data": {"type": "string", "description": "JSON"}, "id": {"type": "string"}, "event": {"enum": [*names]}}
    of_one = {"type": "object", "properties": event if names else {"data": event["data"]}, "required": ["data"]}
    content = {"text/event-stream": {"schema": of_one}}
    return {200: {"description": "The answer, or with `stream` its events", "content": content}}


def sse(run: Run, event: Event) -> bytes:
    """One event as text/event-stream has it; its id is <answer>:<number>."""
    return b"id: %s:%d\nevent: %s\ndata: %s\n\n" % (
        run.id.encode(), event.number, event.name.encode(), orjson.dumps(event.data),
    )  # fmt: skip


async def answer_stream(run: Run, after: int = 0) -> AsyncGenerator[bytes, None]:
    """Yield a run's events from `after` on, and a comment wherever nothing happens for a while."""
    yield b"retry: 300\n\n"
    async with aclosing(run.read(after)) as events, aclosing(_beating(events)) as beats:
        async for event in beats:
            yield sse(run, event) if event else b": keep-alive\n\n"


async def _beating(events: AsyncIterator[Event]) -> AsyncGenerator[Event | None, None]:
    """Yield events, and None after each HEARTBEAT_S without one."""
    coming: asyncio.Future[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_S)
            if not done:
                yield None
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield event
    finally:
        if coming and not coming.done():
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


class EventStream(Response):
    """A response of bytes as they come, that ends its source the moment the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, source: AsyncGenerator[bytes, None], *, status_code: int = 200) -> None:
        self._source = source
        self.status_code = status_code
        self.background = None
        self.init_headers({**HEADERS, "content-type": self.media_type})

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI's
        """Send until the source ends or the client does."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            for task in (sending, leaving):
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task
            await self._source.aclose()

    async def _send(self, send: Any) -> None:
        async for piece in self._source:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
