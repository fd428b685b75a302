"""Many requests at once against one budget: it is overspent by one request at most, and nothing else goes wrong."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from ragkeep.config import load_params
from tests.serving.conftest import serve
from tests.serving.published import project, publish
from tests.sizes import sizes

PARALLEL = 50
ASK = {"message": "How often are pumps serviced?", "stream": False}


@sizes(40, 1000, slow=False)
def test_a_budget_holds_under_parallel_requests(tmp_path: Path, size: int) -> None:
    """A quarter of the requests fit by what they use, a few at a time by what each sets aside for the longest answer."""
    _, each = asked(tmp_path / "one", 1)
    answer = load_params(tmp_path / "one" / "params.yaml").answer
    most = answer.context_tokens + answer.history_tokens + answer.sampling.max_tokens
    budget = most + each * size // 4
    codes, used = asked(tmp_path / "many", size, day_tokens=budget)
    assert set(codes) == {200, 429}
    assert codes[200] * each == used <= budget + each


def asked(root: Path, requests: int, **budget: int) -> tuple[Counter[int], int]:
    """Ask a new server so many times at once; return the statuses, and the tokens that are booked."""
    limits = {"key_per_minute": 0, "workspace_per_minute": 0}
    paths = project(root, limits=limits, budgets={"workspace": budget} if budget else {})
    publish(paths)
    codes, booked = Counter[int](), 0
    for served in serve(paths):
        client = served.client()
        with ThreadPoolExecutor(PARALLEL) as pool:
            codes.update(pool.map(status, [client] * requests))
        booked = max(row["tokens"] for row in client.get("/v1/me").json()["spent"])
    return codes, booked


def status(client: httpx.Client) -> int:
    return client.post("/v1/chat", json=ASK, timeout=300).status_code
