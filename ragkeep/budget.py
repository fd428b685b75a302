"""What a key and a workspace may use up in a day and a month: tokens and money, reserved before a call, settled after it.

A reservation counts as spent from the start. A process that is killed in the middle leaves it so, as the provider may
have worked; one that fails gives it back with `release`. Whatever runs in parallel, a request is let in only where all of
what it may cost fits, so that a budget is overspent by no more than what one request costs above its estimate.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import Literal, TypeAlias

from .config import GeneratorParams
from .database import Database
from .serving.params import BudgetParams
from .types import Usage

SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
  account TEXT NOT NULL, period TEXT NOT NULL, model TEXT NOT NULL, tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
  requests INTEGER NOT NULL, PRIMARY KEY (account, period, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (
  id TEXT PRIMARY KEY, model TEXT NOT NULL, tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL, rows TEXT NOT NULL,
  at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS warned (
  account TEXT NOT NULL, period TEXT NOT NULL, PRIMARY KEY (account, period)) WITHOUT ROWID
"""
FORGET_S = 2 * 86_400.0
"""After how long an open reservation of a killed process is taken for what was spent."""
State: TypeAlias = Literal["ok", "warn", "cheaper", "refuse"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Price:
    """Whole nano-dollars a token, so that sums are exact: a price of 1 dollar for a million tokens is 1,000."""

    read: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and with which model.

    ok; warn: from `warn_at` of a budget on; cheaper: `model` is another one than asked for, because that one is over the
    budget; refuse: nothing fits, come back in `retry_after_s`. `share` is the fullest budget's, 0..1.
    """

    state: State
    model: str
    reservation: str = ""
    share: float = 0.0
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What an account used up in one period; None is no limit."""

    account: str
    period: str
    tokens: int
    usd: float
    requests: int
    tokens_limit: int | None
    usd_limit: float | None


@dataclass(frozen=True, slots=True)
class _Row:
    """One budget a request counts in."""

    account: str
    period: str
    tokens_limit: int | None
    nano_limit: int | None
    ends: float


def price_table(generators: Iterable[GeneratorParams]) -> dict[str, Price]:
    """Prices by the generators' names."""
    return {one.label: Price(round(one.price_in * 1000), round(one.price_out * 1000)) for one in generators}


class Budgets:
    """The accounts of one server. Each call commits once, durably: from async code, call it in a thread."""

    def __init__(
        self,
        database: Database,
        params: BudgetParams,
        *,
        prices: Mapping[str, Price],
        clock: Callable[[], float] = time.time,
    ) -> None:
        database.script(SCHEMA)
        self.database, self.params, self.prices, self.clock = database, params, prices, clock

    def cost_usd(self, model: str, usage: Usage) -> float:
        """What the tokens cost by the price table, in US dollars; an unknown model costs nothing."""
        return self._nano(model, usage) / 1e9

    def limited(self, workspace: str) -> bool:
        """Whether anything limits what is used in a workspace."""
        return any(row.tokens_limit is not None or row.nano_limit is not None for row in self._rows("", workspace))

    def reserve(self, payer: str, workspace: str, *, model: str, usage: Usage) -> Verdict:
        """Set aside what a request may use at most: the prompt's tokens, and `max_tokens` for the answer.

        `payer` is `Principal.user`. Where the model asked for does not fit, the dearest of the cheaper ones that fits is
        taken; a verdict other than refuse must be settled or released.
        """
        tokens = usage.prompt_tokens + usage.completion_tokens
        rows = list(self._rows(payer, workspace))
        with self.database.transaction() as db:
            spent = {row: _spent(db, row) for row in rows}
            share = max((_share(row, *spent[row]) for row in rows), default=0.0)
            full = rows
            for name in self._candidates(model, usage):
                nano = self._nano(name, usage)
                full = [row for row in rows if not _fits(row, *spent[row], tokens=tokens, nano=nano)]
                if not full:
                    break
            else:
                return Verdict("refuse", "", share=share, retry_after_s=max(row.ends for row in full) - self.clock())
            id_ = self._book(db, rows, name, tokens=tokens, nano=nano)
            warned = [row for row in rows if _share(row, *spent[row]) >= self.params.warn_at and _first(db, row)]
        for row in warned:
            log.warning(
                "%s has used %.0f %% of its budget for %s", row.account, 100 * _share(row, *spent[row]), row.period
            )
        state: State = "cheaper" if name != model else "warn" if share >= self.params.warn_at else "ok"
        return Verdict(state, name, id_, share)

    def settle(self, reservation: str, *, usage: Usage, model: str = "") -> float:
        """Book what was really used instead of what was set aside; `model` where another one stood in. Return US dollars.

        Safe to repeat: only the first counts, and returns the cost.
        """
        return self._finish(reservation, usage, model) / 1e9

    def release(self, reservation: str) -> None:
        """Give back what was set aside for a request that failed before it used anything. Safe to repeat."""
        self._finish(reservation, None, "")

    def spent(self, payer: str, workspace: str) -> list[Spent]:
        """What the caller and the workspace used up today and this month, whatever is open included."""
        found = []
        for row in self._rows(payer, workspace):
            sql = "SELECT total(tokens), total(nano_usd), total(requests) FROM spending WHERE account = ? AND period = ?"
            ((tokens, nano, requests),) = self.database.rows(sql, (row.account, row.period))
            limit = None if row.nano_limit is None else row.nano_limit / 1e9
            usd = nano / 1e9
            found.append(Spent(row.account, row.period, int(tokens), usd, int(requests), row.tokens_limit, limit))
        return found

    def by_model(self, account: str, period: str) -> dict[str, tuple[int, float]]:
        """Tokens and US dollars of an account in a period ("2026-11", or a day), by model.

        Accounts are "payer:<user>" and "workspace:<name>".
        """
        sql = "SELECT model, tokens, nano_usd FROM spending WHERE account = ? AND period = ? ORDER BY model"
        rows = self.database.rows(sql, (account, period))
        return {row["model"]: (row["tokens"], row["nano_usd"] / 1e9) for row in rows}

    def _candidates(self, model: str, usage: Usage) -> list[str]:
        cheaper = [name for name in self.prices if self._nano(name, usage) < self._nano(model, usage)]
        return [model, *sorted(cheaper, key=lambda name: (-self._nano(name, usage), name))]

    def _nano(self, model: str, usage: Usage) -> int:
        price = self.prices.get(model, Price())
        return usage.prompt_tokens * price.read + usage.completion_tokens * price.written

    def _rows(self, payer: str, workspace: str) -> Iterator[_Row]:
        """The budgets a request counts in: of the payer and of the workspace, for the day and for the month."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        month = day.replace(day=1)
        next_month = (month + timedelta(days=32)).replace(day=1)
        rooms = self.params.workspaces.get(workspace, self.params.workspace)
        for account, allowed in ((f"payer:{payer}", self.params.key), (f"workspace:{workspace}", rooms)):
            yield _row(account, f"{day:%Y-%m-%d}", allowed.day_tokens, allowed.day_usd, day + timedelta(days=1))
            yield _row(account, f"{month:%Y-%m}", allowed.month_tokens, allowed.month_usd, next_month)

    def _book(self, db: Connection, rows: list[_Row], model: str, *, tokens: int, nano: int) -> str:
        id_ = uuid.uuid4().hex
        keys = [(row.account, row.period) for row in rows]
        db.execute("DELETE FROM reservations WHERE at < ?", (self.clock() - FORGET_S,))
        row = (id_, model, tokens, nano, json.dumps(keys), self.clock())
        db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?)", row)
        for key in keys:
            _add(db, key, model=model, tokens=tokens, nano=nano, requests=1)
        return id_

    def _finish(self, reservation: str, usage: Usage | None, model: str) -> int:
        with self.database.transaction() as db:
            found = db.execute("DELETE FROM reservations WHERE id = ? RETURNING *", (reservation,)).fetchall()
            if not found:
                return 0
            held, used = found[0], usage or Usage()
            model = model or held["model"]
            tokens, nano = used.prompt_tokens + used.completion_tokens, self._nano(model, used)
            for key in json.loads(held["rows"]):
                _add(db, key, model=held["model"], tokens=-held["tokens"], nano=-held["nano_usd"], requests=-1)
                if usage:
                    _add(db, key, model=model, tokens=tokens, nano=nano, requests=1)
            return nano


def _row(account: str, period: str, tokens: int | None, usd: float | None, ends: datetime) -> _Row:
    return _Row(account, period, tokens, None if usd is None else round(usd * 1e9), ends.timestamp())


def _spent(db: Connection, row: _Row) -> tuple[int, int]:
    """Tokens and nano-dollars of a budget, of all models together."""
    sql = "SELECT coalesce(sum(tokens), 0), coalesce(sum(nano_usd), 0) FROM spending WHERE account = ? AND period = ?"
    tokens, nano = db.execute(sql, (row.account, row.period)).fetchone()
    return tokens, nano


def _fits(row: _Row, spent_tokens: int, spent_nano: int, *, tokens: int, nano: int) -> bool:
    """Whether a request fits; one that costs no money fits any money budget."""
    enough = row.tokens_limit is None or spent_tokens + tokens <= row.tokens_limit
    return enough and (row.nano_limit is None or nano == 0 or spent_nano + nano <= row.nano_limit)


def _share(row: _Row, tokens: int, nano: int) -> float:
    """How much of a budget is used up, of tokens or of money, whichever is more; a budget of nothing is used up."""
    pairs = [(used, limit) for used, limit in ((tokens, row.tokens_limit), (nano, row.nano_limit)) if limit is not None]
    return max((used / limit if limit else 1.0 for used, limit in pairs), default=0.0)


def _first(db: Connection, row: _Row) -> bool:
    """Whether this is the first warning about a budget, whichever process asks."""
    return db.execute("INSERT OR IGNORE INTO warned VALUES (?, ?)", (row.account, row.period)).rowcount == 1


def _add(db: Connection, key: tuple[str, str], *, model: str, tokens: int, nano: int, requests: int) -> None:
    sql = (
        "INSERT INTO spending VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens, "
        "nano_usd = nano_usd + excluded.nano_usd, requests = requests + excluded.requests"
    )
    db.execute(sql, (*key, model, tokens, nano, requests))
