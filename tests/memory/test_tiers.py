"""Expiry, tiers and processes that die, tiers that hang, several servers, and what must stay forgotten."""

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.local import redis as redis_starter
from infra.local.single import Server
from ragkeep.errors import StoreError
from ragkeep.memory import session_name
from ragkeep.memory.journal import Journal
from ragkeep.memory.redis import PREFIX
from ragkeep.memory.sqlite import SqliteTier
from ragkeep.memory.tier import Entry, Kept, Tier
from ragkeep.memory.tiers import TieredMemory
from ragkeep.types import Message
from tests import services
from tests.memory.cases import close_databases as close_databases
from tests.memory.cases import database, entry, new, setting, tier

ANN = session_name("docs", "user:ann", "1")
HOUR, DAY = 3600.0, 86_400.0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Switch:
    """A tier that can be taken away and brought back; what it keeps, it keeps."""

    def __init__(self, inner: Tier) -> None:
        self.inner, self.name, self.patience_s, self.away = inner, inner.name, inner.patience_s, False

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            if self.away and name != "close":
                raise ConnectionError("connection refused")
            return getattr(self.inner, name)(*given, **more)

        return call


def memory(tiers: Sequence[Any], state: Path, **given: Any) -> TieredMemory:
    return TieredMemory(tiers, Journal(database(state / "journal.sqlite")), **{"buffer_tokens": 1000, **given})


