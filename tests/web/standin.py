"""A stand-in for the server that speaks the same API over real sockets: `python -m tests.web.standin` and open the page.

Words in a question choose what happens: cut, lost, slow, missing, fail, busy, long, compare, html, cached, unlogged.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.web import content

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOWN = {
    "status": "degraded",
    "checks": {"log": {"ok": False, "reason": "disk full"}, "release": {"ok": True, "release": "12"}},
}


class State:
    """What the stand-in was told and what it keeps; tests read `calls` and set the rest."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.streams: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.asked: dict[str, str] = {}
        self.cut: set[str] = set()
        self.cancelled: set[str] = set()
        self.busy = True
        self.authorized = True
        self.token_s = 0.005
        self.health: dict[str, Any] = {"status": "ok", "checks": {"index": "ok", "interaction log": "ok"}}
        self.workspaces = [dict(w) for w in content.WORKSPACES]
        self.documents = [dict(d) for d in content.DOCUMENTS]
        self.me: dict[str, Any] = dict(content.ME)
        self.keys = [dict(k) for k in content.KEYS]
        self.ops = content.operations()
        self.sessions, self.turns = content.conversations()
        self.stuck = False

    def said(self, method: str, path: str) -> list[Any]:
        return [body for verb, where, body in self.calls if verb == method and re.fullmatch(path, where)]


