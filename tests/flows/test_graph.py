"""dvc.yaml is the only description of the stages; what a killed DVC leaves behind is mended."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.graph import StageFailed, mend_rwlock, refused_for_the_moment, reproduce, stages
from ragkeep.files import write_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project of two small stages; the second first does what `before` says."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "in").write_text("1")
    (tmp_path / "before").touch()
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  b: {cmd: . ./before && cp mid out, deps: [mid], outs: [out]}\n"
        "  a: {cmd: cp in mid, deps: [in], outs: [mid]}\n"
    )
    return tmp_path


def test_the_nights_stages_come_in_an_order_that_respects_their_needs() -> None:
    order = stages(ROOT, "evaluate")
    assert order[0] == "scan"
    assert order[-1] == "evaluate"
    assert order.index("chunk") < order.index("embed") < order.index("index")


def test_a_generator_is_tuned_after_the_ladder() -> None:
    assert stages(ROOT, "generator")[-2:] == ["learn", "generator"]


def test_an_unchanged_stage_is_not_run_again(project: Path) -> None:
    ran = [[reproduce(project, project / "state", s) for s in stages(project, "b")] for _ in range(2)]
    assert ran == [[True, True], [False, False]]


def after(project: Path, before: str) -> bool:
    """Run the second stage, which does this before its own work."""
    reproduce(project, project / "state", "a")
    (project / "before").write_text(before)
    return reproduce(project, project / "state", "b")


def written(path: Path) -> str:
    """Wait for a file, and read it."""
    while not path.exists() or not path.read_text():
        time.sleep(0.05)
    return path.read_text()


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":  # ended; its parent has not asked yet
            return True
        time.sleep(0.1)
    return False


def test_only_a_killed_stage_is_worth_another_try(project: Path) -> None:
    for before, transient in (("kill -9 $$", True), ("exit 1", False)):
        with pytest.raises(StageFailed, match="b: ") as failed:
            after(project, before)
        assert failed.value.transient == transient


def test_a_stage_that_left_its_word_is_quoted(project: Path) -> None:
    word = json.dumps({"error": "no such source", "exit_code": 2})
    with pytest.raises(StageFailed, match=r"^b: no such source$") as failed:
        after(project, f"mkdir -p state/stages; echo '{word}' > state/stages/b.error.json; exit 2")
    assert (failed.value.exit_code, failed.value.transient) == (2, False)


@pytest.mark.parametrize("before", ["exit 130", "kill -INT $$"])
def test_ctrl_c_in_a_stage_stops_the_night(project: Path, before: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        after(project, before)


LATE = """
import os, signal, sys, threading, time; from pathlib import Path; from flows.graph import reproduce
class TooLong(BaseException): pass  # as Prefect's alarm: nobody swallows it
def ring(*_): raise TooLong
def watch(path):
    while not path.exists() or not path.read_text(): time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGUSR1, ring)
threading.Thread(target=watch, args=[Path(sys.argv[1]) / "pid"], daemon=True).start()
try: reproduce(Path(sys.argv[1]), Path("state"), "b")
except TooLong: sys.exit(7)
"""


def test_a_stage_that_takes_too_long_is_killed(project: Path) -> None:
    reproduce(project, project / "state", "a")
    (project / "before").write_text("echo $$ > pid; sleep 60; true")
    # in a process of its own: an exception out of a signal must not meet what other tests left behind
    late = subprocess.run([sys.executable, "-c", LATE, project], cwd=ROOT, timeout=100, capture_output=True, check=False)
    assert late.returncode == 7, late.stderr
    assert gone(int((project / "pid").read_text()))


NIGHT = """
import sys; from pathlib import Path; from flows.graph import reproduce
reproduce(Path(sys.argv[1]), Path("state"), "b")
"""
STAGE = """
import os, time; from tasks.alone import end_with_the_night
end_with_the_night(); open("pid", "w").write(str(os.getpid())); time.sleep(60)
"""


def test_a_stage_does_not_outlive_a_killed_night(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (project / "stage.py").write_text(STAGE)
    (project / "before").write_text(f"{sys.executable} stage.py")
    reproduce(project, project / "state", "a")
    with subprocess.Popen([sys.executable, "-c", NIGHT, project], cwd=ROOT) as night:
        pid = int(written(project / "pid"))
        night.kill()
    assert gone(pid)


def test_a_refusal_of_the_moment_is_worth_another_look(tmp_path: Path) -> None:
    for reason, again in (("damaged", False), ("stalled", True)):
        write_rows(tmp_path / "quarantine/ingest.jsonl", [{"uri": "docs/a", "sha": "0a", "reason": reason}])
        assert refused_for_the_moment(tmp_path) == again


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
