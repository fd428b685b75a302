"""The catalog and the queue at AWS when it does not answer: one clear line, soon, and no key in it."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragkeep.catalogs import open_catalog
from ragkeep.errors import ConfigError, ServiceAway
from ragkeep.queues import open_queue
from ragkeep.serving.params import CatalogParams, QueueParams
from tests.stores.amazon import forget_aws

OPENERS: dict[str, Callable[[Path], Any]] = {
    "DynamoDB": lambda path: open_catalog(CatalogParams("dynamodb"), path),
    "SQS": lambda path: open_queue(QueueParams("sqs"), path),
}


@pytest.mark.parametrize("service", OPENERS)
def test_a_service_that_is_away_is_named(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "AKIASECRETID",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    for name, value in {**settings, "AWS_SECRET_ACCESS_KEY": "hunter2hunter2"}.items():
        monkeypatch.setenv(name, value)
    begin = time.monotonic()
    with pytest.raises(ServiceAway, match=f"{service} does not answer: try again") as error:
        OPENERS[service](tmp_path)
    assert time.monotonic() - begin < 20
    assert (error.value.status, error.value.code) == (503, "unavailable")
    assert not any(secret in str(error.value) + caplog.text for secret in ("hunter2", "AKIASECRETID"))


@pytest.mark.parametrize("service", OPENERS)
def test_without_a_log_in_it_says_how_to(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match="log in"):
        OPENERS[service](tmp_path)
