"""Patience with clients, and its end: how long a header and a body may take, and how large a body may be.

A connection that says nothing, a header or a body that trickles in and a body without end cost a server its memory, its
disk and its file descriptors; each is ended here, before any route sees it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_S = 20.0
"""How long a connection may take for a request's header."""
SILENT_S = 20.0
"""How long a body may be silent."""
BODY_S = 300.0
"""How long a body may take altogether."""
JSON_BYTES = 8_000_000
FORM_BYTES = 1_000_000
"""What a form may have beside its file."""


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, that hangs up on a client which takes too long for a request's header."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first header."""
        super().connection_made(transport)
        self._look = self.loop.call_later(HEADER_S, self._looked, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._look.cancel()
        super().connection_lost(exc)

    def _looked(self, before: Any) -> None:
        """Hang up where no request has begun since the last look; what became a WebSocket is not ours any more."""
        if self.transport.get_protocol() is not self:
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is before:
            self.transport.close()
        else:
            self._look = self.loop.call_later(HEADER_S, self._looked, self.cycle)


class BoundedBodies:
    """ASGI middleware: a body that is too large is refused with 413, one that is too slow with 408."""

    def __init__(self, app: Any, max_file_bytes: int) -> None:
        self.app, self._form_bytes = app, max_file_bytes + FORM_BYTES

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, and count what is received."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most, got, done = self._most(scope), 0, False
        until = time.monotonic() + BODY_S

        async def receiving() -> Any:
            nonlocal got, done
            if done:
                return await receive()  # what comes now is the client's leaving
            message = await _within(receive, min(SILENT_S, until - time.monotonic()))
            got += len(message.get("body", b""))
            if got > most:
                raise HTTPException(413, f"a body may have at most {most:,} bytes: send less at once")
            done = not message.get("more_body", False)
            return message

        await self.app(scope, receiving, send)

    def _most(self, scope: Any) -> int:
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        return self._form_bytes if kind.lower().startswith(b"multipart/form-data") else JSON_BYTES


async def _within(receive: Any, seconds: float) -> Any:
    try:
        return await asyncio.wait_for(receive(), max(0.001, seconds))
    except TimeoutError:
        raise HTTPException(408, "the body came too slowly: send it again", {"Connection": "close"}) from None
