"""One server's parts, opened and closed together: what the routes stand on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from starlette.requests import HTTPConnection

from ..app import Assistant, load_release
from ..budget import Budgets, price_table
from ..cache import AnswerCache
from ..config import Params, Paths
from ..database import Database
from ..errors import ConfigError, NotFound, ReleaseError
from ..interactions import InteractionLog
from ..limits import RateLimits
from ..live import LiveDocuments
from ..memory import open_memory
from ..releases import read_release
from ..types import Interaction, Release
from .auth import Auth, open_auth
from .chat import ANY, Chat
from .follow import Champion
from .observe import Observer
from .principal import Principal

log = logging.getLogger(__name__)
Reject = Callable[[Release, str], Awaitable[None]]


@dataclass(eq=False)
class Server:
    """Everything a request may need; `running` opens it."""

    paths: Paths
    params: Params
    database: Database
    auth: Auth
    limits: RateLimits
    champion: Champion
    chat: Chat
    observer: Observer
    live: LiveDocuments
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def admit(self, who: Principal, workspace: str) -> None:
        """Let a request in. Raises Forbidden, TooMany."""
        who.enter(workspace)
        if self.limits.shared:
            await asyncio.to_thread(self.limits.check, who.user, workspace)
        else:
            self.limits.check(who.user, workspace)

    def models(self) -> list[str]:
        """What a client may ask for."""
        return [ANY, *(generator.name for generator in self.champion.assistant.generators)]

    def explain(self, answer_id: str) -> dict[str, Any]:
        """All that is known of an answer. Raises NotFound. Blocks."""
        return explain_answer(self.paths, self.chat.log.find(answer_id))

    def refresh_live(self) -> None:
        """Take uploads and deletions over into what answers. Blocks."""
        self.champion.replace(self.seen)

    def seen(self, assistant: Assistant) -> Assistant:
        """Give an assistant its view of the live documents."""
        base = assistant.live
        view = self.live.view(assistant.store, assistant.release, assistant.embedder, base=base)
        self.observer.live.set(view.chunks)
        return replace(assistant, live=view)

    def health(self) -> dict[str, Any]:
        """What works and what does not: ok, degraded (answers are given all the same) or down (none are)."""
        try:
            number: int | None = self.champion.assistant.release.number
            release = {"ok": True, "release": str(number)}
        except ReleaseError as error:
            release = {"ok": False, "reason": str(error)}
        rejected = self.champion.rejected
        trouble, forgetful = self.chat.log.trouble, self.chat.memory.trouble
        checks = {
            "release": release,
            "newest_release": {"ok": rejected is None, "reason": rejected.reason if rejected else ""},
            "log": {"ok": trouble is None, "reason": trouble or ""},
            "memory": {"ok": forgetful is None, "reason": forgetful or ""},
        }  # fmt: skip
        status = "down" if not release["ok"] else "ok" if all(c["ok"] for c in checks.values()) else "degraded"
        return {"status": status, "checks": checks}


def explain_answer(paths: Paths, found: list[Interaction]) -> dict[str, Any]:
    """Join an answer's record, its feedback and its release. Raises NotFound."""
    about = next((one for one in found if one.kind == "answer"), None)
    if about is None:
        raise NotFound("there is no such answer, or it was erased")
    try:
        release: dict[str, Any] | None = asdict(read_release(paths, int(about.release))) if about.release else None
    except (ReleaseError, ValueError):
        release = None  # pruned since
    return {
        "answer_id": about.answer, "at": about.at, "workspace": about.workspace, "session": about.session,
        "user": about.user, "release": about.release, **about.payload,
        "release_details": release, "feedback": [
            {"at": one.at, "kind": one.kind, "user": one.user, **one.payload} for one in found if one.kind != "answer"
        ],
    }  # fmt: skip


def at(connection: HTTPConnection) -> Server:
    """The server a request came to."""
    server: Server = connection.app.state.server
    return server


@asynccontextmanager
async def running(paths: Paths, params: Params, *, reject: Reject | None = None) -> AsyncIterator[Server]:
    """Open a server's parts, follow the champion, and close all in the end.

    Raises Busy where another server of this project runs (the interaction log has one writer).
    """
    observer = Observer()
    database = Database(paths.serving)
    live = LiveDocuments(paths.cache / "live")
    cached = params.answer.cache
    cache = AnswerCache(threshold=cached.threshold, size=cached.size) if cached.size else None
    holder: list[Server] = []

    def load(release: Release) -> Assistant:
        tried = lambda model, outcome: observer.tries.labels(model, outcome).inc()  # noqa: E731
        return holder[0].seen(load_release(paths, params, release, record=tried))

    def swapped(assistant: Assistant) -> None:
        observer.swaps.inc()
        observer.release.set(assistant.release.number)
        if cache:
            cache.clear()

    champion = Champion(paths, load, reject=reject, swapped=swapped)
    with InteractionLog(paths.interactions) as interactions:
        memory = open_memory(params.serve.memory, paths)
        budgets = Budgets(database, params.serve.budgets, prices=price_table(params.answer.generators))
        chat = Chat(champion, interactions, memory, budgets, observer, cache=cache)
        server = Server(
            paths, params, database, open_auth(params.serve.auth, database), RateLimits(params.serve.limits), champion,
            chat, observer, live,
        )  # fmt: skip
        holder.append(server)
        await champion.look()
        server.tasks.append(asyncio.create_task(champion.follow(), name="follow the champion"))
        try:
            yield server
        finally:
            for task in server.tasks:
                task.cancel()
            await asyncio.gather(*server.tasks, return_exceptions=True)
            await chat.runs.stop()
            with contextlib.suppress(Exception):
                await memory.close()
            database.close()


def require_project(paths: Paths) -> None:
    """Raise ConfigError where there is no project to serve."""
    if not paths.params.exists():
        raise ConfigError(f"{paths.params} does not exist: run this in a ragkeep project, or set RAGKEEP_HOME")
