"""Operations: releases and their scores, the way back, nights, quarantine, figures over time; API keys; who am I."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, Field, StringConstraints

from ..errors import AlreadyExists, ReleaseError
from ..files import read_json, read_rows
from ..releases import all_releases, history, pointer
from ..trial_report import trial_state
from ..watched import firing, last_look, looks
from .auth import GuardedRoute, needs, needs_ops
from .moves import move
from .principal import Principal
from .schemas import Body
from .series import series
from .server import Server, at

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
Reader = Annotated[Principal, Depends(needs("reader"))]
Watcher = Annotated[Principal, Depends(needs_ops("reader"))]
Operator = Annotated[Principal, Depends(needs_ops("admin"))]
Admin = Annotated[Principal, Depends(needs("admin", scope="admin"))]


@router.get("/me")
async def me(request: Request, who: Reader) -> dict[str, Any]:
    """Say who asks, with which rights, and how much of the budget is used."""
    rooms = ["default"] if who.may("reader", "default") else sorted(who.roles)[:1]
    spent = await asyncio.to_thread(at(request).chat.budgets.spent, who.user, rooms[0])
    return {
        "user": who.user, "roles": dict(who.roles), "scopes": sorted(who.scopes), "spent": [asdict(row) for row in spent],
    }  # fmt: skip


@router.get("/ops/releases")
async def releases(request: Request, who: Watcher) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """List the releases, newest first, with the scores that let them in and their intervals."""
    return await asyncio.to_thread(_releases, at(request))


def _releases(server: Server) -> dict[str, Any]:
    now = pointer(server.paths)
    rows = []
    for release in all_releases(server.paths):
        evidence = server.paths.releases / release.evaluation / "evaluation" / "scores.json"
        measured = (read_json(evidence) or {}).get("metrics", {})
        rows.append({
            "number": str(release.number), "created_at": release.created_at, "reason": release.reason,
            "scores": {name: _score(value, measured.get(name)) for name, value in release.scores.items()},
            "index": release.index.name, "chunks": release.index.chunks, "store": release.index.store,
            "embedder": release.index.embedder, "generator": release.generator, "git_sha": release.git_sha,
        })  # fmt: skip
    rejected = server.champion.rejected
    return {
        "champion": str(now.number) if now else None,
        "previous": str(now.previous) if now and now.previous else None,
        "answering": str(server.champion.number) if server.champion.number else None,
        "rejected": {"number": str(rejected.number), "reason": rejected.reason} if rejected else None,
        "releases": rows,
    }


def _score(value: float, found: dict[str, Any] | None) -> dict[str, Any]:
    low, high = (found or {}).get("ci") or (None, None)
    return {"value": value, "lo": low, "hi": high}


@router.get("/ops/trial")
async def trial(request: Request, who: Watcher) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """Say what the challenger's trial shows so far, or what the last one showed: who won, with intervals."""
    server = at(request)
    try:
        found = await asyncio.to_thread(trial_state, server.paths)
    except ReleaseError as error:
        found = {"trial": None, "trouble": str(error)}
    return {"trouble": server.challenger.trouble, **found}


@router.get("/ops/history")
async def events(request: Request, who: Watcher) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """List who made which release the champion, when and why."""
    found = await asyncio.to_thread(history, at(request).paths)
    keys = ("at", "action", "from", "to", "who", "reason")
    return {"events": [{key: _text(event.get(key)) for key in keys} for event in found]}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class RollbackBody(Body):
    """Take the champion back; `expect` is the number that is thought to be the champion."""

    reason: Reason
    expect: Annotated[int, Field(ge=1)]


class PromoteBody(Body):
    """Make a release the champion."""

    number: Annotated[int, Field(ge=1)]
    reason: Reason


