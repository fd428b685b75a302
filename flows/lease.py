"""One night at a time: a lease in SQLite with a fencing token that only grows.

Prefect's own concurrency slots leak when a worker is killed, so they cannot be the lock. A holder renews its lease from a
thread; a lease is free when it has expired, or when its process on this machine is gone. Whoever publishes shows its
token, and the champion pointer refuses one that is older than its own (ragkeep/releases.py).
"""

from __future__ import annotations

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

TTL_S = 60.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease; `check` before anything is published."""

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


def acquire(path: Path) -> Lease:
    """Take the lease. Raises Busy, naming the process that holds it."""
    with closing(_open(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT token, released, host, pid, started, expires FROM lease").fetchone()
        token = 1 if row is None else row[0] + 1
        if row is not None and not row[1]:
            _, _, host, pid, started, expires = row
            gone = host == _host() and _started(pid) != started
            if not gone and expires > time.time():
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
        with closing(_open(lease.path)) as db:
            db.execute(
                "UPDATE lease SET expires = ? WHERE token = ? AND released = 0", (time.time() + TTL_S, lease.token)
            )


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
        with closing(_open(path)) as db:
            db.execute("UPDATE lease SET released = 1 WHERE token = ?", (lease.token,))
