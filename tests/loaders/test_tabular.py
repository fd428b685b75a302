"""Tables and JSON become records that say what their values are."""

import pytest

from ragkeep.loaders import Unreadable
from tests.loaders.reading import read


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_rows_carry_their_column_names(delimiter: str) -> None:
    rows = [["name", "age"], ["Ada", "36"], ["Alan", "41"]]
    text = read("a.csv", "\n".join(delimiter.join(row) for row in rows)).text
    assert text == "name: Ada\nage: 36\n\nname: Alan\nage: 41\n"


def test_quoted_delimiters_and_line_ends_stay_in_their_cell() -> None:
    assert read("a.csv", 'a,b\n"x, y","1\n2"\n').text == "a: x, y\nb: 1\n2\n"


def test_more_cells_than_names_are_kept() -> None:
    assert read("a.csv", "a,b\n1,2,3\n").text == "a: 1\nb: 2\n3\n"


def test_a_json_array_gives_a_record_an_element() -> None:
    text = read("a.json", '[{"q": "why", "by": {"name": "Ada"}}, {"tags": ["x", "y"], "n": 1.5}]').text
    assert text == "q: why\nby.name: Ada\n\ntags: x, y\nn: 1.5\n"


def test_long_texts_stand_under_their_name() -> None:
    body = "line one\nline two"
    assert read("a.json", '{"body": "line one\\nline two"}').text == f"body:\n{body}\n"


def test_bad_lines_are_counted_and_the_others_read() -> None:
    extract = read("a.jsonl", '{"a": 1}\n{broken\n{"a": 2}\n')
    assert extract.text == "a: 1\n\na: 2\n"
    assert extract.meta == {"bad_lines": 1}


@pytest.mark.parametrize("data", ["{", "[1,", "[" * 100_000, '{"a": NaN'])
def test_broken_json_is_damaged(data: str) -> None:
    with pytest.raises(Unreadable, match="damaged"):
        read("a.json", data)


def test_a_notebook_is_its_cells_without_outputs() -> None:
    cells = (
        '[{"cell_type": "markdown", "source": ["# T\\n", "x"]}, {"cell_type": "code", "source": "1+1", "outputs": [9]}]'
    )
    assert read("a.ipynb", f'{{"cells": {cells}}}').text == "# T\nx\n\n```python\n1+1\n```\n"
