"""Watching as part of the night: what a look finds becomes alerts, and neither ever costs a night."""

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import start, watch
from flows.unchanged import remember
from ragkeep.config import AlertParams, Params, Paths
from ragkeep.doctor import _embedder
from ragkeep.errors import EmbedderMoved, RagkeepError, ValidationFailed
from ragkeep.releases import NOT_UP, append_history
from ragkeep.watched import PARTS, firing, looks
from tasks import monitor
from tests.tasks.live import HASHED, PUMPS, move_embedder, publish, sentences

RESULT: dict[str, Any] = {
    "release": "1", "published": True, "verdict": "pass", "reasons": [], "scores": {},
    "documents": {"seen": 1, "changed": 0, "deleted": 0, "quarantined": 0}, "chunks": {"total": 1, "embedded": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("live"), sentences(PUMPS, 20)).root


@pytest.fixture
def paths(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    shutil.copytree(published, tmp_path / "project")
    (tmp_path / "project" / "params.yaml").write_text("sources: [{name: docs, path: docs}]\nembed: {backend: hash}\n")
    return Paths(tmp_path / "project")


@pytest.fixture
def params(paths: Paths) -> Params:
    """A command that adds what it is told to a file."""
    script = f"import sys; open({str(paths.root / 'told')!r}, 'a').write(sys.stdin.read() + chr(10))"
    hook = AlertParams("command", command=(sys.executable, "-c", script), timeout_s=60)
    return replace(HASHED, alerts=(hook,))


def told(paths: Paths) -> list[tuple[str, str]]:
    lines = (paths.root / "told").read_text().splitlines() if (paths.root / "told").exists() else []
    return [(row["alert"], row["state"]) for row in map(json.loads, lines)]


def test_a_young_look_is_not_had_again(paths: Paths, params: Params) -> None:
    first = watch.look(paths, params)
    assert watch.look(paths, params) == first
    assert len(looks(paths)) == 1
    assert watch.look(paths, params, fresh=False) != first
    assert len(looks(paths)) == 2


def test_a_look_of_a_persons_does_not_keep_the_night_from_its_own(paths: Paths, params: Params) -> None:
    assert monitor.look(paths, params, draw=False)["recall"]["alarm"] is None
    found = watch.look(paths, params)
    assert found
    assert found["recall"]["value"] == 1.0
    assert len(looks(paths)) == 2


def test_an_unchanged_night_looks_and_says_what_it_found(paths: Paths, params: Params) -> None:
    remember(paths, start.fingerprint(paths, params), RESULT)
    result = start.start(paths, params)
    assert (result["verdict"], result["monitor"]["recall_at_10"], result["monitor"]["alarms"]) == ("unchanged", 1.0, [])
    assert told(paths) == []


def test_another_embedder_stops_even_a_night_without_news(paths: Paths, params: Params) -> None:
    remember(paths, start.fingerprint(paths, params), RESULT)
    monitor.require_same_embedder(paths, params)
    move_embedder(paths, 0.4)
    with pytest.raises(EmbedderMoved, match="makes other vectors"):
        start.start(paths, params)
    assert told(paths) == [("night", "firing"), ("embedder", "firing")]
    with pytest.raises(RagkeepError, match="moved by a cosine distance of 0"):
        _embedder(paths, params)
    monitor.accept_embedder(paths, params)
    watch.before_night(paths, params)
    watch.told(paths, params, RESULT, watch.look(paths, params, fresh=False))
    assert told(paths)[2:] == [("night", "resolved"), ("embedder", "resolved")]


def test_a_refused_night_is_told_until_one_passes(paths: Paths, params: Params) -> None:
    refused = RESULT | {"verdict": "fail", "reasons": ["rr fell from 0.5 to 0.1"]}
    for _ in range(2):
        watch.told(paths, params, refused, None)
    assert "rr fell" in firing(paths)["gate"]["summary"]
    watch.told(paths, params, RESULT, None)
    assert told(paths) == [("gate", "firing"), ("gate", "resolved")]


def test_a_night_that_stops_is_told_and_leaves_other_alarms_alone(paths: Paths, params: Params) -> None:
    watch.told(paths, params, RESULT | {"verdict": "fail"}, None)
    watch.failed(paths, params, ValidationFailed("validate: 3 documents where 903 were live"))
    assert set(firing(paths)) == {"gate", "night"}
    assert firing(paths)["night"]["severity"] == "critical"


def test_a_release_taken_back_by_the_server_is_told_and_one_by_a_person_is_not(paths: Paths, params: Params) -> None:
    event = {"id": "1", "at": "2026-11-21T02:00:00Z", "action": "rollback", "from": 2, "to": 1, "who": "ana"}
    append_history(paths, event | {"reason": "answers got shorter"})
    watch.moved(paths, params)
    assert told(paths) == []
    append_history(paths, event | {"id": "2", "reason": f"{NOT_UP}: IndexMissing"})
    watch.moved(paths, params)
    assert "release 2 was taken back by itself, release 1 answers" in firing(paths)["rollback"]["summary"]
    append_history(paths, event | {"id": "3", "action": "publish", "from": 1, "to": 3, "reason": "pass"})
    watch.told(paths, params, RESULT, None)
    assert told(paths) == [("rollback", "firing"), ("rollback", "resolved")]


def test_alarms_of_a_look_are_told_and_what_cannot_be_told_stays(paths: Paths, params: Params) -> None:
    found = watch.look(paths, params)
    assert found
    lost = found | {"recall": {"alarm": True, "value": 0.5, "floor": 0.95, "asked": 50}}
    watch.told(paths, params, RESULT, lost)
    watch.told(paths, params, RESULT, found | {"recall": {"alarm": None, "why": "too slow"}})
    assert "finds 0.500 of what it should" in firing(paths)["recall"]["summary"]
    watch.told(paths, params, RESULT, found)
    assert firing(paths) == {}


def test_every_part_that_can_raise_an_alarm_has_words_for_it(paths: Paths) -> None:
    parts: dict[str, Any] = {
        "embedder": {"distance": 0.003, "since": "today"},
        "recall": {"value": 0.5, "floor": 0.95},
        "questions": {"reasons": ["told apart from before"]},
        "documents": {"reasons": ["another mix of source"], "against": "3"},
        "feedback": {"before": "3", "difference": {"down": [0.05, 0.01, 0.09]}},
    }
    assert set(parts) == set(PARTS)
    found = {name: part | {"alarm": True} for name, part in parts.items()}
    troubles = watch._troubles(found)
    assert all(one and one.summary and one.action for one in troubles.values())
    assert troubles["feedback"].summary.endswith("+5.0 points")  # type: ignore[union-attr]


def test_learning_that_stops_or_is_refused_is_told(paths: Paths, params: Params) -> None:
    for verdict, alarm in (("stopped", True), ("refused", True), ("no gain", False)):
        watch.learned(paths, {"verdict": verdict, "reasons": ["x"]})
        assert ("learning" in firing(paths)) == alarm


def test_a_damaged_state_costs_no_night(paths: Paths, params: Params, caplog: pytest.LogCaptureFixture) -> None:
    paths.monitor.mkdir()
    (paths.monitor / "last.json").write_text("{")
    (paths.state / "alerts.json").write_text("[")
    found = watch.look(paths, params)
    assert found
    watch.told(paths, params, RESULT | {"verdict": "fail"}, found)
    assert "told anew" in caplog.text
    assert list(firing(paths)) == ["gate"]
