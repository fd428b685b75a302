"""The OpenAPI description is held to by schemathesis: no fault, no undocumented status, content type or shape."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.sizes import sizes

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance,
]  # fmt: skip
ASK = {"message": "How often are pumps serviced?"}
QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    paths = project(tmp_path / "project", limits={"key_per_minute": 0, "workspace_per_minute": 0})
    publish(paths)
    yield from serve(paths)


@sizes(4, 100)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_keeps_to_its_description(served: Served, mode: GenerationMode, size: int) -> None:
    headers = {"Authorization": f"Bearer {served.key()}"}
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    wrong = []
    for operation in (one.ok() for one in schema.get_all_operations()):

        @settings(QUIET, max_examples=size)
        @given(case=operation.as_strategy(generation_mode=mode))
        def hold_to(case: Any) -> None:
            case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKS)

        try:
            with suppress(Unsatisfiable):  # what takes no parameter cannot be called wrongly
                hold_to()
        except (FailureGroup, Exception) as error:
            wrong.append(f"{operation.label}: {error} {getattr(error, 'exceptions', '')}")
    assert wrong == [], "\n".join(wrong)


NULLS = [
    (
        "/v1/chat",
        {**ASK, "stream": False},
        ("session", "workspace", "model", "compare", "k", "filters", "mode", "sampling"),
    ),
    ("/v1/chat", {**ASK, "stream": False}, ("idempotency_key",)),
    ("/v1/search", {"query": ASK["message"]}, ("workspace", "k", "mode", "filters", "mmr")),
    ("/chat", ASK, ("context",)),
    ("/v1/embeddings", {"input": "x"}, ("model", "encoding_format", "dimensions", "input_type", "workspace")),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": ASK["message"]}]},
        ("model", "stream", "stream_options", "temperature", "top_p", "max_tokens", "stop", "n", "workspace"),
    ),
]


@pytest.mark.parametrize(("path", "body", "keys"), NULLS)
def test_null_says_what_leaving_out_says(served: Served, path: str, body: dict[str, Any], keys: tuple[str, ...]) -> None:
    client = served.client()
    plain, nulls = (client.post(path, json=said) for said in (body, {**body, **dict.fromkeys(keys)}))
    assert (plain.status_code, nulls.status_code) == (200, 200), nulls.text
    assert lasting(plain.json()) == lasting(nulls.json())


def lasting(said: Any) -> Any:
    """An answer without what differs from one to the next."""
    return {
        key: value for key, value in said.items()
        if key not in ("id", "answer_id", "session", "created", "seconds", "timings_ms", "trace_id")
    }  # fmt: skip


def test_a_null_is_refused_where_nothing_may_be_left_out(served: Served) -> None:
    client = served.client()
    assert client.post("/v1/chat", json={"message": None}).status_code == 422
    assert client.post("/v1/chat", json={**ASK, "nosuch": None}).status_code == 422
