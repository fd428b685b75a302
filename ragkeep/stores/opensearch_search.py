"""A query as one search, and its answer as legs or hits.

Hybrid: the nearest neighbours come first, by a constant no BM25 score reaches, behind them whatever else the words
find, best first; so one list holds both legs. The exact score in each leg comes with a hit as that of a named query,
computed for the returned hits alone (`_search` tells these scores, `_msearch` does not: OpenSearch issue 19102). Fusing
them is `fusion.py`'s, the same as in every store. Values go in as JSON strings of term queries: nothing a user writes
is parsed.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections import Counter
from typing import Any

import numpy as np
import orjson

from ..analysis import K1
from ..config import is_id
from ..fusion import fuse_scores, ranking
from ..types import Chunk, Hit, Legs, Query
from .opensearch_index import words
from .segment import unpack

EXPLORED, EXPLORED_OF, MOST_EXPLORED = 400, 300, 10_000
"""How many neighbours the graph's search keeps on its way: at least 400, one of 300 chunks of a shard, at most what the
server takes. Recall grows with it, whatever k is, and falls as a graph grows: docs/adr/0005-opensearch.md."""
MAX_WORDS = 1000
"""Different words of a question that count; the server refuses more than 1,024 clauses."""
_OVERSAMPLED = 100  # as many times k the server explores at most
_SORT = [{"_score": "desc"}, {"id": "asc"}]
_FIRST = 1e6

Found = dict[str, Any]
"""A hit as the server tells it."""


def explored(chunks: int, shards: int) -> int:
    """How many neighbours a search of a version explores in each shard."""
    return min(max(EXPLORED, chunks // shards // EXPLORED_OF), MOST_EXPLORED)


def path(target: str, *, rows: bool, shards: int) -> str:
    """Where to send a search; the answer is cut down to what is read, and half an answer counts as an error."""
    wanted = ",".join(f"hits.hits.{name}" for name in ("sort", "matched_queries", "_index", *["fields.row"][: int(rows)]))
    options = f"filter_path={wanted}&include_named_queries_score=true&allow_partial_search_results=false"
    return f"/{target}/_search?{options}{'&search_type=dfs_query_then_fetch' if shards > 1 else ''}"


def body(query: Query, *, rows: bool, shards: int, explored: int) -> bytes:
    """Write a search down as JSON."""
    matching, size = _matching(query, shards, explored)
    search = {
        "query": matching,
        "size": size,
        "sort": _SORT,
        "track_total_hits": False,
        "stored_fields": "_none_",
        **({"docvalue_fields": ["row"]} if rows else {}),
    }
    return orjson.dumps(search, option=orjson.OPT_SERIALIZE_NUMPY)


def _matching(query: Query, shards: int, explored: int) -> tuple[dict[str, Any], int]:
    wall, worded = _wall(query), _worded(query)
    if wall is None or (query.mode == "keyword" and worded is None):
        return {"match_none": {}}, 1
    if query.mode == "keyword":
        return {"bool": {"filter": wall, "must": [worded]}}, query.k
    if query.mode == "vector":
        return _near(query, wall, max(query.k, math.ceil(explored / _OVERSAMPLED)), explored), query.k
    near = _near(query, wall, query.candidates, explored)
    first = {"constant_score": {"filter": near, "boost": _FIRST}}
    legs = [first] if worded is None else [first, worded]
    told = {"bool": {"boost": 0, "should": [_exact(query)]}}
    size = query.candidates * (shards + 1)  # every shard finds neighbours of its own
    return {"bool": {"filter": wall, "must": [{"bool": {"should": legs}}], "should": [told]}}, size


def _wall(query: Query) -> list[dict[str, Any]] | None:
    """Let through this workspace and these values alone; None where no row can have them."""
    values = {"workspace": query.workspace, **query.filters}
    if not is_id(query.workspace) or any(not _is_text(value) for value in values.values()):
        return None
    return [{"term": {name: {"value": value}}} for name, value in values.items()]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character, which is in no row
        return False
    return True


def _near(query: Query, wall: list[dict[str, Any]], k: int, explored: int) -> dict[str, Any]:
    asked: dict[str, Any] = {"vector": _vector(query), "k": k, "filter": {"bool": {"filter": wall}}}
    if k < explored:  # unlike a larger ef_search this matches k rows, the best of those, and not all of them
        asked["rescore"] = {"oversample_factor": min(explored / k, _OVERSAMPLED)}
    return {"knn": {"vector": asked}}


def _worded(query: Query) -> dict[str, Any] | None:
    """Match any word, each as often as it is asked; None where there is no word."""
    field = f"words.{query.workspace}"
    counts = sorted(Counter(words(query.text)).most_common(MAX_WORDS))
    # Lucene leaves out the constant k1 + 1 of the formula that the other stores follow
    clauses = [{"term": {field: {"value": word, "boost": times * (K1 + 1)}}} for word, times in counts]
    return {"bool": {"_name": "keyword", "should": clauses}} if clauses else None


def _exact(query: Query) -> dict[str, Any]:
    asked = {"field": "vector", "query_value": _vector(query), "space_type": "innerproduct"}
    script = {"lang": "knn", "source": "knn_score", "params": asked}
    return {"script_score": {"_name": "vector", "query": {"match_all": {}}, "script": script}}


def _vector(query: Query) -> Any:
    assert query.vector is not None
    return np.ascontiguousarray(query.vector, np.float32)


def hits(found: list[Found], mode: str) -> list[Hit]:
    """Read the hits of one leg alone, best first, ties by id."""
    scores = [_cosine(hit["sort"][0]) if mode == "vector" else hit["sort"][0] for hit in found]
    return [Hit(_chunk(hit), score) for hit, score in zip(found, scores, strict=True)]


def legs(found: list[Found], candidates: int) -> tuple[Legs, list[Found]]:
    """Keep the best of each leg, by chunk id; return them and, in the same order, the hits."""
    found = sorted(found, key=_id)
    vector = np.array([_cosine(hit["matched_queries"]["vector"]) for hit in found], np.float32)
    keyword = np.array([hit["matched_queries"].get("keyword", 0) for hit in found], np.float32)
    worded = [i for i in ranking(keyword, candidates) if keyword[i] > 0]
    rows = np.union1d(ranking(vector, candidates), np.array(worded, np.intp))
    found = [found[row] for row in rows]
    return Legs(tuple(map(_id, found)), vector[rows], keyword[rows]), found


def fused(found: list[Found], query: Query) -> list[Hit]:
    """Fuse both legs; only the hits that are shown are read whole."""
    both, rows = legs(found, query.candidates)
    scores = fuse_scores(both.vector, both.keyword, query.fusion)
    return [both.hit(_chunk(rows[i]), float(scores[i]), i) for i in map(int, ranking(scores, query.k))]


def _id(hit: Found) -> str:
    return str(hit["sort"][1])


def _chunk(hit: Found) -> Chunk:
    return unpack(b64decode(hit["fields"]["row"][0] + "=="))  # told without padding


def _cosine(score: float) -> float:
    """Undo what Lucene does to an inner product to keep it above 0."""
    return score - 1 if score >= 1 else 1 - 1 / score
