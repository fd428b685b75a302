"""What every tier of memory must do, and what a memory over any tiers must do; on real servers."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import Paths
from ragkeep.memory import open_memory, session_name
from ragkeep.memory.tier import KEEP, Entry, Tier, covers
from ragkeep.ports import Memory
from ragkeep.serving.params import MemoryParams
from ragkeep.types import Message
from tests.memory.cases import BACKENDS, entry, new, setting, settings_for, spoil, tier
from tests.memory.cases import close_databases as close_databases

ANN, BOB = session_name("docs", "user:ann", "1"), session_name("docs", "user:bob", "1")


@pytest.fixture(params=BACKENDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    made = tier(request.param, settings_for(request.param, request), tmp_path)
    made.prepare()
    if request.param == "redis":
        made._client.delete("ragkeep:memory-forgotten")  # type: ignore[attr-defined]
    for session in (ANN, BOB):
        made.erase(session, 1e12)
    yield made
    made.close()


def test_what_was_added_is_read_in_order_whoever_comes_first(kept: Tier) -> None:
    kept.add(ANN, [entry(2)])
    kept.add(ANN, [entry(1), entry(3)])
    kept.add(ANN, [entry(1)])
    assert kept.read(ANN).entries == (entry(1), entry(2), entry(3))
    assert kept.read(BOB).entries == ()


@pytest.mark.parametrize("text", ["", "ö\n\0\x1b", "\ud800 half", "x" * 100_000, "語" * 100_000, '"]}'])
def test_any_text_comes_back(kept: Tier, text: str) -> None:
    said = replace(entry(1), content=text)
    kept.add(ANN, [said])
    assert kept.read(ANN).entries == (said,)


def test_the_mark_says_that_nothing_is_missing(kept: Tier) -> None:
    kept.add(ANN, [entry(1)])
    assert kept.read(ANN).whole_at == 0
    kept.add(ANN, [entry(1)], whole_at=1234.5)
    kept.add(BOB, [], whole_at=1234.5)
    kept.add(ANN, [entry(n) for n in range(2, KEEP + 9)])
    assert kept.read(ANN).whole_at == kept.read(BOB).whole_at == 1234.5
    assert kept.read(ANN).entries == tuple(entry(n) for n in range(9, KEEP + 9))


def test_a_session_is_erased_and_what_is_said_after_it_is_kept(kept: Tier) -> None:
    kept.add(ANN, [entry(1), entry(2)], whole_at=2.0)
    kept.add(BOB, [entry(1)])
    kept.erase(ANN, 2.0)
    kept.erase(ANN, 2.0)
    assert (kept.read(ANN).entries, kept.read(ANN).whole_at) == ((), 0.0)
    kept.add(ANN, [entry(3)])
    assert kept.read(ANN).entries == (entry(3),)
    assert kept.read(BOB).entries == (entry(1),)


def test_a_user_and_a_workspace_are_erased_and_nobody_else(kept: Tier) -> None:
    room = new()
    names = [session_name(w, u, s) for w in (room, f"{room}-2") for u in ("a", "a/b", "ab") for s in ("1", "2")]
    for scope in (session_name(room, "a"), f"{room}/"):
        for name in names:
            kept.add(name, [entry(1)])
        kept.erase(scope, 1.0)
        left = {name for name in names if kept.read(name).entries}
        assert left == {name for name in names if not covers(scope, name)}
        kept.erase(f"{room}/", 1.0)


def test_it_knows_for_a_while_what_was_forgotten(kept: Tier) -> None:
    now = float(round(time.time()))
    scope = session_name(new(), "user:ann")
    kept.erase(scope, now - 5)
    kept.erase(scope, now)
    kept.erase(scope, now - 9)
    assert kept.forgotten()[scope] == now
    assert kept.forgotten([scope, "docs/none/1"]) == {scope: now}


def test_many_writers_of_one_session_lose_nothing(kept: Tier) -> None:
    said = [entry(n) for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: kept.add(ANN, [one]), said))
    assert kept.read(ANN).entries == tuple(said)


def test_rubbish_is_named_once_and_left_out(kept: Tier, caplog: pytest.LogCaptureFixture) -> None:
    kept.add(ANN, [entry(1)])
    spoil(kept, ANN)
    for _ in range(3):
        assert kept.read(ANN).entries == (entry(1),)
    assert caplog.text.count(f"a part of session {ANN} is left out") == 1
    kept.add(ANN, [entry(2)])
    assert kept.read(ANN).entries == (entry(1), entry(2))
    kept.erase(ANN, 3.0)
    assert kept.read(ANN).entries == ()


COMBINATIONS = [("sqlite",), ("redis", "sqlite"), ("redis", "dynamodb", "s3"), ("s3",)]
Open = Callable[..., Memory]


@pytest.fixture(params=COMBINATIONS, ids=lambda tiers: "+".join(tiers))
def opening(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    settings: dict[str, str] = {}
    for backend in request.param:
        settings |= settings_for(backend, request)
    names = {"bucket": new(), "table": new(), "redis": settings.get("REDIS_URL", "")}
    with setting(settings):
        if "redis" in request.param:
            tier("redis", settings, tmp_path)._client.delete("ragkeep:memory-forgotten")  # type: ignore[attr-defined]
        if "s3" in request.param:
            tier("s3", settings, tmp_path, bucket=names["bucket"])._s3.create_bucket(Bucket=names["bucket"])  # type: ignore[attr-defined]

        def open_one(state: str = "one", **given: Any) -> Memory:
            monkeypatch.setenv("RAGKEEP_STATE", str(tmp_path / state))
            return open_memory(MemoryParams(tiers=request.param, **names, **given), Paths(tmp_path))

        yield open_one


def ran(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def pair(n: int) -> tuple[Message, Message]:
    return Message("user", f"Question {n}?"), Message("assistant", f"Answer {n}.")


def test_a_conversation_is_remembered_by_the_next_process(opening: Open) -> None:
    session = session_name("docs", new(), "1")

    async def talking() -> list[Message]:
        first = opening()
        assert await first.recent(session) == []
        for n in (1, 2):
            await first.append(session, *pair(n))
        assert await first.recent(session) == [*pair(1), *pair(2)]
        assert first.trouble is None
        await first.close()
        second = opening()
        known = await second.recent(session)
        await second.close()
        return known

    assert ran(talking()) == [*pair(1), *pair(2)]


def test_a_long_conversation_becomes_a_summary(opening: Open) -> None:
    session = session_name("docs", new(), "1")

    async def talking() -> list[Message]:
        memory = opening(buffer_tokens=200)
        for n in range(40):
            await memory.append(session, *pair(n))
        known = await memory.recent(session)
        await memory.close()
        return known

    head, *whole = ran(talking())
    assert head.role == "system"
    before = 39 - len(whole) // 2
    assert f"- Question {before}? -> Answer {before}." in head.content
    assert whole[-2:] == [*pair(39)]
    assert sum(len(m.content) // 4 + 4 for m in (head, *whole)) <= 200


def test_sessions_users_and_workspaces_are_forgotten(opening: Open) -> None:
    room, other = new(), new()
    names = [session_name(w, u, s) for w in (room, other) for u in ("ann", "bob") for s in ("1", "2")]

    async def talking() -> list[list[str]]:
        memory, seen = opening(), []
        for name in names:
            await memory.append(name, *pair(1))
        await memory.forget(names[0])
        seen.append([name for name in names if await memory.recent(name)])
        await memory.forget_all(session_name(room, "bob"))
        seen.append([name for name in names if await memory.recent(name)])
        await memory.forget_all(f"{room}/")
        await memory.append(names[0], *pair(2))
        seen.append([name for name in names if await memory.recent(name)])
        await memory.close()
        again = opening()
        seen.append([name for name in names if await again.recent(name)])
        assert await again.recent(names[0]) == [*pair(2)]
        await again.close()
        return seen

    assert ran(talking()) == [names[1:], [names[1], *names[4:]], [names[0], *names[4:]], [names[0], *names[4:]]]


def test_sessions_do_not_mix(opening: Open) -> None:
    user = new()
    names = [session_name("docs", user, str(n)) for n in range(10)]

    async def talking() -> list[list[Message]]:
        memory = opening()
        await asyncio.gather(*(memory.append(name, *pair(n)) for n, name in enumerate(names) for _ in range(3)))
        known = [await memory.recent(name) for name in names]
        await memory.close()
        return known

    assert ran(talking()) == [[*pair(n)] * 3 for n in range(10)]


def test_a_name_that_is_none_is_refused(opening: Open) -> None:
    async def asking() -> None:
        memory = opening()
        for name in ("1", "docs/ann", "docs/a/b/c", "docs/ann/"):
            with pytest.raises(ValueError, match="as session_name writes it"):
                await memory.recent(name)
        with pytest.raises(ValueError, match="<workspace>/"):
            await memory.forget_all("")
        await memory.close()

    ran(asking())


def test_names_of_users_are_apart_and_no_paths() -> None:
    users = ["a", "a/b", "../x", "..", "user:ö", "\ud800", "y" * 900, "*", "a%2Fb"]
    names = [session_name("docs", user, "1") for user in users]
    assert len(set(names)) == len(users)
    assert all(name.count("/") == 2 and ".." not in name and len(name) < 400 for name in names)
    assert Entry("1", 1.0, "user", "x").message == Message("user", "x")
