"""The HTTP API as one ASGI application: `create_app(paths, params)`; `ragkeep serve` runs it with uvicorn."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse

from .. import __version__
from ..config import Params, Paths
from ..errors import (
    ConfigError,
    LogUnavailable,
    ProviderBusy,
    ProviderError,
    RagkeepError,
    ReleaseError,
    RequestError,
    StoreError,
    describe,
)
from . import routes_chat, routes_documents, routes_openai, routes_ops, routes_sessions
from .auth import check_routes, public
from .connections import BoundedBodies
from .loopback import LoopbackOnly, is_loopback, sign_in, sign_out
from .observe import CONTENT_TYPE, Observer
from .refusals import ids, refuse
from .requests import Observed
from .schemas import ErrorOut
from .server import Reject, at, running

log = logging.getLogger(__name__)
WEB = Path(__file__).parent / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFETY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", POLICY.encode()),
]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorOut, "description": what}
    for code, what in {
        400: "Bad request", 401: "No key or token, or one that does not count", 403: "A role or scope is missing",
        404: "Not there", 408: "A body that came too slowly", 409: "A contradiction", 413: "A body that is too large",
        422: "A body or parameter that cannot be taken",
        429: "Over a limit or budget; Retry-After says when to come back", 500: "A fault of the server",
        502: "The model did not answer", 503: "Nothing is published yet, or a service is away",
    }.items()
}  # fmt: skip
STATUS: dict[type[Exception], int] = {
    ReleaseError: 503, StoreError: 503, LogUnavailable: 503, ProviderBusy: 503, ProviderError: 502, ConfigError: 422,
}  # fmt: skip
CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}
PublicRoute = Depends(public)


def create_app(paths: Paths, params: Params, *, reject: Reject | None = None) -> FastAPI:
    """Make the application. Raises ConfigError where a route does not say who may use it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(paths, params, observer, reject=reject) as server:
            app.state.server, app.state.auth = server, server.auth
            yield

    observer = Observer()
    # FastAPI's own telemetry would follow whatever is configured in this process: addresses as they were asked for
    silent: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
    app = FastAPI(
        telemetry=silent,
        title="ragkeep", version=__version__, lifespan=lifespan, responses=ERRORS,
        description="Answers from your documents, cited, traced and logged.",
    )  # fmt: skip
    for kind in (RequestError, RagkeepError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _said)
    for routes in (routes_chat, routes_documents, routes_openai, routes_ops, routes_sessions):
        app.include_router(routes.router)
    _own_routes(app)
    check_routes(app)
    app.add_middleware(BoundedBodies, max_file_bytes=params.ingest.max_file_bytes)
    if is_loopback(params.serve.host) and not params.serve.auth.configured:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(Observed, observer=observer, failed=_said)
    app.add_middleware(_Safe)  # the outermost: on refusals and failures too
    return app


async def _said(request: Request, error: Exception) -> Response:
    """Say what went wrong in one line; the inside of a fault stays in the log."""
    if isinstance(error, RequestError):
        return await refuse(request, error)
    headers: dict[str, str] = {}
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        status, code, message = 422, "invalid", f"{where}: {first['msg']}"
    elif isinstance(error, HTTPException):
        status, message = error.status_code, str(error.detail)
        code, headers = CODES.get(status, "http"), dict(error.headers or {})
    elif isinstance(error, RagkeepError):
        status = next((n for kind, n in STATUS.items() if isinstance(error, kind)), 500)
        code, message = type(error).__name__, str(error)
        wait = getattr(error, "retry_after_s", None)
        headers = {"Retry-After": str(max(1, round(wait)))} if wait else {}
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.error("%s %s: %s", request.method, request.url.path, describe(error))
        status, code, message = 503, "no_room", "the server's disk is full: try again when there is room"
    else:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        status, code, message = 500, "internal", "the server failed: its log says why, under this request's id"
    message = message[:1000].encode("utf-8", "replace").decode()  # it may quote what is no text
    body = {"code": code, "message": message, **ids(request)}
    return JSONResponse({"error": body}, status_code=status, headers=headers)


def _own_routes(app: FastAPI) -> None:
    """Health, metrics, and the page."""

    @app.get("/health/live", dependencies=[PublicRoute])
    async def live() -> dict[str, str]:
        """Answer while the process runs."""
        return {"status": "ok"}

    @app.get("/health/ready", dependencies=[PublicRoute], responses={503: {"description": "No release answers"}})
    @app.get("/health", dependencies=[PublicRoute], responses={503: {"description": "No release answers"}})
    async def ready(request: Request) -> JSONResponse:
        """Say what works: 200 while questions are answered (ok or degraded), 503 while none is.

        Why something does not is said to callers who show who they are: a reason may name hosts and paths.
        """
        server = at(request)
        found = server.health()
        if found["status"] != "ok" and not await server.auth.knows(request):
            found["checks"] = {name: {"ok": check["ok"]} for name, check in found["checks"].items()}
            found["reasons"] = "are shown to callers with a key"
        return JSONResponse(found, status_code=503 if found["status"] == "down" else 200)

    @app.get("/metrics", dependencies=[PublicRoute], response_class=Response)
    async def metrics(request: Request) -> Response:
        """Show the metrics, as Prometheus reads them."""
        server = at(request)
        server.gauge()
        return Response(server.observer.text(), media_type=CONTENT_TYPE)

    @app.get("/", dependencies=[PublicRoute], include_in_schema=False)
    async def page(request: Request) -> Response:
        return sign_in(at(request).auth, request) or _file("index.html")

    @app.post("/v1/sign-out", status_code=204)
    async def leave(request: Request, _who: Annotated[None, PublicRoute]) -> Response:
        """End the page's session."""
        return sign_out(at(request).auth, request)

    @app.get("/assets/{name}", dependencies=[PublicRoute], include_in_schema=False)
    async def asset(name: str) -> Response:
        return _file(f"assets/{name}", forever=True)


def _file(name: str, *, forever: bool = False) -> Response:
    if name not in _pages():
        raise HTTPException(404, "there is no such page")
    path = WEB / name
    cache = "public, max-age=31536000, immutable" if forever else "no-cache"
    return FileResponse(path, headers={"Cache-Control": cache})


def _pages() -> set[str]:
    return {path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file()}


class _Safe:
    """ASGI middleware: headers that keep a browser from doing more with an answer than was meant, on errors too."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        docs = scope["type"] == "http" and scope["path"] in ("/docs", "/redoc")  # pages of FastAPI's, with scripts

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *(SAFETY[:2] if docs else SAFETY)]
            await send(message)

        await self.app(scope, receive, sending)
