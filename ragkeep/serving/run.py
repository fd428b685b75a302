"""`ragkeep serve`: the application under uvicorn, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace

import uvicorn
from fastapi import FastAPI

from .. import __version__, tracing
from ..config import Params, Paths
from ..errors import ConfigError, RagkeepError
from ..releases import NOT_UP, last_pointer
from ..types import Release
from .app import create_app
from .connections import JSON_BYTES, PatientProtocol
from .logs import configure
from .loopback import check_bind, is_loopback, welcome
from .moves import move

STOP_S = 10


def run(paths: Paths, params: Params, *, host: str | None, port: int | None) -> None:
    """Serve until told to stop. Raises ConfigError, Busy where another server of this project runs."""
    serve = replace(params.serve, host=host or params.serve.host, port=params.serve.port if port is None else port)
    params = replace(params, serve=serve)
    check_bind(serve.host, configured=serve.auth.configured or _has_keys(paths))
    listening = listen(serve.host, serve.port)
    configure()
    gc.disable()  # what a start makes stays: looking through it again and again would take a twentieth of it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = create_app(paths, params, reject=Rejecting(paths))
    server = _Server(configured(app), told=lambda: _welcome(app, serve.host, listening))
    stop = tracing.start(__version__)
    try:
        server.run(sockets=[listening])
    finally:
        stop()
    if not server.came_up:
        raise SystemExit(3)


def configured(app: FastAPI, *, port: int = 0) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        app, port=port, http=PatientProtocol, ws="websockets-sansio", ws_max_size=JSON_BYTES, log_config=None,
        access_log=False, server_header=False, timeout_graceful_shutdown=STOP_S,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """uvicorn's server, that tells when it listens."""

    def __init__(self, config: uvicorn.Config, *, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told, self.came_up = told, False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()
        gc.enable()
        if self.started:
            self.came_up = True
            await asyncio.to_thread(self._told)


def _has_keys(paths: Paths) -> bool:
    if not paths.serving.exists():
        return False
    from ..database import Database
    from .keys import Keys
    from .principal import LOCAL

    database = Database(paths.serving)
    try:
        return any(key.name != "local" and not key.revoked_at for key in Keys(database).listed(by=LOCAL))
    finally:
        database.close()


def listen(host: str, port: int) -> socket.socket:
    """Take a port (0: any free one). Raises ConfigError where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol is named because asyncio turns Nagle's algorithm off only where it is: else every answer on a kept
    # connection waits 40 ms for the client's delayed acknowledgement
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host.strip("[]"), port))
    except OSError as error:
        found.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port") from None
    return found


def _welcome(app: object, host: str, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    server = app.state.server  # type: ignore[attr-defined]
    champion = server.champion
    answering = f"release {champion.number} answers" if champion.number else champion.why_none
    lines = [f"Serving on {url}. {answering[0].upper()}{answering[1:]}. Ctrl-C ends it."]
    if is_loopback(host):
        lines += welcome(server.auth, url=url)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


class Rejecting:
    """Takes a release back that does not come up: rolls back, where it is still the champion and one was before it."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    async def __call__(self, release: Release, reason: str) -> None:
        """Roll back. Raises RagkeepError where that is not possible now: it is tried again."""
        now = last_pointer(self._paths)
        if now is None or now.number != release.number:
            return
        if now.previous is None:
            raise RagkeepError(f"release {release.number} does not come up, and there is none before it: {reason}")
        why = f"{NOT_UP}: {reason}"[:500]
        await move(self._paths, "rollback", reason=why, expect=release.number)
