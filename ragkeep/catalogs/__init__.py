"""Catalogs of workspaces and documents, one backend a file; ragkeep/backends.py names them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..backends import CATALOGS, load
from ..config import is_id
from ..errors import AlreadyExists, NotFound, RequestError
from ..ports import Catalog
from ..serving.params import CatalogParams
from ..serving.principal import OPS
from ..types import DocumentRecord, Workspace, content_id


def open_catalog(params: CatalogParams, path: Path) -> Catalog:
    """Open the catalog params.yaml names; `path` is the file of the one that is a file (`Paths.serving`)."""
    return cast(Catalog, load(CATALOGS, params.backend, params=params, path=path))


def ensure_workspace(catalog: Catalog, workspace: str, *, owner: str = "local") -> Workspace | None:
    """Add a workspace that params.yaml names, unless it is there; None where it was deleted, and stays so."""
    try:
        return catalog.workspace(workspace) or catalog.create_workspace(Workspace(workspace, workspace, owner))
    except AlreadyExists:  # another server was faster, or it was deleted
        return catalog.workspace(workspace)


def workspace_id(name: str) -> str:
    """Make an id for a new workspace: readable, and impossible to guess or to take twice."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{readable or 'workspace'}-{secrets.token_hex(5)}"


def document_id(workspace: str, name: str) -> str:
    """The id of a document: one name in one workspace is one document."""
    return f"{workspace}.{content_id(workspace, name)}"


def workspace_of(document: str) -> str:
    """The workspace a document's id names, so that rights are checked before anything is looked up; "" for no such id."""
    workspace, _, name = document.rpartition(".")
    return workspace if is_id(workspace) and re.fullmatch("[0-9a-f]{32}", name) else ""


def accepted(document: DocumentRecord, now: str) -> DocumentRecord:
    """Fill in what a new upload's record holds. Raises RequestError on a name that nobody could use."""
    name = document.name
    if not 0 < len(name) <= 255 or not name.isprintable():
        raise RequestError("a document's name must be 1-255 printable characters: rename the file")
    id_ = document_id(document.workspace, name)
    return replace(document, id=id_, status="submitted", reason="", chunks=0, created_at=now, updated_at=now)


def founded(workspace: Workspace, now: str) -> Workspace:
    """Fill in what a new workspace holds. Raises RequestError on an id or a name that nobody could use."""
    if not is_id(workspace.id) or workspace.id == OPS:
        raise RequestError(f"a workspace's id must be 1-64 of a-z, 0-9 and '-', and not {OPS!r}: choose another")
    if not 0 < len(workspace.name.strip()) <= 100 or not workspace.name.isprintable():
        raise RequestError("a workspace's name must be 1-100 printable characters: choose another")
    return replace(workspace, created_at=now)


def as_cursor(*position: str) -> str:
    """Pack where a page ended into an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def from_cursor(cursor: str, *, length: int) -> list[str]:
    """Unpack a cursor. Raises RequestError where it is none of ours."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or len(found) != length or not all(map(_is_text, found)):
        raise RequestError("that cursor is none that this list gave out: start without one")
    return found


def _is_text(part: object) -> bool:
    return isinstance(part, str) and part.isprintable()  # a lone surrogate is not, and no database takes one


def document_there(name: str) -> AlreadyExists:
    """The error for a name that a workspace has already."""
    return AlreadyExists(f"this workspace has a document named {name!r}: delete it first")


def workspace_there(workspace: str) -> AlreadyExists:
    """The error for a workspace's id that is taken, or was."""
    return AlreadyExists(f"a workspace {workspace!r} exists already, or did: choose another name")


def no_document() -> NotFound:
    """The error for a document that is not there."""
    return NotFound("there is no such document (any more): GET /v1/documents lists those there are")


def no_workspace() -> NotFound:
    """The error for a workspace that is not there."""
    return NotFound("there is no such workspace (any more): GET /v1/workspaces lists those there are")
