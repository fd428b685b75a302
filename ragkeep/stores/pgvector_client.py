"""One way to ask PostgreSQL: a few connections for all threads, transactions, time limits, errors that say what to do.

The password comes from RAGKEEP_PGVECTOR_PASSWORD, else from where libpq looks (PGPASSWORD, ~/.pgpass), and is in no
message, no repr and no log. psycopg is imported at the first connection.
"""

from __future__ import annotations

import importlib
import os
import re
import weakref
from collections.abc import Callable
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from ..config import PgVectorParams
from ..errors import MissingExtra, StoreError

if TYPE_CHECKING:
    from psycopg import Connection

    Session: TypeAlias = Connection[tuple[Any, ...]]

CONNECTIONS = 16
"""How many of a server's connections one process takes, at most; more threads wait for one another."""
EXPLORED = 256
"""How many neighbours the graph's search keeps on its way, at least: recall grows with it, whatever k is."""
_SCANNED = 20_000
_CONNECT_S = 10

T = TypeVar("T")


class Unit(NamedTuple):
    """A vector as PostgreSQL takes it: length, a zero, then big-endian float32."""

    data: bytes


class Refused(StoreError):
    """The server's answer was an error; `state` is its SQLSTATE ("": there was no answer)."""

    def __init__(self, message: str, state: str = "") -> None:
        super().__init__(message)
        self.state = state


class Lost(Refused):
    """The connection ended in the middle."""


class Database:
    """A pool of connections; safe to share between threads. `prepare` is done once, on the first."""

    def __init__(self, params: PgVectorParams, prepare: Callable[[Session], None]) -> None:
        self._params, self._prepare = params, prepare
        self._room = BoundedSemaphore(CONNECTIONS)
        self._idle: list[Session] = []
        self._close = weakref.finalize(self, _close_all, self._idle)
        self._preparing = Lock()
        self._dumper: Any = None

    def run(self, work: Callable[[Session], T], *, repeat: bool = True) -> T:
        """Do `work` in one transaction; once more where the connection was lost, unless `repeat` says that is unsafe.

        Raises Refused, Lost, and MissingExtra without psycopg.
        """
        with self._room:
            if not repeat:  # on a new connection: one that was left idle may have ended without anybody noticing
                return self._transact(self._connect(), work)
            try:
                return self._transact(self._idle_or_new(), work)
            except Lost:
                _close_all(self._idle)
                return self._transact(self._connect(), work)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        _close_all(self._idle)

    def alone(self, statement: Any) -> None:
        """Run a statement that PostgreSQL lets into no transaction, however long it takes."""
        with self._room:
            session = self._idle_or_new()
            try:
                session.execute("set statement_timeout = 0")
                session.execute(statement)
            except _library().Error as error:
                raise self._refused(error, session) from None
            finally:
                session.close()

    def _transact(self, session: Session, work: Callable[[Session], T]) -> T:
        try:
            with session.transaction():
                return work(session)
        except _library().Error as error:
            raise self._refused(error, session) from None
        finally:
            if session.info.transaction_status == _library().pq.TransactionStatus.IDLE:
                self._idle.append(session)
            else:
                session.close()

    def _idle_or_new(self) -> Session:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> Session:
        library, params = _library(), self._params
        password = os.environ.get("RAGKEEP_PGVECTOR_PASSWORD")
        try:
            session: Session = library.connect(
                params.url,
                autocommit=True,
                client_encoding="utf8",
                connect_timeout=max(2, min(_CONNECT_S, round(params.timeout_s))),
                tcp_user_timeout=round(params.timeout_s * 1000),
                fallback_application_name="ragkeep",
                **({"password": password} if password is not None else {}),
            )
        except library.Error as error:
            raise Refused(f"{self._where()} {_unreachable(str(error))}") from None
        try:
            self._set_up(session)
        except library.Error as error:
            session.close()
            raise self._refused(error, session) from None
        except BaseException:
            session.close()
            raise
        return session

    def _set_up(self, session: Session) -> None:
        settings = _settings(self._params.timeout_s)
        session.execute(
            "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) s(name, value)",
            [list(settings), list(settings.values())],
        )
        with self._preparing:
            if self._dumper is None:
                self._prepare(session)
                self._dumper = _dumper(session)
        session.adapters.register_dumper(Unit, self._dumper)

    def _where(self) -> str:
        return f"PostgreSQL at {re.sub('^[a-z]*://', '', self._params.url)}"

    def _refused(self, error: Any, session: Session) -> Refused:
        """Say in one line what happened and what to do."""
        state = error.sqlstate or ""
        if session.broken or state in _GOING:
            return Lost(f"{self._where()} {_gone(state)}; nothing live was touched", state)
        said = " ".join(str(error.diag.message_primary or error).split())[:300]
        return Refused(f"{self._where()} {_advice(state, said, self._params)}", state)


