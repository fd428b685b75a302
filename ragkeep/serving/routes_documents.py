"""Workspaces and documents: upload, follow, delete; and the text around a citation."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Form, Query, Request, UploadFile
from pydantic import BaseModel, StringConstraints

from ..catalogs import workspace_id, workspace_of
from ..errors import Forbidden, NotFound
from ..types import Chunk, DocumentRecord
from ..types import Query as StoreQuery
from ..types import Workspace as WorkspaceRecord
from .auth import GuardedRoute, needs
from .principal import ALL, Principal
from .schemas import Body, Workspace
from .server import at

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
Reader = Annotated[Principal, Depends(needs("reader"))]
Writer = Annotated[Principal, Depends(needs("writer", scope="documents"))]
Looker = Annotated[Principal, Depends(needs("reader", scope="documents"))]
AROUND = 20
"""Lines shown before and after those asked for, at most."""
PIECES = 1000


class DocumentOut(BaseModel):
    """An uploaded document."""

    id: str
    workspace: str
    name: str
    uri: str
    type: str
    size: int
    status: Literal["submitted", "processed", "error"]
    reason: str
    chunks: int
    created_at: str
    updated_at: str


class DocumentsOut(BaseModel):
    """A page of documents, newest first; `next` is the cursor of the page after it."""

    documents: list[DocumentOut]
    next: str


class DeletedOut(BaseModel):
    """What a deletion reached: models are named that were trained on answers which showed the document."""

    id: str
    status: Literal["deleted"]
    erased_interactions: int
    models_trained_on: list[str]


class WorkspaceBody(Body):
    """A new workspace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]


def _shown(record: DocumentRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name not in ("sha", "seq")}


@router.post("/documents", status_code=202, response_model=DocumentOut)
async def upload(
    request: Request, who: Writer, file: UploadFile, workspace: Annotated[Workspace, Form()] = "default"
) -> dict[str, Any]:
    """Take a document in; it is in the answers within seconds, and `status` says so."""
    who.enter(workspace, "writer")
    server = at(request)
    await server.admit(who, workspace)
    media_type = file.content_type or ""
    record = await asyncio.to_thread(
        server.uploads.accept, workspace, file.filename or "", file.file, media_type=media_type
    )
    server.wake.set()
    return _shown(record)


@router.get("/documents", response_model=DocumentsOut)
async def documents(
    request: Request,
    who: Looker,
    workspace: Workspace = "default",
    status: Literal["", "submitted", "processed", "error"] = "",
    cursor: Annotated[str, Query(max_length=1000)] = "",
) -> dict[str, Any]:
    """List a workspace's uploads."""
    who.enter(workspace)
    found, after = await asyncio.to_thread(at(request).uploads.catalog.documents, workspace, status=status, cursor=cursor)
    return {"documents": [_shown(record) for record in found], "next": after}


async def _document(
    request: Request, document_id: str, who: Principal, role: Literal["reader", "writer"]
) -> DocumentRecord:
    """Find a record in a workspace where the caller has the role. Raises NotFound, also without one."""
    if not who.may(role, workspace_of(document_id)):
        raise NotFound("there is no such document (any more): GET /v1/documents lists those there are")
    found = await asyncio.to_thread(at(request).uploads.catalog.document, document_id)
    if found is None:
        raise NotFound("there is no such document (any more): GET /v1/documents lists those there are")
    return found


@router.get("/documents/{document_id}", response_model=DocumentOut)
async def document(request: Request, document_id: str, who: Looker) -> dict[str, Any]:
    """Say how far an upload is."""
    return _shown(await _document(request, document_id, who, "reader"))


@router.delete("/documents/{document_id}", response_model=DeletedOut)
async def delete(request: Request, document_id: str, who: Writer) -> dict[str, Any]:
    """Take a document out of the answers, the cache, the conversations, the log, and all later training sets."""
    record = await _document(request, document_id, who, "writer")
    return await at(request).erase_document(record)


@router.get("/workspaces")
async def workspaces(request: Request, who: Reader) -> dict[str, Any]:
    """List the workspaces the caller has a role in."""
    catalog = at(request).uploads.catalog
    found = await asyncio.to_thread(catalog.workspaces)
    seen = [one for one in found if who.role_in(one.id)]
    counts = await asyncio.gather(*(asyncio.to_thread(catalog.count, one.id) for one in seen))
    return {
        "workspaces": [
            {
                "id": one.id,
                "name": one.name,
                "role": who.role_in(one.id),
                "documents": count,
                "created_at": one.created_at,
            }
            for one, count in zip(seen, counts, strict=True)
        ]
    }


@router.post("/workspaces", status_code=201)
async def make_workspace(request: Request, body: WorkspaceBody, who: Writer) -> dict[str, Any]:
    """Make a workspace; whoever makes it is its admin."""
    server = at(request)
    if not (who.may("admin", ALL) or who.key == "" or "admin" in who.scopes):
        raise Forbidden("this key is not for making workspaces: ask for one with the scope admin")
    made = WorkspaceRecord(workspace_id(body.name), body.name, who.user)
    made = await asyncio.to_thread(server.uploads.catalog.create_workspace, made)
    await asyncio.to_thread(server.auth.keys.grant, who.user, made.id, "admin")
    return _room(made, role="admin", documents=0)


def _room(one: WorkspaceRecord, *, role: str | None, documents: int) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "role": role, "documents": documents, "created_at": one.created_at}


@router.delete("/workspaces/{workspace}")
async def delete_workspace(
    request: Request, workspace: Workspace, who: Annotated[Principal, Depends(needs("admin", scope="documents"))]
) -> dict[str, Any]:
    """Delete a workspace with its uploads; one that params.yaml feeds has to be taken out there first."""
    who.enter(workspace, "admin")
    return await at(request).erase_workspace(workspace)


@router.get("/source")
async def source(
    request: Request,
    who: Reader,
    uri: Annotated[str, Query(min_length=1, max_length=2000)],
    around: Annotated[str, Query(pattern=r"^\d{1,9},\d{1,9}$", description="first and last line")],
    workspace: Workspace = "default",
) -> dict[str, Any]:
    """Show the lines of a document around a citation, as the index holds them."""
    who.enter(workspace)
    assistant = at(request).champion.assistant
    anything = np.zeros(assistant.release.index.dim, np.float32)
    anything[0] = 1
    query = StoreQuery("", anything, k=PIECES, mode="vector", workspace=workspace, filters={"uri": uri})
    hits = await asyncio.to_thread(assistant.find, query)
    first, last = map(int, around.split(","))
    lines = _lines([hit.chunk for hit in hits], first - AROUND, last + AROUND)
    if not lines:
        raise NotFound("there is no such document here (any more), or it has no such lines")
    start = min(lines)
    shown = [lines.get(n, "") for n in range(start, max(lines) + 1)]
    return {
        "uri": uri, "first_line": start, "lines": shown, "highlight": [first, last], "language": hits[0].chunk.language,
    }  # fmt: skip


def _lines(chunks: list[Chunk], first: int, last: int) -> dict[int, str]:
    """The lines of a document that its chunks hold, by number; chunks that overlap agree."""
    found: dict[int, str] = {}
    for chunk in sorted(chunks, key=lambda one: one.span):
        for number, text in enumerate(chunk.text.split("\n"), chunk.lines[0]):
            if first <= number <= last and number <= chunk.lines[1] and len(text) >= len(found.get(number, "")):
                found[number] = text.rstrip("\r")
    return found
