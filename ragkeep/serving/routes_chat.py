"""Asking: chat as a stream, whole, or over a WebSocket; search; feedback; and what is known of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from .. import tracing
from ..answer import Asked
from ..errors import NotFound, RagkeepError, RequestError
from ..interactions import clicked, corrected, impressions, voted
from ..mmr import diverse
from ..types import Interaction
from . import context
from .auth import GuardedRoute, needs
from .principal import Principal
from .runs import Event, Run
from .schemas import (
    AnswerOut,
    ChatBody,
    FeedbackBody,
    FeedbackOut,
    RerankBody,
    RerankOut,
    SearchBody,
    SearchOut,
    SeedBody,
    SeedContext,
    SeedOut,
    found_of,
)
from .server import Server, at
from .streams import EventStream, answer_stream, described

EVENTS = ("start", "sources", "token", "done", "error")
router = APIRouter(route_class=GuardedRoute)
Reader = Annotated[Principal, Depends(needs("reader"))]


@router.post("/v1/chat", response_model=AnswerOut, responses=described(*EVENTS))
async def chat(request: Request, body: ChatBody, who: Reader) -> Response | dict[str, Any]:
    """Answer a question from a workspace's documents, with citations."""
    server = at(request)
    await server.admit(who, body.workspace)
    run = await server.chat.start(body, who)
    if body.stream:
        return EventStream(answer_stream(run))
    return await whole(request, run)


async def whole(request: Request, run: Run) -> dict[str, Any]:
    """Wait for the last event; a client that goes away ends the work. Raises RequestError for an error event."""
    waiting = asyncio.ensure_future(_last(run))
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=0.25)
            if not waiting.done() and await request.is_disconnected():
                run.cancel()
    finally:
        if not waiting.done():
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
    event = waiting.result()
    if event.name == "error":
        raise RunFailed(event.data["code"], event.data["message"])
    return event.data


class RunFailed(RequestError):
    """An answer could not be made."""

    status = 502

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def _last(run: Run) -> Event:
    async with aclosing(run.read()) as events:
        async for event in events:
            last = event
    return last


@router.post("/chat", response_model=SeedOut)
async def seed_chat(request: Request, body: SeedBody, who: Reader) -> dict[str, Any]:
    """Answer a question, in the shortest form."""
    context = body.context if isinstance(body.context, SeedContext) else SeedContext(workspace=body.context or "default")
    asked = ChatBody(message=body.message, workspace=context.workspace, session=context.session, stream=False)
    made: Any = await chat(request, asked, who)
    usage = made["usage"]
    return {
        "response": made["text"], "tokens_used": usage["prompt_tokens"] + usage["completion_tokens"],
        "model_version": f"{made['model']}@{made['release']}", "sources": made["sources"], "answer_id": made["answer_id"],
    }  # fmt: skip


