"""The page of a night that stopped: why, what stays live, and only what this night did."""

import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows import report
from ragkeep.config import Paths
from ragkeep.errors import ValidationFailed
from ragkeep.files import write_json
from ragkeep.releases import point, save_release
from ragkeep.types import Fusion, IndexVersion, Release

ERROR = ValidationFailed("validate: 3 documents where 903 were live")
INDEX = IndexVersion("docs-a", "docs", "memory", "hash-2", 2, 1, "digest", built_at="2026-11-21T02:00:00Z")
RELEASE = Release(4, "sha", INDEX, Fusion(), "extractive", {}, "", "", {"ndcg_at_10": 0.5}, "evidence/sha", "pass")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    return Paths(tmp_path)


def stage(paths: Paths, name: str, *, ended_s_ago: float) -> None:
    path = paths.state / "stages" / f"{name}.json"
    write_json(path, {"seconds": 1.5, "cpu_seconds": 1.0})
    os.utime(path, (time.time() - ended_s_ago,) * 2)


def test_it_says_which_release_stays_live(paths: Paths) -> None:
    save_release(paths, RELEASE)
    save_release(paths, replace(RELEASE, number=5))
    point(paths, 4, previous=None, token=1)
    page = report.write_failure(paths, ERROR, began=time.monotonic())
    assert "The night stopped; release 4 stays live" in page.read_text()
    assert "3 documents where 903 were live" in report.markdown(page)


def test_without_a_release_nothing_is_live(paths: Paths) -> None:
    page = report.write_failure(paths, ERROR, began=time.monotonic())
    assert "nothing was live before, and nothing is" in page.read_text()


def test_it_lists_only_the_stages_of_this_night_in_the_order_they_ended(paths: Paths) -> None:
    stage(paths, "embed", ended_s_ago=86_400)
    stage(paths, "scan", ended_s_ago=20)
    stage(paths, "ingest", ended_s_ago=10)
    write_json(paths.state / "stages" / "validate.error.json", {"error": str(ERROR), "exit_code": 1})
    text = report.write_failure(paths, ERROR, began=time.monotonic() - 60).read_text()
    assert text.index('<th scope="row">scan') < text.index('<th scope="row">ingest')
    assert '<th scope="row">embed' not in text
    assert "validate.error" not in text


def test_it_is_said_in_the_log_of_a_scheduled_night(
    paths: Paths, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)  # Prefect, once imported, ends it there
    with caplog.at_level(logging.WARNING, logger="prefect.ragkeep"):
        page = report.write_failure(paths, ERROR, began=time.monotonic())
    (said,) = caplog.messages
    assert str(ERROR) in said
    assert str(page) in said
