"""The two tables of the catalog in DynamoDB, made where they are missing and paid by the request, and their items."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ..types import DocumentRecord, Workspace

NAMES = tuple(field.name for field in fields(DocumentRecord))


def ensure_tables(dynamodb: Any, prefix: str) -> None:
    """Make what is missing, and wait until it can be used. Safe to run from several servers at once."""
    for name, made in tables(prefix).items():
        try:
            dynamodb.describe_table(TableName=name)
        except dynamodb.exceptions.ResourceNotFoundException:
            with contextlib.suppress(dynamodb.exceptions.ResourceInUseException):  # another server was faster
                dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **made)
            dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def tables(prefix: str) -> dict[str, dict[str, Any]]:
    """Keys and indexes by the tables' names."""
    papers = {name: ("workspace", name) for name in ("by_created", "by_type", "by_status")}
    return {
        f"{prefix}-workspaces": _table(("id",), {"by_owner": ("owner", "created_at")}),
        f"{prefix}-documents": _table(("workspace", "id"), papers),
    }


def _table(key: tuple[str, ...], indexes: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    names = sorted({*key, *(name for index in indexes.values() for name in index)})
    return {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": _schema(key),
        "GlobalSecondaryIndexes": [
            {"IndexName": name, "KeySchema": _schema(index), "Projection": {"ProjectionType": "ALL"}}
            for name, index in indexes.items()
        ],
    }


def _schema(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def as_item(record: DocumentRecord) -> dict[str, Any]:
    """A record with the sort keys of the indexes."""
    at = f"{record.created_at}#{record.id}"
    return {**asdict(record), "by_created": at, "by_type": f"{record.type}#{at}", "by_status": f"{record.status}#{at}"}


def as_record(item: dict[str, Any]) -> DocumentRecord:
    """The record of an item."""
    numbers = {name: int(item[name]) for name in ("size", "chunks", "seq")}
    return DocumentRecord(**{**{name: item[name] for name in NAMES}, **numbers})


def as_workspace(item: dict[str, Any]) -> Workspace:
    """The workspace of an item."""
    return Workspace(item["id"], item["name"], item["owner"], item["created_at"])
