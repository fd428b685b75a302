"""Near-repeats make room for hits that say something else."""

from ragkeep.mmr import diverse
from ragkeep.testing import HashEmbedder
from ragkeep.types import Chunk, Hit

TEXTS = ("pumps are serviced yearly", "pumps are serviced yearly by us", "valves are checked daily", "lids are blue")
SCORES = (1.0, 0.95, 0.9, 0.1)
HITS = [
    Hit(Chunk(f"c{n}", "d", "u", "s", "default", text, (0, len(text)), (1, 1), "prose", "en"), SCORES[n])
    for n, text in enumerate(TEXTS)
]


def test_a_near_repeat_comes_after_something_new() -> None:
    assert [hit.chunk.id for hit in diverse(HITS, HashEmbedder(), 2)] == ["c0", "c2"]


def test_the_first_stays_first_and_none_is_made_up() -> None:
    assert diverse(HITS, HashEmbedder(), 10)[0] == HITS[0]
    assert sorted(hit.chunk.id for hit in diverse(HITS, HashEmbedder(), 10)) == ["c0", "c1", "c2", "c3"]
    assert diverse([], HashEmbedder(), 3) == []