def ran(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def said(text: str) -> Message:
    return Message("user", text)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds that happens in the background."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not come to hold in 20 s"
        await asyncio.sleep(0.02)


def three(folder: Path, clock: Callable[[], float] = time.time) -> list[SqliteTier]:
    lasts = {"hot": 8 * HOUR, "warm": 7 * DAY, "cold": None}
    file = database(folder / "tiers.sqlite")
    return [SqliteTier(file, name, ttl_s=ttl_s, clock=clock) for name, ttl_s in lasts.items()]


def test_eight_hours_seven_days_and_for_good(tmp_path: Path) -> None:
    clock = Clock()
    tiers = three(tmp_path, clock)
    for one in tiers:
        one.add(ANN, [entry(1)])
    found = []
    for age in (8 * HOUR - 1, 8 * HOUR, 7 * DAY - 1, 7 * DAY, 3650 * DAY):
        clock.now = 1_700_000_000.0 + age
        found.append([bool(one.read(ANN).entries) for one in tiers])
    cold_only = [False, False, True]
    assert found == [[True] * 3, [False, True, True], [False, True, True], cold_only, cold_only]


def test_an_old_session_is_brought_back_to_the_hot_tier(tmp_path: Path) -> None:
    clock = Clock()

    async def coming_back() -> None:
        hot, warm, cold = tiers = three(tmp_path, clock)
        remembers = memory(tiers, tmp_path, clock=clock)
        await remembers.append(ANN, said("one"))
        await until(lambda: bool(cold.read(ANN).entries))
        for later in (9 * HOUR, 8 * DAY):
            clock.now += later
            assert hot.read(ANN) == Kept()
            assert await remembers.recent(ANN) == [said("one")]
            await until(lambda: bool(hot.read(ANN).entries))
            assert hot.read(ANN).whole_at == clock.now
        assert warm.read(ANN) == Kept()
        await remembers.close()

    ran(coming_back())


def test_redis_and_dynamodb_are_told_when_to_drop(
    redis: dict[str, str], dynamodb: dict[str, str], tmp_path: Path
) -> None:
    hot = tier("redis", redis, tmp_path, ttl_s=8 * HOUR)
    session = session_name("docs", new(), "1")
    hot.add(session, [entry(1)])
    assert 0 <= 8 * HOUR - hot._client.ttl(PREFIX + session) < 60  # type: ignore[attr-defined]
    warm = tier("dynamodb", dynamodb, tmp_path, ttl_s=7 * DAY)
    warm.prepare()
    warm.prepare()
    warm.add(session, [entry(1)])
    client, table = warm._dynamodb, warm._table  # type: ignore[attr-defined]
    (item,) = client.scan(TableName=table)["Items"]
    assert abs(int(item["expires"]) - time.time() - 7 * DAY) < 60
    told = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert (told["TimeToLiveStatus"], told["AttributeName"]) == ("ENABLED", "expires")


def test_what_dynamodb_has_not_dropped_yet_is_expired_all_the_same(dynamodb: dict[str, str], tmp_path: Path) -> None:
    warm = tier("dynamodb", dynamodb, tmp_path, ttl_s=7 * DAY)
    warm.prepare()
    warm.add(ANN, [entry(1)])
    assert warm.read(ANN).entries == (entry(1),)
    warm._clock = lambda: time.time() + 7 * DAY  # type: ignore[attr-defined]
    assert warm.read(ANN) == Kept()


@pytest.fixture
def own_redis() -> Iterator[Server]:
    with services.own(redis_starter.SERVICE) as server:
        yield server


def kill(server: Server) -> None:
    assert server.process
    server.process.signal(signal.SIGKILL)
    server.process.wait(grace_s=10)


def test_a_killed_redis_is_skipped_said_so_and_catches_up(
    own_redis: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def outage() -> None:
        hot = tier("redis", own_redis.settings(), tmp_path, ttl_s=8 * HOUR)
        cold = SqliteTier(database(tmp_path / "cold.sqlite"), "cold")
        remembers = memory([hot, cold], tmp_path)
        await remembers.append(ANN, said("before"))
        await until(lambda: bool(cold.read(ANN).entries))
        await asyncio.to_thread(kill, own_redis)
        for text in ("during", "still"):
            await remembers.append(ANN, said(text))
        assert remembers.trouble is not None
        assert remembers.trouble.startswith("redis: ConnectionError")
        assert await remembers.recent(ANN) == [said("before"), said("during"), said("still")]
        await asyncio.to_thread(own_redis.up, own_redis.port)
        await until(lambda: remembers.trouble is None)
        await until(lambda: len(hot.read(ANN).entries) == 3)
        assert await remembers.recent(ANN) == [said("before"), said("during"), said("still")]
        await remembers.close()

    ran(outage())
    assert caplog.text.count("redis is down") == 1
    assert caplog.text.count("redis is back") == 1


def test_with_no_tier_up_what_is_said_is_kept_and_told_by_the_next_process(tmp_path: Path) -> None:
    tiers = [Switch(one) for one in three(tmp_path)]

    async def alone() -> None:
        for one in tiers:
            one.away = True
        remembers = memory(tiers, tmp_path)
        await remembers.append(ANN, said("one"))
        assert await remembers.recent(ANN) == [said("one")]
        assert str(remembers.trouble).count("connection refused") == 3
        await remembers.close()

    async def later() -> None:
        fresh = three(tmp_path)
        assert not any(one.read(ANN).entries for one in fresh)
        remembers = memory(fresh, tmp_path)
        assert await remembers.recent(ANN) == [said("one")]
        await until(lambda: all(one.read(ANN).entries for one in fresh))
        await remembers.close()

    ran(alone())
    ran(later())


PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.memory.cases import database
from ragkeep.memory.journal import Journal
from ragkeep.memory.tiers import TieredMemory
from tests.memory.test_tiers import ANN, said, three

async def main():
    folder = Path(sys.argv[1])
    remembers = TieredMemory(three(folder), Journal(database(folder / "journal.sqlite")), buffer_tokens=10**5)
    for n in range(int(sys.argv[2]), 10**6):
        await remembers.append(ANN, said(f"turn {n}"))
        print(n, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for kills in range(6):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(1000 * kills)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=services.ROOT) as process:
            assert process.stdout
            acknowledged += [int(process.stdout.readline()) for _ in range(5 + 7 * kills)]
            process.kill()
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]

    async def after() -> list[Entry]:
        hot, warm, cold = three(tmp_path)
        remembers = memory([hot, warm, cold], tmp_path)
        await remembers.recent(ANN)
        await remembers.close()
        return list(SqliteTier(database(tmp_path / "tiers.sqlite"), "cold").read(ANN).entries)

    kept = [int(one.content.split()[1]) for one in ran(after())]
    assert set(acknowledged) <= set(kept)
    assert kept == sorted(set(kept))


@pytest.fixture
def hanging() -> Iterator[int]:
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for link in taken:
            link.close()


def test_a_tier_that_hangs_does_not_delay_answers(hanging: int, tmp_path: Path) -> None:
    aws = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{hanging}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    took = []

    async def talking() -> None:
        warm = SqliteTier(database(tmp_path / "warm.sqlite"), "warm")
        with setting({**aws, "AWS_DEFAULT_REGION": "us-east-1"}):
            hot = tier("redis", {"REDIS_URL": f"redis://127.0.0.1:{hanging}/0"}, tmp_path)
            cold = tier("s3", {}, tmp_path, bucket=new())
        remembers = memory([hot, warm, cold], tmp_path)
        for n in range(20):
            began = time.perf_counter()
            await remembers.recent(ANN)
            await remembers.append(ANN, said(str(n)))
            took.append(time.perf_counter() - began)
        assert len(await remembers.recent(ANN)) == 20
        assert "redis" in str(remembers.trouble)
        assert "s3" in str(remembers.trouble)
        await remembers.close()

    ran(talking())
    print(f"first {took[0]:.2f} s, then at most {max(took[1:]):.3f} s")  # noqa: T201
    assert took[0] < 4
    assert sorted(took[1:])[-2] < 0.5


def test_a_tier_that_begins_to_hang_delays_one_answer(tmp_path: Path) -> None:
    class Slow(Switch):
        hangs, asked = False, 0

        def add(self, *given: Any, **more: Any) -> None:
            self.asked += 1
            if self.hangs:
                time.sleep(2)
            self.inner.add(*given, **more)

    took = []

    async def talking() -> None:
        hot, _, cold = three(tmp_path)
        slow = Slow(hot)
        slow.patience_s = 0.3
        remembers = memory([slow, cold], tmp_path)
        await remembers.append(ANN, said("0"))
        slow.hangs = True
        for n in range(6):
            began = time.perf_counter()
            await remembers.append(ANN, said(str(n + 1)))
            took.append(time.perf_counter() - began)
        assert len(await remembers.recent(ANN)) == 7
        slow.hangs = False
        await until(lambda: remembers.trouble is None)
        await until(lambda: len(hot.read(ANN).entries) == 7)
        await remembers.close()

    ran(talking())
    assert 0.3 <= took[0] < 1.5
    assert sorted(took[1:])[1] < 0.3
    assert max(took[1:]) < 1.5


def test_two_servers_on_one_redis_see_each_others_turns_at_once(redis: dict[str, str], tmp_path: Path) -> None:
    session = session_name("docs", new(), "1")

    async def talking() -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        cold = SqliteTier(database(tmp_path / "cold.sqlite"), "cold")
        hot = [tier("redis", redis, tmp_path) for _ in range(2)]
        for redis_tier in hot:
            redis_tier.patience_s = 10  # however busy this machine is
        one, two = (memory([*pair, cold], tmp_path / name) for name, *pair in zip("ab", hot, strict=True))
        for server in (one, two):
            await server.recent(session)
        await until(lambda: one.trouble is None and two.trouble is None)
        for n in range(10):
            await (one if n % 2 else two).append(session, said(str(n)))
            assert await (two if n % 2 else one).recent(session) == [said(str(m)) for m in range(n + 1)]
        await two.forget(session)
        assert await one.recent(session) == []
        await one.close()
        await two.close()

    ran(talking())


def test_what_is_forgotten_while_a_tier_is_away_is_erased_before_it_is_used_again(tmp_path: Path) -> None:
    async def forgetting() -> None:
        (tmp_path / "b").mkdir()
        tiers = three(tmp_path)
        one = memory(switches := [Switch(tier) for tier in tiers], tmp_path)
        await one.append(ANN, said("secret"))
        await until(lambda: all(tier.read(ANN).entries for tier in tiers))
        switches[0].away = True
        await one.forget(ANN)
        assert await one.recent(ANN) == []
        assert [bool(tier.read(ANN).entries) for tier in tiers] == [True, False, False]
        await one.close()
        two = memory(three(tmp_path), tmp_path / "b")  # another server: it knows from the other tiers
        assert await two.recent(ANN) == []
        assert not tiers[0].read(ANN).entries
        await two.close()

    ran(forgetting())


def test_a_forgotten_scope_waits_for_its_tier_over_a_restart(tmp_path: Path) -> None:
    async def forgetting() -> None:
        tiers = [Switch(one) for one in three(tmp_path)]
        remembers = memory(tiers, tmp_path)
        await remembers.append(ANN, said("secret"))
        await until(lambda: all(one.read(ANN).entries for one in tiers))
        for one in tiers:
            one.away = True
        await remembers.forget_all("docs/")
        await remembers.close()

    async def later() -> None:
        tiers = three(tmp_path)
        assert all(one.read(ANN).entries for one in tiers)
        remembers = memory(tiers, tmp_path)
        assert await remembers.recent(ANN) == []
        assert not any(one.read(ANN).entries for one in tiers)
        await remembers.close()

    ran(forgetting())
    ran(later())


def test_a_late_copy_of_another_server_does_not_bring_back_what_was_forgotten(tmp_path: Path) -> None:
    async def copying() -> None:
        (tmp_path / "b").mkdir()
        hot, _, cold = three(tmp_path)
        away = Switch(three(tmp_path)[2])
        away.away = True
        late, other = memory([hot, away], tmp_path / "b"), memory([three(tmp_path)[0], cold], tmp_path)
        await late.append(ANN, said("secret"))
        await other.forget(ANN)
        await other.append(ANN, said("new"))
        assert await late.recent(ANN) == [said("new")]
        away.away = False
        await until(lambda: late.trouble is None)
        await late.close()
        assert [one.content for one in cold.read(ANN).entries] == ["new"]
        await other.close()

    ran(copying())


def test_rubbish_in_redis_does_not_stop_the_chat(
    redis: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = session_name("docs", new(), "1")

    async def talking() -> None:
        hot = tier("redis", redis, tmp_path)
        remembers = memory([hot, SqliteTier(database(tmp_path / "cold.sqlite"), "cold")], tmp_path)
        hot._client.set(PREFIX + session, "rubbish")  # type: ignore[attr-defined]
        assert await remembers.recent(session) == []
        await remembers.append(session, said("one"))
        hot._client.zadd(PREFIX + session, {json.dumps({"id": 1}): 2.0})  # type: ignore[attr-defined]
        assert await remembers.recent(session) == [said("one")]
        assert await remembers.recent(session) == [said("one")]
        assert remembers.trouble is None
        await remembers.close()

    ran(talking())
    assert caplog.text.count(f"a part of session {session} is left out") == 1


def test_a_journal_that_cannot_be_written_is_said_and_the_tiers_still_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise StoreError("memory.sqlite: database or disk is full")

    async def talking() -> None:
        hot, warm, _ = three(tmp_path)
        switch = Switch(hot)
        remembers = memory([switch, warm], tmp_path)
        await remembers.append(ANN, said("one"))
        monkeypatch.setattr(Journal, "put", full)
        await remembers.append(ANN, said("two"))
        assert "disk is full" in caplog.text  # `trouble` ends with the next write that works, a keeper's perhaps
        assert [one.content for one in hot.read(ANN).entries] == ["one", "two"]
        monkeypatch.undo()
        assert await remembers.recent(ANN) == [said("one"), said("two")]
        assert remembers.trouble is None
        await remembers.close()

    ran(talking())


def test_s3_forgets_earlier_versions_too(s3: dict[str, str], tmp_path: Path) -> None:
    with setting(s3):
        client, bucket = boto3.Session().client("s3"), new()
        client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    cold = tier("s3", s3, tmp_path, bucket=bucket)
    for n in (1, 2, 3):
        cold.add(ANN, [entry(n, "secret" if n < 3 else "new")])
    cold.erase(ANN, 2.0)
    versions = client.list_object_versions(Bucket=bucket, Prefix="ragkeep-memory/sessions/")["Versions"]
    (left,) = [client.get_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])["Body"].read() for v in versions]
    assert b"new" in left
    assert b"secret" not in left
