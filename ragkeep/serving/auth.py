"""Every route says who may use it, `Depends(needs("reader"))` or `Depends(public)`; `check_routes` finds silent ones.

    app.state.auth = open_auth(params.serve.auth, database)
    @app.get("/v1/documents")
    async def documents(workspace: str, who: Annotated[Principal, Depends(needs("reader", scope="documents"))]): ...
    check_routes(app)

A caller shows `Authorization: Bearer <API key or token>`, or the page's cookie. A workspace in the path or the query is
checked here; one in the body, or implied by an id, by the route with `who.enter(workspace, role)`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.requests import HTTPConnection, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security.base import SecurityBase

from ..database import Database
from ..errors import ConfigError, Forbidden, RagkeepError, Unauthorized
from . import context
from .keys import Keys
from .params import AuthParams
from .principal import OPS, Principal, Scope, WorkspaceRole
from .sessions import Sessions
from .tokens import Tokens

COOKIE = "ragkeep_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC_PATHS = ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")
"""Routes that FastAPI adds by itself: they describe the API, and hold nothing of anybody's."""


@dataclass(frozen=True, slots=True)
class Auth:
    """What callers are checked against; `app.state.auth` holds it."""

    keys: Keys
    sessions: Sessions
    tokens: Tokens | None
    checking: CapacityLimiter
    """How many tokens are checked at once: an issuer that hangs holds up no other caller."""

    async def identify(self, connection: HTTPConnection) -> Principal:
        """Tell who asks. Raises Unauthorized, Forbidden (a foreign page tries the cookie), ServiceAway."""
        shown = connection.headers.getlist("authorization")
        if not shown and COOKIE in connection.cookies:
            check_same_origin(connection)
            return self.sessions.principal(connection.cookies[COOKIE])
        scheme, _, token = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("show who you are: Authorization: Bearer <API key or token>")
        return await self.of_token(token.strip())

    async def knows(self, connection: HTTPConnection) -> bool:
        """Whether the caller shows who they are, on a route that answers others as well."""
        try:
            await self.identify(connection)
        except RagkeepError:  # one of the stores that keep accounts may be what does not work
            return False
        return True

    async def of_token(self, token: str) -> Principal:
        """Tell whose API key or token this is. Raises Unauthorized, ServiceAway."""
        if self.tokens is None or token.startswith("rk_"):
            return self.keys.principal(token)
        return await to_thread.run_sync(self.tokens.principal, token, limiter=self.checking)


def open_auth(params: AuthParams, database: Database) -> Auth:
    """Open what `params.serve.auth` describes."""
    keys = Keys(database)
    tokens = Tokens(params, keys) if params.configured else None
    return Auth(keys, Sessions(database, keys), tokens, CapacityLimiter(4))


class Needs(SecurityBase):
    """A route's declaration, which FastAPI calls before the route and puts into the OpenAPI description."""

    def __init__(self, role: WorkspaceRole, scope: Scope, workspace: str) -> None:
        self.role, self.scope, self.workspace = role, scope, workspace
        self.model = BearerModel(description="An API key, or a JSON web token of the configured issuer")
        self.scheme_name = "bearer"

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Return the caller, also in `connection.state.principal`. Raises Unauthorized, Forbidden, ServiceAway."""
        if getattr(connection.state, "entered", None) is self:
            return cast(Principal, connection.state.principal)
        who: Principal = await connection.app.state.auth.identify(connection)
        self._admit(who, connection)
        connection.state.principal, connection.state.entered = who, self
        context.bind(user=who.user)
        return who

    def _admit(self, who: Principal, connection: HTTPConnection) -> None:
        who.require_scope(self.scope)
        named = [*connection.query_params.getlist("workspace"), connection.path_params.get("workspace"), self.workspace]
        for workspace in filter(None, named):
            who.enter(workspace, self.role)
        if not any(who.may(self.role, workspace) for workspace in who.roles):
            raise Forbidden(f"this key or token has no role {self.role!r} in any workspace: ask an admin for one")


class GuardedRoute(APIRoute):
    """A route that looks who asks before it reads the body: `APIRouter(route_class=GuardedRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle, wanted = super().get_route_handler(), list(_wanted(self.dependant))

        async def guarded(request: Request) -> Response:
            for needed in wanted:
                await needed(request)
            return await handle(request)

        return guarded


def needs(role: WorkspaceRole, *, scope: Scope = "chat", workspace: str = "") -> Needs:
    """Declare the role a route needs in the workspace it works on, or in one that is fixed, and the scope."""
    return Needs(role, scope, workspace)


def needs_ops(role: WorkspaceRole) -> Needs:
    """Declare a route of the operations: readers look, admins act."""
    return Needs(role, "ops", OPS)


async def public() -> None:
    """Declare a route that anybody may use."""


def check_routes(app: FastAPI, *, public_paths: Iterable[str] = PUBLIC_PATHS) -> None:
    """Raise ConfigError naming each route, WebSockets and mounts included, that does not say who may use it."""
    open_ = set(public_paths)
    silent = []
    for route in iter_route_contexts([*app.router.routes, *app.router._low_priority_routes]):
        dependant = getattr(route, "dependant", None)
        if route.path not in open_ and not (dependant and _declares(dependant)):
            silent.append(f"{'/'.join(sorted(route.methods or ())) or type(route.route).__name__} {route.path}")
    if silent:
        raise ConfigError(f"routes without Depends(needs(...)) or Depends(public): {', '.join(sorted(silent))}")


def _declares(dependant: Any) -> bool:
    found = dependant.call is public or isinstance(dependant.call, Needs)
    return found or any(_declares(below) for below in dependant.dependencies)


def _wanted(dependant: Any) -> Iterator[Needs]:
    if isinstance(dependant.call, Needs):
        yield dependant.call
    for below in dependant.dependencies:
        yield from _wanted(below)


def check_same_origin(connection: HTTPConnection) -> None:
    """Raise Forbidden where a page of somebody else may have sent the cookie along.

    What changes something needs a header that no foreign page can set; a WebSocket can have none, so that its Origin
    must be ours.
    """
    origin, host = connection.headers.get("origin"), connection.headers.get("host", "")
    socket = connection.scope["type"] == "websocket"
    if (socket or origin) and (origin or "").partition("://")[2].lower() != host.lower():
        raise Forbidden("the session's cookie only counts on the server's own page")
    if not socket and connection.scope["method"] not in SAFE and connection.headers.get("x-ragkeep") != "1":
        raise Forbidden("with the session's cookie, a call that changes something needs the header X-Ragkeep: 1")
