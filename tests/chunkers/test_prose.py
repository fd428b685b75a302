from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragkeep.chunkers import chunk_document
from ragkeep.types import Chunk

from .checks import DEFAULT, SMALL, TEXTS, check, prose

LONG = " ".join(f"Sentence {n} is about subject {n * 7 % 50} and says a little of it." for n in range(60))


@given(TEXTS, st.sampled_from(["markdown", "rst", "text"]))
@settings(max_examples=150, deadline=None)
@example("漢" * 500, "text")
@example("ไทย" * 700, "text")
@example("x" * 3000, "markdown")
@example("=" * 700, "markdown")
@example(" \n\t\n" * 50, "text")
@example("가나다라" * 300, "text")
def test_any_text_is_covered_within_the_limits(text: str, language: str) -> None:
    check(prose(text, language), SMALL)


def test_an_empty_text_has_no_chunks() -> None:
    assert chunk_document(prose(""), DEFAULT) == []


def test_lines_count_from_where_the_text_begins_in_its_file() -> None:
    (chunk,) = check(prose("one\ntwo\n", first_line=40), DEFAULT)
    assert chunk.lines == (40, 41)


def test_a_chunk_knows_the_headings_above_it() -> None:
    text = f"# Tool\n\n## Install\n\n### From source\n\n{LONG}\n\n## Use\n\n{LONG}\n"
    contexts = [c.context for c in check(prose(text), DEFAULT)]
    assert contexts[0] == "Tool > Install > From source"
    assert contexts[-1] == "Tool > Use"


def test_a_heading_is_never_the_end_of_a_chunk() -> None:
    text = "".join(f"## Part {n}\n\n{LONG[: 150 + 40 * n]}\n\n" for n in range(12))
    for chunk in check(prose("# All\n\n" + text), DEFAULT):
        assert not chunk.text.rstrip().rsplit("\n", 1)[-1].startswith("#")


def test_small_sections_share_a_chunk_and_the_heading_they_have_in_common() -> None:
    text = "# Glossary\n\n" + "".join(f"## Term {n}\n\nIt means {n}.\n\n" for n in range(30))
    chunks = check(prose(text), DEFAULT)
    assert 1 < len(chunks) < 6
    assert {c.context for c in chunks} == {"Glossary"}


def test_a_heading_inside_a_fence_is_code() -> None:
    text = f"# Real\n\n{LONG}\n\n```sh\n# not a heading\nls\n```\n\n{LONG}\n"
    assert {c.context for c in check(prose(text), DEFAULT)} == {"Real"}


@pytest.mark.parametrize(
    "block",
    [
        "```python\n" + "\n\n".join(f"value_{n} = {n}" for n in range(28)) + "\n```",
        "\n".join(f"| row {n} | {n} | cell |" for n in range(20)),
        "\n".join(f"- item {n} of the list\n\n  goes on" for n in range(20)),
    ],
    ids=["fence", "table", "list"],
)
def test_blocks_that_fit_stay_whole(block: str) -> None:
    chunks = check(prose(f"# Head\n\n{LONG}\n\n{block}\n\n{LONG}\n"), DEFAULT)
    assert sum(block in c.text for c in chunks) == 1


def test_restructured_titles_rank_by_the_order_of_their_styles() -> None:
    text = f"====\nTool\n====\n\nInstall\n-------\n\n{LONG}\n\nSource\n~~~~~~\n\n{LONG}\n\nUse\n---\n\n{LONG}\n"
    contexts = list(dict.fromkeys(c.context for c in check(prose(text, "rst"), DEFAULT)))
    assert contexts == ["Tool > Install", "Tool > Install > Source", "Tool > Use"]


def test_setext_headings_and_front_matter() -> None:
    text = f"---\ntitle: x\n---\n\nTool\n====\n\n{LONG}\n\nUse it\n---\n\n{LONG}\n"
    assert [c.context for c in check(prose(text), DEFAULT)][-1] == "Tool > Use it"


def test_the_title_of_the_document_stands_first_once() -> None:
    text = f"# Install\n\n{LONG}\n"
    assert check(prose(text, meta={"title": "Tool"}), DEFAULT)[0].context == "Tool > Install"
    assert check(prose(text, meta={"title": "install"}), DEFAULT)[0].context == "Install"


def test_pages_are_named_and_preferred() -> None:
    paragraphs = [f"Paragraph {n} of the report has some words in it, as they do.\n\n" for n in range(60)]
    pages = [len("".join(paragraphs[:n])) for n in (0, 9, 31)]
    chunks = check(prose("".join(paragraphs), "text", meta={"pages": pages}), DEFAULT)
    assert [c.meta["page"] for c in chunks] == sorted(c.meta["page"] for c in chunks)
    assert set(pages) - {c.span[1] for c in chunks} == {0}


def test_sentences_are_whole_where_a_paragraph_is_cut_and_some_are_carried_over() -> None:
    chunks = check(prose(LONG), DEFAULT)
    assert all(c.text.startswith("Sentence") and c.text.rstrip().endswith("it.") for c in chunks)
    assert all(a.span[1] > b.span[0] for a, b in pairwise(chunks))


def test_chinese_is_cut_at_its_sentences() -> None:
    text = "".join(f"这是第{n}句话，它说明一些事情。" for n in range(80))
    chunks = check(prose(text, "text"), DEFAULT)
    assert len(chunks) > 3
    assert all(c.text.endswith("。") for c in chunks)


def changed(before: list[Chunk], after: list[Chunk]) -> tuple[int, int]:
    old, new = {c.id for c in before}, {c.id for c in after}
    return len(old - new), len(new - old)


def test_a_paragraph_put_into_a_flat_text_changes_few_chunks() -> None:
    paragraphs = [f"{LONG[n * 13 % 900 :][: 90 + n * 37 % 170]} ({n})." for n in range(200)]
    before = check(prose("\n\n".join(paragraphs)), DEFAULT)
    for place in (20, 100, 150):
        edited = [*paragraphs[:place], "A paragraph that was not there before.", *paragraphs[place:]]
        gone, come = changed(before, check(prose("\n\n".join(edited)), DEFAULT))
        assert gone <= 6
        assert come <= 6
    assert len(before) > 40


@given(st.integers(0, 199), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_an_edit_is_forgotten_a_few_chunks_later(place: int, words: int) -> None:
    paragraphs = [f"{LONG[n * 29 % 900 :][: 60 + n * 53 % 250]} ({n})." for n in range(200)]
    before = check(prose("\n\n".join(paragraphs)), DEFAULT)
    paragraphs[place] = "word " * words
    gone, _ = changed(before, check(prose("\n\n".join(paragraphs)), DEFAULT))
    assert gone <= 15  # the most that any of these edits was seen to change


def test_an_edit_in_one_section_leaves_the_others_alone() -> None:
    parts = [f"## Part {n}\n\n{LONG[n * 3 :]}\n\n" for n in range(6)]
    before = check(prose("".join(parts)), DEFAULT)
    parts[2] = parts[2].replace("subject", "topic")
    after = check(prose("".join(parts)), DEFAULT)
    old = {c.id for c in before if c.context != "Part 2"}
    assert old <= {c.id for c in after}
