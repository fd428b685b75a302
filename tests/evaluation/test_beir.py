import json
from pathlib import Path

import pytest

from evaluation.beir import read_folder
from ragkeep.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus = [
        {"id": "a", "title": "T", "text": "one\u2028two"},
        {"id": "b", "text": "two"},
        {"_id": 3, "title": None, "text": ""},
    ]
    write(tmp_path / "corpus.jsonl", corpus)
    write(tmp_path / "queries.jsonl", [{"id": "q1", "text": "which?"}, {"id": "q2", "text": "who?"}])
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\n")
    return tmp_path


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_title_and_text_are_one_document_and_a_title_may_be_missing(folder: Path) -> None:
    assert read_folder(folder).corpus == {"a": "T\none\u2028two", "b": "two", "3": ""}


def test_grades_are_kept_and_training_judgments_are_optional(folder: Path) -> None:
    assert read_folder(folder).test == {"q1": {"a": 2, "b": 0}}
    assert read_folder(folder).train == {}
    (folder / "qrels_train.tsv").write_text("q2\tb\t1\n")
    assert read_folder(folder).train == {"q2": {"b": 1}}


def test_the_digest_follows_the_corpus(folder: Path) -> None:
    before = read_folder(folder).digest
    write(folder / "queries.jsonl", [{"id": "q1", "text": "other"}])
    assert read_folder(folder).digest == before
    write(folder / "corpus.jsonl", [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
    assert read_folder(folder).digest != before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "corpus.jsonl",
            '{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n',
            r"corpus.jsonl:2: the id 'a' was used on line 1",
        ),
        ("corpus.jsonl", '{"id": "a"}\n', r"corpus.jsonl:1 needs an id and a text"),
        ("corpus.jsonl", "nonsense\n", r"corpus.jsonl:1 needs an id and a text"),
        ("qrels.tsv", "q1\tzz\t1\n", r"names 1 ids that corpus.jsonl does not have, such as 'zz'"),
        ("qrels.tsv", "zz\ta\t1\n", r"names 1 ids that queries.jsonl does not have"),
        ("qrels.tsv", "q1\ta\t1\nq1 a 1\n", r"qrels.tsv:2 must be query-id"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n", r"judges nothing"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, name: str, content: str, said: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_folder(folder)


def test_absent_files_are_named(folder: Path) -> None:
    (folder / "queries.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"queries.jsonl does not exist"):
        read_folder(folder)
    with pytest.raises(ConfigError, match="is not a folder"):
        read_folder(folder / "nothing")
