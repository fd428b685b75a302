"""What an OpenSearch index of ours looks like, and a chunk on its way into one.

Words are cut here, by our own analysis, and go in as a field that is only split at spaces, one field a workspace: so
word statistics are a workspace's own, and both stores rank alike. Lucene keeps a text's length in one byte, exact up to
40 words and to 4 bits beyond: scores of longer texts differ from the embedded store's by some per cent, see
docs/adr/0005-opensearch.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import K1, VERSION, B, terms
from ..errors import StoreError
from ..types import Chunk, EmbeddedBatch, Vectors, content_id
from . import smile
from .opensearch_client import BUSY, Cluster, Refused, advise, describe_error, suppress_status
from .segment import FILTERS, pack, row_digest

FORMAT = 3
"""Raise it when the mapping changes: indexes are built anew."""
BATCH_BYTES = 5_000_000
_MAX_WORD = 120
_PAGE = 10_000
_MERGES = 3
_ROWS = 256
"""Vectors turned into bytes at a time."""
_FLUSH = "index.translog.flush_threshold_size"
_LEAST_MB, _MOST_MB = 16, 512
_LOADING = {
    _FLUSH: f"{_LEAST_MB}mb",
    "index.merge.policy.segments_per_tier": 1000,
    "index.merge.policy.max_merge_at_once": 1000,
}
"""While a version is loaded: small segments, all merged at the end.

Putting a vector into a graph of megabytes in the heap costs three times as much as into one that fits the processor's
cache, and more than into the merged one, which reads vectors from the file. `flush_mb` lets them grow with the version.
"""
_PIECES = 1 << 18
"""How many pieces of text are kept with their terms: about 40 MB."""
_BULK = "_bulk?filter_path=errors,items.*.status,items.*.error"
_DONE = {"create": (201, 409), "delete": (200, 404)}
"""What an item may be answered: 409 and 404 say that an earlier try, or an earlier night, did it."""

Line = tuple[str, bytes]
"""A chunk's id and its lines of a bulk request."""


def definition(dim: int, *, shards: int) -> dict[str, Any]:
    """Settings and mapping of a new version: nothing is refreshed, merged or copied while it is loaded."""
    keyword = {"type": "keyword", "doc_values": False}
    fields = dict.fromkeys((*FILTERS, "workspace"), keyword)
    return {
        "settings": {
            "index": {
                "knn": True,
                # a scan of an index with derived sources spoils later vector searches (OpenSearch 3)
                "knn.derived_source.enabled": False,
                "number_of_shards": shards,
                "number_of_replicas": 0,
                "refresh_interval": "-1",
                "mapping.total_fields.limit": 100_000,
                "max_result_window": 100_000,
                "similarity": {"words": {"type": "BM25", "k1": K1, "b": B}},
            },
            **_LOADING,
        },
        "mappings": {
            "_meta": {"dim": dim, "analysis": VERSION, "format": FORMAT, "finished": False},
            # a chunk is in `row`, its vector in the graph's file. The copy for recoveries stays (it is pruned in merges):
            # without it a shard that moves while it is loaded never arrives
            "_source": {"enabled": False},
            "dynamic": "strict",
            "dynamic_templates": [{"words": {"path_match": "words.*", "mapping": _WORDS}}],
            "properties": {
                **fields,
                "id": {"type": "keyword", "index": False},
                "row": {"type": "binary", "doc_values": True},
                "digest": {"type": "keyword", "index": False},
                "words": {"type": "object", "dynamic": True},
                "vector": _vector(dim),
            },
        },
    }


_WORDS = {"type": "text", "analyzer": "whitespace", "similarity": "words", "index_options": "freqs"}


def _vector(dim: int) -> dict[str, Any]:
    # rows have unit length, so the inner product is the cosine, without two square roots a comparison
    method = {
        "name": "hnsw",
        "engine": "lucene",
        "space_type": "innerproduct",
        "parameters": {"m": 16, "ef_construction": 100},
    }
    # without doc values: there the vectors would stand once more, scripts read them where the graph has them
    return {"type": "knn_vector", "dimension": dim, "doc_values": False, "method": method}


def words(text: str) -> list[str]:
    """List the search terms of a text as the index can hold them: no spaces inside, none cut by the tokenizer."""
    return [t if len(t) <= _MAX_WORD and t.split() == [t] else content_id(t) for t in terms(text)]


class _Pieces(dict[bytes, bytes]):
    """The search terms of pieces of text, as the index takes them; most pieces come again and again.

    A dictionary that is looked up directly costs half of functools' cache, and bytes half of strings.
    """

    def __missing__(self, piece: bytes) -> bytes:
        if len(self) >= _PIECES:
            self.clear()
        found = self[piece] = " ".join(words(piece.decode())).encode()
        return found


_terms = _Pieces().__getitem__
# no term spans any of these, so a text's terms are those of the pieces between them
_BREAKS = bytes(code if code > 127 or chr(code).isalnum() or chr(code) in "_." else 32 for code in range(256))