@router.get("/v1/chat/{answer_id}/events", responses=described(*EVENTS), response_model=None)
async def resume(
    request: Request,
    answer_id: str,
    who: Reader,
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Read an answer's events on from the last one that came through."""
    run = at(request).chat.find(answer_id, who)
    number = re.search(r":(\d{1,9})$", last_event_id or "", re.ASCII)
    return EventStream(answer_stream(run, int(number[1]) if number else after))


@router.delete("/v1/chat/{answer_id}", status_code=204)
async def cancel(request: Request, answer_id: str, who: Reader) -> None:
    """Stop an answer that is being made."""
    at(request).chat.find(answer_id, who).cancel()


@router.post("/v1/search", response_model=SearchOut)
async def search(request: Request, body: SearchBody, who: Reader) -> dict[str, Any]:
    """Find the best chunks of a workspace, without an answer; with `mmr` near-repeats make room for others."""
    server = at(request)
    await server.admit(who, body.workspace)
    began = time.perf_counter()
    assistant = server.champion.assistant
    worded = assistant.glossary(body.workspace).apply(body.query)
    vector = await assistant.embed_query(worded)
    k = max(3 * body.k, 20) if body.mmr else body.k
    asked = Asked(
        body.query,
        workspace=body.workspace,
        mode=body.mode,
        k=k,
        filters={str(name): value for name, value in body.filters.items()},
    )
    hits = await assistant.retrieve(worded, vector, asked)
    if body.mmr:
        hits = await asyncio.to_thread(diverse, hits, assistant.embedder, body.k)
    return {
        "release": str(assistant.release.number),
        "hits": [found_of(n, hit) for n, hit in enumerate(hits, 1)],
        "seconds": round(time.perf_counter() - began, 6),
    }


@router.post("/v1/rerank", response_model=RerankOut)
async def rank(request: Request, body: RerankBody, who: Reader) -> dict[str, Any]:
    """Score texts against a question, by the release's reranker, or by its embedder's cosine without one."""
    server = at(request)
    await server.admit(who)
    assistant = server.champion.assistant
    worded = assistant.glossary("").apply(body.query)  # of no workspace: what is written for all
    if assistant.reranker is not None:
        scores = await asyncio.to_thread(assistant.reranker.score, worded, body.texts)
        return {"model": assistant.reranker.name, "scores": [float(score) for score in scores]}
    vector = await assistant.embed_query(worded)
    vectors = await asyncio.to_thread(assistant.embedder.embed, body.texts, role="passage")
    return {"model": assistant.embedder.name, "scores": [float(score) for score in vectors @ vector]}


@router.post("/v1/feedback", response_model=FeedbackOut, status_code=202)
async def feedback(request: Request, body: FeedbackBody, who: Reader) -> dict[str, Any]:
    """Keep a vote, an opened source or a correction; it is durable once this answers."""
    server = at(request)
    about = await _answer(server, body.answer_id, who)
    about_it = {"workspace": about.workspace, "user": who.user, "session": about.session}
    try:
        if body.kind == "vote" and body.value is not None:
            record = voted(body.answer_id, body.value, reason=body.reason, **about_it)
        elif body.kind == "correction" and body.text.strip():
            record = corrected(body.answer_id, body.text, **about_it)
        elif body.kind == "click" and body.n is not None:
            shown = next(one for one in impressions(about) if one.rank == body.n)
            record = clicked(body.answer_id, body.n, chunk=shown.chunk, uri=shown.uri, **about_it)
        else:
            raise BadFeedback(f"a {body.kind} needs {_NEEDED[body.kind]}")
    except StopIteration:
        raise BadFeedback(f"that answer has no source {body.n}") from None
    seq = await server.chat.log.append_async(record)
    server.observer.votes.labels(str(body.value) if body.kind == "vote" else body.kind).inc()
    return {"logged": True, "seq": seq}


_NEEDED = {"vote": "value, 1 or -1", "click": "n, the source's number", "correction": "text"}


class BadFeedback(RequestError):
    """Feedback that says nothing."""

    status = 422
    code = "bad_feedback"


async def _answer(server: Server, answer_id: str, who: Principal) -> Interaction:
    """Find an answer's record in a workspace the caller may read. Raises NotFound."""
    found = await asyncio.to_thread(server.chat.log.find, answer_id)
    about = next((one for one in found if one.kind == "answer"), None)
    if about is None or not who.may("reader", about.workspace):
        raise NotFound("there is no such answer, or it was erased")
    return about


@router.get("/v1/answers/{answer_id}")
async def explain(request: Request, answer_id: str, who: Reader) -> dict[str, Any]:
    """Trace an answer back to its release, index, embedder, prompt, chunks, tokens, cost and timings."""
    server = at(request)
    about = await _answer(server, answer_id, who)
    if about.user != who.user and not who.may("admin", about.workspace):
        raise NotFound("there is no such answer, or it was erased")
    return await asyncio.to_thread(server.explain, answer_id)


@router.websocket("/v1/chat/ws")
async def chat_socket(socket: WebSocket, _who: Reader) -> None:
    """Speak as `POST /v1/chat` does, over one connection: ask, cancel, resume."""
    await socket.accept()
    server: Server = socket.app.state.server
    readers: set[asyncio.Task[None]] = set()

    async def show(run: Run, after: int) -> None:
        async with aclosing(run.read(after)) as events:
            async for event in events:
                await socket.send_json({"type": event.name, "id": f"{run.id}:{event.number}", **event.data})

    try:
        while True:
            words = await socket.receive_text()
            try:
                who = await server.auth.identify(socket)  # again: a key that was revoked since counts for nothing
                who.require_scope("chat")
                run, after = await _said(server, _parsed(words), who)
            except RagkeepError as error:
                await socket.send_json(_refused(getattr(error, "code", type(error).__name__), str(error)))
                continue
            if run:
                task = asyncio.create_task(show(run, after))
                readers.add(task)
                task.add_done_callback(readers.discard)
    except (WebSocketDisconnect, RuntimeError, KeyError):  # it went away, also while it was told something, or sent bytes
        pass
    finally:
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


def _parsed(words: str) -> dict[str, Any]:
    """What a client says. Raises BadMessage."""
    try:
        said = json.loads(words)
    except (ValueError, TypeError, RecursionError):
        raise BadMessage("that is no JSON: send one object a message") from None
    if not isinstance(said, dict):
        raise BadMessage("send an object with type: ask, cancel or resume")
    return said


class BadMessage(RequestError):
    """A message on a WebSocket that says nothing."""


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": message[:500].encode("utf-8", "replace").decode()}


async def _said(server: Server, said: dict[str, Any], who: Principal) -> tuple[Run | None, int]:
    """Do what a client says on a WebSocket; return the run to show, and from where."""
    kind = said.pop("type", None)
    if kind == "ask":
        try:
            body = ChatBody.model_validate(said)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadMessage(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        await server.admit(who, body.workspace)
        with tracing.entered("") as trace:  # a connection may last for days: each question is a trace of its own
            context.bind(trace_id=trace)
            return await server.chat.start(body, who), 0
    if kind not in ("cancel", "resume"):
        raise BadMessage("type must be ask, cancel or resume")
    run, after = server.chat.find(str(said.get("answer_id")), who), said.get("after", 0)
    if kind == "cancel":
        run.cancel()
        return None, 0
    if type(after) is not int or after < 0:
        raise BadMessage("after must be the number of the last event that came, 0 or more")
    return run, after
