"""Start, recognise and stop a server's process; ports and locks. Shared by all starters of this folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import LocalError, Unavailable

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A started server. Its start time tells it from a later process that got the same id."""

    pid: int
    started: int
    """Clock ticks after boot, field 22 of /proc/PID/stat; an exec does not change it."""

    def alive(self) -> bool:
        """Whether this very process runs; one that has ended and waits for its parent does not."""
        fields = _stat(self.pid)
        return bool(fields) and fields[0] not in "ZX" and int(fields[19]) == self.started

    def cpu_s(self) -> float:
        """CPU seconds used so far by all its threads, 0 when it has ended."""
        fields = _stat(self.pid) if self.alive() else []
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> int:
        """Resident memory in MiB, 0 when it has ended."""
        fields = _stat(self.pid) if self.alive() else []
        return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") // 2**20 if fields else 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        with contextlib.suppress(ProcessLookupError):
            if self.alive():
                os.kill(self.pid, number)

    def wait(self, *, grace_s: float) -> None:
        """Wait for the end; after `grace_s` it is killed."""
        deadline = time.monotonic() + grace_s
        while self.alive():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
            time.sleep(POLL_S)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (the state) on; none when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return []


def spawn(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> ServerProcess:
    """Start a server that outlives this process; `log` gets what it prints, and only of this start."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    child.returncode = 0  # it outlives us: nothing waits for it, and Python need not warn of that
    return ServerProcess(child.pid, int(_stat(child.pid)[19]))


def unprivileged() -> list[str]:
    """The command prefix under which a server that refuses to be root runs: for root, a user namespace as uid 1000.

    In it this user's files look like uid 1000's, so that nothing needs another owner.
    """
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Unavailable("the server refuses to be root, and user namespaces are off: use another user") from None
    return prefix


def require_linux() -> None:
    """Raise Unavailable where processes cannot be told apart by /proc."""
    if sys.platform != "linux":
        raise Unavailable("local servers need Linux: use `docker compose -f infra/compose.yaml up` instead")


def require_free(port: int) -> None:
    """Raise LocalError where something listens on the port already."""
    if not _free(port):
        raise LocalError(f"port {port} is taken: choose another with --port, or --port 0 for any free one")


def free_ports(count: int) -> list[int]:
    """Ports that nothing uses, below the range from which the kernel takes its own for outgoing connections."""
    found: set[int] = set()
    while len(found) < count:
        port = 20_000 + secrets.randbelow(12_000)
        if _free(port):
            found.add(port)
    return sorted(found)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it is free at the latest when this one ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def replace_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file under another name and rename it, so that a reader never sees half of one."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def say(message: str) -> None:
    """Tell the person at the terminal; what a program reads goes to standard output."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
