"""A server that is killed with SIGKILL loses nothing it acknowledged."""

from pathlib import Path

import pytest

from tests.serving.server_kills import kills


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    found = kills(tmp_path / "project", 2, seed=1)
    assert found["answers acknowledged"]
    assert {name: n for name, n in found.items() if name.endswith(("lost", "booked"))} == {
        "answers lost": 0, "uploads lost": 0, "tokens not booked": 0,
    }  # fmt: skip
