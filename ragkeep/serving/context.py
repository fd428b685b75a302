"""What every line of the log says about the request it belongs to; see logs.py."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token

_fields: ContextVar[Mapping[str, str] | None] = ContextVar("ragkeep_log", default=None)


def begin(**fields: str) -> Token[Mapping[str, str] | None]:
    """Put fields into every line of one request, and of the tasks it starts; `end` takes them out."""
    return _fields.set(dict(fields))


def bind(**fields: str) -> None:
    """Add fields that are known by now."""
    if (known := _fields.get()) is not None:
        _fields.set({**known, **fields})


def end(token: Token[Mapping[str, str] | None]) -> None:
    """Leave the request."""
    _fields.reset(token)


def fields() -> Mapping[str, str]:
    """What is known here."""
    return _fields.get() or {}
