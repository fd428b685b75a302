"""A tier in a table of DynamoDB, an item for each turn; needs the extra [aws].

The key is (workspace, "<user>/<session>/<turn>"): a session, a user and a workspace are each one query. DynamoDB removes
an item some time after its attribute `expires` (Unix time); readers leave it out from that second on. What was forgotten
stands under the workspace "#forgotten".
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..aws import client
from ..database import Database
from ..errors import StoreError
from ..serving.params import MemoryParams
from .tier import KEEP, REMEMBERED_S, Entry, Kept, Reader, encode

FORGOTTEN = "#forgotten"
BATCH, READ = 25, 100
"""The most items that DynamoDB writes and reads at once."""
TRIES = 8


def open_tier(*, params: MemoryParams, database: Database, name: str, ttl_s: float | None) -> DynamoTier:  # noqa: ARG001
    """Open the tier; nothing is asked yet. Raises MissingExtra, ConfigError."""
    made = client("the memory in DynamoDB", "dynamodb", region=params.region, read_timeout_s=3, tries=1)
    return DynamoTier(made, params.table, name, ttl_s=ttl_s)


class DynamoTier:
    """See tier.Tier."""

    patience_s = 0.5

    def __init__(
        self,
        dynamodb: Any,
        table: str,
        name: str = "dynamodb",
        *,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self._ttl_s, self._clock = name, ttl_s, clock
        self._dynamodb, self._table, self._reader = dynamodb, table, Reader(name)

    def prepare(self) -> None:
        """Make the table where it is missing, and let it drop what expired."""
        known = self._dynamodb.exceptions
        try:
            self._dynamodb.describe_table(TableName=self._table)
        except known.ResourceNotFoundException:
            key = {"workspace": "HASH", "entry": "RANGE"}
            with contextlib.suppress(known.ResourceInUseException):  # another server was faster
                self._dynamodb.create_table(
                    TableName=self._table,
                    BillingMode="PAY_PER_REQUEST",
                    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
                    KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in key.items()],
                )
            self._dynamodb.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig={"Delay": 1})
        told = self._dynamodb.describe_time_to_live(TableName=self._table)["TimeToLiveDescription"]
        if told.get("TimeToLiveStatus") == "DISABLED":
            self._dynamodb.update_time_to_live(
                TableName=self._table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
            )

    def add(self, session: str, entries: Sequence[Entry], *, whole_at: float = 0.0) -> None:
        """See tier.Tier."""
        workspace, prefix = _key(session)
        lasts = {} if self._ttl_s is None else {"expires": int(self._clock() + self._ttl_s)}
        rows = [(entry.id, entry.at, zlib.compress(encode(entry).encode())) for entry in entries]
        if whole_at:
            rows.append(("", whole_at, b""))
        key = {"workspace": workspace}
        self._change([
            {"PutRequest": {"Item": {**key, "entry": prefix + id_, "at": _micros(at), "body": body, **lasts}}}
            for id_, at, body in rows
        ])  # fmt: skip

    def read(self, session: str) -> Kept:
        """See tier.Tier."""
        workspace, prefix = _key(session)
        items = []
        for item in self._items(workspace, prefix, ScanIndexForward=False):
            items.append(item)
            if len(items) == KEEP:
                break
        if len(items) == KEEP:  # the mark sorts before all turns
            found = self._dynamodb.get_item(
                TableName=self._table, Key={"workspace": workspace, "entry": prefix}, ConsistentRead=True
            )
            items += [found["Item"]] if "Item" in found else []
        now = self._clock()
        items = [item for item in items if int(item.get("expires", now + 1)) > now]
        mark = max((int(item["at"]) / 1e6 for item in items if item["entry"] == prefix), default=0.0)
        bodies = [_text(item) for item in items if item["entry"] != prefix]
        return Kept(self._reader.entries(session, bodies), mark)

    def erase(self, scope: str, before: float) -> None:
        """See tier.Tier."""
        until = _micros(before)
        note = {"workspace": FORGOTTEN, "entry": scope, "at": until, "expires": int(self._clock() + REMEMBERED_S)}
        with contextlib.suppress(self._dynamodb.exceptions.ConditionalCheckFailedException):  # it knows of a later one
            self._dynamodb.put_item(
                TableName=self._table,
                Item=note,
                ConditionExpression="attribute_not_exists(#at) OR #at < :until",
                ExpressionAttributeNames={"#at": "at"},
                ExpressionAttributeValues={":until": until},
            )
        workspace, prefix = _key(scope)
        gone = self._items(
            workspace,
            prefix,
            ProjectionExpression="workspace, #entry",
            FilterExpression="#at <= :before",
            ExpressionAttributeNames={"#entry": "entry", "#at": "at"},
            values={":before": until},
        )
        self._change([{"DeleteRequest": {"Key": item}} for item in gone])

    def forgotten(self, scopes: Sequence[str] = ()) -> dict[str, float]:
        """See tier.Tier."""
        items = self._notes(scopes) if scopes else self._items(FORGOTTEN, "")
        return {item["entry"]: int(item["at"]) / 1e6 for item in items}

    def _notes(self, scopes: Sequence[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(scopes), READ):
            keys = [{"workspace": FORGOTTEN, "entry": scope} for scope in scopes[start : start + READ]]
            left = {self._table: {"Keys": keys, "ConsistentRead": True}}
            while left:
                answer = self._dynamodb.batch_get_item(RequestItems=left)
                yield from answer["Responses"].get(self._table, ())
                left = answer["UnprocessedKeys"]

    def close(self) -> None:
        """See tier.Tier."""
        self._dynamodb.close()

    def _items(
        self, workspace: str, prefix: str, *, values: dict[str, Any] | None = None, **more: Any
    ) -> Iterator[dict[str, Any]]:
        condition = "workspace = :workspace" + (" AND begins_with(entry, :prefix)" if prefix else "")
        given = {":workspace": workspace, **({":prefix": prefix} if prefix else {}), **(values or {})}
        asked = {"KeyConditionExpression": condition, "ExpressionAttributeValues": given, "ConsistentRead": True, **more}
        while True:
            answer = self._dynamodb.query(TableName=self._table, **asked)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _change(self, requests: list[dict[str, Any]]) -> None:
        """Put and delete in batches; what DynamoDB had no room for is sent again. Raises StoreError."""
        for start in range(0, len(requests), BATCH):
            left = {self._table: requests[start : start + BATCH]}
            for tried in range(TRIES):
                left = self._dynamodb.batch_write_item(RequestItems=left)["UnprocessedItems"]
                if not left:
                    break
                time.sleep(0.05 * 2**tried)
            else:
                raise StoreError(f"DynamoDB has no room for more writes to {self._table}")


def _key(name: str) -> tuple[str, str]:
    """The partition of a session or scope, and how its items' sort keys begin."""
    workspace, _, rest = name.partition("/")
    return workspace, rest if not rest or rest.endswith("/") else f"{rest}/"


def _micros(at: float) -> int:
    return round(at * 1e6)


def _text(item: dict[str, Any]) -> bytes:
    """An item's body; what is no body becomes one that cannot be read."""
    try:
        return zlib.decompress(bytes(item["body"]))
    except (KeyError, TypeError, ValueError, zlib.error):
        return b""
