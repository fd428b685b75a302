"""Embedders behind a network: what they share. A backend is a `Service`: how to ask it for a few texts, and its facts.

A night waits for a service that is busy or away, a question does not: after three failures in a row it is not asked for
five seconds. The fingerprint holds the model's name and size and what the service tells of its weights, never the url.
A service that tells nothing can change its weights unseen: then the gate's scores are all there is to notice it by.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from ..breaker import Breaker, Resting
from ..config import EmbedParams
from ..errors import ProviderAway, ProviderBusy, ProviderError, ProviderRefused
from ..retrying import waits
from ..types import Role, Vectors, content_id

TIMEOUT_S = 30.0
PATIENCE_S = {"query": 3.0, "passage": 120.0}
_TRIES = {"query": 2, "passage": 8}
_AT_ONCE = 4
_WINDOW = 1024
_BLANK = "."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Service:
    """A model behind a network.

    `ask` returns one row of numbers for each of at most `size` texts; it raises ProviderError's three. `facts` are
    what else the service tells of the model. Of a text `max_tokens` are read, and the service cuts or refuses the rest.
    """

    kind: str
    model: str
    ask: Callable[[Sequence[str]], Any]
    size: int
    max_tokens: int
    facts: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None


class Remote:
    """See `ports.Embedder`; safe to share between threads. The first use asks the service for its dimension."""

    def __init__(self, service: Service, params: EmbedParams) -> None:
        self.name, self.max_tokens = service.model, service.max_tokens
        self._service, self._batch_chars = service, params.batch_tokens * 4
        self._prefixes = {"query": params.query_prefix, "passage": params.passage_prefix}
        self._breaker = Breaker(failures=3, rest_s=5.0)
        self._lock = threading.Lock()
        weakref.finalize(self, service.close)

    @cached_property
    def dim(self) -> int:
        """Numbers a vector has."""
        with self._lock:
            return int(self._rows([_BLANK], "passage").shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """See `ports.Embedder`."""
        model = self._service.model
        known = content_id(model, *self._service.facts, *self._prefixes.values())[:8]
        return f"{re.sub(r'[^A-Za-z0-9._]+', '-', model)[:64].strip('-')}-{known}-{self._service.kind}-{self.dim}"

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """Return float32 (n, dim) with unit rows, in the order given. Raises ProviderError's three."""
        out = np.empty((len(texts), self.dim), np.float32)
        read = [_readable(self._prefixes[role] + text) if text.strip() else _BLANK for text in texts]
        if len(read) == 1:  # a question: no threads for it
            out[0] = self._fitting(self._rows(read, role))[0]
            return out
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for begin in range(0, len(read), _WINDOW):
                batches = list(self._batches(read, begin, min(begin + _WINDOW, len(read))))
                asked = pool.map(lambda at: self._rows(read[at], role), batches)
                for at, rows in zip(batches, asked, strict=True):
                    out[at] = self._fitting(rows)
        return out

    def _batches(self, texts: Sequence[str], begin: int, end: int) -> Iterator[slice]:
        """Cut a range into slices of at most `size` texts and `batch_tokens`, or one text."""
        chars = 0
        first = begin
        for at in range(begin, end):
            chars += len(texts[at])
            if at > first and (chars > self._batch_chars or at - first >= self._service.size):
                yield slice(first, at)
                first, chars = at, len(texts[at])
        if first < end:
            yield slice(first, end)

    def _rows(self, texts: Sequence[str], role: Role) -> Vectors:
        """Ask for a few texts, again where that may help; return (n, some dim) with unit rows."""
        return self._units(patiently(lambda: self._asked(texts, role), role), len(texts))

    def _asked(self, texts: Sequence[str], role: Role) -> Any:
        if role == "passage":
            return self._service.ask(texts)
        try:
            with self._breaker.guard(lambda error: isinstance(error, ProviderAway | ProviderBusy)):
                return self._service.ask(texts)
        except Resting as resting:
            raise ProviderBusy(
                f"{self.name} failed too often and is left alone for {resting.wait_s:.0f} s: {resting.cause}",
                resting.wait_s,
            ) from None

    def _units(self, said: Any, count: int) -> Vectors:
        try:
            rows = np.array(said, np.float32)
        except (TypeError, ValueError):
            raise self._wrong("something else than numbers") from None
        if rows.ndim != 2 or len(rows) != count or not rows.size:
            raise self._wrong(f"{rows.shape} numbers for {count} texts")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise self._wrong("vectors without a direction")
        made: Vectors = rows / lengths
        return made

    def _fitting(self, rows: Vectors) -> Vectors:
        if rows.shape[1] != self.dim:
            raise self._wrong(f"{rows.shape[1]} numbers a vector and not {self.dim} as before: was the model changed?")
        return rows

    def _wrong(self, what: str) -> ProviderError:
        return ProviderRefused(f"{self.name} answered with {what}: check embed.url and embed.model")


def patiently(ask: Callable[[], T], role: Role) -> T:
    """Ask until there is an answer, or no point or no time left: a question has seconds, a night minutes."""
    until, pauses = time.monotonic() + PATIENCE_S[role], waits(_TRIES[role])
    while True:
        try:
            return ask()
        except (ProviderAway, ProviderBusy) as error:
            pause = next(pauses)
            asked_s = (error.retry_after_s if isinstance(error, ProviderBusy) else None) or 0.0
            if pause is None or time.monotonic() + max(pause, asked_s) > until:
                raise
            time.sleep(max(pause, asked_s))


def _readable(text: str) -> str:
    """Replace what UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
