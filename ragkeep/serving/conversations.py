"""Whose answers belong to which session: an index of the interaction log that holds no text and can be made again.

    conversations = Conversations(log, Database(paths.interactions / "sessions.sqlite"))
    for one in (await conversations.page("default", "key:ab12"))[0]: ...    # newest first
    await conversations.records("default", "key:ab12", one.session)         # its answers, and what was said of them

It is brought up to date where it is read, in a thread of its own, so that no answer waits for it. What is shown comes
from the log itself: what was erased there is not shown, whatever the index says.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from ..database import Database
from ..errors import ServiceAway
from ..interactions import InteractionLog, erased_by, read
from ..interactions.erasure import pending
from ..types import Interaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  seq INTEGER PRIMARY KEY, workspace TEXT NOT NULL, user TEXT NOT NULL, session TEXT NOT NULL, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS answers_of ON answers (workspace, user, session, seq);
CREATE TABLE IF NOT EXISTS covered (one INTEGER PRIMARY KEY CHECK (one = 1), upto INTEGER NOT NULL);
INSERT OR IGNORE INTO covered VALUES (1, 0);
CREATE TABLE IF NOT EXISTS tombstones (seq INTEGER PRIMARY KEY)
"""
_PAGE = """
SELECT one.*, began.answer AS began, ended.answer AS ended
FROM (
  SELECT session, count(*) AS turns, min(seq) AS first, max(seq) AS last FROM answers
  WHERE workspace = ? AND user = ? GROUP BY session HAVING max(seq) < ? ORDER BY last DESC LIMIT ?
) one JOIN answers began ON began.seq = one.first JOIN answers ended ON ended.seq = one.last ORDER BY one.last DESC
"""
BATCH = 5000
"""Records at most that are noted in one transaction: what was killed in the first reading of a long log goes on there."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One session of a user in a workspace; `first` and `last` are the records of its first and last answer."""

    session: str
    turns: int
    first: Interaction
    last: Interaction


class Conversations:
    """Everybody's conversations, read one after another in one thread. Raise StoreError, OSError.

    The first reading of a long log takes minutes. Where many ask for it, they hold none of the threads that questions
    are embedded and searched in.
    """

    def __init__(self, log: InteractionLog, database: Database) -> None:
        self._log, self._database, self._closing = log, database, False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conversations")
        self._database.script(SCHEMA)

    async def page(
        self, workspace: str, user: str, *, before: int = 0, limit: int = 50
    ) -> tuple[list[Conversation], int]:
        """Return a user's sessions, that with the last answer first, and what `before` is for the next page (0: none)."""
        look = partial(self._page, workspace, user, before, limit)
        return await asyncio.get_running_loop().run_in_executor(self._thread, look)

    async def records(
        self, workspace: str, user: str, session: str, *, before: int = 0, limit: int = 100
    ) -> tuple[list[Interaction], int]:
        """Return a session's last answers and all that refers to them, oldest first, and `before` of the page before.

        Nothing where this user has no such session in the workspace.
        """
        look = partial(self._records, workspace, user, session, before, limit)
        return await asyncio.get_running_loop().run_in_executor(self._thread, look)

    def close(self) -> None:
        """Stop reading and let go of the file. Blocks for a batch at most."""
        self._closing = True
        self._thread.shutdown(cancel_futures=True)
        self._database.close()

    def _page(self, workspace: str, user: str, before: int, limit: int) -> tuple[list[Conversation], int]:
        self._catch_up()
        rows = self._database.rows(_PAGE, (workspace, user, before or 2**62, limit + 1))
        ends = [row[end] for row in rows[:limit] for end in ("began", "ended")]
        found = {one.seq: one for one in self._log.find(*ends)}
        made = [
            Conversation(row["session"], row["turns"], found[row["first"]], found[row["last"]])
            for row in rows[:limit]
            if row["first"] in found and row["last"] in found
        ]
        return made, rows[limit - 1]["last"] if len(rows) > limit else 0

    def _records(self, workspace: str, user: str, session: str, before: int, limit: int) -> tuple[list[Interaction], int]:
        self._catch_up()
        sql = """SELECT seq, answer FROM answers WHERE workspace = ? AND user = ? AND session = ? AND seq < ?
                 ORDER BY seq DESC LIMIT ?"""
        rows = self._database.rows(sql, (workspace, user, session, before or 2**62, limit + 1))
        found = self._log.find(*(row["answer"] for row in rows[:limit])) if rows else []
        return found, rows[limit - 1]["seq"] if len(rows) > limit else 0

    def _catch_up(self) -> None:
        """Note what was logged since, durable records only: others may be taken back, and their numbers given again."""
        upto, last = self._covered(), self._log.last
        if upto > last:  # another log than the one this was made of
            with self._database.transaction() as db:
                db.execute("DELETE FROM answers")
                db.execute("DELETE FROM tombstones")
                _cover(db, 0)
            upto = 0
        if upto < last:
            new = self._new(upto, last)
            while records := list(islice(new, BATCH)):
                self._note(records, erasing=upto > 0)
                if self._closing:
                    raise ServiceAway("the server stops: ask again")
        self._erase()

    def _covered(self) -> int:
        row = self._database.row("SELECT upto FROM covered")
        return int(row["upto"]) if row else 0

    def _new(self, after: int, last: int) -> Iterator[Interaction]:
        """Yield what was logged since, up to an erasure that is not finished: it is looked at again when it is."""
        for record in read(self._log.folder, after=after, skip_damaged=True):
            if record.seq > last or (record.kind == "erase" and pending(self._log.folder)):
                return
            yield record

    def _note(self, records: Sequence[Interaction], *, erasing: bool) -> None:
        """Note a batch of records; its erasures too, unless nothing was noted that they could have taken."""
        rows = [(one.seq, one.workspace, one.user, one.session, one.answer) for one in records if one.kind == "answer"]
        tombstones = [(one.seq,) for one in records if erasing and one.kind == "erase"]
        with self._database.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO tombstones VALUES (?)", tombstones)
            _cover(db, records[-1].seq)

    def _erase(self) -> None:
        """Forget what was noted and erased since: one pass over the sealed log, however many erasures there were."""
        tombstones = [row["seq"] for row in self._database.rows("SELECT seq FROM tombstones")]
        if not tombstones:
            return
        gone = [(seq,) for seq in erased_by(self._log.folder, *tombstones)]
        with self._database.transaction() as db:
            db.executemany("DELETE FROM answers WHERE seq = ?", gone)
            db.execute("DELETE FROM tombstones")


def _cover(db: sqlite3.Connection, upto: int) -> None:
    db.execute("UPDATE covered SET upto = ?", (upto,))
