"""A query as one statement, and its rows as legs or hits.

The vector leg reads the graph, and goes on until enough rows passed the filters (pgvector's iterative scan). Where
filters leave few rows, or the graph ends too early, all of those are compared instead: the graph would be slow and miss
some. The keyword leg sums the postings of the question's words. The exact scores of both legs come with every
candidate; fusing them is `fusion.py`'s, the same as in every store. Values are parameters: nothing of a user is parsed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..analysis import VERSION, terms
from ..config import is_id
from ..errors import DimensionMismatch, IndexMissing, StoreError
from ..fusion import fuse_scores, ranking
from ..types import Chunk, Hit, Legs, Query
from .pgvector_index import COUNTED, FORMAT, searched, statement, unit
from .segment import unpack

if TYPE_CHECKING:
    from .pgvector_client import Session

EXACT = 5_000
"""As many rows are compared one by one; with more the graph is cheaper."""

_VERSION = """
select v.build, v.dim, v.analysis, v.format, (
    select min(coalesce(c.chunks, 0)) from unnest(%(names)s::text[], %(values)s::text[]) f (name, value)
    left join {counts} c on c.build = v.build and c.workspace = %(workspace)s and c.name = f.name and c.value = f.value)
from {versions} v
where v.finished and v.name = coalesce((select version from {aliases} where name = %(index)s), %(index)s)
"""
# a sum is not what the index is ordered by, so it is not read
_SEARCH = {
    "vector": """
        with near as materialized (NEAR limit %(n)s)
        select c.id, c.row, -near.distance, 0, count(*) over () from near join {chunks} c using (row) order by c.id""",
    "keyword": """
        with scored as materialized (SCORED)
        select c.id, c.row, 0, best.score, 0
        from (select row, score from scored order by score desc fetch first %(n)s rows with ties) best
        join {chunks} c using (row) order by c.id""",
    "hybrid": """
        with near as materialized (NEAR limit %(n)s), scored as materialized (SCORED)
        select c.id, c.row, -(c.vector <#> %(vector)s), best.score, (select count(*) from near)
        from (
            select row, max(score) as score from (
                select row, 0::real as score from near
                union all
                select row, score from scored
                where score >= (select min(score) from (select score from scored order by score desc limit %(n)s) most)
                    or row in (select row from near)
            ) both_legs group by row
        ) best join {chunks} c using (row) order by c.id""",
}
_GRAPH = "select row, vector <#> %(vector)s as distance from {chunks} where WALL order by vector <#> %(vector)s"
# a sum is not what the graph is ordered by, so it is not read
_COMPARED = _GRAPH.replace("by vector <#> %(vector)s", "by (vector <#> %(vector)s) + 0, id")
_SCORED = """
    select p.row, sum(q.times * w.idf * p.saturation)::real as score
    from unnest(%(words)s::text[], %(times)s::int[]) q (word, times)
    join {postings} w on w.workspace = %(workspace)s and w.word = q.word,
    unnest(w.rows, w.saturations) p (row, saturation) ALLOWED group by p.row"""
# `is true` keeps this a lookup in a hash table, whatever the planner thinks of the number of rows
_ALLOWED = "where (p.row in (select row from {chunks} where WALL)) is true"


class Found(NamedTuple):
    """The candidates of a version, by chunk id: numbers of their rows, and both scores."""

    build: int
    ids: list[str]
    rows: list[int]
    vector: np.ndarray[Any, np.dtype[np.float32]]
    keyword: np.ndarray[Any, np.dtype[np.float32]]


def find(session: Session, prefix: str, index: str, query: Query) -> Found:
    """Ask for the candidates of a query. Raises IndexMissing, DimensionMismatch, StoreError."""
    values = _values(query)
    named = {name: value for name, value in values.items() if name in COUNTED}
    asked = {"index": index, "names": list(named), "values": list(named.values()), "workspace": values["workspace"]}
    version = session.execute(statement(_VERSION, prefix), asked).fetchone()
    if version is None:
        raise IndexMissing(f"no finished index or alias {index}: run `ragkeep nightly` to build one")
    build, dim, analysis, made, most = version
    if (analysis, made) != (VERSION, FORMAT):
        raise StoreError(
            f"index {index} was built with text analysis {analysis} and tables {made}, this ragkeep has {VERSION} and "
            f"{FORMAT}: run `ragkeep nightly` to build it anew"
        )
    if query.vector is not None and query.vector.shape != (dim,):
        raise DimensionMismatch(
            f"index {index} takes query vectors of {dim} numbers, not of shape {query.vector.shape}: use the embedder it "
            "was built with"
        )
    few = most <= EXACT or len(named) < len(values)
    found = _ask(session, prefix, build, query, few=few) if most else []
    if not few and query.mode != "keyword" and (not found or found[0][4] < _depth(query)):
        found = _ask(session, prefix, build, query, few=True)
    ids, rows, vector, keyword, _ = zip(*found, strict=True) if found else ([], [], [], [], [])
    return Found(build, list(ids), list(rows), np.array(vector, np.float32), np.array(keyword, np.float32))


def _values(query: Query) -> dict[str, str]:
    """What a row must have; where no row can have it, a workspace that there is not."""
    values = {"workspace": query.workspace, **query.filters}
    possible = is_id(query.workspace) and all(_storable(value) for value in values.values())
    return values if possible else {"workspace": ""}


def _storable(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # half a character, which is in no row
        return False


def _depth(query: Query) -> int:
    return query.candidates if query.mode == "hybrid" else query.k


def _ask(session: Session, prefix: str, build: int, query: Query, *, few: bool) -> list[Any]:
    values, counts = _values(query), Counter(map(searched, terms(query.text)))
    wall = " and ".join(f"{name} = %({name})s" for name in values)  # of columns that check_query knows
    text = _SEARCH[query.mode].replace("NEAR", _COMPARED if few else _GRAPH).replace("SCORED", _SCORED)
    text = text.replace("ALLOWED", _ALLOWED if query.filters else "").replace("WALL", wall)
    asked = {**values, "words": sorted(counts), "times": [counts[word] for word in sorted(counts)], "n": _depth(query)}
    if query.mode != "keyword":
        assert query.vector is not None
        asked["vector"] = unit(query.vector)
    return session.execute(statement(text, prefix, build), asked).fetchall()


def hits(session: Session, prefix: str, found: Found, query: Query) -> list[Hit]:
    """Rank the candidates, ties by id; only those that are shown are read whole."""
    hybrid = query.mode == "hybrid"
    if hybrid:
        chosen = _best(found, query.candidates)
        both = Legs((), found.vector[chosen], found.keyword[chosen])
        rows = [found.rows[i] for i in chosen]
        scores = fuse_scores(both.vector, both.keyword, query.fusion)
    else:
        rows, scores = found.rows, found.vector if query.mode == "vector" else found.keyword
    order = [int(i) for i in ranking(scores, query.k)]
    chunks = _chunks(session, prefix, found.build, [rows[i] for i in order])
    scored = [(chunks[rows[i]], float(scores[i]), i) for i in order]
    return [both.hit(*one) if hybrid else Hit(*one[:2]) for one in scored]


def legs(found: Found, candidates: int) -> Legs:
    """Keep the best of each leg, by chunk id."""
    chosen = _best(found, candidates)
    return Legs(tuple(found.ids[i] for i in chosen), found.vector[chosen], found.keyword[chosen])


def _best(found: Found, candidates: int) -> list[int]:
    worded = [int(i) for i in ranking(found.keyword, candidates) if found.keyword[i] > 0]
    return sorted({*map(int, ranking(found.vector, candidates)), *worded})


def _chunks(session: Session, prefix: str, build: int, rows: list[int]) -> dict[int, Chunk]:
    read = statement("select row, chunk from {texts} where row = any(%s)", prefix, build)
    return {row: unpack(chunk) for row, chunk in session.execute(read, [rows], binary=True)} if rows else {}
