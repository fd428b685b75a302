"""A line of JSON for every request and every record, with the request's ids, and without texts or secrets."""

import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ragkeep.serving import context, logs
from tests.serving.conftest import Served


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logging.disable(logging.NOTSET)  # whatever a library of an earlier test left behind
    logs.configure(stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def requests(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines of requests, the first of which may come a moment after its answer."""
    deadline = time.monotonic() + 20
    while '"ragkeep.requests"' not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    return [one for one in lines(stream) if one["logger"] == "ragkeep.requests"]


def test_a_request_is_a_line_with_its_ids(written: io.StringIO, client: httpx.Client) -> None:
    answer = client.post("/v1/search", json={"query": "pumps", "workspace": "default"})
    line = requests(written)[0]
    assert line["route"] == "/v1/search"
    assert (line["method"], line["status"], line["workspace"]) == ("POST", 200, "default")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert len(line["trace_id"]) == 32
    assert line["user"].startswith("key:")
    assert line["duration_ms"] > 0


def test_the_log_holds_no_question_and_no_answer(written: io.StringIO, client: httpx.Client) -> None:
    client.post("/v1/chat", json={"message": "How often are pumps serviced, zanzibar?", "stream": False})
    client.get("/v1/nothing/zanzibar?key=zanzibar")
    client.post("/v1/chat", json={"message": "zanzibar", "model": "zanzibar"})
    assert len(lines(written)) >= 3
    assert "zanzibar" not in written.getvalue()
    assert "vendor" not in written.getvalue()


def test_an_unexpected_error_is_counted_logged_and_found_by_its_id(written: io.StringIO, served: Served) -> None:
    served.app.state.server.limits = None  # breaks every route that asks for them
    answer = served.client().post("/v1/search", json={"query": "pumps"})
    said = answer.json()["error"]
    assert (answer.status_code, said["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] == said["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    (line,) = [one for one in lines(written) if "error" in one]
    assert line["request_id"] == said["request_id"]
    assert "AttributeError" in line["error"]
    assert 'status="500"' in served.client().get("/metrics").text


def test_records_of_libraries_come_out_alike_and_secrets_are_masked(written: io.StringIO) -> None:
    logs.configure(written)  # the only handler: what pytest captures of a lone surrogate cannot be sent to its controller
    key = "rk_0123456789ab_" + "s" * 43
    token = context.begin(request_id="r1")
    try:
        raise ValueError(f"bad {key}")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("GET /?key=%s\n\ud800", key)
    context.end(token)
    (line,) = lines(written)
    assert line["message"] == "GET /?key=***\n?"
    assert (line["level"], line["logger"], line["request_id"]) == ("error", "uvicorn.error", "r1")
    assert key not in written.getvalue()
    assert "bad rk_***" in line["error"]


def test_machines_that_ask_every_few_seconds_leave_no_lines(written: io.StringIO, client: httpx.Client) -> None:
    client.get("/health")
    client.get("/metrics")
    assert [one for one in lines(written) if one["logger"] == "ragkeep.requests"] == []
