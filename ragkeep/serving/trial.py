"""What an answer does for a trial: it is the challenger's, or mixes its sources in, or is computed again in the shadow.

The champion answers whatever happens: a challenger that fails before its first word is replaced without a trace in the
stream; after that the champion's answer follows what was streamed, and `done`, the record and the memory hold it alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from ..answer import Asked, Part, ranked, respond
from ..app import Assistant
from ..cache import AnswerCache
from ..errors import RagkeepError
from ..generators.resilient import Resilient
from ..interactions import InteractionLog, shadowed
from ..interleave import Team, interleaved
from ..memory import session_name
from ..trials import Side, mixed_record
from ..types import Answer, Hit
from .challenger import Challenger, Contest
from .observe import Observer
from .runs import Ended

log = logging.getLogger(__name__)
PATIENCE_S = 1.0
"""How long an answer waits for the challenger's sources."""
WAITING = 64
"""How many questions may wait for the shadow; more are dropped, and counted."""
FREE = frozenset({"extractive", "local"})
"""Generators that cost nothing and tell nobody: the shadow asks no other."""
_RERANKS = ThreadPoolExecutor(1, thread_name_prefix="rerank-challenger")  # the champion's must not wait behind it


@dataclass(eq=False)
class Role:
    """One answer's part in a trial; `teams` says which side chose which chunk, once sources were mixed."""

    contest: Contest
    champion: Assistant
    challenger: Challenger
    observer: Observer
    answer: str
    side: Side = "champion"
    fell_back: bool = False
    teams: dict[str, Team] = field(default_factory=dict)

    @property
    def assistant(self) -> Assistant:
        """Who answers; it changes when the challenger fails."""
        return self.contest.challenger if self.side == "challenger" and not self.fell_back else self.champion

    def respond(self, asked: Asked, cache: AnswerCache | None) -> AsyncGenerator[Part, None]:
        """Answer as `answer.respond` does. What was mixed for one question is not kept for the next."""
        if self.contest.trial.mode == "interleave":
            return respond(asked, self.champion, mix=lambda searched, ours: self._mixed(asked, searched, ours))
        if self.side == "champion":
            return respond(asked, self.champion, cache=cache)
        return self._tried(asked, cache)

    async def _tried(self, asked: Asked, cache: AnswerCache | None) -> AsyncGenerator[Part, None]:
        held, said = list[Part](), False
        try:
            challenger = self.contest.challenger
            async with aclosing(respond(_askable(asked, challenger), challenger, cache=cache)) as parts:
                async for part in parts:
                    held.append(part)
                    if said or isinstance(part, str | Answer):
                        said = True
                        for one in held:
                            yield one
                        held.clear()
        except Exception as error:  # whatever it is: the champion answers
            self.fell_back = True
            self.challenger.failed(error)
            self.observer.trial.labels("fallback").inc()
        else:
            self.challenger.worked()
            self.observer.trial.labels("challenger").inc()
            return
        if said:
            yield "\n\n"
        async with aclosing(respond(_askable(asked, self.champion), self.champion, cache=cache)) as parts:
            async for part in parts:
                yield part

    async def _mixed(self, asked: Asked, searched: str, ours: list[Hit]) -> list[Hit]:
        """Mix the challenger's sources into the champion's; where it fails, those stay alone."""
        try:
            looking = ranked(self.contest.challenger, searched, asked, pool=_RERANKS)
            theirs = (await asyncio.wait_for(looking, PATIENCE_S))[0]
        except Exception as error:
            self.challenger.failed(error)
            self.observer.trial.labels("fallback").inc()
            return ours
        self.challenger.worked()
        self.observer.trial.labels("interleaved").inc()
        mixed, self.teams = interleaved(ours, theirs, seed=f"{self.contest.trial.id} {self.answer}")
        return mixed

    def record(self, hits: Sequence[Hit]) -> dict[str, Any] | None:
        """Say what the log keeps of it (interactions.records.TRIAL); None where it says nothing of the trial."""
        trial = self.contest.trial
        if trial.mode == "split":
            return {"id": trial.id, "mode": "split", "side": self.side}
        if not self.teams:
            return None
        return mixed_record(trial, self.contest.challenger.release.index.name, self.teams, hits)


def _askable(asked: Asked, assistant: Assistant) -> Asked:
    """A model that only one of the two has (a budget's cheaper one, say) is left to the other's own choice."""
    return asked if asked.model in assistant.answering.names else replace(asked, model="")


@dataclass(frozen=True, slots=True)
class Asking:
    """An answer that was given, to be compared with what the challenger would have said.

    `at` is when its question came, by the monotonic clock.
    """

    contest: Contest
    answer: str
    asked: Asked
    searched: str
    user: str
    session: str
    at: float


