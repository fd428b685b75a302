import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.sets import load_set, load_sets
from ragkeep.errors import ConfigError

ROW = {"id": "a", "text": "How?", "split": "dev", "labels": [{"name": "json.load"}], "answerable": True}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_question_keeps_its_labels(tmp_path: Path) -> None:
    found = load_set(write(tmp_path / "s.jsonl", ROW)).questions[0]
    assert (found.id, found.split, found.evalset, found.labels[0].name) == ("a", "dev", "s", "json.load")


def test_the_digest_knows_labels_and_text_but_not_the_order(tmp_path: Path) -> None:
    other = {**ROW, "id": "b"}
    one, two = write(tmp_path / "1", ROW, other), write(tmp_path / "2", other, ROW)
    assert load_set(one).digest == load_set(two).digest
    assert load_set(write(tmp_path / "3", {**ROW, "text": "Why?"}, other)).digest != load_set(one).digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "train"}, "split must be dev or test"),
        ({"labels": []}, "needs labels"),
        ({"labels": [{"quote": "x"}]}, "a label is a name"),
        ({"labels": [{"name": "x", "document": "y", "quote": "z"}]}, "a label is a name"),
        ({"labels": [{"document": "x", "qoute": "y"}]}, "a label has no qoute"),
        ({"labels": [{"document": "x", "quote": ""}]}, "an empty quote"),
        ({"text": " "}, "needs a text"),
        ({"text": None}, "not a question"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"s.jsonl:2.*{said}"):
        load_set(write(tmp_path / "s.jsonl", {**ROW, "id": "z"}, {**ROW, **change}))


def test_two_questions_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'a' is used in x"):
        load_sets([write(tmp_path / "x.jsonl", ROW), write(tmp_path / "y.jsonl", ROW)])


def test_an_absent_set_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: see"):
        load_set(tmp_path / "nothing.jsonl")
