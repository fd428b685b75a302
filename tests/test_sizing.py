"""The sizes on paper are those that the script computes from the inputs written beside them."""

from itertools import pairwise
from pathlib import Path

from benchmarks.sizing import SIZES, Inputs, rows, table

DOCUMENT = (Path(__file__).parent.parent / "docs" / "sizing.md").read_text("utf-8")


def test_the_document_shows_the_table_of_its_inputs() -> None:
    assert table(Inputs()) in DOCUMENT


def test_every_input_is_in_the_document() -> None:
    given = Inputs()
    measured = (given.disk, given.graph, given.load, given.merge, given.embed_core, given.builder, given.embed_h200)
    assert [n for n in measured if f"{n:,}" not in DOCUMENT and f"{n:,.0f}" not in DOCUMENT] == []


def test_ten_times_the_chunks_need_ten_times_the_memory_and_disk() -> None:
    figures = rows(Inputs())
    for name in ("memory for graphs, GB", "disk, GB"):
        sizes = [figures[name](n) for n in SIZES.values()]
        assert [round(larger / smaller, 6) for smaller, larger in pairwise(sizes)] == [10, 10]
