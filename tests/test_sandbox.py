"""Whatever a document makes its reader do, it costs that document and nothing else."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest
from blake3 import blake3

from ragkeep.errors import RagkeepError
from ragkeep.loaders import TRANSIENT
from ragkeep.ports import Extract
from ragkeep.sandbox import File, Limits, Refused, Sandbox

LIMITS = Limits(timeout_s=1, memory_mb=256, max_chars=1_000_000)


def made(folder: Path, loader: str, text: str = "hello") -> File:
    path = folder / f"{loader}.txt"
    path.write_text(text, encoding="utf-8")
    return File(path, f"tests.loaders.misbehaving:{loader}")


def results(*files: File, limits: Limits = LIMITS) -> list[Extract | Refused]:
    with Sandbox(limits) as sandbox:
        return list(sandbox.read(files))


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        ("spin", "timeout"),
        ("grow", "memory"),
        ("segfault", "crash"),
        ("leave", "crash"),
        ("flood", "too_large_output"),
        ("odd", "damaged"),
    ],
)
def test_a_bad_document_is_refused_and_its_neighbours_are_read(tmp_path: Path, loader: str, reason: str) -> None:
    good = made(tmp_path, "polite")
    before, bad, after = results(good, made(tmp_path, loader), good)
    assert isinstance(bad, Refused)
    assert bad.reason == reason
    assert bad.detail
    assert before == after == Extract("hello", "prose", "text")


def test_a_reader_that_waits_forever_is_stopped(tmp_path: Path) -> None:
    began = time.monotonic()
    (stuck,) = results(made(tmp_path, "sleep"), limits=Limits(timeout_s=0.1))
    assert isinstance(stuck, Refused)
    assert stuck.reason in TRANSIENT, "the machine may have been busy"
    assert time.monotonic() - began < 30


def test_many_crashes_in_one_batch_are_each_their_own(tmp_path: Path) -> None:
    good, bad = made(tmp_path, "polite"), made(tmp_path, "leave")
    kinds = [type(one) for one in results(good, bad, bad, good, bad)]
    assert kinds == [Extract, Refused, Refused, Extract, Refused]


def test_what_a_parser_prints_does_not_disturb(tmp_path: Path) -> None:
    said, hello = results(made(tmp_path, "chatter"), made(tmp_path, "polite"))
    assert (said, hello) == (Extract("said", "prose", "text"), Extract("hello", "prose", "text"))


def test_letters_that_no_file_can_hold_are_replaced(tmp_path: Path) -> None:
    assert results(made(tmp_path, "surrogate")) == [Extract("broken ? letter", "prose", "text")]


def test_a_reader_has_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        (refused,) = results(made(tmp_path, "connect", str(server.getsockname()[1])))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize("loader", ["start", "write"])
def test_a_reader_starts_and_writes_nothing(tmp_path: Path, loader: str) -> None:
    (refused,) = results(made(tmp_path, loader))
    assert isinstance(refused, Refused)
    assert not (out := tmp_path / "write.out").exists() or out.stat().st_size == 0


def test_a_reader_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    (seen,) = results(made(tmp_path, "environment"))
    assert isinstance(seen, Extract)
    assert "AWS_SECRET_ACCESS_KEY" not in seen.text


def test_a_file_that_changed_since_it_was_listed_is_left_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    listed = File(path, "prose", 5, blake3(b"hello").hexdigest(16))
    assert results(listed) == [Extract("hello", "prose", "text")]
    for data in (b"hullo", b"hello, longer", b"he"):
        path.write_bytes(data)
        (changed,) = results(listed)
        assert isinstance(changed, Refused)
        assert changed.reason == "changed"


def test_missing_and_empty_files_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    gone, empty = results(File(tmp_path / "gone.txt", "prose"), File(tmp_path / "empty.txt", "prose"))
    assert [one.reason for one in (gone, empty) if isinstance(one, Refused)] == ["unreadable", "empty"]


def test_any_file_name_can_be_read(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b'caf\xe9 "quote" \xf0\x9f\x99\x82.txt')  # noqa: PTH118 - bytes
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"here")
    assert results(File(Path(os.fsdecode(path)), "prose")) == [Extract("here", "prose", "text")]


def test_one_child_reads_many_files(tmp_path: Path) -> None:
    files = [made(tmp_path, "polite")] * 500
    with Sandbox(LIMITS) as sandbox:
        assert len(list(sandbox.read(files))) == 500
        assert sandbox.usage.children == 1


def test_a_reader_that_cannot_start_is_an_error_not_five_hundred_bad_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RagkeepError, match="does not start"):
        results(made(tmp_path, "polite"))


def test_a_large_parent_is_not_taken_for_a_large_reader(tmp_path: Path) -> None:
    held = bytearray(700 * 2**20)  # exec hands a child its parent's peak memory
    held[::4096] = b"x" * len(held[::4096])
    (tmp_path / "a.txt").write_text("small")
    with Sandbox(Limits()) as sandbox:
        list(sandbox.read([File(tmp_path / "a.txt", "prose")]))
    del held
    assert 0 < sandbox.usage.max_rss_mb < 300
