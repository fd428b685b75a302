"""The index of conversations keeps out of the way of answers, however much of the log it has to read."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ragkeep.database import Database
from ragkeep.interactions import InteractionLog, erased_by
from ragkeep.serving import conversations
from ragkeep.serving.conversations import Conversations
from tests.interaction_cases import an_answer


@pytest.fixture
def log(tmp_path: Path) -> Iterator[InteractionLog]:
    with InteractionLog(tmp_path / "log") as log:
        yield log


def told(log: InteractionLog, session: str, turns: int = 2) -> None:
    for n in range(turns):
        log.append(replace(an_answer(f"{session}-{n}"), session=session, workspace="docs", user="u1"))


async def turns(found: Conversations) -> dict[str, int]:
    return {one.session: one.turns for one in (await found.page("docs", "u1"))[0]}


def test_many_who_wait_for_a_slow_reading_of_the_log_take_no_thread_of_the_answers(
    tmp_path: Path, log: InteractionLog
) -> None:
    async def crowd() -> list[dict[str, int]]:
        with database.transaction():  # another's commit: the reading stands still
            waiting = [asyncio.create_task(turns(found)) for _ in range(50)]
            await asyncio.sleep(0.1)
            await asyncio.wait_for(asyncio.to_thread(str), 5)
            assert not any(task.done() for task in waiting)
        return await asyncio.gather(*waiting)

    told(log, "s1")
    database = Database(tmp_path / "sessions.sqlite")
    found = Conversations(log, database)
    assert asyncio.run(crowd()) == [{"s1": 2}] * 50
    found.close()


def test_the_log_is_looked_through_for_erasures_once_and_not_where_nothing_was_noted(
    tmp_path: Path, log: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = list[tuple[int, ...]]()

    def counted(folder: Path, *tombstones: int) -> Iterator[int]:
        scans.append(tombstones)
        return erased_by(folder, *tombstones)

    monkeypatch.setattr(conversations, "erased_by", counted)
    monkeypatch.setattr(conversations, "BATCH", 2)
    for n in range(4):
        told(log, f"old{n}")
        log.erase("session", f"old{n}", workspace="docs", user="u1")
    for n in range(4):
        told(log, f"s{n}")
    found = Conversations(log, Database(tmp_path / "sessions.sqlite"))
    assert asyncio.run(turns(found)) == {f"s{n}": 2 for n in range(4)}
    assert scans == []
    for n in range(3):
        log.erase("session", f"s{n}", workspace="docs", user="u1")
        told(log, f"new{n}")
    assert asyncio.run(turns(found)) == {"s3": 2, "new0": 2, "new1": 2, "new2": 2}
    assert [len(tombstones) for tombstones in scans] == [3]
    asyncio.run(turns(found))
    assert len(scans) == 1
    found.close()