_GOING = {"57P01", "57P02", "57P03"}


def _settings(timeout_s: float) -> dict[str, str]:
    return {
        "statement_timeout": f"{round(timeout_s * 1000)}ms",
        "synchronous_commit": "on",
        "plan_cache_mode": "force_custom_plan",  # a plan for any workspace would be wrong for most
        "jit": "off",  # compiles for longer than our statements run
        "max_parallel_workers_per_gather": "0",
        "work_mem": "32MB",
        "hnsw.ef_search": str(EXPLORED),
        "hnsw.iterative_scan": "relaxed_order",  # sorted again by us; `strict_order` throws away what it finds too late
        "hnsw.max_scan_tuples": str(_SCANNED),
    }


def _close_all(sessions: list[Session]) -> None:
    while sessions:
        sessions.pop().close()


def _library() -> Any:
    try:
        return importlib.import_module("psycopg")
    except ImportError:
        raise MissingExtra("the pgvector store", "pgvector") from None


def _dumper(session: Session) -> Any:
    """How psycopg sends a `Unit`: in binary, as the type that the extension made in this database."""
    found = session.execute("select 'vector'::regtype::oid").fetchone()
    assert found is not None
    adapt, library = importlib.import_module("psycopg.adapt"), _library()
    body = {"oid": found[0], "format": library.pq.Format.BINARY, "dump": lambda _, unit: unit.data}
    return type("UnitDumper", (adapt.Dumper,), body)


def _unreachable(said: str) -> str:
    """Put a failed connection in words, with the next step."""
    said = " ".join(said.split())
    if "no password supplied" in said:
        return "asks for a password: set RAGKEEP_PGVECTOR_PASSWORD, or use ~/.pgpass"
    if "authentication failed" in said:
        return "does not know the user or the password: correct index.pgvector.url and RAGKEEP_PGVECTOR_PASSWORD"
    if "does not exist" in said:
        return f"refused ({said[-200:]}): create it, or correct index.pgvector.url"
    if "starting up" in said or "shutting down" in said or "recovery" in said:
        return "is starting or stopping: try again in a moment; nothing live was touched"
    if "too many clients" in said or "connection slots" in said:
        return "has no connection left: raise its max_connections, or run fewer processes"
    known = ("Connection refused", "could not translate host name", "Name or service not known", "timeout expired")
    cause = next((one for one in known if one in said), said[-200:])
    return f"cannot be reached ({cause}): is it running, and index.pgvector.url right? Nothing live was touched"


def _gone(state: str) -> str:
    return "was stopped in the middle: start it and run again" if state else "was gone in the middle: is it running?"


def _advice(state: str, said: str, params: PgVectorParams) -> str:
    """Put an error answer in words, with the next step."""
    if state == "57014":
        return (
            f"did not answer within {params.timeout_s:g} s: look at its load, or raise index.pgvector.timeout_s; "
            "nothing live was touched"
        )
    if state == "42501":
        return f"does not let this user do this ({said}): grant it CREATE and TEMPORARY on the database"
    if state == "53100":
        return f"has no room left ({said}): free some space on its disk or in its /dev/shm; live is as it was"
    if state == "25006":
        return f"takes no writes here ({said}): index.pgvector.url must name the primary server"
    return f"answered {state}: {said}"
