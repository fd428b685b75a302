"""dvc.yaml is the only description of the stages; what a killed DVC leaves behind is mended."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from flows.graph import StageFailed, mend_rwlock, reproduce, stages

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project of two small stages; the second fails while `fail` exists."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "in").write_text("1")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  b: {cmd: test ! -e fail && cp mid out, deps: [mid], outs: [out]}\n"
        "  a: {cmd: cp in mid, deps: [in], outs: [mid]}\n"
    )
    return tmp_path


def test_the_nights_stages_come_in_an_order_that_respects_their_needs() -> None:
    order = stages(ROOT)
    assert order[0] == "scan"
    assert order[-1] == "evaluate"
    assert order.index("chunk") < order.index("embed") < order.index("index")


def test_an_unchanged_stage_is_not_run_again(project: Path) -> None:
    ran = [[reproduce(project, project / "state", s) for s in stages(project)] for _ in range(2)]
    assert ran == [[True, True], [False, False]]


def test_a_stage_that_left_no_word_is_worth_another_try(project: Path) -> None:
    (project / "fail").touch()
    reproduce(project, project / "state", "a")
    with pytest.raises(StageFailed, match="b: ") as failed:
        reproduce(project, project / "state", "b")
    assert failed.value.transient


def test_a_torn_lock_of_a_killed_run_does_not_stop_the_next(project: Path) -> None:
    lock = project / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir()
    lock.write_text('{"/x": {"write": {"pi')
    assert reproduce(project, project / "state", "a")


def test_a_lock_whose_process_is_gone_is_removed_and_a_living_one_kept(tmp_path: Path) -> None:
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(parents=True)
    for pid, kept in ((2**22 + 7, False), (os.getpid(), True)):
        lock.write_text(json.dumps({"/x": {"write": {"pid": pid, "cmd": "repro"}}}))
        mend_rwlock(tmp_path)
        assert lock.exists() == kept