@dataclass(eq=False)
class Trials:
    """The part of the server's answers in a trial; one for each server."""

    challenger: Challenger
    log: InteractionLog
    observer: Observer
    deleted: Callable[[str, Iterable[str]], bool] = lambda _workspace, _uris: False
    ended: Ended = field(default_factory=Ended)
    _queue: asyncio.Queue[Asking] = field(default_factory=lambda: asyncio.Queue(WAITING))

    def role(
        self, champion: Assistant, *, answer: str, user: str, session: str, models: Collection[str] = ()
    ) -> Role | None:
        """Say what a coming answer does for a trial; None where it has no part in one.

        `models` are those that it must be able to ask: a question for one the challenger lacks is no part of a trial.
        """
        contest = self.challenger.against(champion)
        if contest is None or not set(models) <= set(contest.challenger.answering.names):
            return None
        trial = contest.trial
        side: Side = "champion"
        if trial.mode == "split":
            side = "challenger" if trial.takes(user if trial.by == "user" else f"{user}/{session}") else "champion"
            if side == "champion":
                self.observer.trial.labels("champion").inc()
        elif not trial.takes(answer):
            return None
        return Role(contest, champion, self.challenger, self.observer, answer, side)

    def shadow(self, role: Role, asked: Asked, made: Answer, *, user: str, session: str, at: float) -> None:
        """Have the challenger answer the same, later; one that was refused or kept from before is not asked again.

        `at` is when the question came, by the monotonic clock.
        """
        if role.contest.trial.mode != "shadow" or made.reason or "cached" in made.flags:
            return
        try:
            self._queue.put_nowait(Asking(role.contest, role.answer, asked, made.searched, user, session, at))
        except asyncio.QueueFull:
            self.observer.trial.labels("dropped").inc()

    def end(self, session: str) -> None:
        """Drop what waits of a session, named as in memory, that is being erased; what is computed now is not kept."""
        self.ended.add(session)
        for one in [self._queue.get_nowait() for _ in range(self._queue.qsize())]:
            if not self._gone(one):
                self._queue.put_nowait(one)

    def _gone(self, one: Asking) -> bool:
        return self.ended.since(session_name(one.asked.workspace, one.user, one.session), one.at)

    async def work(self) -> None:
        """Compute what waits, one after another, until cancelled."""
        while True:
            one = await self._queue.get()
            try:
                await self._shadowed(one)
            except Exception as error:  # nobody was told anything: nobody is worse off
                if not isinstance(error, RagkeepError):
                    log.exception("a shadow failed")
                self.challenger.failed(error)
                self.observer.trial.labels("failed").inc()
            else:
                self.challenger.worked()
                self.observer.trial.labels("shadowed").inc()

    async def _shadowed(self, one: Asking) -> None:
        hits, made, timings = await _computed(one.contest.challenger, one.asked, one.searched)
        uris, workspace = {hit.chunk.uri for hit in hits}, one.asked.workspace
        if self._gone(one) or self.deleted(workspace, uris):
            return
        trial, index = one.contest.trial, one.contest.challenger.release.index.name
        record = shadowed(
            one.answer, hits, trial=trial.id, release=str(trial.number), workspace=workspace, user=one.user,
            session=one.session, index=index, abstained=made.abstained if made else None,
            model=made.model if made else "", timings_ms=timings,
        )  # fmt: skip
        await self.log.append_async(record)
        for uri in sorted(uri for uri in uris if self.deleted(workspace, [uri])):  # deleted while it was written down
            await asyncio.to_thread(self.log.erase, "document", uri, workspace=workspace)
        if self._gone(one):
            await asyncio.to_thread(self.log.erase, "session", one.session, workspace=workspace, user=one.user)


async def _computed(
    challenger: Assistant, asked: Asked, searched: str
) -> tuple[Sequence[Hit], Answer | None, dict[str, float]]:
    """Answer by the challenger's first generator where that costs nothing, else only search."""
    if challenger.answer.generators[0].backend not in FREE:
        began = time.perf_counter()
        _, found = await ranked(challenger, searched, asked, pool=_RERANKS)
        return found, None, {"retrieve": round(1000 * (time.perf_counter() - began), 2)}
    alone = Resilient(challenger.generators[:1], deadline_s=challenger.answer.deadline_s)
    last: Part = ""
    asked, challenger = replace(asked, model="", trusted=False), replace(challenger, answering=alone)
    async for part in respond(asked, challenger, pool=_RERANKS):
        last = part
    if not isinstance(last, Answer):
        raise RuntimeError("respond ended without an Answer")
    return last.hits, last, last.timings_ms
