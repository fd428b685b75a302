"""Killed at any rename or fsync, the next run ends in the same bytes. The long form: tests/e2e/kill_points.py."""

from pathlib import Path

from tests.e2e.kill_points import survive
from tests.sizes import sizes


@sizes(5, 25)
def test_killed_anywhere_the_next_run_ends_in_the_same_bytes(tmp_path: Path, size: int) -> None:
    results = list(survive(tmp_path, size))
    assert len(results) == size
    assert [at for at, ok in results if not ok] == []
