"""One night at a time, whatever is killed."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import lease as leases
from flows.lease import acquire, hold
from ragkeep.errors import Busy, LeaseLost

HOLDER = """
import sys, time
from pathlib import Path
from flows.lease import acquire
acquire(Path(sys.argv[1])); print("held", flush=True); time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_tokens_only_grow(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        with hold(tmp_path / "l") as lease:
            tokens.append(lease.token)
    assert tokens == [1, 2, 3]


def test_a_second_night_is_told_who_runs(tmp_path: Path) -> None:
    with holder(tmp_path / "l") as process:
        with pytest.raises(Busy, match=f"process {process.pid} "):
            acquire(tmp_path / "l")
        process.kill()


def test_a_killed_holder_frees_the_lease_at_once(tmp_path: Path) -> None:
    with holder(tmp_path / "l") as process:
        process.kill()
        process.wait()
    assert acquire(tmp_path / "l").token == 2


def expire(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE lease SET expires = 0")


def test_a_living_holder_keeps_its_lease_however_late_it_renews_it(tmp_path: Path) -> None:
    with holder(tmp_path / "l") as process:
        expire(tmp_path / "l")
        with pytest.raises(Busy, match=f"process {process.pid} "):
            acquire(tmp_path / "l")
        process.kill()


def test_another_process_with_the_holders_number_is_not_the_holder(tmp_path: Path) -> None:
    acquire(tmp_path / "l")
    with sqlite3.connect(tmp_path / "l") as db:
        db.execute("UPDATE lease SET started = '1'")
    assert acquire(tmp_path / "l").token == 2


def test_a_renewal_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "TTL_S", 0.4)
    path, away = tmp_path / "l", tmp_path / "away"
    with hold(path) as lease:
        path.rename(away)
        path.mkdir()  # a database that cannot be opened
        time.sleep(0.3)
        path.rmdir()
        away.rename(path)
        expire(path)
        time.sleep(0.3)
        lease.check()
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT expires FROM lease").fetchone()[0] > 0


def test_an_expired_lease_on_another_machine_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(leases, "_host", lambda: "elsewhere/boot")
        old = acquire(tmp_path / "l")
    with pytest.raises(Busy, match="elsewhere"):
        acquire(tmp_path / "l")
    expire(tmp_path / "l")
    new = acquire(tmp_path / "l")
    assert new.token == old.token + 1
    with pytest.raises(LeaseLost, match="taken over"):
        old.check()
    new.check()


def test_an_error_inside_frees_the_lease(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold(tmp_path / "l"):
        raise RuntimeError
    assert acquire(tmp_path / "l").token == 2