def _words(text: str) -> bytes:
    """Give the search terms of a text, spaces between them. Raises UnicodeEncodeError on half a character."""
    return b" ".join(map(_terms, text.encode().translate(_BREAKS).split()))


def bulk_lines(batch: EmbeddedBatch) -> Iterator[Line]:
    """Yield each chunk as an action and a document. Raises StoreError on a text that is no Unicode."""
    for start in range(0, len(batch.chunks), _ROWS):
        vectors = np.ascontiguousarray(batch.vectors[start : start + _ROWS], np.float32)
        numbers = smile.float_rows(vectors)
        for row, chunk in enumerate(batch.chunks[start : start + _ROWS]):
            try:
                yield chunk.id, _lines(chunk, vectors[row], numbers[row])
            except (TypeError, UnicodeEncodeError) as error:
                raise StoreError(f"chunk {chunk.id} of {chunk.uri} cannot be written: {error}") from None


def _lines(chunk: Chunk, vector: Vectors, numbers: NDArray[Any]) -> bytes:
    row = pack(chunk)
    parts = (
        *(_action("create", chunk.id), _ID, smile.text(chunk.id.encode()), _filters(*_filtered(chunk))),
        *(_DIGEST, smile.text(row_digest(row, vector).encode()), _ROW, smile.raw(row)),
        *(_TERMS, smile.key(chunk.workspace), smile.text(_words(chunk.embed_text))),
        *(_VECTOR, numbers.tobytes(), _LAST),
    )
    return b"".join(parts)


_ID, _DIGEST, _ROW = smile.START + smile.key("id"), smile.key("digest"), smile.key("row")
_TERMS, _VECTOR = smile.key("words") + smile.OBJECT, smile.END + smile.key("vector") + smile.ARRAY
_LAST = smile.ARRAY_END + smile.END + smile.SEPARATOR
_filtered = attrgetter("workspace", *FILTERS)


@lru_cache(maxsize=1024)  # those of a document's chunks are the same
def _filters(*values: str) -> bytes:
    named = zip(("workspace", *FILTERS), values, strict=True)
    return b"".join(smile.key(name) + smile.text(value.encode()) for name, value in named)


def _action(action: str, chunk_id: str) -> bytes:
    """Write the line of a bulk request that says what to do with a chunk."""
    return _opened(action) + smile.text(chunk_id.encode()) + _CLOSED


_CLOSED = smile.END + smile.END + smile.SEPARATOR


@lru_cache
def _opened(action: str) -> bytes:
    return smile.START + smile.key(action) + smile.OBJECT + smile.key("_id")


def write_chunks(cluster: Cluster, index: str, batch: EmbeddedBatch) -> tuple[int, int]:
    """Write what is not there yet, some megabytes a request; return how many were new, and bytes. Raises StoreError."""
    return _send_all(cluster, index, "create", bulk_lines(batch))


def flush_mb(sent_bytes: int) -> int:
    """How many megabytes a segment may take once a shard was sent so many bytes: a sixteenth, 16 to 512 by doubling.

    A merge puts what was near in a small graph near in the whole one: of a million chunks in segments of two thousand
    it made a graph that found less (docs/adr/0005-opensearch.md).
    """
    doubled: int = 1 << max(0, (sent_bytes >> 24).bit_length() - 1)
    return min(_MOST_MB, max(_LEAST_MB, doubled))


def flush_at(cluster: Cluster, index: str, megabytes: int) -> None:
    """Let segments of a version that is loaded take so much."""
    cluster.patiently(lambda: cluster.ask("PUT", f"/{index}/_settings", {_FLUSH: f"{megabytes}mb"}))


def delete_chunks(cluster: Cluster, index: str, ids: Iterable[str]) -> None:
    """Delete chunks; those that are not there count as deleted. Raises StoreError."""
    _send_all(cluster, index, "delete", ((i, _action("delete", i)) for i in ids))


def _send_all(cluster: Cluster, index: str, action: str, todo: Iterable[Line]) -> tuple[int, int]:
    new, sent, size, lines = 0, 0, 0, list[Line]()
    for line in todo:
        if lines and size + len(line[1]) > BATCH_BYTES:
            new += _send(cluster, index, action, lines)
            size, lines = 0, []
        lines.append(line)
        size += len(line[1])
        sent += len(line[1])
    return new + (_send(cluster, index, action, lines) if lines else 0), sent


def _send(cluster: Cluster, index: str, action: str, lines: list[Line]) -> int:
    """Send one request's lines, those again that the cluster was too busy for; nothing is left out.

    Return how many the cluster says it did now.
    """
    new, waiting = 0, lines

    def once() -> None:
        nonlocal new, waiting
        answer = cluster.ask("POST", f"/{index}/{_BULK}", b"".join(line for _, line in waiting))
        again = []
        for line, item in zip(waiting, answer["items"], strict=True):
            status, error = item[action]["status"], item[action].get("error")
            if status in _DONE[action]:
                new += status == _DONE[action][0]
            elif status in BUSY:
                again.append(line)
            else:
                advice = advise(status, describe_error(error))
                raise StoreError(f"{action} of chunk {line[0]} was refused: OpenSearch {advice}")
        waiting = again
        if again:
            reason = describe_error(error or "no reason given")
            raise Refused(f"OpenSearch {advise(429, f'{len(again)} chunks turned away, the last one: {reason}')}", 429)

    cluster.patiently(once)
    return new


