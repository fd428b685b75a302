"""A server of a small published project, asked in this process and over a real socket."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from ragkeep.config import Paths, load_params
from ragkeep.serving.app import create_app
from ragkeep.serving.principal import ALL, LOCAL, SCOPES
from ragkeep.serving.run import configured
from tests.serving.published import project, publish


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its project, its application, and clients with keys."""

    paths: Paths
    app: FastAPI
    url: str
    closing: ExitStack

    def key(self, roles: dict[str, str] | None = None, scopes: tuple[str, ...] = ("chat", "documents")) -> str:
        """Make an API key; admin of everything where no roles are named."""
        keys = self.app.state.server.auth.keys
        given = dict(roles or {ALL: "admin"})
        return str(keys.create("test", roles=given, scopes=scopes if roles else SCOPES, by=LOCAL)[1])

    def client(
        self, roles: dict[str, str] | None = None, scopes: tuple[str, ...] = ("chat", "documents")
    ) -> httpx.Client:
        """Return a client that shows a key of its own."""
        headers = {"Authorization": f"Bearer {self.key(roles, scopes)}"}
        return self.closing.enter_context(httpx.Client(base_url=self.url, headers=headers, timeout=30))


def serve(paths: Paths) -> Iterator[Served]:
    """Run a project's server on a free port in a thread, and stop it."""
    app = create_app(paths, load_params(paths.params))
    server = uvicorn.Server(configured(app))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    with ExitStack() as closing:
        yield Served(paths, app, f"http://127.0.0.1:{port}", closing)
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server over two workspaces, default and vault."""
    paths = project(tmp_path / "project")
    publish(paths)
    yield from serve(paths)


@pytest.fixture
def client(served: Served) -> httpx.Client:
    """A client that may do everything."""
    return served.client()
