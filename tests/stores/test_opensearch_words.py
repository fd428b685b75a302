"""What a bulk request says a text's words are: those of the analysis, whatever pieces the text is cut into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkeep.stores import opensearch_index
from ragkeep.stores.opensearch_index import _words, words

PIECES = ["readLines", "os.path", "naïve", "語彙", "a_b", "...", "x" * 130, "ß", "٣", "\u3000", "\xa0", "-", "\x1f", " "]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join))
def test_they_are_those_of_the_analysis_in_order(text: str) -> None:
    assert _words(text).decode().split() == words(text)


def test_a_full_cache_of_pieces_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_index, "_PIECES", 3)
    for number in range(9):
        assert _words(f"one{number} readLines").decode().split() == words(f"one{number} readLines")
