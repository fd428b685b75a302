"""One stage at a time, and none without the night that started it.

A night that is killed leaves its stage's process running, while its lease is free at once: the next night's stage would
write the same files beside it. So a stage holds a lock while it works, and ends when its night has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragkeep.errors import Busy

NIGHT_PID = "RAGKEEP_NIGHT_PID"
"""Environment variable in which the flow tells a stage its process, which a shell may stand between."""
WAIT_S = 60.0


@contextmanager
def stage_lock(path: Path, name: str, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the project's one lock on stages, free at the latest when the process ends.

    Raises Busy after `wait_s`, naming the process that holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        _take(file.fileno(), path, time.monotonic() + wait_s)
        file.truncate(0)
        file.write(f"{os.getpid()} ({name})")
        file.flush()
        yield


def _take(fd: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = path.read_text(encoding="utf-8", errors="replace") or "unknown"
                raise Busy(f"another stage is running, process {holder}: wait for it, or stop it with `kill`") from None
        time.sleep(0.1)


def end_with_the_night() -> None:
    """End this process when the night is gone, or DVC where a person runs `dvc repro`.

    A stage that a person started without DVC may outlive its terminal.
    """
    night = os.environ.get(NIGHT_PID)
    if night:
        end_with(int(night))
    elif "DVC_STAGE" in os.environ:
        end_with(os.getppid())


def end_with(pid: int) -> None:
    """End this process, from a thread, as soon as another one of this machine is gone."""
    threading.Thread(target=_end_after, args=(pid,), daemon=True, name=f"end with {pid}").start()


def _end_after(pid: int) -> None:
    # not PR_SET_PDEATHSIG: it also fires when only the thread that started us ends
    _wait_for_end(pid)
    with contextlib.suppress(OSError):
        os.write(2, f"process {pid}, which started this one, is gone: stopping; what was finished is kept\n".encode())
    os._exit(1)


def _wait_for_end(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid) if sys.platform == "linux" else -1
    except ProcessLookupError:
        return
    except OSError:  # an old kernel, or a container that forbids it
        fd = -1
    if fd >= 0:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll()
        return
    while _alive(pid):
        time.sleep(0.5)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
