"""A stage as a process: alone, gone with its night, and never without a word."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ragkeep.errors import Busy
from ragkeep.files import read_json
from tasks.alone import stage_lock
from tasks.stage import STOPPED

ROOT = Path(__file__).parents[2]
SLEEP = "time.sleep(60)"
WORKER = """
import multiprocessing as m
from concurrent.futures import ProcessPoolExecutor as Pool
from tests.tasks.test_stage import linger
def run(paths, params):
    with Pool(1, mp_context=m.get_context("spawn")) as pool:
        pool.submit(linger).result()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("sources: [{name: docs, path: docs}]\n")
    return tmp_path


def linger() -> None:
    sys.stdout.write("running\n")
    sys.stdout.flush()
    time.sleep(60)


def stage(home: Path, body: str, *, code: str = "", wait: bool = True, **env: str) -> subprocess.Popen[str]:
    """Start a stage whose `run` is `body`, and wait until it runs."""
    code = (
        code or f"import time\ndef run(paths, params):\n    print('running', flush=True)\n    {body}\n    return {{}}\n"
    )
    code += "from tasks.stage import stage_main\nif __name__ == '__main__': stage_main('probe', run)"
    everything = {**os.environ, "RAGKEEP_HOME": str(home), "RAGKEEP_STATE": str(home / "state"), **env}
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=ROOT, env=everything, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert not wait or process.stdout.readline() == "running\n"
    return process


def note(home: Path) -> dict[str, object]:
    found: dict[str, object] = read_json(home / "state" / "stages" / "probe.error.json")
    return found


def test_a_second_stage_is_told_which_process_to_wait_for(home: Path) -> None:
    with stage(home, SLEEP) as running:
        with (
            pytest.raises(Busy, match=rf"process {running.pid} \(probe\)"),
            stage_lock(home / "state/stage.lock", "other", wait_s=0.2),
        ):
            pass
        running.kill()


def test_a_second_stage_begins_when_the_first_is_done(home: Path) -> None:
    with stage(home, "time.sleep(0.5)") as first, stage(home, "pass") as second:
        assert first.poll() == 0
        assert second.wait() == 0


def test_a_stage_ends_with_its_night(home: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as night, stage(home, SLEEP, RAGKEEP_NIGHT_PID=str(night.pid)) as running:
        night.kill()
        night.wait()
        assert running.wait(timeout=20) == 1
    with stage(home, SLEEP, RAGKEEP_NIGHT_PID=str(night.pid), wait=False) as late:
        assert late.wait(timeout=20) == 1, "its night was gone before it looked"


def test_the_workers_of_a_killed_stage_end_too(home: Path) -> None:
    with stage(home, "", code=WORKER) as running:
        running.kill()
        assert running.stdout is not None
        assert running.stdout.read() == "", "the last writer of the pipe is gone"


def test_a_stage_of_dvc_repro_ends_with_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "probe")
    dvc = "import subprocess as s, sys; s.run([sys.executable, '-c', sys.argv[1]])"
    body = "import tasks.alone as a, time; a.end_with_the_night(); print('running', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", dvc, body]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "running\n"
        running.kill()
        assert running.stdout.read() == "", "the last writer of the pipe is gone"


def test_a_stage_started_by_hand_outlives_its_shell() -> None:
    script = (
        f"{sys.executable} -c 'import tasks.alone as a, time; a.end_with_the_night(); time.sleep(1); print(1)' & exit"
    )
    shell = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shell.stdout == "1\n"


def test_ctrl_c_leaves_a_word(home: Path) -> None:
    with stage(home, SLEEP) as running:
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == STOPPED
    assert note(home)["exit_code"] == STOPPED


def test_a_defect_leaves_its_name_and_its_traceback(home: Path) -> None:
    with stage(home, "1 / 0") as running:
        assert running.wait(timeout=20) == 1
    traceback = home / "state" / "stages" / "probe.traceback.txt"
    assert note(home)["error"] == f"ZeroDivisionError: division by zero; {traceback} holds the traceback"
    assert "in run" in traceback.read_text()
