"""Amazon Kendra, asked and never written to: a `Searcher`, for passages of an index that somebody else keeps.

    kendra = load(SEARCHERS, "kendra", region="eu-west-1")
    hits = kendra.search("0123abcd-...", Query("How do I parse JSON?", workspace="handbook"))

Every document in the index carries the attributes `workspace`, `source`, `uri`, `language` and `kind` (strings that may
be filtered by and displayed), and, where they are known, the numbers `span_start`, `span_end`, `first_line`, `last_line`.
What is without a workspace is in none and is never returned. Needs the extra [aws].
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from .. import aws
from ..config import is_id
from ..errors import IndexMissing, StoreError
from ..types import Chunk, Hit, Query, content_id
from .reading import check_query

CONFIDENCE = {"VERY_HIGH": 1.0, "HIGH": 0.75, "MEDIUM": 0.5, "LOW": 0.25, "NOT_AVAILABLE": 0.0}
"""A score for each of Kendra's buckets. They are in order and no more: their distances mean nothing, and languages other
than English are all NOT_AVAILABLE."""
_PASSAGES = 100
"""As many as Kendra returns for a question, whatever is asked for."""
_MAX_TEXT, _MAX_VALUE = 1000, 2048
_TRIES = 4
_KEYS = {"document_id": "_document_id"}  # Kendra has one of its own
_INDEX = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{35}")
_SYNTAX = re.compile(r"[^\w\s.'/+#-]")
_OPERATORS = re.compile(r"\b(AND|OR|NOT)\b")

Attributes = dict[str, Any]


def open_searcher(region: str = "") -> KendraSearcher:
    """Open Kendra of a region (default: this machine's). Raises MissingExtra, ConfigError without credentials."""
    session = aws.session("Amazon Kendra", region)
    config = importlib.import_module("botocore.config").Config(
        retries={"mode": "standard", "total_max_attempts": _TRIES}, connect_timeout=5, read_timeout=30
    )
    return KendraSearcher(session.client("kendra", config=config))


class KendraSearcher:
    """See `ports.Searcher`; `client` is boto3's. Safe to share between threads."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def search(self, index: str, query: Query) -> list[Hit]:
        """See `ports.Searcher.search`; `index` is Kendra's index id.

        Kendra has one ranking of its own: a vector is not looked at, `hybrid` and `keyword` are the same, `vector` is
        refused with ValueError, ties stand as Kendra returned them, and more than 100 hits there never are.
        """
        check_query(query, needs_vector=False)
        if query.mode == "vector":
            raise ValueError("Kendra takes no vectors: search with mode hybrid or keyword")
        if not _INDEX.fullmatch(index):
            raise IndexMissing(f"no Kendra index {index!r}: give its id of 36 characters")
        text, wall = _plain(query.text), _wall(query)
        if not text or not is_id(query.workspace) or any(not _fits(value) for value in wall.values()):
            return []
        found: dict[str, Hit] = {}
        size = max(1, min(query.k, _PASSAGES))
        for page in range(1, _PASSAGES // size + 1):
            items = self._retrieve(index, text, wall, page=page, size=size)
            hits = (_hit(item) for item in items if _matches(item, wall))
            found |= {hit.chunk.id: hit for hit in hits if hit.chunk.id not in found}
            if len(items) < size or len(found) >= query.k:
                break
        return sorted(found.values(), key=lambda hit: -hit.score)[: query.k]

    def _retrieve(self, index: str, text: str, wall: dict[str, str], *, page: int, size: int) -> list[dict[str, Any]]:
        raised = importlib.import_module("botocore.exceptions")
        equal = [{"EqualsTo": {"Key": name, "Value": {"StringValue": value}}} for name, value in wall.items()]
        try:
            answer = self._client.retrieve(
                IndexId=index, QueryText=text, AttributeFilter={"AndAllFilters": equal}, PageNumber=page, PageSize=size
            )
        except raised.ClientError as error:
            raise _refused(index, error) from None
        except raised.BotoCoreError as error:
            raise StoreError(
                f"Amazon Kendra cannot be asked ({aws.one_line(error)}): check the region and the network, log in again"
            ) from None
        items: list[dict[str, Any]] = answer.get("ResultItems", [])
        return items


def _refused(index: str, error: Any) -> StoreError:
    """Put Kendra's error in words, with the next step."""
    code, said = error.response["Error"]["Code"], " ".join(error.response["Error"].get("Message", "").split())[:300]
    if code == "ResourceNotFoundException":
        return IndexMissing(f"no Kendra index {index} in this region and account ({said}): check its id and the region")
    advice = {
        "ThrottlingException": f"is too busy after {_TRIES} tries: wait, or add query capacity units",
        "ServiceQuotaExceededException": "has reached a quota: raise it, or ask less often",
        "AccessDeniedException": "does not let these credentials do this: allow kendra:Retrieve on the index",
        "ValidationException": "refused the question: does the index have workspace, source, uri, language, kind?",
        "InternalServerException": f"failed {_TRIES} times: try again later",
    }.get(code, "refused: renew the credentials if they ran out")
    return StoreError(f"Amazon Kendra {advice} ({code}: {said})")


def _plain(text: str) -> str:
    """Take away control characters and what Kendra reads as syntax: field:value, "phrases", wildcards, AND, OR, NOT.

    Kendra reads the first 30 words or so of what is left.
    """
    spaced = " ".join(_SYNTAX.sub(" ", text).split())
    return _OPERATORS.sub(lambda found: found[0].lower(), spaced)[:_MAX_TEXT]


def _wall(query: Query) -> dict[str, str]:
    """Name each attribute and the value it must have."""
    return {"workspace": query.workspace} | {_KEYS.get(name, name): value for name, value in query.filters.items()}


def _fits(value: str) -> bool:
    """Whether an attribute can have this value at all."""
    return 0 < len(value) <= _MAX_VALUE and not any("\ud800" <= c <= "\udfff" for c in value)


def _attributes(item: dict[str, Any]) -> Attributes:
    kept = ("StringValue", "LongValue")
    pairs = ((one["Key"], next((one["Value"][kind] for kind in kept if kind in one["Value"]), None)) for one in
             item.get("DocumentAttributes", []))  # fmt: skip
    return {key: value for key, value in pairs if value is not None} | {"_document_id": item.get("DocumentId", "")}


def _matches(item: dict[str, Any], wall: dict[str, str]) -> bool:
    """Whether a passage is what was asked for: the wall between workspaces is not left to the index's settings."""
    values = _attributes(item)
    return all(values.get(name) == value for name, value in wall.items())


def _hit(item: dict[str, Any]) -> Hit:
    values, text, document = _attributes(item), item.get("Content", ""), item.get("DocumentId", "")
    chunk = Chunk(
        id=content_id(values["workspace"], document, text),
        document_id=document,
        uri=values.get("uri") or item.get("DocumentURI") or document,
        source=values.get("source", ""),
        workspace=values["workspace"],
        text=text,
        span=_span(values, text),
        lines=_lines(values, text),
        kind="code" if values.get("kind") == "code" else "prose",
        language=values.get("language", ""),
        context=item.get("DocumentTitle", ""),
    )
    return Hit(chunk, CONFIDENCE[item.get("ScoreAttributes", {}).get("ScoreConfidence", "NOT_AVAILABLE")])


def _span(values: Attributes, text: str) -> tuple[int, int]:
    """Where the text stands, where the attributes fit it; else as if the passage were the document."""
    start, end = values.get("span_start", 0), values.get("span_end", len(text))
    return (start, end) if end - start == len(text) else (0, len(text))


def _lines(values: Attributes, text: str) -> tuple[int, int]:
    """The lines the attributes name, those of the piece that was loaded; else as if the passage were the document."""
    if "first_line" in values and "last_line" in values:
        return values["first_line"], values["last_line"]
    return 1, text.count("\n") + 1
