"""Parsing where it can do no harm: a child process with limits reads files; what kills it costs one document.

`Sandbox.read` sends batches of files to `python -m ragkeep.sandbox` and yields, in order, what came of each. The child
has no network, no secrets in its environment, may write no file and start no process, and is bounded in memory,
CPU time, wall clock and output. When it dies or hangs, the document at hand is refused with a reason and the next
one gets a fresh child.

Messages are length-prefixed JSON over pipes; nothing is ever unpickled.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from .errors import RagkeepError
from .ports import Extract

BATCH_FILES, BATCH_BYTES = 64, 16_000
RELEASED_FACTOR = 4
START_S = 120.0
READY = b"ready"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost: `timeout_s` of CPU (and three times that of wall clock), memory, characters."""

    timeout_s: float = 20.0
    memory_mb: int = 512
    max_chars: int = 10_000_000

    def raised(self) -> Limits:
        """Limits for a document that a person released: four times as much of everything."""
        f = RELEASED_FACTOR
        return Limits(self.timeout_s * f, self.memory_mb * f, self.max_chars * f)


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: where it is, its loader's name, the size and hash it must have ("": any)."""

    path: Path
    loader: str
    size: int = -1
    sha: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file gave no document: a code from `loaders.Unreadable`, and a sentence."""

    reason: str
    detail: str


@dataclass(slots=True)
class Usage:
    """What the children of a sandbox have used so far."""

    children: int = 0
    cpu_s: float = 0.0
    max_rss_mb: float = 0.0


class Sandbox:
    """A long-lived child process that reads files; a context manager. Not shared between threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.usage = Usage()
        self._child: subprocess.Popen[bytes] | None = None
        self._own_peak_kb = 0
        self._buffer = bytearray()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read(self, files: Sequence[File]) -> Iterator[Extract | Refused]:
        """Yield one result a file, in order.

        Never raises because of a file; RagkeepError when the child process cannot be started at all.
        """
        done = 0
        while done < len(files):
            batch = _batch(files, done)
            try:
                self._send([_request(file) for file in batch])
                for _ in batch:
                    result, recycle = self._receive()
                    done += 1
                    yield result
                    if recycle:
                        self._stop()
                        break
            except _Died as death:
                done += 1
                yield Refused(death.reason, death.detail)

    def _send(self, requests: list[dict[str, Any]]) -> None:
        child = self._child or self._start()
        try:
            child.stdin.write(_frame(requests))  # type: ignore[union-attr]
        except OSError:
            raise self._died() from None

    def _receive(self) -> tuple[Extract | Refused, bool]:
        deadline = time.monotonic() + 3 * self.limits.timeout_s + 5
        size = int.from_bytes(self._take(4, deadline), "little")
        if size > 8 * self.limits.max_chars + 1_000_000:
            raise self._died("too_large_output", "the reader sent more than a document may hold")
        reply = orjson.loads(self._take(size, deadline))
        recycle = bool(reply.pop("recycle", False))
        return (Refused(**reply) if "reason" in reply else Extract(**reply)), recycle

    def _take(self, size: int, deadline: float) -> bytes:
        fd = self._child.stdout.fileno()  # type: ignore[union-attr]
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise self._died(
                    "stalled", f"no answer in {3 * self.limits.timeout_s + 5:.0f} s: tried again every night"
                )
            data = os.read(fd, 1 << 20)
            if not data:
                raise self._died()
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _start(self) -> subprocess.Popen[bytes]:
        limits = orjson.dumps([self.limits.timeout_s, self.limits.memory_mb, self.limits.max_chars]).decode()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "ragkeep.sandbox", limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_environment(),
            close_fds=True,
            start_new_session=True,  # a Ctrl-C belongs to the parent, which then closes the pipe
        )
        # after it, not before: other threads may have grown in between, and the child inherits that
        self._own_peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.usage.children += 1
        try:
            self._take(len(READY), time.monotonic() + START_S)
        except _Died as death:
            raise RagkeepError(
                f"the document reader does not start ({death.detail}): "
                f"`{sys.executable} -m ragkeep.sandbox '{limits}'` shows why"
            ) from None
        return self._child

    def _died(self, reason: str = "", detail: str = "") -> _Died:
        """Bury the child and say why it went; a reason given here means that it is alive and must be killed."""
        status, rss_mb = self._stop(kill=True)
        if reason:
            return _Died(reason, detail)
        if status == -signal.SIGXCPU:
            return _Died("timeout", f"reading it took more than {self.limits.timeout_s:g} s of CPU")
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit {status}"
        if rss_mb > 0.8 * self.limits.memory_mb or status == -signal.SIGKILL:
            return _Died("memory", f"reading it needs more than {self.limits.memory_mb} MB ({how})")
        return _Died("crash", f"reading it ended the reader's process ({how})")

    def _stop(self, *, kill: bool = False) -> tuple[int, float]:
        """End the child and wait for it; return its status and its peak memory in MB."""
        child, self._child = self._child, None
        self._buffer.clear()
        if child is None:
            return 0, 0.0
        alive_mb = _peak_mb(child.pid)
        child.stdin.close()  # type: ignore[union-attr]
        child.stdout.close()  # type: ignore[union-attr]
        if kill and not _gone(child.pid):
            child.kill()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        # exec hands a child its parent's peak, so what the kernel reports counts only above that
        inherited = used.ru_maxrss <= 1.02 * self._own_peak_kb  # the kernel counts pages by batches
        rss_mb = alive_mb if inherited else used.ru_maxrss / 1024
        self.usage.cpu_s += used.ru_utime + used.ru_stime
        self.usage.max_rss_mb = max(self.usage.max_rss_mb, rss_mb)
        return child.returncode, rss_mb


class _Died(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


def _peak_mb(pid: int) -> float:
    """The most memory a living process has held; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak[0]) / 1024 if peak else 0.0


def _gone(pid: int) -> bool:
    """Whether a child has ended by itself, left unreaped so that its status can still be read."""
    for _ in range(20):  # its pipe closes a moment before it can be waited for
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.005)
    return False


def _batch(files: Sequence[File], start: int) -> Sequence[File]:
    """Files for one message: it must fit the pipe, or parent and child wait for each other."""
    end, size = start, 0
    while end < len(files) and end - start < BATCH_FILES and (end == start or size < BATCH_BYTES):
        size += len(os.fsencode(files[end].path)) * 3 + 200
        end += 1
    return files[start:end]


def _request(file: File) -> dict[str, Any]:
    # A name may hold bytes that are no UTF-8; JSON cannot, so it travels as Latin-1 of its bytes.
    name = os.fsencode(file.path).decode("latin-1")
    return {"path": name, "loader": file.loader, "size": file.size, "sha": file.sha}


def _frame(value: Any) -> bytes:
    data = orjson.dumps(value)
    return len(data).to_bytes(4, "little") + data


def _environment() -> dict[str, str]:
    """A bare environment: no secrets, one thread, and the same hashing for everybody."""
    package = str(Path(__file__).resolve().parent.parent)
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": package,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }


if __name__ == "__main__":
    from ragkeep.reader import serve

    serve(*orjson.loads(sys.argv[1]), ready=READY)
