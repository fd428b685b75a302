"""What only the queue in a file can promise: exactly once, and no result that came too late."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ragkeep.database import Database
from ragkeep.queues.sqlite import NEXT, REMEMBER_S, SqliteQueue
from ragkeep.serving.params import QueueParams
from ragkeep.types import Job


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_worker_that_lost_its_job_changes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    queue = SqliteQueue(Database(tmp_path / "q.sqlite"), QueueParams(visible_s=10), clock=clock)
    queue.put(Job("a", "docs", {}))
    first = queue.take()
    clock.now += 11
    second = queue.take()
    assert first
    assert second
    assert not any((queue.done(first), queue.fail(first, "late"), queue.extend(first)))
    assert queue.done(second)


def test_every_job_is_done_once_however_many_workers_there_are(tmp_path: Path) -> None:
    queues = [SqliteQueue(Database(tmp_path / "q.sqlite"), QueueParams()) for _ in range(6)]
    for n in range(90):
        queues[0].put(Job(f"{n:02}", f"w{n % 9}", {}))
    done: list[str] = []

    def work(own: SqliteQueue) -> None:
        while taken := own.take(wait_s=0.5):
            done.append(taken.id)
            assert own.done(taken)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, queues))
    assert sorted(done) == [f"{n:02}" for n in range(90)]


def test_ids_of_done_jobs_are_remembered_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    queue = SqliteQueue(Database(tmp_path / "q.sqlite"), QueueParams(), clock=clock)
    queue.put(Job("a", "docs", {}))
    taken = queue.take()
    assert taken
    queue.done(taken)
    queue.put(Job("a", "docs", {}))
    assert queue.take() is None
    clock.now += REMEMBER_S + 1
    queue.put(Job("a", "docs", {}))
    assert queue.take()


def test_ten_thousand_waiting_jobs_are_no_burden(tmp_path: Path) -> None:
    queue = SqliteQueue(Database(tmp_path / "q.sqlite"), QueueParams())
    with queue.database.transaction() as db:
        rows = [(str(n), f"w{n % 50}", "{}") for n in range(10_000)]
        db.executemany("INSERT INTO jobs (id, workspace, body) VALUES (?, ?, ?)", rows)
    with queue.database.transaction() as db:
        plan = [str(row["detail"]) for row in db.execute(f"EXPLAIN QUERY PLAN {NEXT}", (0.0,))]
    assert all("jobs_open" in step for step in plan if step.startswith("SCAN")), "open jobs only, by their index"
    assert not any("TEMP B-TREE" in step for step in plan), "and nothing is sorted"
    assert all(queue.take() for _ in range(20))


def test_what_a_killed_server_had_taken_is_given_back_at_the_next_start(tmp_path: Path) -> None:
    queue = SqliteQueue(Database(tmp_path / "q.sqlite"), QueueParams())
    queue.put(Job("a", "docs", {}))
    lost = queue.take()
    assert lost
    assert queue.take() is None
    assert queue.reclaim() == 1
    again = queue.take()
    assert again
    assert (again.id, again.attempt) == ("a", 1)
    assert not queue.done(lost)
