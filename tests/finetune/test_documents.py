"""Files to chunks: every kind is read, a broken one is counted, sizes and overlap are exact."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkeep.errors import SourceError
from ragkeep.files import read_rows
from ragkeep.tokens import count
from tasks.finetune import documents, splitters
from tests.finetune.conftest import Make, still
from tests.loaders.builders import docx, paragraph, pdf

TEXT = "One two three. Four five six.\n\nSeven eight nine ten. Eleven.\nTwelve thirteen fourteen fifteen sixteen."
words = st.text(alphabet="ab .\n", max_size=120)


def test_each_kind_of_file_is_read_and_a_broken_one_is_counted(make: Make) -> None:
    place = make()
    docs = place.path.parent / "docs"
    (docs / "a.pdf").write_bytes(pdf("The pump moves water."))
    (docs / "b.docx").write_bytes(docx(paragraph("The valve is closed.")))
    (docs / "c.json").write_text('[{"title": "Filter", "text": "The mesh is steel."}]')
    (docs / "d.txt").write_text("The alarm is red.")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")
    (docs / "picture.png").write_bytes(b"\x89PNG")
    made = documents.prepare(place, still)
    assert (made["files"], made["read"], made["refused"]) == (6, 5, {"damaged": 1})
    texts = {piece.document: piece.text for piece in documents.read_pieces(place)}
    for name, said in (("a.pdf", "moves water"), ("b.docx", "is closed"), ("c.json", "steel"), ("d.txt", "red")):
        assert said in texts[f"docs/{name}"]
    assert [row["document"] for row in read_rows(place.output / "refused.jsonl")] == ["docs/broken.pdf"]


def test_nothing_to_read_is_an_error(make: Make) -> None:
    place = make()
    (place.path.parent / "docs" / "manual.md").write_text("\n \n")
    with pytest.raises(SourceError, match="none of 1 files"):
        documents.prepare(place, still)
    with pytest.raises(SourceError, match="prepare-data"):
        documents.read_pieces(place)


def test_equal_input_gives_equal_bytes(make: Make) -> None:
    place = make()
    documents.prepare(place, still)
    first = place.chunks.read_bytes()
    documents.prepare(place, still)
    assert place.chunks.read_bytes() == first


def test_characters_are_cut_to_the_letter() -> None:
    spans = splitters.character(TEXT, 20, 5)
    assert all(end - start == 20 for start, end in spans[:-1])
    assert all(after[0] == before[1] - 5 for before, after in pairwise(spans))


def test_tokens_are_counted_as_the_embedder_counts_them() -> None:
    spans = splitters.token(TEXT, 6, 2)
    assert [count(TEXT[start:end]) for start, end in spans[:-1]] == [6] * (len(spans) - 1)
    for before, after in pairwise(spans):
        assert count(TEXT[after[0] : before[1]]) == 2


def test_the_recursive_splitter_cuts_at_the_largest_mark() -> None:
    pieces = [TEXT[start:end].strip() for start, end in splitters.recursive(TEXT, 45, 0)]
    assert pieces == ["One two three. Four five six.", "Seven eight nine ten. Eleven.",
                      "Twelve thirteen fourteen fifteen sixteen."]  # fmt: skip


@pytest.mark.parametrize("name", splitters.SPLITTERS)
@settings(max_examples=60)
@given(text=words, size=st.integers(3, 40), overlap=st.integers(0, 2))
def test_every_word_is_in_some_piece_and_none_is_too_large(name: str, text: str, size: int, overlap: int) -> None:
    spans = splitters.SPLITTERS[name](text, size, overlap)
    covered = {at for start, end in spans for at in range(start, end)}
    assert all(at in covered for at, char in enumerate(text) if not char.isspace())
    if name != "token":
        assert all(end - start <= size for start, end in spans)
    for before, after in pairwise(spans):
        assert after[0] > before[0]
        if name == "recursive":
            assert before[1] - after[0] <= overlap
