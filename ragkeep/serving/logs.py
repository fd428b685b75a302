"""The server's log: a line of JSON for everything that is logged, by whomever, with the request it belongs to.

    configure()
    context.bind(workspace="default")              # in every line of this request from now on
    log.info("request", extra={"route": route})    # fields of this line

uvicorn's and other libraries' records come out the same way as ours. Every text in a line is masked, tracebacks too: no
API key, code or token is written. Questions and answers are in the interaction log, and not here.
"""

from __future__ import annotations

import logging
from typing import IO

import orjson
import structlog
from structlog.typing import EventDict

from . import context
from .loopback import mask

_OWNED = "uvicorn", "uvicorn.error", "fastapi"  # libraries that set up logging for all have these write elsewhere
_TALKATIVE = "httpx", "httpx2", "botocore"


def configure(stream: IO[str] | None = None) -> None:
    """Write all logs as lines of JSON, on stderr where no stream is given; safe to repeat."""
    shared: list[structlog.typing.Processor] = [
        _add_context,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _masked, _line],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _OWNED:
        own = logging.getLogger(name)
        own.handlers[:], own.propagate, own.disabled = [], True, False
        own.setLevel(logging.NOTSET)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _add_context(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {**context.fields(), **event}


def _masked(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Mask before the line is made: cut afterwards, it might not be JSON any more."""
    return {name: value if isinstance(value, int | float | None) else _text(value) for name, value in event.items()}


def _text(value: object) -> str:
    text = mask(str(value))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON


def _line(_logger: object, _method: str, event: EventDict) -> str:
    lead = {name: event.pop(name, "") for name in ("at", "level", "logger", "message")}
    event.pop("color_message", None)  # uvicorn's own, with escapes for a terminal
    if error := event.pop("exception", None):
        event["error"] = error
    return orjson.dumps({**lead, **event}).decode()
