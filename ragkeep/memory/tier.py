"""What a tier of memory is: turns by session, which it keeps for a while or for good; one backend a file beside this.

A session is named `<workspace>/<user>/<id>` (`session_name`). A scope is a session, or all of a user's or a workspace's:
`<workspace>/<user>/` and `<workspace>/`.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol
from urllib.parse import quote

from ..errors import StoreError
from ..types import Message, content_id

log = logging.getLogger(__name__)

KEEP = 400
"""Turns that are read of a session, the last ones: more than any budget shows."""
TURN_CHARS = 100_000
"""A longer turn is cut: no budget would show it, and no tier refuses what is left."""
REMEMBERED_S = 30 * 86_400.0
"""How long a tier knows what was forgotten, so that no late copy brings it back."""
NAME_CHARS = 200
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Entry:
    """One turn. `id` sorts as the turns were said; `at` is Unix time, in whole microseconds of it."""

    id: str
    at: float
    role: str
    content: str

    @property
    def message(self) -> Message:
        """The turn as a generator reads it."""
        return Message(self.role, self.content)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a tier has of a session, oldest first, at most the last KEEP.

    `whole_at` says since when these are known to be all there are (0: not known).
    """

    entries: tuple[Entry, ...] = ()
    whole_at: float = 0.0


class Tier(Protocol):
    """A place where turns are kept; `ttl_s` seconds from when they came, or for good. Safe to share between threads.

    All but `close` may raise whatever its client does: the tier is then taken to be down. Every call can be repeated.
    `patience_s` is how long an answer waits for it.
    """

    name: str
    patience_s: float

    def prepare(self) -> None:
        """Try whether it answers, and make what it needs where that is missing."""
        ...

    def add(self, session: str, entries: Sequence[Entry], *, whole_at: float = 0.0) -> None:
        """Keep entries, durably; those it has already stay as they are. `whole_at`: with these it has all there are."""
        ...

    def read(self, session: str) -> Kept:
        """Return what is there and has not expired; what cannot be read is left out and named in the log, once."""
        ...

    def erase(self, scope: str, before: float) -> None:
        """Note the scope as forgotten, then remove what came until `before`."""
        ...

    def forgotten(self, scopes: Sequence[str] = ()) -> dict[str, float]:
        """Return the scopes that were forgotten of late, all or those of these, and until when."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def session_name(workspace: str, user: str, session: str = "") -> str:
    """Name a session, or without one the scope of all sessions of a user; no two users share a beginning."""
    return f"{workspace}/{_part(user)}/{_part(session)}"


def _part(text: str) -> str:
    part = quote(text, safe="", errors="surrogatepass").replace(".", "%2E")
    return part if len(part) <= NAME_CHARS else content_id(text)


def covers(scope: str, session: str) -> bool:
    """Whether a session belongs to a scope."""
    return session.startswith(scope) if scope.endswith("/") else session == scope


def scopes_of(sessions: Iterable[str]) -> list[str]:
    """List the scopes that sessions belong to."""
    parts = [(session, *session.split("/", 2)[:2]) for session in sessions]
    return sorted({scope for name, w, u in parts for scope in (name, f"{w}/{u}/", f"{w}/")})


def alive(session: str, entries: Iterable[Entry], forgotten: Mapping[str, float]) -> list[Entry]:
    """Leave out what was forgotten."""
    until = max((at for scope, at in forgotten.items() if covers(scope, session)), default=0.0)
    return [entry for entry in entries if entry.at > until]


def span(scope: str) -> tuple[str, str]:
    """The least name of a scope's sessions, and the least one after them."""
    return scope, f"{scope[:-1]}0" if scope.endswith("/") else f"{scope}\0"  # "0" follows "/"


def encode(entry: Entry) -> str:
    """Write an entry as ASCII, the same each time."""
    return json.dumps(asdict(entry), separators=(",", ":"))


def decode(text: str | bytes) -> Entry:
    """Read an entry. Raises StoreError on what is none."""
    try:
        found = json.loads(text)
        entry = Entry(**found)
    except (ValueError, TypeError, RecursionError):
        raise StoreError("it is no turn that was written here") from None
    texts = (entry.id, entry.role, entry.content)
    if not all(isinstance(part, str) for part in texts) or entry.role not in ROLES or not _is_time(entry.at):
        raise StoreError("it is no turn that was written here")
    return entry


def _is_time(at: object) -> bool:
    return isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at)


class Reader:
    """Reads a tier's entries, and names what is damaged once for each session."""

    def __init__(self, tier: str) -> None:
        self._tier, self._named = tier, set[str]()

    def entries(self, session: str, bodies: Iterable[str | bytes]) -> tuple[Entry, ...]:
        """Return the entries that can be read, oldest first, at most the last KEEP."""
        found = []
        for body in bodies:
            try:
                found.append(decode(body))
            except StoreError as error:
                self.name(session, error)
        return tuple(sorted(found, key=lambda entry: entry.id)[-KEEP:])

    def name(self, session: str, error: Exception) -> None:
        """Write into the log, once, that something of a session cannot be read."""
        if session not in self._named and len(self._named) < 10_000:
            self._named.add(session)
            log.error("memory in %s: a part of session %s is left out: %s", self._tier, session, error)
