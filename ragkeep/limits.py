"""How often a key and a workspace may ask: a moving window of a minute, in this process or, for all servers, in Redis."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from .errors import MissingExtra, TooMany
from .serving.params import LimitParams

if TYPE_CHECKING:
    from limits.strategies import MovingWindowRateLimiter

log = logging.getLogger(__name__)


class RateLimits:
    """Counts requests. While Redis is away every server counts by itself, so that nobody is locked out."""

    def __init__(self, params: LimitParams) -> None:
        from limits import RateLimitItemPerMinute
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        per_minute = {"key": params.key_per_minute, "workspace": params.workspace_per_minute}
        self.items = {kind: RateLimitItemPerMinute(n) for kind, n in per_minute.items() if n}
        self.here = MovingWindowRateLimiter(MemoryStorage())
        self.shared = _redis(params.redis) if params.redis else None

    def check(self, payer: str, workspace: str) -> None:
        """Count one request of a key or user (`Principal.user`) in a workspace; with Redis, call it in a thread.

        Raises TooMany with the seconds until there is room; what is refused is not counted.
        """
        from limits.errors import StorageError

        if self.shared:
            try:
                self._check(self.shared, payer, workspace)
                return
            except StorageError as error:
                log.warning("Redis is away, so this server counts requests by itself: %s", type(error).__name__)
        self._check(self.here, payer, workspace)

    def _check(self, limiter: MovingWindowRateLimiter, payer: str, workspace: str) -> None:
        asked = {"key": payer, "workspace": workspace}
        for counted in (limiter.test, limiter.hit):  # first ask everywhere, so that what one refuses the other forgets
            for kind, item in self.items.items():
                if asked[kind] and not counted(item, kind, asked[kind]):
                    reset, _ = limiter.get_window_stats(item, kind, asked[kind])
                    raise TooMany(f"more than {item.amount} requests a minute for this {kind}: wait", reset - time.time())


def _redis(url: str) -> MovingWindowRateLimiter:
    from limits.storage import RedisStorage
    from limits.strategies import MovingWindowRateLimiter

    if not importlib.util.find_spec("redis"):
        raise MissingExtra("serve.limits.redis", "redis")
    password = os.environ.get("RAGKEEP_REDIS_PASSWORD")
    options: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "password": password}
    return MovingWindowRateLimiter(RedisStorage(url, wrap_exceptions=True, **options))
