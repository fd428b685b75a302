"""One server's parts, opened and closed together: what the routes stand on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from starlette.requests import HTTPConnection

from ..app import Assistant, load_release
from ..budget import Budgets, price_table
from ..cache import AnswerCache
from ..catalogs import open_catalog
from ..config import Params, Paths
from ..database import Database
from ..errors import ConfigError, Forbidden, NotFound, RagkeepError, ReleaseError, TooMany
from ..files import read_json, read_rows
from ..interactions import InteractionLog, impressions, read
from ..learned import LEDGER
from ..limits import RateLimits
from ..live import LiveDocuments
from ..memory import open_memory, session_name
from ..queues import open_queue
from ..types import DocumentRecord, Release
from ..uploads import Uploads
from ..watched import LAST
from . import context
from .auth import Auth, open_auth
from .challenger import Challenger
from .chat import ANY, Chat
from .conversations import Conversations
from .deletions import Deletions
from .explain import explain_answer
from .follow import Champion
from .mlflow_traces import MlflowTraces, tracking_uri
from .observe import Observer
from .principal import Principal
from .runs import Ended
from .trial import Trials

log = logging.getLogger(__name__)
LOOK_S = 5.0
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
    challenger: Challenger
    chat: Chat
    observer: Observer
    live: LiveDocuments
    uploads: Uploads
    deletions: Deletions
    conversations: Conversations
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def admit(self, who: Principal, workspace: str = "") -> None:
        """Let a request in, of a workspace or ("") of none. Raises Forbidden, TooMany."""
        if workspace:
            who.enter(workspace)
            context.bind(workspace=workspace)
        try:
            if self.limits.shared:
                await asyncio.to_thread(self.limits.check, who.user, workspace)
            else:
                self.limits.check(who.user, workspace)
        except TooMany:
            self.observer.limited.inc()
            raise

    def models(self) -> list[str]:
        """What a client may ask for."""
        return [ANY, *(generator.name for generator in self.champion.assistant.generators)]

    def explain(self, answer_id: str) -> dict[str, Any]:
        """All that is known of an answer. Raises NotFound. Blocks."""
        return explain_answer(self.paths, self.chat.log.find(answer_id))

    def refresh(self) -> None:
        """Take uploads and deletions over into what answers. Blocks."""
        self.challenger.replace(self.seen)
        self.champion.replace(self.seen)

    async def work(self) -> None:
        """Read uploads as they come, until cancelled; other servers' jobs are looked for every few seconds."""
        while True:
            self.wake.clear()  # before the look: what comes after it wakes us
            try:
                did = await asyncio.to_thread(self.uploads.work_once)
                depth = await asyncio.to_thread(self.uploads.queue.depth)
                self.observer.queue.labels("waiting").set(depth.waiting)
                self.observer.queue.labels("dead").set(depth.dead)
            except RagkeepError as error:  # the queue is away: it is asked again
                log.error("uploads wait: %s", error)
                did = False
            except Exception:  # whatever it is: uploads are read on
                log.exception("uploads wait")
                did = False
            if not did:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), LOOK_S)

    async def erase_document(self, record: DocumentRecord) -> dict[str, Any]:
        """Delete a document everywhere; return what that reached. Raises NotFound.

        Written down before it begins: one that is cut short is finished at the next start.
        """
        with self.deletions.noted("document", asdict(record)):
            await asyncio.to_thread(self.uploads.delete, record.id)
            return await self._erase_traces(record)

    async def erase_session(self, who: Principal, workspace: str, session: str) -> dict[str, Any]:
        """Delete a caller's own conversation everywhere; return what that reached. Raises NotFound.

        Written down before it begins: one that is cut short is finished at the next start.
        """
        name = session_name(workspace, who.user, session)
        known, _ = await self.conversations.records(workspace, who.user, session, limit=1)
        if not known and not self.chat.runs.of(name) and not await self.chat.memory.recent(name):
            raise NotFound("there is no such conversation (any more): GET /v1/sessions lists those there are")
        whose = {"id": name, "workspace": workspace, "user": who.user, "session": session}
        with self.deletions.noted("session", whose):
            await self.chat.end(name)
            return await self._erase_session(whose)

    async def _erase_session(self, whose: dict[str, str]) -> dict[str, Any]:
        workspace, user, session = whose["workspace"], whose["user"], whose["session"]
        await self.chat.memory.forget(whose["id"])
        if self.chat.cache:
            self.chat.cache.clear(workspace)
        erase = partial(self.chat.log.erase, "session", session, workspace=workspace, user=user)
        erased = await asyncio.to_thread(erase)
        return {
            "id": session, "status": "deleted", "erased_interactions": len(erased),
            "models_trained_on": await asyncio.to_thread(trained_on, self.paths, set(erased)),
        }  # fmt: skip

    async def finish_deletions(self) -> None:
        """Finish what an earlier process was killed in the middle of; what cannot be finished now is noted still."""
        for note in await asyncio.to_thread(self.deletions.open):
            try:
                with self.deletions.finishing(note):
                    await self._finish_deletion(note.what, note.value)
            except (RagkeepError, OSError) as error:
                log.error("the deletion of a %s is not finished yet: %s", note.what, error)

    async def _finish_deletion(self, what: str, value: dict[str, Any]) -> None:
        if what == "workspace":
            await self._empty(value["id"])
            return
        if what == "session":
            await self._erase_session(value)
            return
        record = DocumentRecord(**value)
        there = await asyncio.to_thread(self.uploads.catalog.document, record.id)
        if there is not None and there.seq == record.seq:
            await asyncio.to_thread(self.uploads.delete, record.id)
        await self._erase_traces(record)

    async def _erase_traces(self, record: DocumentRecord) -> dict[str, Any]:
        """Take a document that is no longer searched out of cache, conversations and log."""
        if self.chat.cache:
            self.chat.cache.clear()
        sessions = await asyncio.to_thread(self._sessions_with, record)
        for session in sessions:
            await self.chat.memory.forget(session)
        erase = partial(self.chat.log.erase, "document", record.uri, workspace=record.workspace)
        erased = await asyncio.to_thread(erase)
        return {
            "id": record.id, "status": "deleted", "erased_interactions": len(erased),
            "models_trained_on": await asyncio.to_thread(trained_on, self.paths, set(erased)),
        }  # fmt: skip

    def _sessions_with(self, record: DocumentRecord) -> set[str]:
        """The conversations whose answers showed a document."""
        return {
            session_name(one.workspace, one.user, one.session)
            for one in read(self.paths.interactions, skip_damaged=True)
            if one.session
            and one.kind == "answer"
            and one.workspace == record.workspace
            and any(shown.uri == record.uri for shown in impressions(one))
        }

    async def erase_workspace(self, workspace: str) -> dict[str, Any]:
        """Delete a workspace with its uploads. Raises NotFound, Forbidden for one that params.yaml feeds."""
        fed = {source.workspace for source in self.params.sources if not source.name.startswith(("uploads-", "u-"))}
        if workspace in fed or workspace == "default":
            raise Forbidden("params.yaml feeds this workspace: take its sources out there, and run a night, first")
        with self.deletions.noted("workspace", {"id": workspace}):
            records = await asyncio.to_thread(self.uploads.catalog.delete_workspace, workspace)
            erased = await self._empty(workspace, records)
        return {"id": workspace, "status": "deleted", "documents": len(records), "erased_interactions": erased}

    async def _empty(self, workspace: str, records: list[DocumentRecord] | None = None) -> int:
        """Take a deleted workspace's documents, conversations and roles out; return how many records that erased."""
        if records is None:
            records = await asyncio.to_thread(self._buried, workspace)
        erased = [await self._erase(record) for record in records]
        await self.chat.memory.forget_all(f"{workspace}/")
        await asyncio.to_thread(self.auth.keys.forget_workspace, workspace)
        await asyncio.to_thread(self.refresh)
        return sum(erased)

    def _buried(self, workspace: str) -> list[DocumentRecord]:
        """Delete a workspace that is still there; return all documents it ever lost."""
        with contextlib.suppress(NotFound):
            self.uploads.catalog.delete_workspace(workspace)
        found, at = list[DocumentRecord](), 0
        while changes := self.uploads.catalog.changes(after=at):
            found += [c.document for c in changes if c.action == "delete" and c.document.workspace == workspace]
            at = changes[-1].seq
        return found

    async def _erase(self, record: DocumentRecord) -> int:
        await asyncio.to_thread(self.uploads.forget, record)
        erase = partial(self.chat.log.erase, "document", record.uri, workspace=record.workspace)
        return len(await asyncio.to_thread(erase))

    def seen(self, assistant: Assistant) -> Assistant:
        """Give an assistant its view of the live documents."""
        base = assistant.live
        view = self.live.view(assistant.store, assistant.release, assistant.embedder, base=base)
        self.observer.live.set(view.chunks)
        return replace(assistant, live=view)

    def gauge(self) -> None:
        """Read what is measured only when it is asked for."""
        self.observer.logging.set(float(self.chat.log.healthy))
        self.observer.rejected.set(float(self.champion.rejected is not None))
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a damaged file
            if found := read_json(self.paths.monitor / LAST):
                self.observer.saw(found)

    def health(self) -> dict[str, Any]:
        """What works and what does not: ok, degraded (answers are given all the same) or down (none are), and why."""
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
            "challenger": {"ok": not self.challenger.trouble, "reason": self.challenger.trouble},
        }  # fmt: skip
        status = "down" if not release["ok"] else "ok" if all(c["ok"] for c in checks.values()) else "degraded"
        return {"status": status, "checks": checks}


