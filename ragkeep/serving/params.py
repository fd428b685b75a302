"""The section `serve` of params.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuthParams:
    """Whose tokens count: those of one OpenID Connect issuer, for one audience (Cognito: the app client's id).

    `jwks` is the file or URL of the issuer's public keys ("": <issuer>/.well-known/jwks.json, where Cognito has them).
    `roles_claim` names the claim with workspace roles, as in ["default:reader"] (Cognito: cognito:groups).
    """

    issuer: str = ""
    audience: str = ""
    jwks: str = ""
    roles_claim: str = "ragkeep_roles"

    @property
    def configured(self) -> bool:
        """Whether tokens count at all; API keys always do."""
        return bool(self.issuer)

    @property
    def jwks_url(self) -> str:
        """Where the issuer's public keys are."""
        return self.jwks or f"{self.issuer.rstrip('/')}/.well-known/jwks.json"


@dataclass(frozen=True, slots=True)
class LimitParams:
    """Requests a minute, 0 for any number. With `redis` all servers count together, else each by itself.

    Redis' password is in RAGKEEP_REDIS_PASSWORD and nowhere else.
    """

    key_per_minute: int = 120
    workspace_per_minute: int = 1200
    redis: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be used up in a day and in a month (UTC); None is no limit. Money is in US dollars."""

    day_tokens: int | None = None
    day_usd: float | None = None
    month_tokens: int | None = None
    month_usd: float | None = None


@dataclass(frozen=True, slots=True)
class BudgetParams:
    """The allowance of every key (or user), of every workspace, and of workspaces by name instead of that.

    From `warn_at` of a budget on, answers say so.
    """

    key: Allowance = Allowance()
    workspace: Allowance = Allowance()
    workspaces: dict[str, Allowance] = field(default_factory=dict)
    warn_at: float = 0.8


@dataclass(frozen=True, slots=True)
class CatalogParams:
    """Where workspaces and documents are listed: sqlite or dynamodb, whose two tables begin with `prefix`."""

    backend: str = "sqlite"
    prefix: str = "ragkeep"
    region: str = ""


@dataclass(frozen=True, slots=True)
class QueueParams:
    """The background work: sqlite or sqs, whose two queues begin with `prefix`.

    A worker that is silent for `visible_s` loses its job to another; after `tries` a job goes to the dead letters.
    """

    backend: str = "sqlite"
    prefix: str = "ragkeep"
    region: str = ""
    tries: int = 3
    visible_s: int = 300


@dataclass(frozen=True, slots=True)
class MemoryParams:
    """How much of a conversation is told, and where it is kept: the last turns up to `buffer_tokens`, and a summary.

    `tiers` are one to three of sqlite, redis, dynamodb and s3. The first keeps a session for `hours`, one in the middle
    for `days`, the last for good; sqlite alone is all three. Redis' password is in RAGKEEP_REDIS_PASSWORD and nowhere
    else. `buffer_tokens` should be no more than answer.history_tokens, or turns fall between the two.
    """

    buffer_tokens: int = 1000
    tiers: tuple[str, ...] = ("sqlite",)
    hours: float = 8.0
    days: float = 7.0
    redis: str = ""
    table: str = "ragkeep-memory"
    bucket: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class ServeParams:
    """How `ragkeep serve` runs. Any other host than loopback needs `auth`, or keys made with `ragkeep keys create`.

    `mlflow_traces` is the share of answers, 0 to 1, that MLflow gets as traces; needs the extra [mlflow] above 0.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    auth: AuthParams = AuthParams()
    limits: LimitParams = LimitParams()
    budgets: BudgetParams = field(default_factory=BudgetParams)
    catalog: CatalogParams = CatalogParams()
    queue: QueueParams = QueueParams()
    memory: MemoryParams = MemoryParams()
    mlflow_traces: float = 0.0


BOUNDS: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "mlflow_traces": (0, 1),
    "limits.key_per_minute": (0, 10**6),
    "limits.workspace_per_minute": (0, 10**6),
    "budgets.warn_at": (0, 1),
    "memory.buffer_tokens": (0, 10**6),
    "memory.hours": (0.001, 10**6),
    "memory.days": (0.001, 10**5),
    "queue.tries": (1, 100),
    "queue.visible_s": (1, 43_200),
}
"""The least and the most of every number of the section; allowances are checked apart."""
ALLOWANCE_BOUNDS: dict[str, tuple[float, float]] = {
    "day_tokens": (0, 10**12),
    "day_usd": (0, 10**6),
    "month_tokens": (0, 10**13),
    "month_usd": (0, 10**7),
}


def numbers(params: ServeParams) -> Iterator[tuple[str, float | None, float, float]]:
    """Yield every number with its key under `serve` and its bounds."""
    for key, bounds in BOUNDS.items():
        section, _, name = key.rpartition(".")
        yield key, getattr(getattr(params, section) if section else params, name), *bounds
    budgets = params.budgets
    named = {f"workspaces.{name}": allowance for name, allowance in budgets.workspaces.items()}
    for where, allowance in {"key": budgets.key, "workspace": budgets.workspace, **named}.items():
        for name, bounds in ALLOWANCE_BOUNDS.items():
            yield f"budgets.{where}.{name}", getattr(allowance, name), *bounds


def problems(params: ServeParams) -> Iterator[str]:
    """Say what is wrong besides numbers: the key under `serve`, and what to write instead."""
    auth = params.auth
    if auth.issuer and not auth.audience:
        yield "auth.audience is empty: name what tokens must be made for (Cognito: the app client's id)"
    if auth.audience and not auth.issuer:
        yield "auth.issuer is empty: name whose tokens count, as in https://cognito-idp.<region>.amazonaws.com/<pool>"
    if auth.issuer and not auth.issuer.startswith("https://") and not auth.jwks:
        yield "auth.issuer must begin with https://, or auth.jwks must name the file of its public keys"
    if auth.jwks.startswith("http://") and not auth.jwks.startswith(("http://127.0.0.1", "http://localhost")):
        yield "auth.jwks must begin with https:// (or be a file): who can change the answer could make tokens"
    for section, redis in (("limits", params.limits.redis), ("memory", params.memory.redis)):
        if redis and not redis.startswith(("redis://", "rediss://")):
            yield f"{section}.redis must begin with redis:// or rediss://"
        if "@" in redis:  # not shown: it may hold a password
            yield f"{section}.redis must not hold a password: set RAGKEEP_REDIS_PASSWORD"
    yield from _memory_problems(params.memory)
    for section, prefix in (("catalog", params.catalog.prefix), ("queue", params.queue.prefix)):
        if not prefix.replace("-", "").isalnum() or not prefix.isascii() or len(prefix) > 64:
            yield f"{section}.prefix must be 1-64 letters, digits and '-' (it begins names at AWS)"


def _memory_problems(params: MemoryParams) -> Iterator[str]:
    tiers = params.tiers
    if not 1 <= len(tiers) <= 3 or len(set(tiers)) < len(tiers):
        yield "memory.tiers must name one to three different backends, as in [redis, dynamodb, s3]"
    if "redis" in tiers and not params.redis:
        yield "memory.redis is empty: name the server, as in redis://cache:6379/0"
    if "s3" in tiers and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{2,62}", params.bucket):
        yield "memory.bucket must name the bucket for what was said: 3-63 of a-z, 0-9, '.' and '-'"
    if "dynamodb" in tiers and not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", params.table):
        yield "memory.table must be 3-255 letters, digits, '_', '.' and '-' (it names a table of DynamoDB)"
