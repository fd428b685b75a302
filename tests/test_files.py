"""Files are replaced whole or not at all."""

import threading
from pathlib import Path

import pytest

from ragkeep.files import read_json, replacing, write_json, write_text


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1, 2]})
    write_json(tmp_path / "b.json", {"a": [1, 2], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": [1, 2], "b": 1}


def test_a_missing_file_reads_as_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") is None


def test_an_error_while_writing_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    write_text(tmp_path / "f", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "f") as new:
        new.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").unlink()
    assert (tmp_path / "f").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_readers_never_see_a_half_written_file(tmp_path: Path) -> None:
    path, done, seen = tmp_path / "f", threading.Event(), set[str]()
    write_text(path, "a" * 10_000)

    def read() -> None:
        while not done.is_set():
            text = path.read_text()
            seen.add(f"{len(text)}:{''.join(sorted(set(text)))}")

    reader = threading.Thread(target=read)
    reader.start()
    for letter in "bcdefgh" * 20:
        write_text(path, letter * 10_000)
    done.set()
    reader.join()
    assert seen <= {f"10000:{c}" for c in "abcdefgh"}
