"""The queue in `<state>/serving.sqlite`."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from ..database import Database, utc
from ..serving.params import QueueParams
from ..types import DeadJob, Depth, Job
from . import SILENT

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workspace TEXT NOT NULL, body TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0, until REAL NOT NULL DEFAULT 0,
  receipt TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (workspace, seq) WHERE state IN ('waiting', 'taken');
CREATE INDEX IF NOT EXISTS jobs_closed ON jobs (state, until) WHERE state IN ('done', 'dead')
"""
NEXT = """
SELECT * FROM jobs WHERE seq IN (SELECT min(seq) FROM jobs WHERE state IN ('waiting', 'taken') GROUP BY workspace)
AND (state = 'waiting' OR until <= ?) ORDER BY seq LIMIT 1
"""
REMEMBER_S = 300.0
"""How long the id of a job that is done is remembered."""
POLL_S = 0.1


def open_queue(*, params: QueueParams, path: Path) -> SqliteQueue:
    """Open the queue in a file."""
    return SqliteQueue(Database(path), params)


class SqliteQueue:
    """See ports.Queue. A job is waiting, taken until some time, done or dead."""

    def __init__(self, database: Database, params: QueueParams, *, clock: Callable[[], float] = time.time) -> None:
        database.script(SCHEMA)
        self.database, self.params, self.clock = database, params, clock

    def put(self, job: Job) -> None:
        """See ports.Queue."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE state = 'done' AND until < ?", (self.clock() - REMEMBER_S,))
            row = (job.id, job.workspace, json.dumps(job.body))
            db.execute("INSERT OR IGNORE INTO jobs (id, workspace, body) VALUES (?, ?, ?)", row)

    def take(self, *, wait_s: float = 0.0) -> Job | None:
        """See ports.Queue."""
        deadline = time.monotonic() + wait_s
        while True:
            if self.database.row(NEXT, (self.clock(),)) and (job := self._take()):
                return job
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_S)

    def extend(self, job: Job) -> bool:
        """See ports.Queue."""
        return self._change(job, "until = ?", self.clock() + self.params.visible_s)

    def done(self, job: Job) -> bool:
        """See ports.Queue."""
        return self._change(job, "state = 'done', body = '', until = ?", self.clock())

    def fail(self, job: Job, reason: str) -> bool:
        """See ports.Queue."""
        state = "dead" if job.attempt >= self.params.tries else "waiting"
        return self._change(job, "state = ?, reason = ?, receipt = '', until = ?", state, reason, self.clock())

    def dead(self, *, limit: int = 100) -> list[DeadJob]:
        """See ports.Queue."""
        sql = "SELECT * FROM jobs WHERE state = 'dead' ORDER BY until, seq LIMIT ?"
        return [DeadJob(_job(row), row["reason"], utc(row["until"])) for row in self.database.rows(sql, (limit,))]

    def reclaim(self) -> int:
        """See ports.Queue. The try is given back too: documents are read in a sandbox, so it was not they that killed."""
        sql = "UPDATE jobs SET state = 'waiting', receipt = '', tries = max(0, tries - 1) WHERE state = 'taken'"
        with self.database.transaction() as db:
            return db.execute(sql).rowcount

    def redrive(self, *, workspace: str = "") -> int:
        """See ports.Queue."""
        sql = "SELECT seq FROM jobs WHERE state = 'dead' AND (? = '' OR workspace = ?) ORDER BY seq"
        anew = "seq = (SELECT max(seq) + 1 FROM jobs), state = 'waiting', tries = 0, reason = ''"
        with self.database.transaction() as db:
            found = db.execute(sql, (workspace, workspace)).fetchall()
            db.executemany(f"UPDATE jobs SET {anew} WHERE seq = ?", [(row["seq"],) for row in found])  # noqa: S608
        return len(found)

    def depth(self) -> Depth:
        """See ports.Queue."""
        sql = "SELECT total(state = 'dead'), total(state = 'taken' AND until > ?), total(state != 'done') FROM jobs"
        ((dead, taken, n),) = self.database.rows(sql, (self.clock(),))
        return Depth(int(n - dead - taken), int(taken), int(dead))

    def _take(self) -> Job | None:
        with self.database.transaction() as db:
            now = self.clock()
            while row := db.execute(NEXT, (now,)).fetchone():
                if row["tries"] < self.params.tries:
                    taken = "state = 'taken', tries = tries + 1, until = ?, receipt = ?"
                    sql = f"UPDATE jobs SET {taken} WHERE seq = ? RETURNING *"  # noqa: S608
                    values = (now + self.params.visible_s, secrets.token_hex(8), row["seq"])
                    return _job(db.execute(sql, values).fetchall()[0])
                sql = "UPDATE jobs SET state = 'dead', reason = ?, receipt = '', until = ? WHERE seq = ?"
                db.execute(sql, (row["reason"] or SILENT, now, row["seq"]))
        return None

    def _change(self, job: Job, assignments: str, *values: object) -> bool:
        """Change a job that this attempt still holds."""
        sql = f"UPDATE jobs SET {assignments} WHERE id = ? AND state = 'taken' AND receipt = ?"  # noqa: S608
        with self.database.transaction() as db:
            return db.execute(sql, (*values, job.id, job.receipt)).rowcount == 1


def _job(row: sqlite3.Row) -> Job:
    return Job(row["id"], row["workspace"], json.loads(row["body"]), row["tries"], row["receipt"])
