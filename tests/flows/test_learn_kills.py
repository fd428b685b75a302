"""Killed anywhere between copy, register, trial and publish, the next run ends well. The long form: learn_kills.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sizes import sizes


@pytest.mark.parametrize("what", ["promotion", "trial", "decision"])
@sizes(3, 50, slow=False)
def test_what_was_killed_is_finished_by_the_next_run(what: str, size: int) -> None:
    """In a process of its own, which forks: this one may hold threads."""
    command = [sys.executable, "-m", "tests.flows.learn_kills", "--points", str(size), "--what", what]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{size} of {size} kills" in done.stdout
