"""A question is answered for a person: budget, memory, the answer as events, the log, and then the last word.

What a person is told is logged first: `done` says whether it was. An answer that is stopped half-way is logged as such.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ..answer import Asked, Sources, respond
from ..app import Assistant
from ..budget import Budgets, Verdict
from ..cache import AnswerCache
from ..errors import AlreadyExists, LogUnavailable, NotFound, RagkeepError, StoreError, TooMany
from ..generators.compare import Comparison, compare
from ..interactions import InteractionLog, answered
from ..memory import session_name
from ..ports import Memory
from ..types import Answer, Message, Usage
from .follow import Champion
from .observe import Observer
from .principal import Principal
from .runs import Run, Runs
from .schemas import ChatBody, answer_of, source_of

log = logging.getLogger(__name__)
ANY = "ragkeep"
"""What clients call the model when they leave the choice to the release."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """All that is fixed before the first event: one release, one caller, one reservation."""

    id: str
    session: str
    who: Principal
    body: ChatBody
    assistant: Assistant
    asked: Asked
    verdict: Verdict
    trace: str


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
    compare_s: float = 20.0
    _idempotent: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    async def start(self, body: ChatBody, who: Principal, *, history: tuple[Message, ...] | None = None) -> Run:
        """Begin an answer, or find the one that was begun with the same idempotency key.

        `history` is given by clients that keep the conversation themselves. Raises ConfigError on an unknown model,
        ReleaseError without a release, TooMany, AlreadyExists for a key that was used for another question.
        """
        known = self._begun_before(body, who)
        if known is not None:
            return known
        assistant = self.champion.assistant
        name = "" if body.model in (None, ANY) else str(body.model)
        sampling = body.sampling.over(assistant.answer)
        asked_of = assistant.generator_named(name).name
        for other in body.compare:
            assistant.generator_named(other)
        most = Usage(assistant.answer.context_tokens + assistant.answer.history_tokens, sampling.max_tokens)
        verdict = await asyncio.to_thread(self.budgets.reserve, who.user, body.workspace, model=asked_of, usage=most)
        if verdict.state == "refuse":
            raise TooMany("the budget of this key or workspace is used up", verdict.retry_after_s)
        session = body.session or uuid.uuid4().hex
        try:
            said = history if history is not None else await self.memory.recent(self._scoped(session, body, who))
        except BaseException:
            await asyncio.to_thread(self.budgets.release, verdict.reservation)
            raise
        filters = {str(name): value for name, value in body.filters.items()}
        asked = Asked(
            body.message, workspace=body.workspace, rights=who.user if body.filters else "", history=tuple(said),
            model=verdict.model, mode=body.mode,
            trusted=who.may("admin", body.workspace), k=body.k, filters=filters, sampling=sampling,
        )  # fmt: skip
        begun = _Begun(uuid.uuid4().hex, session, who, body, assistant, asked, verdict, self.observer.trace_id())
        run = self.runs.start(begun.id, who.user, lambda run: self._work(run, begun))
        if body.idempotency_key:
            self._idempotent[who.user, body.idempotency_key] = (begun.id, _sha(body))
        return run

    def _begun_before(self, body: ChatBody, who: Principal) -> Run | None:
        if not body.idempotency_key:
            return None
        known = self._idempotent.get((who.user, body.idempotency_key))
        run = self.runs.find(known[0], who.user) if known else None
        if known is None or run is None:
            self._idempotent.pop((who.user, body.idempotency_key), None)
            return None
        if known[1] != _sha(body):
            raise AlreadyExists("this idempotency key was used for another question: choose a new one")
        return run

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

    async def _work(self, run: Run, begun: _Begun) -> None:
        made: Answer | None = None
        text, sources, aside = "", Sources(()), None
        run.put("start", {
            "answer_id": begun.id, "session": begun.session, "workspace": begun.body.workspace,
            "release": str(begun.assistant.release.number), "model": begun.verdict.model,
        })  # fmt: skip
        try:
            with self.observer.answering(begun.body.workspace, begun.verdict.model):
                async with aclosing(respond(begun.asked, begun.assistant, cache=self.cache)) as parts:
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
            self.observer.failed(type(error).__name__)
            await self._give_up(begun, text, sources)
            run.put("error", {"code": type(error).__name__, "message": str(error)})
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(begun, text, sources))
            raise
        except Exception:
            log.exception("answer %s failed", begun.id)
            self.observer.failed("internal")
            await self._give_up(begun, text, sources)
            run.put("error", {"code": "internal", "message": "the answer could not be made: the server's log says why"})
        finally:
            if aside:
                aside.cancel()

    def _beside(self, begun: _Begun, sources: Sources) -> asyncio.Task[Comparison] | None:
        """Ask the other models the same, at the same time."""
        if not begun.body.compare or sources.request is None:
            return None
        others = [begun.assistant.single(name) for name in begun.body.compare]
        sampling = begun.asked.sampling or begun.assistant.answer.sampling
        return asyncio.create_task(compare(sources.request, others, sampling, deadline_s=self.compare_s))

    async def _finish(self, run: Run, begun: _Begun, made: Answer, others: Comparison | None) -> None:
        usage = made.usage
        spent = begun.verdict.reservation
        cost = await asyncio.to_thread(self.budgets.settle, spent, usage=usage, model=made.model)
        logged = await self._log(begun, made, cost_usd=cost)
        if not made.reason:
            scoped = self._scoped(begun.session, begun.body, begun.who)
            turns = Message("user", begun.body.message), Message("assistant", made.text)
            try:
                await self.memory.append(scoped, *turns)
            except StoreError as error:  # the answer stands, only a follow-up will not lean on it
                log.error("answer %s is not remembered: %s", begun.id, error)
        self.observer.answered(made, cost_usd=cost)
        run.put("done", {
            **answer_of(made), "answer_id": begun.id, "session": begun.session, "workspace": begun.body.workspace,
            "cost_usd": cost, "logged": logged, "trace_id": begun.trace,
            "budget_warning": begun.verdict.state in ("warn", "cheaper"), "agreement": _agreement(others),
        })  # fmt: skip

    async def _give_up(self, begun: _Begun, text: str, sources: Sources) -> None:
        """Book and log an answer that was not finished; what was spent on it is not known, so the estimate stays."""
        if not text:
            await asyncio.to_thread(self.budgets.release, begun.verdict.reservation)
        partial = Answer(
            text, (), abstained=False, hits=sources.hits, sources=sources.hits, model=begun.verdict.model,
            release=str(begun.assistant.release.number), searched=begun.asked.question,
        )  # fmt: skip
        await self._log(begun, partial, cost_usd=0.0, aborted=True)

    async def _log(self, begun: _Begun, made: Answer, *, cost_usd: float, aborted: bool = False) -> bool:
        index = begun.assistant.release.index
        record = answered(
            begun.id, begun.body.message, made, workspace=begun.body.workspace, user=begun.who.user,
            session=begun.session, rewritten=made.searched if made.searched != begun.body.message else None,
            aborted=aborted, cost_usd=cost_usd, timings_ms=made.timings_ms, trace=begun.trace,
            index=index.name, embedder=index.embedder, prompt=begun.assistant.prompt_sha,
        )  # fmt: skip
        try:
            await self.log.append_async(record)
        except LogUnavailable as error:
            log.error("answer %s is not logged: %s", begun.id, error)
            return False
        return True


def _agreement(found: Comparison | None) -> dict[str, Any] | None:
    if found is None:
        return None
    answers = [
        {"model": one.name, "text": one.text, "seconds": round(one.seconds, 3), "error": one.error}
        for one in found.answers
    ]
    return {"score": found.agreement, "low": found.low, "answers": answers}


def _sha(body: ChatBody) -> str:
    return hashlib.sha256(body.model_dump_json(exclude={"idempotency_key"}).encode()).hexdigest()
