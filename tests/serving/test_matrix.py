"""Every route and method of the application against every kind of bad token, and against too small a role or scope."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ragkeep.serving.auth import PUBLIC_PATHS
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.serving.test_auth import BAD
from tests.serving.tokens import ISSUER, KEY, jwks

SOCKET = ("WEBSOCKET", "/v1/chat/ws")
LEAST: dict[tuple[str, str], tuple[str, str, str]] = {
    ("POST", "/v1/chat"): ("default", "reader", "chat"),
    ("POST", "/chat"): ("default", "reader", "chat"),
    ("GET", "/v1/chat/{answer_id}/events"): ("default", "reader", "chat"),
    ("DELETE", "/v1/chat/{answer_id}"): ("default", "reader", "chat"),
    ("POST", "/v1/search"): ("default", "reader", "chat"),
    ("POST", "/v1/rerank"): ("default", "reader", "chat"),
    ("POST", "/v1/feedback"): ("default", "reader", "chat"),
    ("GET", "/v1/answers/{answer_id}"): ("default", "reader", "chat"),
    SOCKET: ("default", "reader", "chat"),
    ("GET", "/v1/sessions"): ("default", "reader", "chat"),
    ("GET", "/v1/sessions/{session_id}"): ("default", "reader", "chat"),
    ("DELETE", "/v1/sessions/{session_id}"): ("default", "reader", "chat"),
    ("POST", "/v1/chat/completions"): ("default", "reader", "chat"),
    ("POST", "/v1/embeddings"): ("default", "reader", "chat"),
    ("GET", "/v1/models"): ("default", "reader", "chat"),
    ("GET", "/v1/models/{name:path}"): ("default", "reader", "chat"),
    ("GET", "/v1/me"): ("default", "reader", "chat"),
    ("GET", "/v1/workspaces"): ("default", "reader", "chat"),
    ("GET", "/v1/source"): ("default", "reader", "chat"),
    ("GET", "/v1/documents"): ("default", "reader", "documents"),
    ("GET", "/v1/documents/{document_id}"): ("default", "reader", "documents"),
    ("POST", "/v1/documents"): ("default", "writer", "documents"),
    ("DELETE", "/v1/documents/{document_id}"): ("default", "writer", "documents"),
    ("DELETE", "/v1/workspaces/{workspace}"): ("room", "admin", "documents"),
    ("GET", "/v1/keys"): ("default", "admin", "admin"),
    ("POST", "/v1/keys"): ("default", "admin", "admin"),
    ("DELETE", "/v1/keys/{key_id}"): ("default", "admin", "admin"),
    ("GET", "/v1/ops/releases"): ("ops", "reader", "ops"),
    ("GET", "/v1/ops/history"): ("ops", "reader", "ops"),
    ("GET", "/v1/ops/trial"): ("ops", "reader", "ops"),
    ("GET", "/v1/ops/nights"): ("ops", "reader", "ops"),
    ("GET", "/v1/ops/monitor"): ("ops", "reader", "ops"),
    ("GET", "/v1/ops/quarantine"): ("ops", "reader", "ops"),
    ("GET", "/v1/ops/metrics"): ("ops", "reader", "ops"),
    ("POST", "/v1/ops/rollback"): ("ops", "admin", "ops"),
    ("POST", "/v1/ops/promote"): ("ops", "admin", "ops"),
}
"""What a route needs at least: the role in a workspace, and the scope."""
TWO = {("POST", "/v1/workspaces"): ("default", "writer", "documents")}
"""A key needs the scope admin besides, see test_documents."""
OPEN = {"/health", "/health/live", "/health/ready", "/metrics", "/", "/v1/sign-out", "/assets/{name}", *PUBLIC_PATHS}
BODIES: dict[str, Any] = {
    "/v1/chat": {"message": "pumps", "stream": False}, "/chat": {"message": "pumps"}, "/v1/search": {"query": "pumps"},
    "/v1/rerank": {"query": "pumps", "texts": ["pumps"]},
    "/v1/feedback": {"answer_id": "x", "kind": "vote", "value": 1}, "/v1/embeddings": {"input": "pumps"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "pumps"}]}, "/v1/workspaces": {"name": "x"},
    "/v1/keys": {"name": "k", "scopes": ["admin"], "workspaces": {"default": "reader"}},
    "/v1/ops/rollback": {"reason": "x", "expect": 99}, "/v1/ops/promote": {"reason": "x", "number": 99},
}  # fmt: skip


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server that takes tokens of an issuer, too."""
    published = tmp_path / "jwks.json"
    published.write_text(jwks(one=KEY))
    auth = {"issuer": ISSUER, "audience": "ragkeep", "jwks": str(published), "roles_claim": "roles"}
    paths = project(tmp_path / "project", auth=auth, limits={"key_per_minute": 0, "workspace_per_minute": 0})
    publish(paths)
    yield from serve(paths)