@router.post("/ops/rollback")
async def rollback(request: Request, body: RollbackBody, who: Operator) -> dict[str, Any]:
    """Make the release before the champion answer again; refused where the champion is another one than expected."""
    server = at(request)
    now = pointer(server.paths)
    if now is None or now.number != body.expect:
        raise AlreadyExists(f"the champion is {now.number if now else 'none'} and not {body.expect}: look again")
    reason = f"{body.reason} (by {who.user})"
    return await _moved(server, await move(server.paths, "rollback", reason=reason, expect=body.expect))


@router.post("/ops/promote")
async def promote(request: Request, body: PromoteBody, who: Operator) -> dict[str, Any]:
    """Make a release that passed the gate the champion."""
    server = at(request)
    reason = f"{body.reason} (by {who.user})"
    return await _moved(server, await move(server.paths, "promote", number=body.number, reason=reason))


async def _moved(server: Server, number: str) -> dict[str, Any]:
    await server.champion.look()
    return {"champion": number, "answering": str(server.champion.number)}


@router.get("/ops/nights")
async def nights(request: Request, who: Watcher) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """List the last nights, newest first."""
    return {"nights": await asyncio.to_thread(_nights, at(request))}


def _nights(server: Server) -> list[dict[str, Any]]:
    return read_rows(server.paths.state / "nights.jsonl")[:-101:-1]


@router.get("/ops/monitor")
async def watching(request: Request, who: Watcher) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """Tell how the live release does: what the last look found, the looks before it, and the alerts that are open."""
    return await asyncio.to_thread(_watching, at(request))


def _watching(server: Server) -> dict[str, Any]:
    paths = server.paths
    keys = ("alert", "severity", "summary", "action", "since")
    return {
        "last": last_look(paths),
        "history": looks(paths),
        "alerts": [{key: row[key] for key in keys} for _, row in sorted(firing(paths).items())],
    }


@router.get("/ops/quarantine")
async def quarantine(
    request: Request,
    who: Watcher,  # noqa: ARG001 - declares who may
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """List what was kept out of the last night, and why."""
    return await asyncio.to_thread(_quarantine, at(request), limit)


def _quarantine(server: Server, limit: int) -> dict[str, Any]:
    stages = ("ingest", "validate", "chunks")
    rows = [row for stage in stages for row in read_rows(server.paths.data / "quarantine" / f"{stage}.jsonl")]
    return {"rows": rows[:limit], "total": len(rows)}


@router.get("/ops/metrics")
async def figures(
    request: Request,
    who: Watcher,  # noqa: ARG001 - declares who may
    window: Annotated[int, Query(ge=60, le=30 * 86_400, description="seconds")] = 86_400,
) -> dict[str, Any]:
    """Draw what was asked over time: latencies, cost, requests, abstentions, thumbs down, errors."""
    server = at(request)
    return {"series": await asyncio.to_thread(series, server.paths.interactions, window)}


class KeyBody(Body):
    """A new API key."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=10)]
    workspaces: Annotated[dict[str, Literal["reader", "writer", "admin"]], Field(min_length=1, max_length=100)]
    expires_at: AwareDatetime | None = None


@router.get("/keys")
async def keys(request: Request, who: Admin) -> dict[str, Any]:
    """List the API keys that the caller governs; no secret among them."""
    found = await asyncio.to_thread(at(request).auth.keys.listed, by=who)
    return {"keys": [asdict(key) for key in found]}


@router.post("/keys", status_code=201)
async def make_key(request: Request, body: KeyBody, who: Admin) -> dict[str, Any]:
    """Make an API key; `secret` is shown this once and never again."""
    expires = body.expires_at.timestamp() if body.expires_at else None
    made = partial(at(request).auth.keys.create, body.name, roles=body.workspaces, scopes=body.scopes, by=who)
    key, secret = await asyncio.to_thread(made, expires_at=expires)
    return {**asdict(key), "secret": secret}


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(request: Request, key_id: str, who: Admin) -> None:
    """End a key at once."""
    await asyncio.to_thread(at(request).auth.keys.revoke, key_id, by=who)
