"""What the last look found, in the operations API and the metrics."""

from typing import Any

import httpx

from ragkeep.files import append_row, write_json
from ragkeep.watched import PARTS
from tests.serving.conftest import Served
from tests.serving.test_observe import metrics

LOOKED: dict[str, Any] = {
    "at": "2026-11-21T02:10:00+00:00", "release": "1", "alarms": ["questions"],
    "figures": {"recall_at_10": 0.99, "questions_auc": 0.81}, "questions": {"alarm": True},
}  # fmt: skip


def test_before_the_first_look_there_is_none(client: httpx.Client) -> None:
    assert client.get("/v1/ops/monitor").json() == {"last": None, "history": [], "alerts": []}
    assert metrics(client)["ragkeep_monitor_time_seconds"] == 0


def test_the_last_look_its_history_and_open_alerts_are_shown(served: Served) -> None:
    paths, client = served.paths, served.client()
    alert = {"alert": "questions", "severity": "warning", "summary": "s", "action": "a", "since": LOOKED["at"]}
    write_json(paths.monitor / "last.json", LOOKED)
    append_row(paths.monitor / "history.jsonl", {"at": LOOKED["at"], "recall_at_10": 0.99})
    over = alert | {"state": "resolved", "knows": ["x"]}
    write_json(paths.state / "alerts.json", {"questions": alert | {"state": "firing", "knows": []}, "recall": over})
    found = client.get("/v1/ops/monitor").json()
    assert found["last"] == LOOKED
    assert found["history"][0]["recall_at_10"] == 0.99
    assert found["alerts"] == [alert]


def test_damaged_files_cost_nothing_but_themselves(served: Served) -> None:
    paths, client = served.paths, served.client()
    (paths.monitor / "last.json").parent.mkdir(parents=True, exist_ok=True)
    (paths.monitor / "last.json").write_text("{")
    (paths.state / "alerts.json").write_text('{"recall": {"state": "firing"}, "night": 3}')
    (paths.monitor / "history.jsonl").write_text('{"at": "2026-11\n\n[1]\n{"recall_at_10": 0.99}\n')
    assert client.get("/v1/ops/monitor").json() == {"last": None, "history": [{"recall_at_10": 0.99}], "alerts": []}
    (paths.state / "alerts.json").write_text("[")
    assert client.get("/v1/ops/monitor").json()["alerts"] == []


def test_figures_and_alarms_are_metrics(served: Served) -> None:
    write_json(served.paths.monitor / "last.json", LOOKED)
    found = metrics(served.client())
    assert found['ragkeep_monitor{figure="recall_at_10"}'] == 0.99
    assert [found[f'ragkeep_monitor_alarm{{part="{part}"}}'] for part in PARTS] == [0, 0, 1, 0, 0]
    (served.paths.monitor / "last.json").write_text("{")
    assert served.client().get("/metrics").status_code == 200