def settle(cluster: Cluster, index: str, *, dim: int, replicas: int, merge: bool) -> None:
    """Read once what was written, end what makes a load cheap, and copy it to other nodes as far as there are any.

    `merge` makes one segment a shard first. What was carried from another version is left to the server's own merges,
    which keep segments few and deleted chunks below a fifth: a graph of the whole index is not made for a small change.
    """
    cluster.ask("POST", f"/{index}/_refresh")
    cluster.ask("POST", f"/{index}/_flush")
    if merge:
        _merge(cluster, index)
        cluster.ask("POST", f"/{index}/_flush")
    near = {"knn": {"vector": {"vector": [1.0] + [0.0] * (dim - 1), "k": 100}}}
    cluster.ask("POST", f"/{index}/_search", {"query": near, "size": 1, "track_total_hits": False})
    settled = {**dict.fromkeys(_LOADING), "index.auto_expand_replicas": f"0-{replicas}"}  # null: the server's own again
    cluster.ask("PUT", f"/{index}/_settings", settled)
    # no condition (408: not yet): with a node away the version is whole all the same, and is copied when that is back
    with suppress_status(408):
        cluster.ask("GET", f"/_cluster/health/{index}?wait_for_status=green&timeout=30s", timeout_s=60)
    cluster.ask("POST", f"/{index}/_refresh")


def _merge(cluster: Cluster, index: str) -> None:
    """Merge to one segment a shard as a task of the server: it takes minutes on a large index, longer than proxies wait.

    The server forgets a task whose node ends, or whose end it cannot note down for want of disk: then it is begun anew.
    """
    for _ in range(_MERGES):
        task = cluster.ask("POST", f"/{index}/_forcemerge?max_num_segments=1&wait_for_completion=false")["task"]
        state = _completed(cluster, task)
        if state is not None or _merged(cluster, index):
            break
        cluster.ask("PUT", f"/{index}/_settings", {"index.refresh_interval": "-1"})  # is refused where the disk is full
    else:
        state = {"error": f"the server forgot the task {_MERGES} times, look at its log"}
    failed = state and (state.get("error") or state.get("response", {}).get("failures"))
    if failed:
        reason = describe_error(failed[0] if isinstance(failed, list) else failed)
        raise StoreError(f"index {index} could not be merged ({reason}): run again; nothing live was touched")


def _completed(cluster: Cluster, task: str) -> dict[str, Any] | None:
    """Wait for the end of a task; None where the server no longer knows of it."""
    wait_s = 0.02
    while True:
        state: dict[str, Any] | None = cluster.patiently(lambda: cluster.ask("GET", f"/_tasks/{task}", absent=None))
        if state is None or state["completed"]:
            return state
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, 2.0)


def _merged(cluster: Cluster, index: str) -> bool:
    cluster.ask("POST", f"/{index}/_refresh")
    found = cluster.ask("GET", f"/{index}/_segments?filter_path=indices.*.shards.*.num_search_segments")
    shards = [one for shards in found["indices"][index]["shards"].values() for one in shards] if found else []
    return bool(shards) and all(shard["num_search_segments"] <= 1 for shard in shards)


def scan_ids(cluster: Cluster, index: str) -> Iterator[str]:
    """Yield every chunk id as of now, whatever is written or dropped meanwhile."""
    return (hit["sort"][0] for hit in _scan(cluster, index, {}))


def scan_rows(cluster: Cluster, index: str) -> Iterator[tuple[str, str]]:
    """Yield every chunk's id and digest as of now."""
    hits = _scan(cluster, index, {"docvalue_fields": ["digest"]})
    return ((hit["sort"][0], hit["fields"]["digest"][0]) for hit in hits)


def _scan(cluster: Cluster, index: str, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    scan = cluster.ask("POST", f"/{index}/_search/point_in_time?keep_alive=5m")["pit_id"]
    after: list[str] = []
    try:
        while True:
            page: dict[str, Any] = {
                "pit": {"id": scan, "keep_alive": "5m"},
                "size": _PAGE,
                "sort": [{"id": "asc"}],
                "stored_fields": "_none_",
                "track_total_hits": False,
                **wanted,
                **({"search_after": after} if after else {}),
            }
            answer = cluster.ask("POST", "/_search?filter_path=hits.hits.sort,hits.hits.fields", page)
            hits = answer.get("hits", {}).get("hits", [])
            yield from hits
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]
    finally:
        cluster.ask("DELETE", "/_search/point_in_time", {"pit_id": [scan]}, absent=None)
