"""What every Queue must do; a backend is done when it passes here."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragkeep.ports import Queue
from ragkeep.queues import open_queue
from ragkeep.serving.params import QueueParams
from ragkeep.types import DeadJob, Depth, Job

Opener = Callable[..., Queue]


@pytest.fixture(params=["sqlite", "sqs"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Opens the same queue again and again, as several servers would."""
    if request.param == "sqs":
        for name, value in request.getfixturevalue("moto").items():
            monkeypatch.setenv(name, value)
    prefix = f"test-{uuid.uuid4().hex}"

    def open_(*, tries: int = 3, visible_s: int = 60) -> Queue:
        params = QueueParams(request.param, prefix=prefix, tries=tries, visible_s=visible_s)
        return open_queue(params, tmp_path / "serving.sqlite")

    return open_


@pytest.fixture
def queue(opener: Opener) -> Queue:
    return opener()


def job(id_: str, workspace: str = "docs") -> Job:
    return Job(id_, workspace, {"document": id_, "seq": 7, "text": "é\n"})


def must_take(queue: Queue, *, wait_s: float = 0) -> Job:
    taken = queue.take(wait_s=wait_s)
    assert taken is not None
    return taken


def test_a_job_comes_out_as_it_went_in(queue: Queue) -> None:
    queue.put(job("a"))
    taken = must_take(queue)
    assert (taken.id, taken.workspace, taken.body, taken.attempt) == ("a", "docs", job("a").body, 1)
    assert queue.done(taken)
    assert queue.take() is None
    assert queue.depth() == Depth(0, 0, 0)


def test_a_workspaces_jobs_come_one_after_the_other_in_order(queue: Queue) -> None:
    for id_ in ("a", "b", "c"):
        queue.put(job(id_))
    seen = []
    for _ in range(3):
        taken = must_take(queue)
        assert queue.take() is None
        seen.append(taken.id)
        queue.done(taken)
    assert seen == ["a", "b", "c"]


def test_workspaces_do_not_wait_for_each_other(queue: Queue) -> None:
    for workspace in ("docs", "notes"):
        queue.put(job(f"{workspace}-1", workspace))
        queue.put(job(f"{workspace}-2", workspace))
    assert {must_take(queue).id, must_take(queue).id} == {"docs-1", "notes-1"}
    assert queue.take() is None
    assert queue.depth() == Depth(2, 2, 0)


def test_a_job_is_put_once(queue: Queue, opener: Opener) -> None:
    queue.put(job("a"))
    opener().put(job("a"))
    assert queue.depth() == Depth(1, 0, 0)
    taken = must_take(queue)
    queue.put(job("a"))
    assert queue.done(taken)
    assert queue.take() is None


def test_what_fails_comes_back_before_its_followers_and_dies_after_the_last_try(opener: Opener) -> None:
    queue = opener(tries=2)
    queue.put(job("bad"))
    queue.put(job("good"))
    for attempt in (1, 2):
        taken = must_take(queue)
        assert (taken.id, taken.attempt) == ("bad", attempt)
        assert queue.fail(taken, f"reason {attempt}")
    assert must_take(queue).id == "good"
    (dead,) = queue.dead()
    assert (dead.job.id, dead.job.body, dead.reason) == ("bad", job("bad").body, "reason 2")
    assert queue.depth() == Depth(0, 1, 1)


def test_dead_letters_stay_while_they_are_looked_at(opener: Opener) -> None:
    queue = opener(tries=1)
    for n in range(12):
        queue.put(job(f"{n:02}", workspace=f"w{n}"))
        queue.fail(must_take(queue), "no")
    first: list[DeadJob] = queue.dead()
    assert sorted(one.job.id for one in first) == [f"{n:02}" for n in range(12)]
    assert [one.job.id for one in queue.dead()] == [one.job.id for one in first]
    assert len(queue.dead(limit=5)) == 5


def test_redriven_jobs_are_tried_again_as_new(opener: Opener) -> None:
    queue = opener(tries=1)
    for workspace in ("docs", "notes"):
        queue.put(job(workspace, workspace))
        queue.fail(must_take(queue), "no")
    queue.put(job("later"))
    assert queue.redrive(workspace="docs") == 1
    order = []
    for _ in range(2):
        taken = must_take(queue)
        assert taken.attempt == 1
        order.append(taken.id)
        queue.done(taken)
    assert order == ["later", "docs"]
    assert [one.job.id for one in queue.dead()] == ["notes"]
    assert queue.redrive() == 1
    assert must_take(queue).id == "notes"


WORKER = """
import pathlib, sys, time
from ragkeep.queues import open_queue
from ragkeep.serving.params import QueueParams
queue = open_queue(QueueParams(sys.argv[1], prefix=sys.argv[2], visible_s=int(sys.argv[3])), pathlib.Path(sys.argv[4]))
print(queue.take(wait_s=5).id, flush=True)
time.sleep(60)
"""


def test_a_killed_workers_job_comes_back(opener: Opener, tmp_path: Path) -> None:
    queue = opener(visible_s=2)
    queue.put(job("a"))
    params: QueueParams = queue.params  # type: ignore[attr-defined]
    arguments = [params.backend, params.prefix, "2", str(tmp_path / "serving.sqlite")]
    with subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        assert worker.stdout.readline().strip() == "a"
        worker.kill()
    taken = must_take(queue, wait_s=10)
    assert (taken.id, taken.attempt) == ("a", 2)
    assert queue.done(taken)


def test_silent_workers_bring_a_job_to_the_dead_letters(opener: Opener) -> None:
    queue = opener(tries=2, visible_s=1)
    queue.put(job("a"))
    for _ in range(2):
        must_take(queue, wait_s=5)
    time.sleep(1.2)
    assert queue.take() is None
    (dead,) = queue.dead()
    assert (dead.job.id, dead.reason) == ("a", "its worker went silent each time it was tried")


def test_a_worker_that_extends_keeps_its_job(opener: Opener) -> None:
    queue = opener(visible_s=2)
    queue.put(job("a"))
    taken = must_take(queue)
    for _ in range(3):
        time.sleep(1)
        assert queue.extend(taken)
        assert queue.take() is None
    assert queue.done(taken)


def test_take_waits_for_a_job(queue: Queue, opener: Opener) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.take, wait_s=10)
        time.sleep(0.3)
        opener().put(job("a"))
        taken = waiting.result(timeout=10)
    assert taken is not None
    assert taken.id == "a"


def test_many_workers_do_every_job_in_order(queue: Queue, opener: Opener) -> None:
    for n in range(24):
        queue.put(job(f"{n:02}", workspace=f"w{n % 3}"))
    done: list[str] = []

    def work(own: Queue) -> None:
        while taken := own.take(wait_s=1):
            done.append(taken.id)
            own.done(taken)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [opener() for _ in range(4)]))
    assert {*done} == {f"{n:02}" for n in range(24)}  # at least once; in a file exactly once, see test_queue_sqlite
    for room in range(3):
        mine = list(dict.fromkeys(id_ for id_ in done if int(id_) % 3 == room))
        assert mine == sorted(mine)