def problem(status: int, code: str, message: str, **headers: str) -> JSONResponse:
    body = {"error": {"code": code, "message": message, "request_id": "r1", "trace_id": "7c0f1d6e"}}
    return JSONResponse(body, status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def sse(answer_id: str, n: int, event: str, data: dict[str, Any]) -> bytes:
    return f"id: {answer_id}:{n}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()


async def chat(request: Request) -> Response:
    state, body = request.app.state.state, await request.json()
    state.calls.append(("POST", "/v1/chat", body))
    if "busy" in body["message"] and state.busy:
        state.busy = False
        return problem(429, "busy", "Too many questions at once. Wait a moment.", Retry_After="1")
    if body["idempotency_key"] in state.asked:
        return streaming(state, state.asked[body["idempotency_key"]], 0)
    answer_id = state.asked[body["idempotency_key"]] = f"a{len(state.streams) + 1}"
    state.streams[answer_id] = content.events(answer_id, body)
    if "lost" in body["message"]:
        return PlainTextResponse(": keep-alive\n\n", media_type="text/event-stream")
    if "cut" in body["message"]:
        state.cut.add(answer_id)
    return streaming(state, answer_id, 0)


def streaming(state: State, answer_id: str, after: int) -> StreamingResponse:
    return StreamingResponse(pieces(state, answer_id, after), media_type="text/event-stream")


async def pieces(state: State, answer_id: str, after: int) -> AsyncIterator[bytes]:
    events = state.streams[answer_id]
    slow = 0.15 if "slow" in events[0][1]["question"] else state.token_s
    yield b": keep-alive\n\n"
    for n, (event, data) in enumerate(events, 1):
        if n <= after:
            continue
        if answer_id in state.cancelled:
            return
        await asyncio.sleep(slow)
        raw = sse(answer_id, n, event, data)
        if answer_id in state.cut and n == 7:
            state.cut.discard(answer_id)
            yield raw[: len(raw) // 2]
            raise ConnectionResetError("cut as asked")
        yield raw[:11]  # events do not arrive whole
        yield raw[11:]


async def resume(request: Request) -> Response:
    state, answer_id = request.app.state.state, request.path_params["id"]
    last = request.headers.get("Last-Event-ID", "")
    state.calls.append(("GET", f"/v1/chat/{answer_id}/events", last))
    if answer_id not in state.streams:
        return problem(404, "not_found", "This answer is no longer kept. Ask again.")
    return streaming(state, answer_id, max(0, int(last.rpartition(":")[2] or 0) - 1))  # one event twice


async def cancel(request: Request) -> Response:
    request.app.state.state.cancelled.add(request.path_params["id"])
    return JSONResponse({"status": "cancelled"})


async def explained(request: Request) -> Response:
    state, answer_id = request.app.state.state, request.path_params["id"]
    bodies = [data for _, data in state.streams.get(answer_id, ())[-1:]]
    told = [turn for turns in state.turns.values() for turn in turns if turn["answer_id"] == answer_id]
    if not bodies and not told:
        return problem(404, "not_found", "There is no such answer, or it was erased.")
    return JSONResponse(content.explained(answer_id))


async def sessions(request: Request) -> Response:
    state, at = request.app.state.state, int(request.query_params.get("cursor") or 0)
    rows = [one for one in state.sessions if one["workspace"] == request.query_params["workspace"]]
    return JSONResponse({"sessions": rows[at : at + 20], "next": str(at + 20) if len(rows) > at + 20 else ""})


async def session(request: Request) -> Response:
    state, id_ = request.app.state.state, request.path_params["id"]
    state.calls.append((request.method, f"/v1/sessions/{id_}", None))
    if request.method == "DELETE" and state.stuck:
        return problem(503, "LogUnavailable", "The log cannot be written. Try again.")
    if request.method == "DELETE":
        state.sessions = [one for one in state.sessions if one["id"] != id_]
        known = state.turns.pop(id_, None) is not None or id_.startswith("s-")
        if known:
            return JSONResponse({"id": id_, "status": "deleted", "erased_interactions": 2, "models_trained_on": []})
    if id_ not in state.turns:
        return problem(404, "not_found", "There is no such conversation (any more).")
    cut = int(request.query_params.get("cursor") or len(state.turns[id_]))
    first = max(0, cut - 2)  # two turns a page
    turns = state.turns[id_][first:cut]
    return JSONResponse({"id": id_, "workspace": "default", "turns": turns, "earlier": str(first or "")})


async def feedback(request: Request) -> Response:
    state, body = request.app.state.state, await request.json()
    state.calls.append(("POST", "/v1/feedback", body))
    return JSONResponse({"logged": True, "seq": len(state.calls)}, 202)


async def source(request: Request) -> Response:
    a, b = (int(n) for n in request.query_params["around"].split(","))
    first = max(1, a - 6)
    lines = [content.LINES[n % len(content.LINES)] for n in range(first - 1, b + 6)]
    uri = request.query_params["uri"]
    return JSONResponse({"uri": uri, "first_line": first, "lines": lines, "highlight": [a, b], "language": "python"})


async def documents(request: Request) -> Response:
    state = request.app.state.state
    if request.method == "GET":
        status, workspace = request.query_params.get("status"), request.query_params["workspace"]
        found = [d for d in state.documents if d["workspace"] == workspace and status in (None, d["status"])]
        at = int(request.query_params.get("cursor") or 0)
        return JSONResponse({"documents": found[at : at + 20], "next": str(at + 20) if len(found) > at + 20 else None})
    async with request.form() as form:
        doc = content.document(form["file"].filename, form["file"].size or 0, str(form["workspace"]))
    state.calls.append(("POST", "/v1/documents", doc["name"]))
    if doc["name"].endswith(".exe"):
        return problem(415, "unsupported", "Programs are not read. Upload text, PDF, Word, HTML or source code.")
    state.documents.insert(0, {**doc, "seen": 0})
    return JSONResponse(doc, 202)


async def document(request: Request) -> Response:
    state = request.app.state.state
    doc = next((d for d in state.documents if d["id"] == request.path_params["id"]), None)
    if doc is None:
        return problem(404, "not_found", "No such document.")
    if request.method == "DELETE":
        state.documents.remove(doc)
        return JSONResponse({"id": doc["id"], "status": "deleted", "models_trained_on": ["adapter-7"]})
    doc["seen"] = doc.get("seen", 0) + 1
    if doc["status"] == "submitted" and doc["seen"] > 1:
        bad = doc["name"].endswith(".pdf")
        doc |= {"status": "error", "reason": "page 3 is encrypted"} if bad else {"status": "processed", "chunks": 4}
    return JSONResponse(doc)


async def workspaces(request: Request) -> Response:
    state = request.app.state.state
    if request.method == "POST":
        name = (await request.json())["name"]
        made = {"id": name.lower().replace(" ", "-"), "name": name, "role": "admin", "documents": 0}
        state.workspaces.append(made)
        return JSONResponse(made, 201)
    return JSONResponse({"workspaces": state.workspaces})


async def workspace(request: Request) -> Response:
    state, id_ = request.app.state.state, request.path_params["id"]
    state.workspaces = [w for w in state.workspaces if w["id"] != id_]
    state.me = {**state.me, "roles": {name: role for name, role in state.me["roles"].items() if name != id_}}
    return JSONResponse({"id": id_, "status": "deleted"})


async def keys(request: Request) -> Response:
    state = request.app.state.state
    if request.method == "POST":
        body = await request.json()
        state.calls.append(("POST", "/v1/keys", body))
        made = {"id": f"k{len(state.keys) + 1}", "name": body["name"], "scopes": body["scopes"]}
        state.keys.append({**made, "roles": body["workspaces"], "expires_at": "", "revoked_at": ""})
        return JSONResponse({**state.keys[-1], "secret": "rk_shown_once_5f1c"}, 201)
    return JSONResponse({"keys": state.keys})


async def revoke(request: Request) -> Response:
    state = request.app.state.state
    state.keys = [k for k in state.keys if k["id"] != request.path_params["id"]]
    return Response(status_code=204)


async def ops(request: Request) -> Response:
    state, what = request.app.state.state, request.path_params["what"]
    if request.method == "GET":
        if what == "metrics" and not 60 <= int(request.query_params["window"]) <= 30 * 86_400:
            return problem(422, "invalid", "window: seconds, 60 to 30 days")
        return JSONResponse(state.ops[what])
    body = await request.json()
    state.calls.append(("POST", f"/v1/ops/{what}", body))
    releases = state.ops["releases"]
    if what == "rollback" and body["expect"] != int(releases["champion"]):
        return problem(409, "moved_on", "Another release answers by now. Look again.")
    to = releases["previous"] if what == "rollback" else body["number"]
    event = {"at": content.now(), "action": what, "from": releases["champion"], "to": to, "who": "ana"}
    state.ops["history"]["events"].insert(0, {**event, "reason": body["reason"]})
    releases["previous"], releases["champion"] = releases["champion"], str(to)
    return JSONResponse({"champion": to})


async def me(request: Request) -> Response:
    if not request.app.state.state.authorized:
        return problem(401, "unauthorized", "This key is not known. Ask an administrator for one.")
    return JSONResponse(request.app.state.state.me)


async def index(request: Request) -> Response:
    if request.query_params.get("key") == "rk_good":
        request.app.state.state.authorized = True
    return Response((content.BUNDLE / "index.html").read_bytes(), media_type="text/html")


async def get_health(request: Request) -> Response:
    return JSONResponse(request.app.state.state.health)


async def models(_: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": m, "owned_by": "ragkeep"} for m in content.MODELS]})


def make_app(state: State) -> Any:
    routes = [
        Route("/", index), Route("/health", get_health), Route("/v1/me", me), Route("/v1/models", models),
        Route("/v1/chat", chat, methods=["POST"]), Route("/v1/chat/{id}/events", resume),
        Route("/v1/chat/{id}", cancel, methods=["DELETE"]), Route("/v1/feedback", feedback, methods=["POST"]),
        Route("/v1/answers/{id}", explained), Route("/v1/sessions", sessions),
        Route("/v1/sessions/{id}", session, methods=["GET", "DELETE"]),
        Route("/v1/source", source), Route("/v1/documents", documents, methods=["GET", "POST"]),
        Route("/v1/documents/{id}", document, methods=["GET", "DELETE"]),
        Route("/v1/workspaces", workspaces, methods=["GET", "POST"]),
        Route("/v1/workspaces/{id}", workspace, methods=["DELETE"]), Route("/v1/keys", keys, methods=["GET", "POST"]),
        Route("/v1/keys/{id}", revoke, methods=["DELETE"]), Route("/v1/ops/{what}", ops, methods=["GET", "POST"]),
        Mount("/assets", StaticFiles(directory=content.BUNDLE / "assets")),
    ]  # fmt: skip
    app = Starlette(routes=routes)
    app.state.state = state
    return Guarded(app)


class Guarded:
    """Sends the policy that the server sends; refuses changes without the header that other sites' forms cannot set."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", CSP.encode()))
            await send(message)

        headers = dict(scope.get("headers", []))
        if scope["type"] == "http" and scope["method"] != "GET" and headers.get(b"x-ragkeep") != b"1":
            return await problem(403, "csrf", "The header X-Ragkeep is missing.")(scope, receive, send)
        await self.app(scope, receive, with_policy)
        return None


class Standin:
    """The stand-in on a port of its own, in a thread: `with Standin() as server: server.url, server.state`."""

    def __init__(self, port: int = 0) -> None:
        self.state = State()
        config = uvicorn.Config(make_app(self.state), port=port, log_level="critical", ws="none", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Standin:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(5)


if __name__ == "__main__":
    with Standin(8080) as running:
        running.state.token_s = 0.03
        sys.stdout.write(f"{running.url}\n")
        running.thread.join()
