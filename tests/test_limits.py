"""Rate limits: a moving window for a key and for a workspace, one caller's excess is nobody else's."""

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from ragkeep.errors import TooMany
from ragkeep.limits import RateLimits
from ragkeep.serving.params import LimitParams


def allowed(limits: RateLimits, payer: str, workspace: str = "docs", *, tries: int) -> int:
    return sum(lets_in(limits, payer, workspace) for _ in range(tries))


def lets_in(limits: RateLimits, payer: str, workspace: str) -> bool:
    try:
        limits.check(payer, workspace)
    except TooMany:
        return False
    return True


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    limits = RateLimits(LimitParams(key_per_minute=5))
    assert allowed(limits, "key:a", tries=5) == 5
    with pytest.raises(TooMany, match="more than 5 requests a minute for this key") as refused:
        limits.check("key:a", "docs")
    assert 55 < refused.value.retry_after_s <= 60
    assert 55 < int(refused.value.headers["Retry-After"]) <= 60


def test_others_are_not_affected() -> None:
    limits = RateLimits(LimitParams(key_per_minute=5, workspace_per_minute=8))
    assert allowed(limits, "key:a", tries=100) == 5
    assert allowed(limits, "key:b", tries=100) == 3
    assert allowed(limits, "key:c", "notes", tries=5) == 5


def test_what_a_workspace_refuses_does_not_count_for_the_key() -> None:
    limits = RateLimits(LimitParams(key_per_minute=5, workspace_per_minute=2))
    assert allowed(limits, "key:a", "docs", tries=10) == 2
    assert allowed(limits, "key:a", "notes", tries=10) == 2


def test_parallel_requests_are_counted_exactly() -> None:
    limits = RateLimits(LimitParams(key_per_minute=50))
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: lets_in(limits, "key:a", "docs"), range(500))) == 50


def test_zero_is_no_limit() -> None:
    assert allowed(RateLimits(LimitParams(0, 0)), "key:a", tries=300) == 300


def test_with_redis_all_servers_count_together(redis: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGKEEP_REDIS_PASSWORD", redis["RAGKEEP_REDIS_PASSWORD"])
    servers = [RateLimits(LimitParams(key_per_minute=20, redis=redis["REDIS_URL"])) for _ in range(3)]
    payer = uuid.uuid4().hex
    with ThreadPoolExecutor(8) as pool:
        let_in = sum(pool.map(lambda n: lets_in(servers[n % 3], payer, "docs"), range(90)))
    assert let_in == 20
    with pytest.raises(TooMany) as refused:
        servers[0].check(payer, "docs")
    assert 50 < refused.value.retry_after_s <= 60


def test_a_password_that_is_wrong_is_not_shown(
    redis: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAGKEEP_REDIS_PASSWORD", "hunter2")
    assert allowed(RateLimits(LimitParams(key_per_minute=2, redis=redis["REDIS_URL"])), "key:a", tries=4) == 2
    assert "Redis is away" in caplog.text
    assert "hunter2" not in caplog.text


def test_without_redis_every_server_counts_by_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGKEEP_REDIS_PASSWORD", "hunter2")
    caplog.set_level(logging.DEBUG)
    limits = RateLimits(LimitParams(key_per_minute=2, redis="redis://127.0.0.1:9"))
    assert allowed(limits, "key:a", tries=4) == 2
    assert "Redis is away" in caplog.text
    assert "hunter2" not in caplog.text
