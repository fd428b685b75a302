"""Files are replaced whole or not at all."""

import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from ragkeep import files
from ragkeep.files import read_json, replacing, replacing_folder, write_json, write_text
from tests.kills import count_and_kill, in_a_fork


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


def fill(folder: Path, text: str) -> None:
    with replacing_folder(folder) as new:
        (new / "inner").mkdir()
        write_text(new / "inner" / "weights", text)


def test_a_folder_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("old", "new"):
        fill(tmp_path / "f", text)
        assert (tmp_path / "f" / "inner" / "weights").read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_an_error_while_a_folder_is_made_leaves_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "f", "old")
    with pytest.raises(FileNotFoundError), replacing_folder(tmp_path / "f") as new:
        (new / "none" / "weights").touch()
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["f", "f/inner", "f/inner/weights"]


def test_all_of_a_folder_is_durable_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("fsync_file", "fsync_dir"):
        monkeypatch.setattr(files, name, lambda path, name=name: done.append(f"{name} {path.name}"))
    real = Path.rename

    def rename(old: Path, new: Path) -> Path:
        done.append(f"rename {old.name}")
        return real(old, new)

    monkeypatch.setattr(Path, "rename", rename)
    with replacing_folder(tmp_path / "f") as new:
        (new / "inner").mkdir()
        (new / "inner" / "weights").touch()
    assert done == ["fsync_file weights", "fsync_dir inner", "fsync_dir .f.new.tmp", "rename .f.new.tmp",
                    f"fsync_dir {tmp_path.name}"]  # fmt: skip


def fill_and_die(folder: Path, at: int) -> None:
    count_and_kill(at)
    fill(folder, "new")


def test_killed_anywhere_a_folder_is_old_or_new_and_made_again(tmp_path: Path) -> None:
    ended = []
    for at in range(1, 14):
        fill(tmp_path / "f", "old")
        ended.append(in_a_fork(partial(fill_and_die, tmp_path / "f", at)))
        left = tmp_path / "f" / "inner" / "weights"
        assert not left.exists() or left.read_text() == ("old" if at < 9 else "new")
        fill(tmp_path / "f", "again")
        assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert ended == [-signal.SIGKILL] * 9 + [0] * 4
