"""The catalog in `<state>/serving.sqlite`."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Literal

from ..database import Database, utc
from ..serving.params import CatalogParams
from ..types import Change, DocumentRecord, Workspace
from . import (
    accepted,
    as_cursor,
    document_there,
    founded,
    from_cursor,
    no_document,
    no_workspace,
    workspace_of,
    workspace_there,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS workspaces (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, created_at TEXT NOT NULL, deleted_at TEXT);
CREATE INDEX IF NOT EXISTS workspaces_by_owner ON workspaces (owner, id);
CREATE TABLE IF NOT EXISTS documents (
  id TEXT NOT NULL UNIQUE, workspace TEXT NOT NULL, name TEXT NOT NULL, uri TEXT NOT NULL, type TEXT NOT NULL,
  size INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, chunks INTEGER NOT NULL, sha TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (workspace, name));
CREATE INDEX IF NOT EXISTS documents_by_created ON documents (workspace, created_at, id);
CREATE INDEX IF NOT EXISTS documents_by_type ON documents (workspace, type, created_at, id);
CREATE INDEX IF NOT EXISTS documents_by_status ON documents (workspace, status, created_at, id);
CREATE TABLE IF NOT EXISTS changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, at TEXT NOT NULL, document TEXT NOT NULL)
"""
COLUMNS = tuple(field.name for field in fields(DocumentRecord))


def open_catalog(*, params: CatalogParams, path: Path) -> SqliteCatalog:  # noqa: ARG001 - what every backend gets
    """Open the catalog in a file."""
    return SqliteCatalog(Database(path))


class SqliteCatalog:
    """See ports.Catalog; every change of documents and its line in `changes` are one transaction."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        database.script(SCHEMA)
        self.database, self.clock = database, clock

    def create_workspace(self, workspace: Workspace) -> Workspace:
        """See ports.Catalog."""
        made = founded(workspace, utc(self.clock()))
        try:
            with self.database.transaction() as db:
                row = (made.id, made.name, made.owner, made.created_at)
                db.execute("INSERT INTO workspaces VALUES (?, ?, ?, ?, NULL)", row)
        except sqlite3.IntegrityError:
            raise workspace_there(made.id) from None
        return made

    def workspace(self, workspace_id: str) -> Workspace | None:
        """See ports.Catalog."""
        sql = "SELECT id, name, owner, created_at FROM workspaces WHERE id = ? AND deleted_at IS NULL"
        row = self.database.row(sql, (workspace_id,))
        return Workspace(*row) if row else None

    def workspaces(self, *, owner: str | None = None) -> list[Workspace]:
        """See ports.Catalog."""
        sql = "SELECT id, name, owner, created_at FROM workspaces WHERE deleted_at IS NULL AND (? IS NULL OR owner = ?)"
        return [Workspace(*row) for row in self.database.rows(f"{sql} ORDER BY id", (owner, owner))]

    def delete_workspace(self, workspace_id: str) -> list[DocumentRecord]:
        """See ports.Catalog."""
        with self.database.transaction() as db:
            sql = "UPDATE workspaces SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL"
            if not db.execute(sql, (utc(self.clock()), workspace_id)).rowcount:
                raise no_workspace()
            found = db.execute("SELECT * FROM documents WHERE workspace = ? ORDER BY seq", (workspace_id,)).fetchall()
            return [self._bury(db, _record(row)) for row in found]

    def submit(self, document: DocumentRecord) -> DocumentRecord:
        """See ports.Catalog."""
        made = accepted(document, utc(self.clock()))
        with self.database.transaction() as db:
            room = "SELECT 1 FROM workspaces WHERE id = ? AND deleted_at IS NULL"
            if not db.execute(room, (made.workspace,)).fetchone():
                raise no_workspace()
            there = db.execute("SELECT status FROM documents WHERE id = ?", (made.id,)).fetchone()
            if there and there["status"] != "error":
                raise document_there(made.name)
            made = self._log(db, "upload", made)
            marks = ", ".join("?" * len(COLUMNS))
            values = [getattr(made, name) for name in COLUMNS]
            db.execute(f"INSERT OR REPLACE INTO documents ({', '.join(COLUMNS)}) VALUES ({marks})", values)  # noqa: S608
        return made

    def update(
        self,
        document: DocumentRecord,
        *,
        status: Literal["submitted", "processed", "error"],
        reason: str = "",
        chunks: int = 0,
    ) -> DocumentRecord:
        """See ports.Catalog."""
        sql = (
            "UPDATE documents SET status = ?, reason = ?, chunks = ?, updated_at = ? WHERE id = ? AND seq = ? RETURNING *"
        )
        with self.database.transaction() as db:
            values = (status, reason, chunks, utc(self.clock()), document.id, document.seq)
            rows = db.execute(sql, values).fetchall()
        if not rows:
            raise no_document()
        return _record(rows[0])

    def document(self, document_id: str) -> DocumentRecord | None:
        """See ports.Catalog."""
        known = workspace_of(document_id)
        row = self.database.row("SELECT * FROM documents WHERE id = ?", (document_id,)) if known else None
        return _record(row) if row else None

    def documents(
        self, workspace: str, *, status: str = "", of_type: str = "", cursor: str = "", limit: int = 50
    ) -> tuple[list[DocumentRecord], str]:
        """See ports.Catalog."""
        created, id_ = from_cursor(cursor, length=2) if cursor else ("~", "~")
        wanted = {"workspace": workspace, "status": status, "type": of_type}
        given = {name: value for name, value in wanted.items() if value}
        where = " AND ".join([*(f"{name} = ?" for name in given), "(created_at, id) < (?, ?)"])
        sql = f"SELECT * FROM documents WHERE {where} ORDER BY created_at DESC, id DESC LIMIT ?"  # noqa: S608
        found = [_record(row) for row in self.database.rows(sql, (*given.values(), created, id_, limit + 1))]
        page = found[:limit]
        return page, as_cursor(page[-1].created_at, page[-1].id) if len(found) > limit else ""

    def count(self, workspace: str) -> int:
        """See ports.Catalog."""
        ((n,),) = self.database.rows("SELECT count(*) FROM documents WHERE workspace = ?", (workspace,))
        return int(n)

    def delete(self, document_id: str) -> DocumentRecord:
        """See ports.Catalog."""
        with self.database.transaction() as db:
            there = self.document(document_id)  # nobody else writes during the transaction
            if there is None:
                raise no_document()
            return self._bury(db, there)

    def changes(self, *, after: int = 0, limit: int = 1000) -> list[Change]:
        """See ports.Catalog."""
        rows = self.database.rows("SELECT * FROM changes WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        documents = [DocumentRecord(**{**json.loads(row["document"]), "seq": row["seq"]}) for row in rows]
        return [Change(row["seq"], row["action"], row["at"], one) for row, one in zip(rows, documents, strict=True)]

    def _bury(self, db: sqlite3.Connection, document: DocumentRecord) -> DocumentRecord:
        db.execute("DELETE FROM documents WHERE id = ?", (document.id,))
        return self._log(db, "delete", document)

    def _log(self, db: sqlite3.Connection, action: str, document: DocumentRecord) -> DocumentRecord:
        text = json.dumps(asdict(document), ensure_ascii=False)
        sql = "INSERT INTO changes (action, at, document) VALUES (?, ?, ?)"
        seq = db.execute(sql, (action, utc(self.clock()), text)).lastrowid
        return replace(document, seq=seq or 0)


def _record(row: sqlite3.Row) -> DocumentRecord:
    return DocumentRecord(**{name: row[name] for name in COLUMNS})
