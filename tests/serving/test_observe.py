"""What is counted: every step once, and no label that a client could fill."""

import time

import httpx

from tests.serving.conftest import Served


def metrics(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_an_answer_is_counted_by_step(client: httpx.Client) -> None:
    client.post("/v1/chat", json={"message": "How often are pumps serviced?", "stream": False})
    found = metrics(client)
    for step in ("embed", "retrieve", "rerank", "first_token", "generate", "total", "log"):
        assert found[f'ragkeep_answer_seconds_count{{step="{step}"}}'] == 1
    assert found['ragkeep_answers_total{outcome="answered"}'] == 1
    assert found['ragkeep_provider_tries_total{model="extractive",outcome="answered"}'] == 1
    assert found["ragkeep_retrieval_score_count"] == 1
    assert found['ragkeep_budget_verdicts_total{state="ok"}'] == 1
    assert (found["ragkeep_log_healthy"], found["ragkeep_release"], found["ragkeep_release_rejected"]) == (1, 1, 0)


def test_what_clients_choose_is_in_no_label(client: httpx.Client) -> None:
    before = len(metrics(client))
    for n in range(20):
        client.post("/v1/chat", json={"message": "pumps", "model": f"fuzz{n}", "stream": False})
        client.post("/v1/search", json={"query": "pumps", "workspace": f"fuzz{n}"})
        client.get(f"/v1/answers/fuzz{n}")
        client.get(f"/fuzz{n}")
        client.request(f"FUZZ{n}", "/v1/search")
    after = client.get("/metrics").text
    assert "fuzz" not in after.lower()
    once = len(metrics(client))
    client.post("/v1/chat", json={"message": "pumps", "model": "fuzz", "stream": False})
    assert len(metrics(client)) == once > before


def test_open_streams_are_counted_while_they_are(served: Served) -> None:
    client = served.client()
    with client.stream("POST", "/v1/chat", json={"message": "How often are pumps serviced?"}) as answer:
        assert "event-stream" in answer.headers["content-type"]
        list(answer.iter_lines())
    gone = time.monotonic() + 5
    while metrics(client)['ragkeep_streams_open{kind="sse"}'] and time.monotonic() < gone:
        time.sleep(0.01)
    assert metrics(client)['ragkeep_streams_open{kind="sse"}'] == 0


def test_refusals_by_rate_are_counted(served: Served) -> None:
    limits = served.app.state.server.limits
    limits.items = {kind: type(item)(1) for kind, item in limits.items.items()}
    client = served.client()
    codes = [client.post("/v1/search", json={"query": "pumps"}).status_code for _ in range(3)]
    assert codes == [200, 429, 429]
    assert metrics(client)["ragkeep_rate_limited_total"] == 2
