"""Budgets: reserved before the call, settled after it, kept by kills, and overspent by nobody."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragkeep.budget import Budgets, price_table
from ragkeep.config import GeneratorParams
from ragkeep.database import Database
from ragkeep.serving.params import Allowance, BudgetParams
from ragkeep.types import Usage

LARGE = GeneratorParams("openai", "large", price_in=5.0, price_out=15.0)
SMALL = GeneratorParams("openai", "small", price_in=0.15, price_out=0.6)
FREE = GeneratorParams("extractive", "free")
ASKED = Usage(1000, 1000)  # large: 0.02 dollars, small: 0.00075


class Clock:
    def __init__(self, day: int = 21) -> None:
        self.now = datetime(2026, 11, day, 12, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def budgets(
    folder: Path,
    allowance: Allowance,
    *generators: GeneratorParams,
    clock: Clock | None = None,
    rooms: dict[str, Allowance] | None = None,
) -> Budgets:
    params = BudgetParams(key=allowance, workspaces=rooms or {})
    prices = price_table(generators or (LARGE, SMALL, FREE))
    return Budgets(Database(folder / "serving.sqlite"), params, prices=prices, clock=clock or Clock())


def test_costs_are_prices_times_tokens(tmp_path: Path) -> None:
    made = budgets(tmp_path, Allowance())
    for _ in range(3):
        verdict = made.reserve("key:a", "docs", model="small", usage=ASKED)
        assert made.settle(verdict.reservation, usage=Usage(333, 77)) == pytest.approx((333 * 0.15 + 77 * 0.6) / 1e6)
    assert made.by_model("workspace:docs", "2026-11") == {"small": (3 * 410, pytest.approx(3 * 96.15e-6))}
    assert made.by_model("payer:key:a", "2026-11-21") == made.by_model("workspace:docs", "2026-11")
    assert made.cost_usd("large", ASKED) == pytest.approx(0.02)
    assert made.cost_usd("unknown", ASKED) == 0


def test_a_budget_warns_and_then_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = budgets(tmp_path, Allowance(day_usd=0.1), LARGE, SMALL)
    seen = []
    for _ in range(9):
        verdict = made.reserve("key:a", "docs", model="large", usage=ASKED)
        made.settle(verdict.reservation, usage=ASKED)
        seen.append((verdict.state, verdict.model))
    assert seen[:5] == [("ok", "large")] * 4 + [("warn", "large")]
    assert seen[5:] == [("refuse", "")] * 4
    assert verdict.retry_after_s == 12 * 3600
    assert [record.message for record in caplog.records] == ["payer:key:a has used 80 % of its budget for 2026-11-21"]


def test_what_is_left_goes_to_the_dearest_model_that_fits(tmp_path: Path) -> None:
    made = budgets(tmp_path, Allowance(day_usd=0.021))
    seen = []
    for _ in range(4):
        verdict = made.reserve("key:a", "docs", model="large", usage=ASKED)
        made.settle(verdict.reservation, usage=ASKED)
        seen.append((verdict.state, verdict.model))
    assert seen == [("ok", "large"), ("cheaper", "small"), ("cheaper", "free"), ("cheaper", "free")]


def test_tokens_run_out_for_every_model(tmp_path: Path) -> None:
    made = budgets(tmp_path, Allowance(month_tokens=3000))
    assert made.reserve("key:a", "docs", model="free", usage=ASKED).state == "ok"
    verdict = made.reserve("key:a", "docs", model="large", usage=ASKED)
    assert (verdict.state, verdict.reservation) == ("refuse", "")
    assert verdict.retry_after_s == 9.5 * 86_400
    assert made.reserve("key:b", "docs", model="free", usage=ASKED).state == "ok"


def test_a_workspace_has_its_own_budget_whoever_asks(tmp_path: Path) -> None:
    made = budgets(tmp_path, Allowance(), rooms={"docs": Allowance(day_tokens=2000)})
    assert made.reserve("key:a", "docs", model="free", usage=ASKED).state == "ok"
    assert made.reserve("key:b", "docs", model="free", usage=ASKED).state == "refuse"
    assert made.reserve("key:b", "notes", model="free", usage=ASKED).state == "ok"


def test_a_request_that_failed_costs_nothing(tmp_path: Path) -> None:
    made = budgets(tmp_path, Allowance(day_tokens=2000))
    for _ in range(5):
        verdict = made.reserve("key:a", "docs", model="large", usage=ASKED)
        assert verdict.state == "ok"
        made.release(verdict.reservation)
    assert all((one.tokens, one.usd, one.requests) == (0, 0, 0) for one in made.spent("key:a", "docs"))


def test_settling_counts_once_and_by_the_model_that_answered(tmp_path: Path) -> None:
    made = budgets(tmp_path, Allowance())
    verdict = made.reserve("key:a", "docs", model="large", usage=ASKED)
    assert made.settle(verdict.reservation, usage=Usage(10, 10), model="small") > 0
    assert made.settle(verdict.reservation, usage=Usage(10, 10)) == 0
    made.release(verdict.reservation)
    assert made.by_model("payer:key:a", "2026-11")["small"] == (20, pytest.approx(7.5e-6))


def test_a_new_day_and_a_new_month_begin_with_nothing_spent(tmp_path: Path) -> None:
    clock = Clock(30)
    made = budgets(tmp_path, Allowance(day_tokens=2000, month_tokens=4000), clock=clock)
    assert made.reserve("key:a", "docs", model="free", usage=ASKED).state == "ok"
    assert made.reserve("key:a", "docs", model="free", usage=ASKED).state == "refuse"
    clock.now += 86_400
    assert made.reserve("key:a", "docs", model="free", usage=ASKED).state == "ok"
    assert [one.period for one in made.spent("key:a", "docs")] == ["2026-12-01", "2026-12", "2026-12-01", "2026-12"]


def test_a_request_over_midnight_is_settled_in_the_day_it_began(tmp_path: Path) -> None:
    clock = Clock()
    made = budgets(tmp_path, Allowance(day_tokens=5000), clock=clock)
    verdict = made.reserve("key:a", "docs", model="free", usage=ASKED)
    clock.now += 86_400
    made.settle(verdict.reservation, usage=Usage(5, 5))
    assert made.by_model("payer:key:a", "2026-11-21") == {"free": (10, 0.0)}
    assert made.spent("key:a", "docs")[0].tokens == 0


@pytest.mark.parametrize("limit", [0, 100_000])
def test_a_thousand_parallel_requests_overspend_by_nothing(tmp_path: Path, limit: int) -> None:
    servers = [budgets(tmp_path, Allowance(day_tokens=limit)) for _ in range(4)]

    def ask(n: int) -> int:
        made = servers[n % 4]
        verdict = made.reserve("key:a", "docs", model="large", usage=ASKED)
        if verdict.state == "refuse":
            return 0
        made.settle(verdict.reservation, usage=Usage(1000, 900))
        return 1900

    with ThreadPoolExecutor(32) as pool:
        used = sum(pool.map(ask, range(1000)))
    assert limit - 2000 <= used <= limit
    assert servers[0].spent("key:a", "docs")[0].tokens == used


PROCESS = """
import pathlib, sys
from ragkeep.budget import Budgets
from ragkeep.database import Database
from ragkeep.serving.params import Allowance, BudgetParams
from ragkeep.types import Usage
database = Database(pathlib.Path(sys.argv[1]))
made = Budgets(database, BudgetParams(workspace=Allowance(month_tokens=50_000)), prices={})
states = [made.reserve(f"key:{n % 7}", "docs", model="m", usage=Usage(500, 500)).state for n in range(int(sys.argv[2]))]
print(sum(state != "refuse" for state in states), flush=True)
sys.stdin.read()
"""


def test_processes_share_a_budget_and_a_kill_gives_nothing_back(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "serving.sqlite"), "40"]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    let_in = 0
    for worker in workers:
        assert worker.stdout
        let_in += int(worker.stdout.readline())
        worker.kill()
        worker.communicate()
    assert let_in == 50
    params = BudgetParams(workspace=Allowance(month_tokens=50_000))
    again = Budgets(Database(tmp_path / "serving.sqlite"), params, prices={})
    assert again.reserve("key:0", "docs", model="m", usage=Usage(500, 500)).state == "refuse"


def test_one_process_warns_for_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    servers = [budgets(tmp_path, Allowance(day_tokens=10_000)) for _ in range(3)]
    for _ in range(4):
        servers[0].reserve("key:a", "docs", model="free", usage=ASKED)
    servers[1].reserve("key:a", "docs", model="free", usage=Usage(10, 0))
    assert servers[2].reserve("key:a", "docs", model="free", usage=Usage(10, 0)).state == "warn"
    assert len(caplog.records) == 1
