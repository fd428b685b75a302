"""Whatever a filter, a workspace or a question is made of, no foreign row comes; and what is named exactly is found.

`pytest tests/contracts/test_walls.py`; with `-m soak -s` 20,000 cases a store, and the figures.
"""

import random
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ragkeep.ports import VectorStore
from ragkeep.stores.segment import FILTERS
from ragkeep.types import Chunk, EmbeddedBatch, Query, content_id
from tests.sizes import sizes
from tests.stores.building import DIM, build, say

WORKSPACES = ("team", "team-b")
ROWS = 60
"""Chunks of each workspace; both hold the same uris and texts."""
FRAGMENTS = (
    # quotes, SQL and what a driver or a template would fill in
    "'", '"', "`", "' OR '1'='1", "'; DROP TABLE chunks; --", "%", "_", "$1", "%(workspace)s", "%s", "{chunks}", "{}",
    "') union select * from chunks --", "{{workspace}}", "${jndi:x}", "\\'", "\\", "\\u0000", "E'\\000'", "/*",
    # Lucene, regular expressions, wildcards
    "team-b", "workspace:team-b", " OR workspace:team-b", "*", "?", "te?m", "team*", "/.*/", "[a TO z]", "team~2", "^9",
    "AND NOT", "&&", "||", "(", ")", ".*", "^.*$", "(a+)+$", "[^a]", "\\Q", "_exists_:uri", "_all", "_id", ":", "+-",
    # JSON, bulk lines, paths
    "{", "}", '"}}', '{"match_all":{}}', '{"terms":{"workspace":["team","team-b"]}}', '\n{"index":{}}\n', "[]", "null",
    "true", "0", "1e999", "NaN", "..", "../team-b", "/", "//", "file:///etc/passwd", "?routing=team-b", "#", "%2e%2e%2f",
    "%00", "&amp;",
    # look-alikes, other cases and forms, marks, what is not seen
    "TEAM", "ТЕАМ", "ｔｅａｍ", "t\u200beam", "\ufeffteam", "é", "e\u0301", "ſ", "ß", "ẞ", "İ", "ı", "\u212a", "ﬁ", "語",
    "\u202e", "\u2028", "\u0085", "\t", "\n", "\r\n", " ", "\u00a0", "\u3000", "😀", "\uffff", "\U0010ffff", "",
)  # fmt: skip
UNSTORABLE = ("\x00", "team\x00", "\ud800", "\udfff\ud800")
"""What is in no row: PostgreSQL takes no NUL (a chunk with one is refused by its id), UTF-8 no half characters."""
TWISTS: tuple[Callable[[str], str], ...] = (
    str.upper, str.lower, str.swapcase, str.strip, lambda s: s + " ", lambda s: " " + s, lambda s: s + "\x00",
    lambda s: s[:-1], lambda s: s + s, lambda s: unicodedata.normalize("NFKC", s), lambda s: f"{s}*", lambda s: f'"{s}"',
    lambda s: unicodedata.normalize("NFD", s), lambda s: s.replace("/", "//"),
)  # fmt: skip
"""Almost the same value: a store that compares loosely takes it for the same."""


def joined(rng: random.Random, most: int = 4) -> str:
    return "".join(rng.choices(FRAGMENTS, k=rng.randint(1, most)))


def hostile_chunk(rng: random.Random, workspace: str, row: int) -> Chunk:
    uri = (joined(rng) * rng.choice([1, 1, 1, 1, 200])).encode()[:4000].decode(errors="ignore")
    text, kind = f"shared words {joined(rng)} row{row}", rng.choice(["prose", "code", joined(rng, 2)])
    return Chunk(
        id=content_id(workspace, uri, text, str(row)), document_id=joined(rng), uri=uri, source=f"source-{row % 3}",
        workspace=workspace, text=text, span=(0, len(text)), lines=(1, 1), kind=kind,  # type: ignore[arg-type]
        language=joined(rng, 1), context=joined(rng),
    )  # fmt: skip


def corpus(seed: int) -> EmbeddedBatch:
    """The same hostile chunks in both workspaces, but for their ids."""
    chunks = [hostile_chunk(random.Random(f"{seed} {row}"), name, row) for name in WORKSPACES for row in range(ROWS)]
    vectors = np.random.default_rng(seed).normal(size=(len(chunks), DIM)).astype(np.float32)
    return EmbeddedBatch(tuple(chunks), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def value(rng: random.Random, stored: str) -> str:
    """What is stored, almost that, or something made up."""
    kind = rng.random()
    if kind < 0.45:
        return stored
    if kind < 0.7:
        return rng.choice(TWISTS)(stored)
    if kind < 0.98:
        return joined(rng) if rng.random() < 0.8 else rng.choice(UNSTORABLE)
    return (joined(rng) or "x") * 20_000


def asked(rng: random.Random, batch: EmbeddedBatch) -> Query:
    row = rng.choice(batch.chunks)
    names = rng.sample(FILTERS, rng.choice([0, 1, 1, 1, 2, 5]))
    query = Query(
        rng.choice(["shared words", value(rng, row.text), value(rng, row.uri)]), k=rng.choice([1, 10, 200]),
        vector=batch.vectors[rng.randrange(len(batch.chunks))], mode=rng.choice(["hybrid", "vector", "keyword"]),
        candidates=200, workspace=row.workspace, filters={name: value(rng, getattr(row, name)) for name in names},
    )  # fmt: skip
    return replace(query, workspace=value(rng, row.workspace)) if rng.random() < 0.2 else query


def visible(batch: EmbeddedBatch, query: Query) -> dict[str, Chunk]:
    """All a query may see, by the plain equality of strings."""
    walls = {"workspace": query.workspace, **query.filters}
    return {c.id: c for c in batch.chunks if all(getattr(c, name) == wall for name, wall in walls.items())}


def check(store: VectorStore, batch: EmbeddedBatch, query: Query) -> str:
    """Hits are rows that the query may see; but for a search by words alone, as many as there are or it asks for."""
    allowed, hits = visible(batch, query), store.search("docs-1", query)
    assert all(allowed.get(hit.chunk.id) == hit.chunk for hit in hits), f"a foreign row came: {str(query)[:2000]}"
    worded = query.mode == "keyword"
    assert len(hits) == min(query.k, len(allowed)) or worded, f"{len(hits)} of {len(allowed)} came: {str(query)[:2000]}"
    return "some rows" if hits else "no row"


def cases(batch: EmbeddedBatch, size: int) -> Iterator[Query]:
    rng = random.Random(4)
    return (asked(rng, batch) for _ in range(size))


@sizes(300, 20_000, slow=False)
def test_whatever_is_asked_no_foreign_row_comes_and_all_that_is_named_does(store: VectorStore, size: int) -> None:
    began, batch = time.monotonic(), corpus(seed=4)
    build(store, "docs-1", batch)
    found = Counter(check(store, batch, query) for query in cases(batch, size))
    say(f"{type(store).__name__}: {size} cases in {time.monotonic() - began:.0f} s, {dict(found)}, no foreign row")
    assert min(found["some rows"], found["no row"]) > size / 5


def test_each_stored_value_is_found_by_exactly_that_filter(store: VectorStore) -> None:
    batch = corpus(seed=5)
    build(store, "docs-1", batch)
    for row in batch.chunks:
        for name in ("uri", "document_id"):
            query = Query("", vector=batch.vectors[0], k=200, mode="vector", workspace=row.workspace)
            check(store, batch, replace(query, filters={name: getattr(row, name)}))
