"""The interaction log under kills, power cuts and full disks: nothing acknowledged is lost, no number comes twice."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkeep.errors import LogUnavailable
from ragkeep.interactions import InteractionLog, read
from ragkeep.interactions.segments import ActiveSegment
from tests.interaction_cases import a_vote, an_answer
from tests.interactions_kills import cuts, kills, why_no_mounts
from tests.sizes import sizes


@sizes(5, 100)
def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path, size: int) -> None:
    found = kills(tmp_path / "log", size, seed=int(time.time()))
    assert found["kills"] == size
    assert found["acknowledged"] > size
    assert (found["lost"], found["numbers_twice"], found["erased_but_there"]) == (0, 0, 0)


@sizes(2, 20)
def test_power_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path, size: int) -> None:
    if why_no_mounts():
        pytest.skip(why_no_mounts())
    found = cuts(tmp_path, size, seed=int(time.time()))
    assert found["power_cuts"] == size
    assert found["acknowledged"] > size
    assert (found["lost"], found["numbers_twice"], found["erased_but_there"]) == (0, 0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small tmpfs cannot be mounted here: needs root and the right to mount")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(log: InteractionLog) -> list[int]:
    """Append until the disk is full."""
    kept: list[int] = []

    def more() -> None:
        while len(kept) < 10_000:
            kept.append(log.append(an_answer(f"a{len(kept)}", "why? " * 2000)))

    with pytest.raises(LogUnavailable, match="not kept: No space left"):
        more()
    return kept


def wait_for_health(log: InteractionLog) -> bool:
    deadline = time.monotonic() + 20
    while not log.healthy and time.monotonic() < deadline:
        time.sleep(0.05)
    return log.healthy


def test_a_full_disk_is_told_and_the_log_recovers_by_itself(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    with InteractionLog(small_disk / "log", segment_bytes=100_000) as log:
        kept = fill(log)
        assert not log.healthy
        assert "No space left" in (log.trouble or "")
        ballast.unlink()
        assert wait_for_health(log)
        kept += [log.append(a_vote("after")), log.append(a_vote("after"))]
        assert [r.seq for r in log.find("after")] == kept[-2:]
    assert kept == [r.seq for r in read(small_disk / "log")] == list(range(1, len(kept) + 1))


def test_a_full_disk_tells_every_waiting_request(small_disk: Path) -> None:
    async def many(log: InteractionLog) -> list[object]:
        records = [an_answer(f"a{n}", "why? " * 2000) for n in range(150)]
        return list(await asyncio.gather(*map(log.append_async, records), return_exceptions=True))

    with InteractionLog(small_disk / "log") as log:
        got = asyncio.run(many(log))
        kept = [seq for seq in got if isinstance(seq, int)]
        assert all(isinstance(e, LogUnavailable) for e in got if not isinstance(e, int))
        assert len(kept) < len(got)
        assert sorted(kept) == [r.seq for r in read(small_disk / "log")]


FAILING_SYNC = """
import sys, time
from pathlib import Path
from ragkeep.errors import LogUnavailable
from ragkeep.interactions import InteractionLog
from tests.interaction_cases import a_vote
with InteractionLog(Path(sys.argv[1])) as log:
    for n in range(40):
        try:
            print(log.append(a_vote(f"a{n}")), f"a{n}")
        except LogUnavailable as error:
            assert "Input/output error" in str(error), error
            assert not log.healthy
"""


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_an_input_output_error_is_told_and_costs_no_number(tmp_path: Path, call: str) -> None:
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when=5+3"]
    try:
        command = [*inject, sys.executable, "-c", FAILING_SYNC, str(tmp_path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    except FileNotFoundError:
        pytest.skip("there is no strace")
    told = [(int(seq), answer) for seq, answer in map(str.split, said.splitlines())]
    assert 10 < len(told) < 40
    assert [(r.seq, r.answer) for r in read(tmp_path)] == told


def test_a_sick_disk_does_not_gather_requests_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one place where a stall cannot be had for real in a second: the write is slowed down."""
    real = ActiveSegment.add

    def slow(self: ActiveSegment, records: list[tuple[int, bytes]]) -> None:
        time.sleep(1.0)
        real(self, records)

    async def many(log: InteractionLog) -> list[object]:
        first = asyncio.ensure_future(log.append_async(a_vote("a0")))
        await asyncio.sleep(0.3)
        return [
            await asyncio.gather(*(log.append_async(a_vote("a1")) for _ in range(5)), return_exceptions=True),
            await first,
        ]

    monkeypatch.setattr(ActiveSegment, "add", slow)
    monkeypatch.setattr("ragkeep.interactions.log.MAX_WAITING", 300)
    with InteractionLog(tmp_path) as log:
        later, first = asyncio.run(many(log))
    assert first == 1
    assert [type(outcome) for outcome in later] == [int, int, LogUnavailable, LogUnavailable, LogUnavailable]  # type: ignore[attr-defined]
