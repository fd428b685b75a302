"""Several generators as one: asked again where that helps, left alone where it does not, and followed by the next.

    answering = Resilient(open_generators(params.answer, embedder), deadline_s=params.answer.deadline_s)
    async for delta in answering.stream(request, sampling): ...     # the first one says in `model` who answers

A request is tried again only before its first piece was passed on, after a wait with full jitter or as
long as the provider asked for. A budget a generator keeps the tries of all requests within 1.2 times their number, a
breaker leaves one that failed five times in a row alone for ten seconds, and nothing lasts longer than `deadline_s`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from .. import tracing
from ..breaker import Breaker, Resting
from ..errors import ProviderAway, ProviderBusy, ProviderError, ProviderRefused
from ..ports import Delta, Generator, Request
from ..retrying import Budget, waits
from ..types import Sampling

log = logging.getLogger(__name__)

TRIES = 3
PATIENCE_S = 2.0
"""A provider that asks for a longer wait is waited for only where no other could answer."""
FAILURES, REST_S = 5, 10.0

Record = Callable[[str, str], None]
"""Told of every try: the generator's name, and "answered", "busy", "away", "refused" or "resting"."""


@dataclass(frozen=True, slots=True)
class Member:
    """A generator with what is remembered of it."""

    generator: Generator
    breaker: Breaker = field(default_factory=lambda: Breaker(failures=FAILURES, rest_s=REST_S))
    budget: Budget = field(default_factory=Budget)


class Resilient:
    """A Generator of several, in the order they are asked. What is remembered of each is shared by all requests."""

    def __init__(self, generators: Sequence[Generator], *, deadline_s: float, record: Record | None = None) -> None:
        self._members = tuple(Member(generator) for generator in generators)
        self._deadline_s, self._record = deadline_s, record or _nothing

    @property
    def name(self) -> str:
        """The name of the one that is asked first."""
        return self._members[0].generator.name

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(member.generator.name for member in self._members)

    def starting_with(self, name: str) -> Resilient:
        """Return the same generators, the named one first; breakers and budgets stay common. Raises KeyError."""
        if name not in self.names:
            raise KeyError(name)
        made = Resilient((), deadline_s=self._deadline_s, record=self._record)
        made._members = tuple(sorted(self._members, key=lambda member: member.generator.name != name))
        return made

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Yield the first answer there is. Raises the error of the last generator, once its stream has begun at once."""
        until = asyncio.get_running_loop().time() + self._deadline_s
        failed = list[ProviderError]()
        for n, member in enumerate(self._members, 1):
            if failed and _now() >= until:
                break
            last = n == len(self._members)
            pieces = self._answer(member, request, sampling, until=until, last=last)
            async with aclosing(pieces):
                try:
                    first = await anext(pieces)
                except ProviderError as error:
                    failed.append(error)
                    log.warning("%s%s", error, "" if last else "; the next generator is asked")
                    continue
                yield replace(first, model=member.generator.name)
                async for piece in pieces:
                    yield piece
                return
        raise _joined(failed)

    async def _answer(
        self, member: Member, request: Request, sampling: Sampling, *, until: float, last: bool
    ) -> AsyncGenerator[Delta, None]:
        """Ask one generator until it begins to answer or there is no point in asking it again."""
        member.budget.earn()
        pauses = waits(TRIES)
        while True:
            pieces = traced(member.generator, request, sampling)
            async with aclosing(pieces):
                try:
                    first = await self._first(member, pieces, until)
                except ProviderError as error:
                    wait_s = _wait(error, next(pauses), patient=last)
                    if wait_s is None or _now() + wait_s >= until or not member.budget.spend():
                        raise
                else:
                    wait_s = None
                    yield first
                    while (piece := await self._next(member, pieces, until)) is not None:
                        yield piece
            if wait_s is None:
                return
            await asyncio.sleep(wait_s)

    async def _first(self, member: Member, pieces: AsyncGenerator[Delta, None], until: float) -> Delta:
        """Wait for the first piece, unless the generator is left alone; the breaker judges by it."""
        name = member.generator.name
        try:
            with member.breaker.guard(lambda error: isinstance(error, ProviderAway | ProviderBusy)):
                first = await self._next(member, pieces, until)
                if first is None:
                    raise ProviderAway(f"{name} ended without a word: look at its log")
        except Resting as resting:
            self._record(name, "resting")
            raise _Resting(f"{name} failed too often and is left alone for {resting.wait_s:.0f} s: {resting.cause}",
                           resting.wait_s) from None  # fmt: skip
        except ProviderError as error:
            self._record(name, {ProviderBusy: "busy", ProviderRefused: "refused"}.get(type(error), "away"))
            raise
        self._record(name, "answered")
        return first

    async def _next(self, member: Member, pieces: AsyncGenerator[Delta, None], until: float) -> Delta | None:
        """Return the next piece, None after the last. Raises ProviderAway at the deadline."""
        try:
            async with asyncio.timeout_at(until):
                return await anext(pieces, None)
        except TimeoutError:
            raise ProviderAway(
                f"{member.generator.name} did not end within the {self._deadline_s:g} s of answer.deadline_s"
            ) from None


async def traced(generator: Generator, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
    """Pass a generator's pieces on, as one step of the trace for each time it is asked."""
    if not tracing.enabled():
        async with aclosing(generator.stream(request, sampling)) as pieces:
            async for piece in pieces:
                yield piece
        return
    about: dict[str, tracing.Value] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": generator.name,
             "gen_ai.request.max_tokens": sampling.max_tokens}  # fmt: skip
    with tracing.span(f"chat {generator.name}", "client", **about) as here:
        async with aclosing(generator.stream(request, sampling)) as pieces:
            async for piece in pieces:
                if piece.usage:
                    used = piece.usage
                    here.set(**{"gen_ai.usage.input_tokens": used.prompt_tokens,
                                "gen_ai.usage.output_tokens": used.completion_tokens})  # fmt: skip
                yield piece


class _Resting(ProviderBusy):
    """Was not even asked."""


def _wait(error: ProviderError, wait_s: float | None, *, patient: bool) -> float | None:
    """How long to wait before asking again, None where there is no point in it."""
    if wait_s is None or isinstance(error, ProviderRefused | _Resting):
        return None
    asked_s = (error.retry_after_s if isinstance(error, ProviderBusy) else None) or 0.0
    return None if asked_s > PATIENCE_S and not patient else max(wait_s, asked_s)


def _nothing(name: str, outcome: str) -> None:
    """Record nothing."""


def _now() -> float:
    return asyncio.get_running_loop().time()


def _joined(failed: Sequence[ProviderError]) -> ProviderError:
    """The last error, with what the others said; busy where one of them said when to come again."""
    said = "; ".join(str(error) for error in failed)
    waits = [e.retry_after_s for e in failed if isinstance(e, ProviderBusy) and e.retry_after_s is not None]
    if waits or all(isinstance(error, ProviderBusy) for error in failed):
        return ProviderBusy(said, min(waits, default=None))
    return type(failed[-1])(said)
