"""One trace from a request to the provider's own request, exported only where a collector is named."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ragkeep import tracing
from tests.serving.collector import Collector, collector
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
QUESTION = "How often are pumps serviced, zanzibar?"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield found


@pytest.fixture
def asked(there: Collector, tmp_path: Path) -> Iterator[Served]:
    """A server whose generator is a model behind HTTP."""
    paths = project(tmp_path / "project")
    raw = yaml.safe_load(paths.params.read_text())
    raw["answer"]["generators"] = [{"backend": "openai", "url": f"{there.url}/v1", "model": "small"}]
    raw["answer"]["cache"] = {"size": 10}
    paths.params.write_text(yaml.safe_dump(raw))
    publish(paths)
    yield from serve(paths)


def test_a_request_is_one_trace_down_to_the_provider(asked: Served, there: Collector) -> None:
    stop = tracing.start("test")
    headers = {"traceparent": CALLER}
    made = asked.client().post("/v1/chat", json={"message": QUESTION, "stream": False}, headers=headers).json()
    there.wait_for("POST /v1/chat")
    stop()
    assert {span.trace_id.hex() for span in there.spans} == {TRACE} == {made["trace_id"]}
    assert there.named("POST /v1/chat").parent_span_id.hex() == PARENT
    call = there.named("POST")
    assert there.above(call) == ["chat small", "invoke_agent ragkeep", "POST /v1/chat"]
    assert there.asked[0]["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    steps = {s.name.split()[0] for s in there.spans if there.above(s)[:1] == ["invoke_agent ragkeep"]}
    assert steps == {"guard", "cache", "embeddings", "retrieval", "chat", "log"}


def test_spans_hold_tokens_and_scores_and_no_text(asked: Served, there: Collector) -> None:
    stop = tracing.start("test")
    asked.client().post("/v1/chat", json={"message": QUESTION, "stream": False})
    there.wait_for("POST /v1/chat")
    stop()
    told = {a.key: a.value for span in there.spans for a in span.attributes}
    assert told["gen_ai.usage.output_tokens"].int_value == 5
    assert told["hits"].int_value == 3
    assert told["route"].string_value == "prose"
    assert told["best_score"].double_value > 0
    whole = "".join(str(span) for span in there.spans)
    assert "zanzibar" not in whole
    assert "serviced" not in whole


def test_a_failure_names_its_trace_and_the_span_its_kind(asked: Served, there: Collector) -> None:
    stop = tracing.start("test")
    there.status = 400
    answer = asked.client().post("/v1/chat", json={"message": QUESTION, "stream": False}, headers={"traceparent": CALLER})
    there.wait_for("POST /v1/chat")
    stop()
    assert answer.status_code == 502
    assert answer.json()["error"]["trace_id"] == TRACE
    kinds = {a.value.string_value for a in there.named("POST").attributes if a.key == "error.type"}
    assert kinds == {"ProviderRefused"}


def test_without_a_collector_nothing_is_recorded_and_a_callers_trace_is_passed_on(
    asked: Served, there: Collector
) -> None:
    headers = {"traceparent": CALLER}
    made = asked.client().post("/v1/chat", json={"message": QUESTION, "stream": False}, headers=headers).json()
    assert made["trace_id"] == TRACE
    assert there.asked[0]["traceparent"] == CALLER
    assert there.spans == []


@pytest.mark.parametrize(
    "value", ["", "none", CALLER.upper(), CALLER[:-1], "00-" + "0" * 32 + CALLER[35:], "ff" + CALLER[2:]]
)
def test_a_header_that_is_no_traceparent_begins_a_new_trace(value: str) -> None:
    with tracing.entered(value) as trace:
        assert len(trace) == 32
        assert trace != TRACE
        assert tracing.headers() == {}


def test_sampling_follows_the_sdks_variables(there: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    stop = tracing.start("test")
    with tracing.entered("") as trace, tracing.span("step"):
        assert tracing.headers()["traceparent"].startswith(f"00-{trace}-")
        assert not int(tracing.headers()["traceparent"][-2:], 16) & 1  # not sampled
    stop()
    assert there.spans == []


def test_requests_of_boto3_carry_the_trace(there: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    session = boto3.Session("AKIDEXAMPLE", "secret", region_name="eu-central-1")
    tracing.follow_boto(session)
    with tracing.entered(CALLER):
        session.client("lambda", endpoint_url=there.url).invoke(FunctionName="f", Payload=b"{}")
    assert there.asked[0]["traceparent"] == CALLER


def test_nothing_of_opentelemetry_is_imported_where_nothing_is_traced() -> None:
    program = (
        "import sys; from ragkeep import tracing; stop = tracing.start('x', {});\n"
        "with tracing.entered(''), tracing.span('a'): pass\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
