"""One night at a time: a lease in SQLite with a fencing token that only grows.

Prefect's own concurrency slots leak when a worker is killed, so they cannot be the lock. A holder renews its lease from a
thread. A lease of this machine is free when its process is gone and not before, however late the renewal: a machine that
slept wakes up with its night. One of another machine is free when it has expired. Whoever publishes shows its token, and
the champion pointer refuses one that is older than its own (ragkeep/releases.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragkeep.errors import Busy, LeaseLost

log = logging.getLogger(__name__)
TTL_S = 60.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease; `check` between the stages, and before anything is published."""

    path: Path
    token: int

    def check(self) -> None:
        """Raise LeaseLost unless this is still the holder's token."""
        with closing(_open(self.path)) as db:
            row = db.execute("SELECT token FROM lease WHERE released = 0").fetchone()
        if row is None or row[0] != self.token:
            raise LeaseLost(f"the lease of this run (token {self.token}) was taken over; nothing more is published")


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute(
        "CREATE TABLE IF NOT EXISTS lease (one INTEGER PRIMARY KEY CHECK (one = 1), token INTEGER NOT NULL,"
        " released INTEGER NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,"
        " expires REAL NOT NULL)"
    )
    return db


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}"


def _started(pid: int) -> str:
    """When a process started, so that a reused pid is not taken for the holder; empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _holds(host: str, pid: int, started: str, expires: float) -> bool:
    """Whether a lease that was not released still counts; `started` is empty on systems without /proc."""
    if host == _host() and started:
        return _started(pid) == started
    return expires > time.time()


def acquire(path: Path) -> Lease:
    """Take the lease. Raises Busy, naming the process that holds it."""
    with closing(_open(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT token, released, host, pid, started, expires FROM lease").fetchone()
        token = 1 if row is None else row[0] + 1
        if row is not None and not row[1]:
            _, _, host, pid, started, expires = row
            if _holds(host, pid, started, expires):
                db.execute("ROLLBACK")
                raise Busy(
                    f"another night is running (process {pid} on {host.partition('/')[0]}): wait for it, or stop it; "
                    "a killed one frees its lease by itself"
                )
        db.execute(
            "INSERT OR REPLACE INTO lease VALUES (1, ?, 0, ?, ?, ?, ?)",
            (token, _host(), os.getpid(), _started(os.getpid()), time.time() + TTL_S),
        )
        db.execute("COMMIT")
    return Lease(path, token)


def _renew(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(TTL_S / 4):
        try:
            with closing(_open(lease.path)) as db:
                db.execute(
                    "UPDATE lease SET expires = ? WHERE token = ? AND released = 0", (time.time() + TTL_S, lease.token)
                )
        except (sqlite3.Error, OSError) as error:
            log.warning("the lease %s was not renewed (%s): trying again in %g s", lease.path, error, TTL_S / 4)


@contextmanager
def hold(path: Path) -> Iterator[Lease]:
    """Hold the lease for a block, renewing it, and release it at the end. Raises Busy."""
    lease = acquire(path)
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(lease, stop), daemon=True, name="lease")
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join()
        # not worth hiding how the night ended: the lease also ends with this process
        with contextlib.suppress(sqlite3.Error, OSError), closing(_open(path)) as db:
            db.execute("UPDATE lease SET released = 1 WHERE token = ?", (lease.token,))