def routes(served: Served) -> set[tuple[str, str]]:
    """Method and path of all that the application answers."""
    found = set()
    for route in iter_route_contexts([*served.app.router.routes, *served.app.router._low_priority_routes]):
        found |= {(method, route.path) for method in sorted(set(route.methods or {"WEBSOCKET"}) - {"HEAD"})}
    return found


def test_the_table_names_every_route(served: Served) -> None:
    assert {one for one in routes(served) if one[1] not in OPEN} == set(LEAST) | set(TWO)


def filled(path: str) -> str:
    at = (
        path.replace("{document_id}", f"default.{'0' * 32}")
        .replace("{workspace}", "room")
        .replace("{name:path}", "ragkeep")
    )
    return at.replace("{answer_id}", "x").replace("{key_id}", "x").replace("{session_id}", "x")


def call(served: Served, method: str, path: str, shown: bytes) -> httpx.Response:
    query = {"uri": "manual/pumps.md", "around": "1,3"} if path == "/v1/source" else {}
    body: Any = {"files": {"file": ("x.md", b"# X\n\nx\n")}} if path == "/v1/documents" else {"json": BODIES.get(path)}
    more = body if method == "POST" else {}
    headers = {b"authorization": shown}
    return httpx.request(
        method, served.url + filled(path), params=query, headers=headers, timeout=60, verify=False, **more
    )


def knock(served: Served, shown: bytes) -> int:
    """Open the WebSocket; return its status."""
    try:
        with connect(
            served.url.replace("http", "ws") + SOCKET[1], additional_headers={"Authorization": shown.decode("latin-1")}
        ):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_no_bad_token_opens_any_route(served: Served) -> None:
    guarded = sorted({*LEAST, *TWO} - {SOCKET})
    for kind, make in BAD.items():
        shown = make(served.app.state.server.auth).encode("latin-1").strip()  # no client sends blanks at its end
        for method, path in guarded:
            reply = call(served, method, path, shown)
            assert (reply.status_code, set(reply.json())) == (401, {"error"}), (kind, method, path)
        assert knock(served, shown) == (405 if kind == "huge" else 401), kind  # a header that long makes no WebSocket


def test_a_bad_token_is_told_so_before_its_body_is_looked_at(served: Served) -> None:
    for method, path in sorted({*LEAST, *TWO} - {SOCKET}):
        reply = httpx.request(
            method, served.url + filled(path), content=b"{", headers={"Content-Type": "application/json"}
        )
        assert reply.status_code == 401, (method, path)


def bearer(served: Served, room: str, role: str, scope: str) -> bytes:
    return f"Bearer {served.key({room: role}, (scope,))}".encode()


def tried(served: Served, one: tuple[str, str], shown: bytes) -> int:
    return knock(served, shown) if one == SOCKET else call(served, *one, shown).status_code


def test_every_route_opens_to_the_least_role_and_scope_and_to_no_lesser(served: Served) -> None:
    lesser = {"writer": "reader", "admin": "writer"}
    for one, (room, role, scope) in LEAST.items():
        other_scope = "documents" if scope == "chat" else "chat"
        assert tried(served, one, bearer(served, room, role, scope)) not in (401, 403), one
        assert tried(served, one, bearer(served, room, role, other_scope)) == 403, one
        if role in lesser:
            assert tried(served, one, bearer(served, room, lesser[role], scope)) == 403, one


def test_a_role_in_another_workspace_opens_nothing_that_names_one(served: Served) -> None:
    naming = {
        ("GET", "/v1/documents"),
        ("GET", "/v1/source"),
        ("GET", "/v1/sessions"),
        *(("POST", path) for path in [*BODIES, "/v1/documents"]),
    }
    naming.discard(("POST", "/v1/rerank"))  # its texts come with the request: it reads no workspace
    for one in (one for one in LEAST if LEAST[one][0] == "default" and one in naming):
        expected = (404,) if one[1] == "/v1/feedback" else (403,)
        assert tried(served, one, bearer(served, "vault", "admin", LEAST[one][2])) in expected, one
