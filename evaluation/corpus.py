"""The night's documents by uri, read shard by shard when asked for: what labels are held against."""

from __future__ import annotations

import fnmatch
import functools
from dataclasses import dataclass
from pathlib import Path

from ragkeep.tables import read_table


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is kept, and what slices it belongs to."""

    shard: Path
    source: str
    language: str
    first_line: int


class Corpus:
    """Read-only view of data/documents. Only the columns that name documents are held in memory."""

    def __init__(self, folder: Path) -> None:
        self.places: dict[str, Place] = {}
        for shard in sorted(folder.glob("[0-9]*.parquet")):
            table = read_table(shard, ["uri", "source", "language", "first_line"])
            for row in table.to_pylist():
                self.places[row["uri"]] = Place(shard, row["source"], row["language"], row["first_line"])
        self._shard = functools.lru_cache(maxsize=2)(_texts)
        self.text = functools.lru_cache(maxsize=256)(self._text)

    def _text(self, uri: str) -> str | None:
        """Return a document's text, None where there is no such document."""
        place = self.places.get(uri)
        return self._shard(place.shard).get(uri) if place else None

    def matching(self, pattern: str) -> list[str]:
        """List the uris a glob matches, case counting, sorted."""
        if pattern in self.places:
            return [pattern]
        return sorted(uri for uri in self.places if fnmatch.fnmatchcase(uri, pattern))


def _texts(shard: Path) -> dict[str, str]:
    table = read_table(shard, ["uri", "text"])
    return dict(zip(table["uri"].to_pylist(), table["text"].to_pylist(), strict=True))
