import sysconfig
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ragkeep import tokens

ALPHABET = "aZ9_-= .\n\t\r\x00\x0b\x0c\x1c\x85\xa0\u0301é漢、。！ひひらがไทยกี́İßﬁ½\u200b\u20dd\ufffd한😀\U0002a6a5’—"
ODD = st.text(alphabet=ALPHABET, max_size=60)


@given(st.one_of(ODD, st.text(max_size=60)))
def test_a_ruler_counts_as_the_tokenizer_does(text: str) -> None:
    assert tokens.measure(text).tokens[-1] == tokens.count(text)


@given(ODD)
def test_a_text_cut_where_words_end_has_the_same_tokens_on_both_sides(text: str) -> None:
    ruler = tokens.measure(text)
    for cut in ruler.cuts(0, len(text)):
        assert ruler.tokens_before([cut]) == [tokens.count(text[:cut])]
        assert tokens.count(text[:cut]) + tokens.count(text[cut:]) == tokens.count(text)


def test_real_files_count_exactly() -> None:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-c]*.py"))[:20]:
        text = path.read_text(encoding="utf-8")
        starts = [i + 1 for i, c in enumerate(text) if c == "\n"]
        found = np.diff([0, *tokens.measure(text).tokens_before(starts)])
        assert found.tolist() == [tokens.count(line) for line in text.split("\n")[:-1]]


def test_a_text_longer_than_a_block_is_counted_whole(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    text = "one two, three\n" * 50
    whole = tokens.measure(text)
    monkeypatch.setattr(tokens, "_BLOCK", 64)
    assert tokens.measure(text).tokens[-1] == whole.tokens[-1]
    assert tokens.measure(text).ends[-1] == len(text)


def test_a_word_the_tokenizer_gives_up_on_still_has_a_size() -> None:
    ruler = tokens.measure("x" * 4000)
    assert ruler.tokens[-1] == 1
    assert ruler.sizes[-1] == 1000


def test_the_memory_of_words_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(tokens, "_REMEMBERED", 100)
    text = " ".join(f"word{i}" for i in range(90))
    assert tokens.measure(text).tokens[-1] == tokens.count(text)
    assert tokens.measure(text[::-1]).tokens[-1] == tokens.count(text[::-1])
    assert len(tokens._counts) <= 300
