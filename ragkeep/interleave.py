"""Two rankings shown as one, so that clicks say which is better: team-draft interleaving.

Radlinski, Kurup, Joachims, How does clickthrough data reflect retrieval quality?, CIKM 2008, algorithm 2. As in a
schoolyard, sides take turns in choosing their best that is still free; a coin says who begins each turn, and a click
counts for the side that chose. Two things are added. What both rank alike down from the top belongs to no side: a click
there says nothing, and would only add noise. When one side has no more to choose, the other's rest follows, also of no
side, so that nobody is shown less than the champion would.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, TypeAlias

from .types import Hit

Team: TypeAlias = Literal["champion", "challenger", ""]
"""Which side chose a source; "" where neither did."""


def team_draft(champion: Sequence[str], challenger: Sequence[str], *, k: int, seed: str) -> list[tuple[str, Team]]:
    """Mix two rankings of ids, each without repeats, into at most `k` of their union, each with its team.

    Every side's own choices stand in its own order. The same seed draws the same.

    >>> team_draft(["a", "b"], ["a", "b"], k=2, seed="x")
    [('a', ''), ('b', '')]
    """
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    mixed: dict[str, Team] = dict.fromkeys(_shared(champion, challenger), "")
    chosen = 0  # by the champion, less those by the challenger
    while len(mixed) < k:
        ours, theirs = (next((one for one in ids if one not in mixed), None) for ids in (champion, challenger))
        if ours is None or theirs is None:
            break
        if chosen < 0 or (chosen == 0 and draw.random() < 0.5):
            mixed[ours], chosen = "champion", chosen + 1
        else:
            mixed[theirs], chosen = "challenger", chosen - 1
    rest = dict.fromkeys((one for one in (*champion, *challenger) if one not in mixed), "")
    return [*mixed.items(), *((one, "") for one in rest)][:k]


def interleaved(ours: Sequence[Hit], theirs: Sequence[Hit], *, seed: str) -> tuple[list[Hit], dict[str, Team]]:
    """Mix hits of champion and challenger; return them and each chunk's team. Of what both have, the champion's."""
    hits = {hit.chunk.id: hit for hit in (*theirs, *ours)}
    names = [[hit.chunk.id for hit in found] for found in (ours, theirs)]
    mixed = team_draft(*names, k=len(ours) or len(theirs), seed=seed)
    return [hits[name] for name, _ in mixed], dict(mixed)


def _shared(champion: Sequence[str], challenger: Sequence[str]) -> Sequence[str]:
    """What both rankings begin with."""
    pairs = enumerate(zip(champion, challenger, strict=False))
    differs = next((n for n, (ours, theirs) in pairs if ours != theirs), None)
    return champion[: min(len(champion), len(challenger)) if differs is None else differs]
