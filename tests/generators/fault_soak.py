"""Providers that fail in every way at random, and what is left of the deadline and of the number of tries.

    python -m tests.generators.fault_soak --requests 200 --share 0.3

One generator of the OpenAI kind behind `Resilient`; of its tries the given share meets 429, 500, a refused connection, a
server that hangs, a cut stream or one byte a second, each as likely. Prints what came of the requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ragkeep.errors import ProviderError
from ragkeep.generators.resilient import Resilient
from ragkeep.ports import Delta, Generator, Request
from ragkeep.types import Message, Sampling
from tests.providers import REPLY, Provider, nobody, provider

FAULTS = ("429", "500", "refused", "hang", "cut", "trickle")
TIMEOUT_S, DEADLINE_S, AT_ONCE = 1.0, 4.0, 8
SLACK_S = 0.5
"""How late an answer may be told, for the machine's sake: nothing is asked upstream by then."""


@dataclass
class Unlucky:
    """The stand-in's generator, of which a share of the tries goes wrong."""

    there: Provider
    share: float
    seed: int = 7
    name: str = "unlucky"
    tries: int = 0
    met: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._drawn = random.Random(self.seed)
        self._good = self.there.generator(timeout_s=TIMEOUT_S)
        self._gone = self.there.generator(timeout_s=TIMEOUT_S, url=nobody())

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Ask with the next fault planned; the server meets faults in the order they are drawn."""
        self.tries += 1
        fault = self._drawn.choice(FAULTS) if self._drawn.random() < self.share else "ok"
        self.met[fault] += 1
        asked: Generator = self._gone if fault == "refused" else self._good
        if fault != "refused":
            self.there.faults.append(fault)
        async with aclosing(asked.stream(request, sampling)) as pieces:
            async for piece in pieces:
                yield piece


def soak(requests: int, share: float) -> dict[str, Any]:
    """Ask `requests` times, a few at once; count outcomes, tries and the longest time."""
    with provider("openai") as there:
        unlucky = Unlucky(there, share)
        generator = Resilient([unlucky], deadline_s=DEADLINE_S)
        told, longest = asyncio.run(_all(generator, requests))
    return {
        "requests": requests,
        "outcomes": dict(sorted(told.items())),
        "faults_met": dict(sorted(unlucky.met.items())),
        "tries_per_request": round(unlucky.tries / requests, 3),
        "longest_s": round(longest, 2),
        "deadline_s": DEADLINE_S,
        "past_deadline": int(longest > DEADLINE_S + SLACK_S),
    }


async def _all(generator: Generator, requests: int) -> tuple[Counter[str], float]:
    gate, told, longest = asyncio.Semaphore(AT_ONCE), Counter[str](), 0.0

    async def one() -> None:
        nonlocal longest
        async with gate:
            begun = time.monotonic()
            told[await _outcome(generator)] += 1
            longest = max(longest, time.monotonic() - begun)
            await asyncio.sleep(0.02)

    await asyncio.gather(*(one() for _ in range(requests)))
    return told, longest


async def _outcome(generator: Generator) -> str:
    text = ""
    try:
        asked = Request("How often?", (), (Message("user", "How often?"),))
        async for piece in generator.stream(asked, Sampling()):
            text += piece.text
    except ProviderError as error:
        return f"{type(error).__name__}{' after some text' if text else ''}"
    return "answered" if text == REPLY else "wrong"


def main() -> None:
    """Print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--share", type=float, default=0.3)
    asked = parser.parse_args()
    print(json.dumps(soak(asked.requests, asked.share), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
