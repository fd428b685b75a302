"""The catalog in two tables of DynamoDB, for several servers; needs the extra [aws].

`<prefix>-workspaces` by id, with the index by_owner. `<prefix>-documents` by (workspace, id): one name in one workspace
is one id, so that there are no duplicates; its indexes are by_created, by_type and by_status, the latter two by
(workspace, type or status, created_at). Its partition "#log" holds all uploads and deletions by `seq`, its item "#seq"
the last one's.

Taking the next number, checking the workspace, changing the record and writing the log are one transaction. Who is
overtaken by another tries again: numbers have no gaps, and none appears after a greater one.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from ..aws import answering, client
from ..database import utc
from ..errors import ServiceAway
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
from .dynamodb_tables import as_item, as_record, as_workspace, ensure_tables

WHAT = "DynamoDB"
TRIES = 60
LOG, SEQ = "#log", {"workspace": "#seq", "id": "#seq"}


def open_catalog(*, params: CatalogParams, path: Path) -> DynamoCatalog:  # noqa: ARG001 - what every backend gets
    """Open the catalog, and make its tables where they are missing. Raises ConfigError, MissingExtra, ServiceAway."""
    made = client("the catalog in DynamoDB", "dynamodb", region=params.region)
    with answering(WHAT):
        ensure_tables(made, params.prefix)
    return DynamoCatalog(made, params.prefix)


class _Overtaken(Exception):
    """Somebody else took the number, or changed the record: read again and try again."""


class DynamoCatalog:
    """See ports.Catalog."""

    def __init__(self, dynamodb: Any, prefix: str, *, clock: Callable[[], float] = time.time) -> None:
        self.dynamodb, self.clock = dynamodb, clock
        self.rooms, self.papers = f"{prefix}-workspaces", f"{prefix}-documents"

    def create_workspace(self, workspace: Workspace) -> Workspace:
        """See ports.Catalog."""
        made = founded(workspace, utc(self.clock()))
        with answering(WHAT):
            try:
                self.dynamodb.put_item(
                    TableName=self.rooms, Item=asdict(made), ConditionExpression="attribute_not_exists(id)"
                )
            except self.dynamodb.exceptions.ConditionalCheckFailedException:
                raise workspace_there(made.id) from None
        return made

    def workspace(self, workspace_id: str) -> Workspace | None:
        """See ports.Catalog."""
        item = self._get(self.rooms, {"id": workspace_id}) if workspace_id else None
        return None if item is None or "deleted_at" in item else as_workspace(item)

    def workspaces(self, *, owner: str | None = None) -> list[Workspace]:
        """See ports.Catalog."""
        if owner is None:
            items = self._pages("scan", TableName=self.rooms, ConsistentRead=True)
        else:
            values = {":owner": owner}
            items = self._pages(
                "query",
                TableName=self.rooms,
                IndexName="by_owner",
                KeyConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=values,
            )
        return sorted((as_workspace(item) for item in items if "deleted_at" not in item), key=lambda one: one.id)

    def delete_workspace(self, workspace_id: str) -> list[DocumentRecord]:
        """See ports.Catalog."""
        first = self._close(workspace_id)
        found = [as_record(item) for item in self._papers_of(workspace_id)]
        if not first and not found:
            raise no_workspace()
        return [self.delete(record.id) for record in sorted(found, key=lambda record: record.seq)]

    def submit(self, document: DocumentRecord) -> DocumentRecord:
        """See ports.Catalog."""
        made = accepted(document, utc(self.clock()))

        def attempt(seq: int) -> DocumentRecord:
            there = self.document(made.id)
            if there and there.status != "error":
                raise document_there(made.name)
            if self.workspace(made.workspace) is None:
                raise no_workspace()
            new = replace(made, seq=seq)
            self._commit(
                seq,
                "upload",
                new,
                {
                    "ConditionCheck": {
                        "TableName": self.rooms,
                        "Key": {"id": made.workspace},
                        "ConditionExpression": "attribute_exists(id) AND attribute_not_exists(deleted_at)",
                    }
                },
                {"Put": {"TableName": self.papers, "Item": as_item(new), **_unchanged(there)}},
            )
            return new

        return self._numbered(attempt)

    def update(
        self,
        document: DocumentRecord,
        *,
        status: Literal["submitted", "processed", "error"],
        reason: str = "",
        chunks: int = 0,
    ) -> DocumentRecord:
        """See ports.Catalog."""
        made = replace(document, status=status, reason=reason, chunks=chunks, updated_at=utc(self.clock()))
        with answering(WHAT):
            try:
                self.dynamodb.put_item(TableName=self.papers, Item=as_item(made), **_unchanged(document))
            except self.dynamodb.exceptions.ConditionalCheckFailedException:
                raise no_document() from None
        return made

    def document(self, document_id: str) -> DocumentRecord | None:
        """See ports.Catalog."""
        workspace = workspace_of(document_id)
        item = self._get(self.papers, {"workspace": workspace, "id": document_id}) if workspace else None
        return as_record(item) if item else None

    def documents(
        self, workspace: str, *, status: str = "", of_type: str = "", cursor: str = "", limit: int = 50
    ) -> tuple[list[DocumentRecord], str]:
        """See ports.Catalog."""
        by, chosen = ("by_status", status) if status else ("by_type", of_type) if of_type else ("by_created", "")
        prefix = f"{chosen}#" if chosen else ""
        asked: dict[str, Any] = {"TableName": self.papers, "IndexName": by, "ScanIndexForward": False, "Limit": limit + 1}
        asked["KeyConditionExpression"] = f"workspace = :workspace AND begins_with({by}, :prefix)"
        asked["ExpressionAttributeValues"] = {":workspace": workspace, ":prefix": prefix}
        if not prefix:
            asked["KeyConditionExpression"] = "workspace = :workspace"
            del asked["ExpressionAttributeValues"][":prefix"]
        if status and of_type:
            asked |= {"FilterExpression": "#type = :type", "ExpressionAttributeNames": {"#type": "type"}}
            asked["ExpressionAttributeValues"][":type"] = of_type
        if cursor:
            created, id_ = from_cursor(cursor, length=2)
            asked["ExclusiveStartKey"] = {"workspace": workspace, "id": id_, by: f"{prefix}{created}#{id_}"}
        return _page(self._pages("query", **asked), limit)

    def count(self, workspace: str) -> int:
        """See ports.Catalog."""
        return sum(1 for _ in self._papers_of(workspace, ProjectionExpression="id"))

    def changes(self, *, after: int = 0, limit: int = 1000) -> list[Change]:
        """See ports.Catalog."""
        found: list[Change] = []
        items = self._papers_of(LOG, after=_number(after), Limit=limit) if limit else iter(())
        for item in items:
            seq = int(item["id"])
            document = DocumentRecord(**{**json.loads(item["document"]), "seq": seq})
            found.append(Change(seq, item["action"], item["at"], document))
            if len(found) == limit:
                break
        return found

    def delete(self, document_id: str) -> DocumentRecord:
        """See ports.Catalog."""

        def attempt(seq: int) -> DocumentRecord:
            there = self.document(document_id)
            if there is None:
                raise no_document()
            gone = replace(there, seq=seq)
            key = {"workspace": there.workspace, "id": there.id}
            self._commit(seq, "delete", gone, {"Delete": {"TableName": self.papers, "Key": key, **_unchanged(there)}})
            return gone

        return self._numbered(attempt)

    def _close(self, workspace_id: str) -> bool:
        """Mark a workspace as deleted, so that no submit passes its check any more; False where it was not there."""
        with answering(WHAT):
            try:
                self.dynamodb.update_item(
                    TableName=self.rooms,
                    Key={"id": workspace_id},
                    UpdateExpression="SET deleted_at = :now",
                    ConditionExpression="attribute_exists(id) AND attribute_not_exists(deleted_at)",
                    ExpressionAttributeValues={":now": utc(self.clock())},
                )
                return True
            except self.dynamodb.exceptions.ConditionalCheckFailedException:
                return False

    def _numbered(self, attempt: Callable[[int], DocumentRecord]) -> DocumentRecord:
        """Run a transaction with the next number, again while others take it first."""
        for tried in range(TRIES):
            last = self._get(self.papers, SEQ)
            try:
                return attempt(int(last["last"]) + 1 if last else 1)
            except _Overtaken:
                time.sleep(random.uniform(0, 0.02 * min(tried + 1, 10)))  # noqa: S311
        raise ServiceAway("too many uploads and deletions at once: try again in a minute")

    def _commit(self, seq: int, action: str, document: DocumentRecord, *changes: dict[str, Any]) -> None:
        """Change the record, move the counter and write the log, all or nothing. Raises _Overtaken."""
        text = json.dumps(asdict(document), ensure_ascii=False)
        line = {"workspace": LOG, "id": _number(seq), "action": action, "at": utc(self.clock()), "document": text}
        condition = "#last = :before" if seq > 1 else "attribute_not_exists(id)"
        counter: dict[str, Any] = {
            "TableName": self.papers,
            "Key": SEQ,
            "UpdateExpression": "SET #last = :seq",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#last": "last"},
            "ExpressionAttributeValues": {":seq": seq, **({":before": seq - 1} if seq > 1 else {})},
        }
        with answering(WHAT):
            try:
                items = [{"Update": counter}, *changes, {"Put": {"TableName": self.papers, "Item": line}}]
                self.dynamodb.transact_write_items(TransactItems=items)
            except self.dynamodb.exceptions.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
                if codes <= {"None", "ConditionalCheckFailed", "TransactionConflict", "ThrottlingError"}:
                    raise _Overtaken from None
                raise

    def _get(self, table: str, key: dict[str, str]) -> dict[str, Any] | None:
        with answering(WHAT):
            found: dict[str, Any] | None = self.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get(
                "Item"
            )
        return found

    def _papers_of(self, workspace: str, *, after: str = "", **more: Any) -> Iterator[dict[str, Any]]:
        condition = "workspace = :workspace" + (" AND id > :after" if after else "")
        values = {":workspace": workspace, **({":after": after} if after else {})}
        asked = {"KeyConditionExpression": condition, "ExpressionAttributeValues": values, **more}
        return self._pages("query", TableName=self.papers, ConsistentRead=True, **asked)

    def _pages(self, call: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of a query or scan, page by page."""
        while True:
            with answering(WHAT):
                answer = getattr(self.dynamodb, call)(**asked)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _unchanged(there: DocumentRecord | None) -> dict[str, Any]:
    """The condition that a record is still the one that was read."""
    if there is None:
        return {"ConditionExpression": "attribute_not_exists(id)"}
    return {"ConditionExpression": "seq = :read", "ExpressionAttributeValues": {":read": there.seq}}


def _page(items: Iterator[dict[str, Any]], limit: int) -> tuple[list[DocumentRecord], str]:
    found: list[DocumentRecord] = []
    for item in items:
        if len(found) == limit:
            return found, as_cursor(found[-1].created_at, found[-1].id)
        found.append(as_record(item))
    return found, ""


def _number(seq: int) -> str:
    return f"{seq:016d}"
