"""A start on a laptop, without configuration: loopback only, a key for its owner, and no page of the web gets through."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..errors import ConfigError
from .auth import COOKIE, Auth
from .keys import local_key
from .sessions import LASTS_S

ASGI: TypeAlias = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
SECRET = re.compile(
    r"((?:key|code|token)=)[^&\s\"']+|\b(r[kl]_)[A-Za-z0-9_-]{12,}|\b(eyJ)[\w-]{8,}\.[\w.-]+", re.IGNORECASE
)
"""What must not be in a log: ?key=... of a link, API keys, codes, JSON web tokens."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address only reaches this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_bind(host: str, *, configured: bool) -> None:
    """Raise ConfigError where others could reach a server that nobody configured for them."""
    if not configured and not is_loopback(host):
        raise ConfigError(
            f"serve.host {host} lets other machines in, and no auth is configured: set serve.auth in params.yaml, "
            "make a key with `ragkeep keys create`, or bind to 127.0.0.1"
        )


def welcome(auth: Auth, *, url: str) -> list[str]:
    """Lines to print at a laptop's start: a link that opens the page once, and the local key where it was just made."""
    key, secret = local_key(auth.keys)
    lines = [f"Open  {url}/?key={auth.sessions.code(key.id)}  (works once)"]
    if secret:
        lines.append(f"API key, shown only now: {secret}")
    return lines


def sign_in(auth: Auth, request: Request) -> Response | None:
    """For `GET /`: exchange ?key=<API key or code> for the page's cookie and drop it from the address; None without one.

    Raises Unauthorized.
    """
    secret = request.query_params.get("key")
    if secret is None:
        return None
    headers = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    answer = RedirectResponse(request.url.path, status_code=303, headers=headers)
    answer.set_cookie(
        COOKIE,
        auth.sessions.open(secret),
        max_age=int(LASTS_S["session"]),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def sign_out(auth: Auth, request: Request) -> Response:
    """End the page's session and take its cookie back."""
    if COOKIE in request.cookies:
        auth.sessions.close(request.cookies[COOKIE])
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


class LoopbackOnly:
    """ASGI middleware of a loopback server: refuse requests whose Host is a name of the web (DNS rebinding)."""

    def __init__(self, app: ASGI) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer 421, or pass on."""
        if scope["type"] in ("http", "websocket") and not is_loopback(_host(scope)):
            error = {"code": "misdirected", "message": "this server only answers to localhost: open http://127.0.0.1"}
            await JSONResponse({"error": error}, status_code=421)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _host(scope: MutableMapping[str, Any]) -> str:
    named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    host = named[0] if len(named) == 1 else ""
    return host.rpartition(":")[0] if re.search(r":\d+$", host) else host


class Masked(logging.Filter):
    """Takes keys, codes and tokens out of log records, such as the address line of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record, and let it pass."""
        record.msg = _masked(record.msg)
        if isinstance(record.args, tuple):  # one by one: uvicorn's formatter takes them apart
            record.args = tuple(map(_masked, record.args))
        return True


def mask(text: str) -> str:
    """Replace every secret in a text by "***"."""
    return SECRET.sub(lambda found: f"{found[1] or found[2] or found[3]}***", text)


def _masked(value: object) -> Any:
    """The value itself, unless its text holds a secret."""
    text = str(value)
    masked = mask(text)
    return value if masked == text else masked


def mask_logs(names: tuple[str, ...] = ("", "uvicorn", "uvicorn.access")) -> None:
    """Mask what these loggers' handlers write, their children's records included; safe to repeat."""
    for handler in [one for name in names for one in logging.getLogger(name).handlers]:
        if not any(isinstance(one, Masked) for one in handler.filters):
            handler.addFilter(Masked())
