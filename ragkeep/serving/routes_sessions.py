"""Sessions: a caller's own conversations, to be listed, opened again and deleted. Nobody sees another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from ..errors import NotFound
from ..interactions import impressions
from ..types import Interaction
from .auth import GuardedRoute, needs
from .conversations import Conversation
from .principal import Principal
from .schemas import UsageOut, Workspace
from .server import at

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
Reader = Annotated[Principal, Depends(needs("reader"))]
SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Cursor = Annotated[str, Query(pattern=r"^[0-9]{0,18}$", description="`next` or `earlier` of the page before")]
TITLE_CHARS = 80


class SessionOut(BaseModel):
    """A conversation; `title` is how its first question begins, personal data masked."""

    id: str
    workspace: str
    title: str
    turns: int
    created_at: str
    updated_at: str


class SessionsOut(BaseModel):
    """A page of conversations, the one with the last answer first; `next` is the cursor of the page after it."""

    sessions: list[SessionOut]
    next: str


class TurnSource(BaseModel):
    """A snippet as an answer showed it; `GET /v1/source` has its lines."""

    n: int
    uri: str
    lines: tuple[int, int]
    score: float


class TurnCitation(BaseModel):
    """What a marker [n] of the text means: lines of a source."""

    n: int
    source: int
    lines: tuple[int, int]


class TurnOut(BaseModel):
    """A question and its answer as the log holds them, personal data masked, with the caller's own last vote."""

    answer_id: str
    at: str
    question: str
    text: str
    abstained: bool
    aborted: bool
    citations: list[TurnCitation]
    sources: list[TurnSource]
    model: str
    release: str
    route: str
    usage: UsageOut
    cost_usd: float
    timings_ms: dict[str, float]
    trace_id: str
    vote: Literal[1, -1] | None


class SessionTurnsOut(BaseModel):
    """The last turns of a conversation, oldest first; `earlier` is the cursor of those before them."""

    id: str
    workspace: str
    turns: list[TurnOut]
    earlier: str


class SessionDeleted(BaseModel):
    """What a deletion reached: models are named that were trained on the conversation's answers."""

    id: str
    status: Literal["deleted"]
    erased_interactions: int
    models_trained_on: list[str]


@router.get("/sessions", response_model=SessionsOut)
async def sessions(
    request: Request,
    who: Reader,
    workspace: Workspace = "default",
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    """List the caller's own conversations in a workspace, newest first."""
    who.enter(workspace)
    page = at(request).conversations.page
    found, after = await page(workspace, who.user, before=int(cursor or 0), limit=limit)
    return {"sessions": [_listed(one) for one in found], "next": str(after or "")}


def _listed(one: Conversation) -> dict[str, Any]:
    return {
        "id": one.session, "workspace": one.first.workspace, "turns": one.turns, "created_at": one.first.at,
        "title": " ".join(one.first.payload["question"].split())[:TITLE_CHARS], "updated_at": one.last.at,
    }  # fmt: skip


@router.get("/sessions/{session_id}", response_model=SessionTurnsOut)
async def session(
    request: Request,
    session_id: SessionId,
    who: Reader,
    workspace: Workspace = "default",
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """Open one of the caller's conversations: its last turns, or those before `cursor`."""
    who.enter(workspace)
    records = at(request).conversations.records
    found, before = await records(workspace, who.user, session_id, before=int(cursor or 0), limit=limit)
    if not found:
        raise NotFound("there is no such conversation (any more): GET /v1/sessions lists those there are")
    turns = [_turn(one, found, who) for one in found if one.kind == "answer"]
    return {"id": session_id, "workspace": workspace, "turns": turns, "earlier": str(before or "")}


def _turn(one: Interaction, records: Sequence[Interaction], who: Principal) -> dict[str, Any]:
    said = one.payload
    votes = [r for r in records if r.kind == "vote" and r.answer == one.answer and r.user == who.user]
    marked = said.get("citations", ())  # answers of older servers do not say what their markers mean
    return {
        "answer_id": one.answer, "at": one.at, "release": one.release, "trace_id": said.get("trace", ""),
        **{key: said[key] for key in ("question", "text", "abstained", "aborted", "model", "cost_usd", "timings_ms")},
        "route": said.get("route", ""),
        "citations": [{"n": n, "source": row[0], "lines": row[1:]} for n, row in enumerate(marked, 1)],
        "sources": [
            {"n": row.rank, "uri": row.uri, "lines": row.lines, "score": round(row.score, 6)} for row in impressions(one)
        ],
        "usage": {key: said[key] for key in ("prompt_tokens", "completion_tokens")},
        "vote": votes[-1].payload["value"] if votes else None,
    }  # fmt: skip


@router.delete("/sessions/{session_id}", response_model=SessionDeleted)
async def delete(
    request: Request, session_id: SessionId, who: Reader, workspace: Workspace = "default"
) -> dict[str, Any]:
    """Take one of the caller's conversations out of memory, cache and log, and of all later training sets."""
    who.enter(workspace)
    return await at(request).erase_session(who, workspace, session_id)