def trained_on(paths: Paths, seqs: set[int]) -> list[str]:
    """Name the model versions whose training sets held any of these interactions, by the learning side's ledger."""
    rows = read_rows(paths.state / LEDGER)
    return sorted({str(row["model"]) for row in rows if seqs & set(row["interactions"])})


def at(connection: HTTPConnection) -> Server:
    """The server a request came to."""
    server: Server = connection.app.state.server
    return server


@asynccontextmanager
async def running(
    paths: Paths, params: Params, observer: Observer, *, reject: Reject | None = None
) -> AsyncIterator[Server]:
    """Open a server's parts, follow the champion, and close all in the end.

    Raises Busy where another server of this project runs (the interaction log has one writer).
    """
    database = Database(paths.serving)
    live = LiveDocuments(paths.cache / "live")
    cached = params.answer.cache
    cache = AnswerCache(threshold=cached.threshold, size=cached.size) if cached.size else None
    observer.cache = cache
    holder: list[Server] = []

    def load(release: Release) -> Assistant:
        tried = lambda model, outcome: observer.tries.labels(model, outcome).inc()  # noqa: E731
        return holder[0].seen(load_release(paths, params, release, record=tried))

    def swapped(assistant: Assistant) -> None:
        asyncio.get_running_loop().run_in_executor(None, holder[0].refresh)  # uploads that came while it was loaded
        observer.swaps.inc()
        observer.release.set(assistant.release.number)
        if cache:
            cache.clear()

    champion = Champion(paths, load, reject=reject, swapped=swapped)
    challenger = Challenger(paths, champion, load, taken=lambda: holder[0].refresh())
    with InteractionLog(paths.interactions) as interactions:
        memory = open_memory(params.serve.memory, paths)
        budgets = Budgets(database, params.serve.budgets, prices=price_table(params.answer.generators))
        traces = open_traces(paths, params, observer)
        ended = Ended()
        trials = Trials(challenger, interactions, observer, deleted=live.removed, ended=ended)
        chat = Chat(
            champion, interactions, memory, budgets, observer, cache=cache, traces=traces, trials=trials,
            deleted=live.removed, ended=ended,
        )  # fmt: skip
        conversations = Conversations(interactions, Database(paths.interactions / "sessions.sqlite"))
        uploads = Uploads(
            paths, params, catalog=open_catalog(params.serve.catalog, paths.serving),
            queue=open_queue(params.serve.queue, paths.serving), live=live, changed=lambda: holder[0].refresh(),
        )  # fmt: skip
        server = Server(
            paths, params, database, open_auth(params.serve.auth, database), RateLimits(params.serve.limits), champion,
            challenger, chat, observer, live, uploads, Deletions(paths.state / "deleting"), conversations,
        )  # fmt: skip
        holder.append(server)
        await asyncio.to_thread(uploads.open)
        await server.finish_deletions()
        await champion.look()
        server.tasks.append(asyncio.create_task(champion.follow(), name="follow the champion"))
        server.tasks.append(asyncio.create_task(server.work(), name="read uploads"))
        server.tasks.append(asyncio.create_task(challenger.follow(), name="follow the challenger"))
        server.tasks.append(asyncio.create_task(trials.work(), name="answer in the shadow"))
        try:
            yield server
        finally:
            for task in server.tasks:
                task.cancel()
            await asyncio.gather(*server.tasks, return_exceptions=True)
            await chat.runs.stop()
            if traces:
                await asyncio.to_thread(traces.close)
            with contextlib.suppress(Exception):
                await memory.close()
            await asyncio.to_thread(conversations.close)
            database.close()


def open_traces(paths: Paths, params: Params, observer: Observer) -> MlflowTraces | None:
    """Send answers to MLflow, where params.yaml asks for it. Raises MissingExtra."""
    share = params.serve.mlflow_traces
    counted = lambda outcome: observer.mlflow.labels(outcome).inc()  # noqa: E731
    return MlflowTraces(share, tracking_uri(paths.state), counted=counted) if share else None


def require_project(paths: Paths) -> None:
    """Raise ConfigError where there is no project to serve."""
    if not paths.params.exists():
        raise ConfigError(f"{paths.params} does not exist: run this in a ragkeep project, or set RAGKEEP_HOME")
