"""Killed at any rename or fsync, the next run ends in the same bytes. The long form: tests/e2e/kill_points.py."""

from pathlib import Path

from tests.e2e.kill_points import survive


def test_killed_at_25_points_the_next_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    results = list(survive(tmp_path, 25))
    assert len(results) == 25
    assert [at for at, ok in results if not ok] == []
