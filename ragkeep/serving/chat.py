"""A question is answered for a person: budget, memory, the answer as events, the log, and then the last word.

What a person is told is logged first: `done` says whether it was. An answer that is stopped half-way is logged as such.
One that shows a document which was deleted meanwhile, or whose conversation was, is neither logged nor remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import guard, tracing
from ..answer import Asked, Part, Sources, respond
from ..app import Assistant
from ..budget import Budgets, Verdict
from ..cache import AnswerCache
from ..errors import AlreadyExists, LogUnavailable, NotFound, RagkeepError, ServiceAway, StoreError, TooMany
from ..generators.compare import Comparison, compare
from ..interactions import InteractionLog, answered
from ..memory import session_name
from ..ports import Memory
from ..types import Answer, Message, Usage
from . import context
from .follow import Champion
from .mlflow_traces import Given, MlflowTraces
from .observe import Observer
from .principal import Principal
from .runs import KEPT, Ended, Run, Runs
from .schemas import ChatBody, answer_of, source_of
from .trial import Role, Trials

log = logging.getLogger(__name__)
ANY = "ragkeep"
"""What clients call the model when they leave the choice to the release."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """All that is fixed before the first event: one release, one caller, one reservation.

    `role` is what the answer does for a trial; there the release changes once, should the challenger fail.
    """

    id: str
    session: str
    who: Principal
    body: ChatBody
    champion: Assistant
    asked: Asked
    verdict: Verdict
    beside: dict[str, str]
    trace: str
    at: float
    """When the question came, by the monotonic clock."""
    role: Role | None

    @property
    def assistant(self) -> Assistant:
        """Who answers."""
        return self.role.assistant if self.role else self.champion

    def respond(self, cache: AnswerCache | None) -> AsyncGenerator[Part, None]:
        """Answer."""
        return self.role.respond(self.asked, cache) if self.role else respond(self.asked, self.champion, cache=cache)


@dataclass(eq=False)
class Chat:
    """Answers questions; one for each server."""

    champion: Champion
    log: InteractionLog
    memory: Memory
    budgets: Budgets
    observer: Observer
    runs: Runs = field(default_factory=Runs)
    cache: AnswerCache | None = None
    traces: MlflowTraces | None = None
    trials: Trials | None = None
    compare_s: float = 20.0
    deleted: Callable[[str, Iterable[str]], bool] = lambda _workspace, _uris: False
    ended: Ended = field(default_factory=Ended)
    _logged: set[str] = field(default_factory=set)
    _begun: OrderedDict[tuple[str, str], tuple[str, asyncio.Future[Run]]] = field(default_factory=OrderedDict)

    async def start(self, body: ChatBody, who: Principal, *, history: tuple[Message, ...] | None = None) -> Run:
        """Begin an answer, or find the one that was begun with the same idempotency key.

        `history` is given by clients that keep the conversation themselves. Raises ConfigError on an unknown model,
        ReleaseError without a release, TooMany, AlreadyExists for a key that was used for another question.
        """
        if not body.idempotency_key:
            return await self._start(body, who, history)
        key, sha = (who.user, body.idempotency_key), _sha(body)
        known = self._begun.get(key)
        if known is not None and not self._over(known[1]):
            if known[0] != sha:
                raise AlreadyExists("this idempotency key was used for another question: choose a new one")
            return await asyncio.shield(known[1])
        coming: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        self._begun[key] = sha, coming
        while len(self._begun) > KEPT:
            self._begun.popitem(last=False)
        try:
            run = await self._start(body, who, history)
        except BaseException as error:
            self._begun.pop(key, None)
            coming.set_exception(error if isinstance(error, RagkeepError) else ServiceAway("not begun: ask again"))
            coming.exception()  # nobody may be waiting for it
            raise
        coming.set_result(run)
        return run

    def _over(self, begun: asyncio.Future[Run]) -> bool:
        """Whether an answer cannot be given again: it failed, was stopped, or was forgotten."""
        if not begun.done():
            return False
        run = begun.result()
        return self.runs.find(run.id, run.owner) is None or (run.ended and run.events[-1].name == "error")

    async def _start(self, body: ChatBody, who: Principal, history: tuple[Message, ...] | None) -> Run:
        champion, came = self.champion.assistant, time.monotonic()
        name = "" if body.model in (None, ANY) else str(body.model)
        models = [model for model in (name, *body.compare) if model]
        for model in models:
            champion.generator_named(model)
        id_, session = uuid.uuid4().hex, body.session or uuid.uuid4().hex
        about = {"answer": id_, "user": who.user, "session": session}
        role = self.trials.role(champion, models=models, **about) if self.trials else None
        assistant = role.assistant if role else champion
        sampling = body.sampling.over(assistant.answer)
        asked_of = assistant.generator_named(name).name
        most = Usage(assistant.answer.context_tokens + assistant.answer.history_tokens, sampling.max_tokens)
        verdict = await self._reserve(who.user, body.workspace, asked_of, most)
        self.observer.budgets.labels(verdict.state).inc()
        if verdict.state == "refuse":
            raise TooMany("the budget of this key or workspace is used up", verdict.retry_after_s)
        beside = await self._reserve_others(who.user, body, most, verdict)
        said = history if history is not None else await self._recent(self._scoped(session, body, who))
        filters = {str(name): value for name, value in body.filters.items()}
        asked = Asked(
            body.message, workspace=body.workspace, rights=who.user if body.filters else "", history=tuple(said),
            model=verdict.model, mode=body.mode,
            trusted=who.may("admin", body.workspace), k=body.k, filters=filters, sampling=sampling,
        )  # fmt: skip
        begun = _Begun(id_, session, who, body, champion, asked, verdict, beside, tracing.trace_id(), came, role)
        scope = self._scoped(session, body, who)
        return self.runs.start(begun.id, who.user, lambda run: self._work(run, begun), session=scope)

    async def _reserve(self, user: str, workspace: str, model: str, most: Usage) -> Verdict:
        """Set aside what an answer may cost. A disk that is full stops nobody whose use has no limit."""
        try:
            return await asyncio.to_thread(self.budgets.reserve, user, workspace, model=model, usage=most)
        except StoreError as error:
            if self.budgets.limited(workspace):
                raise
            log.error("an answer is not counted: %s", error)
            return Verdict("ok", model, "")

    async def _reserve_others(self, user: str, body: ChatBody, most: Usage, first: Verdict) -> dict[str, str]:
        """Set aside what the compared models may cost: name -> reservation. Raises TooMany where one does not fit."""
        made: dict[str, str] = {}
        for name in dict.fromkeys(body.compare):
            verdict = await self._reserve(user, body.workspace, name, most)
            if verdict.reservation:
                made[name] = verdict.reservation
            if verdict.state == "refuse" or verdict.model != name:
                await self._release(first.reservation, *made.values())
                raise TooMany(f"the budget of this key or workspace does not reach for {name}", verdict.retry_after_s)
        return made

    async def _release(self, *reservations: str) -> None:
        for one in filter(None, reservations):
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self.budgets.release, one)

    async def _settle_others(self, begun: _Begun, others: Comparison | None) -> float:
        """Book what the compared models used; return US dollars."""
        used = {one.name: one.usage for one in others.answers} if others else {}
        cost = 0.0
        for name, reservation in begun.beside.items():
            settle = partial(self.budgets.settle, reservation, usage=used.get(name, Usage()), model=name)
            with contextlib.suppress(StoreError):
                cost += await asyncio.to_thread(settle)
        return cost

    async def _settle(self, begun: _Begun, made: Answer) -> float:
        """Book what an answer used; return US dollars. Where that cannot be written, what was set aside stays booked."""
        try:
            settle = self.budgets.settle
            if begun.verdict.reservation:
                return await asyncio.to_thread(settle, begun.verdict.reservation, usage=made.usage, model=made.model)
        except StoreError as error:
            log.error("answer %s is not settled: %s", begun.id, error)
        return self.budgets.cost_usd(made.model, made.usage)

    async def _recent(self, session: str) -> list[Message]:
        """What was said before; a memory that is away is done without."""
        try:
            return await self.memory.recent(session)
        except RagkeepError as error:
            log.error("a question is answered without its conversation: %s", error)
            return []

    async def _remember(self, begun: _Begun, made: Answer) -> None:
        turns = Message("user", begun.body.message), Message("assistant", made.text)
        try:
            await self.memory.append(self._scoped(begun.session, begun.body, begun.who), *turns)
        except RagkeepError as error:
            log.error("answer %s is not remembered: %s", begun.id, error)

    def find(self, id_: str, who: Principal) -> Run:
        """Return an answer of this caller that is under way or just ended. Raises NotFound."""
        run = self.runs.find(id_, who.user)
        if run is None:
            raise NotFound("there is no such answer to read on: it was another's, or too long ago")
        return run

    @staticmethod
    def _scoped(session: str, body: ChatBody, who: Principal) -> str:
        """A session's name in memory: nobody reads another's by guessing its id."""
        return session_name(body.workspace, who.user, session)

    async def end(self, session: str) -> None:
        """Stop the answers of a session, named as in memory, that is being erased: none of them is logged or remembered.

        On return nothing more of it is written.
        """
        self.ended.add(session)
        await self.runs.end(session)
        if self.trials:
            self.trials.end(session)  # last: none of those runs puts anything there any more

    async def _work(self, run: Run, begun: _Begun) -> None:
        """Make the answer; its steps are one part of the request's trace."""
        context.bind(answer=begun.id)
        about: dict[str, tracing.Value] = {
            "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "ragkeep", "gen_ai.agent.id": begun.id,
            "gen_ai.conversation.id": begun.session, "gen_ai.request.model": begun.verdict.model,
            "ragkeep.release": begun.assistant.release.number, "ragkeep.workspace": begun.body.workspace,
        }  # fmt: skip
        with self.observer.answering(), tracing.span("invoke_agent ragkeep", **about) as span:
            await self._answer(run, begun, span)

    async def _answer(self, run: Run, begun: _Begun, span: tracing.Span) -> None:
        made: Answer | None = None
        text, sources, aside = "", Sources(()), None
        run.put("start", {
            "answer_id": begun.id, "session": begun.session, "workspace": begun.body.workspace,
            "release": str(begun.assistant.release.number), "model": begun.verdict.model,
        })  # fmt: skip
        try:
            async with aclosing(begun.respond(self.cache)) as parts:
                async for part in parts:
                    if isinstance(part, str):
                        text += part
                        run.put("token", {"text": part})
                    elif isinstance(part, Sources):
                        sources = part
                        aside = self._beside(begun, part)
                        run.put("sources", {"sources": [source_of(n, hit) for n, hit in enumerate(part.hits, 1)]})
                    else:
                        made = part
            if made is None:
                raise RuntimeError("respond ended without an Answer")
            await self._finish(run, begun, made, await aside if aside else None)
        except RagkeepError as error:
            log.warning("answer %s failed: %s", begun.id, error)
            span.failed(type(error).__name__)
            self.observer.failed(type(error).__name__)
            await self._give_up(begun, text, sources)
            run.put("error", {"code": type(error).__name__, "message": str(error), "trace_id": begun.trace})
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(begun, text, sources))
            raise
        except Exception:
            log.exception("answer %s failed", begun.id)
            span.failed("internal")
            self.observer.failed("internal")
            await self._give_up(begun, text, sources)
            message = "the answer could not be made: the server's log says why"
            run.put("error", {"code": "internal", "message": message, "trace_id": begun.trace})
        finally:
            self._logged.discard(begun.id)
            if aside:
                aside.cancel()

    def _beside(self, begun: _Begun, sources: Sources) -> asyncio.Task[Comparison] | None:
        """Ask the other models the same, at the same time."""
        if not begun.body.compare or sources.request is None:
            return None
        others = [begun.assistant.single(name) for name in dict.fromkeys(begun.body.compare)]
        sampling = begun.asked.sampling or begun.assistant.answer.sampling
        return asyncio.create_task(compare(sources.request, others, sampling, deadline_s=self.compare_s))

    async def _finish(self, run: Run, begun: _Begun, made: Answer, others: Comparison | None) -> None:
        cost = await self._settle(begun, made) + await self._settle_others(begun, others)
        logged = await self._log(begun, made, cost_usd=cost)
        if not made.reason and not self._gone(begun, made):
            await self._remember(begun, made)
            if self._gone(begun, made):  # deleted while it was written down: the conversation goes, as others with it did
                await self._forget(begun)
        self.observer.answered(made, cost_usd=cost)
        run.put("done", {
            **answer_of(made), "answer_id": begun.id, "session": begun.session, "workspace": begun.body.workspace,
            "cost_usd": cost, "logged": logged, "trace_id": begun.trace,
            "budget_warning": begun.verdict.state in ("warn", "cheaper"), "agreement": _agreement(others, made),
        })  # fmt: skip
        if begun.role and self.trials and logged:
            about = {"user": begun.who.user, "session": begun.session}
            self.trials.shadow(begun.role, begun.asked, made, at=begun.at, **about)
        if self.traces and not self._gone(begun, made):
            body, now = begun.body, time.time()
            given = Given(begun.id, begun.trace, body.workspace, begun.session, body.message, made, now)
            self.traces.offer(given, gone=partial(self._gone, begun, made))

    async def _give_up(self, begun: _Begun, text: str, sources: Sources) -> None:
        """Book and log an answer that was not finished; what was spent on it is not known, so the estimate stays."""
        if not sources.hits:  # no generator was asked yet
            await self._release(begun.verdict.reservation, *begun.beside.values())
        partial = Answer(
            text, (), abstained=False, hits=sources.hits, sources=sources.hits, model=begun.verdict.model,
            release=str(begun.assistant.release.number), searched=begun.asked.question,
        )  # fmt: skip
        await self._log(begun, partial, cost_usd=0.0, aborted=True)

    def _gone(self, begun: _Begun, made: Answer) -> bool:
        ended = self.ended.since(self._scoped(begun.session, begun.body, begun.who), begun.at)
        return ended or self.deleted(begun.body.workspace, {hit.chunk.uri for hit in made.hits})

    async def _forget(self, begun: _Begun) -> None:
        try:
            await self.memory.forget(self._scoped(begun.session, begun.body, begun.who))
        except RagkeepError as error:
            log.error("the conversation of answer %s is not forgotten: %s", begun.id, error)

    async def _erase(self, begun: _Begun, made: Answer) -> None:
        """Erase again what was logged while its document was being erased."""
        uris = {hit.chunk.uri for hit in made.hits}
        for uri in sorted(uri for uri in uris if self.deleted(begun.body.workspace, [uri])):
            await asyncio.to_thread(self.log.erase, "document", uri, workspace=begun.body.workspace)

    async def _log(self, begun: _Begun, made: Answer, *, cost_usd: float, aborted: bool = False) -> bool:
        """Log an answer once: one that is cancelled after that was given up too late. Return whether it is kept."""
        if begun.id in self._logged or self._gone(begun, made):
            return False
        self._logged.add(begun.id)
        index = begun.assistant.release.index
        record = answered(
            begun.id, begun.body.message, made, workspace=begun.body.workspace, user=begun.who.user,
            session=begun.session, rewritten=made.searched if made.searched != begun.body.message else None,
            aborted=aborted, cost_usd=cost_usd, timings_ms=made.timings_ms, trace=begun.trace,
            index=index.name, embedder=index.embedder, prompt=begun.assistant.prompt_sha,
            trial=begun.role.record(made.hits) if begun.role else None,
        )  # fmt: skip
        try:
            with tracing.span("log"), self.observer.steps.labels("log").time():
                await self.log.append_async(record)
            if self._gone(begun, made):
                await self._erase(begun, made)
                return False
        except LogUnavailable as error:
            log.error("answer %s is not logged: %s", begun.id, error)
            self.observer.unlogged.inc()
            return False
        return True


def _agreement(found: Comparison | None, made: Answer) -> dict[str, Any] | None:
    if found is None:
        return None
    answers = [
        {
            "model": one.name,
            "text": guard.clean(one.text, made.sources),
            "seconds": round(one.seconds, 3),
            "error": one.error,
        }
        for one in found.answers
    ]
    return {"score": found.agreement, "low": found.low, "answers": answers}


def _sha(body: ChatBody) -> str:
    return hashlib.sha256(body.model_dump_json(exclude={"idempotency_key"}).encode()).hexdigest()
