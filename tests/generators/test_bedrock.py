"""The stand-in speaks as Amazon does: boto3 itself reads it; and what is sent, boto3 would send."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import GeneratorParams
from ragkeep.errors import ConfigError, ProviderRefused
from ragkeep.generators.bedrock import bedrock, payload
from ragkeep.ports import Request
from ragkeep.types import Message, Sampling, ToolCall
from tests.contracts.test_generator import SEARCH, collect, request
from tests.providers import KEYS, MODELS, REGION, REPLY, Provider, provider
from tests.stores.amazon import forget_aws, log_in

boto3 = pytest.importorskip("boto3")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Provider]:
    forget_aws(monkeypatch, tmp_path)
    log_in(monkeypatch, KEYS)
    with provider("bedrock") as made:
        yield made


def client(there: Provider) -> Any:
    return boto3.Session().client("bedrock-runtime", region_name=REGION, endpoint_url=there.url)


def test_boto3_reads_the_stand_in(there: Provider) -> None:
    said = client(there).converse_stream(
        modelId=MODELS["bedrock"],
        messages=[{"role": "user", "content": [{"text": "?"}]}],
        inferenceConfig={"maxTokens": 50},
    )
    deltas = [event["contentBlockDelta"]["delta"] for event in said["stream"] if "contentBlockDelta" in event]
    assert "".join(delta["text"] for delta in deltas) == REPLY


def test_what_is_sent_is_valid_by_amazons_own_model() -> None:
    asked = request(tools=(SEARCH,))
    turns = (
        Message("assistant", "", calls=(ToolCall("c1", "search", {"query": "a"}), ToolCall("c2", "search", {}))),
        Message("tool", "one", call_id="c1"),
        Message("tool", "", call_id="c2"),
    )
    asked = Request(asked.question, asked.hits, asked.messages + turns, asked.tools)
    body = payload(MODELS["bedrock"], asked, Sampling(100, 0.5, 0.9, 40, ("a", "b", "c", "d", "e", "\n")))
    shape = (
        boto3.Session()
        .client("bedrock-runtime", region_name=REGION)
        .meta.service_model.operation_model("ConverseStream")
        .input_shape
    )
    from botocore.validate import ParamValidator

    assert ParamValidator().validate({"modelId": "m", **body}, shape).has_errors() is False
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["additionalModelRequestFields"] == {"top_k": 40}


def test_top_k_goes_where_a_family_has_it() -> None:
    def extra(model: str) -> Any:
        return payload(model, request(), Sampling(top_k=5)).get("additionalModelRequestFields")

    assert extra("amazon.nova-lite-v1:0") == {"inferenceConfig": {"topK": 5}}
    assert extra("meta.llama3-8b-instruct-v1:0") is None


def test_a_bedrock_key_is_sent_instead_of_a_signature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path)
    monkeypatch.setenv("BEDROCK_KEY", "a-key")
    with provider("bedrock") as there, pytest.raises(ProviderRefused, match="Missing Authentication"):
        collect(there.generator(key="BEDROCK_KEY"), request())  # the stand-in knows signatures alone


def test_without_credentials_nothing_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match="AWS credentials"):
        bedrock(GeneratorParams("bedrock", model="m", region=REGION), params=None)  # type: ignore[arg-type]


def test_sagemaker_is_read_by_boto3_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path)
    log_in(monkeypatch, KEYS)
    with provider("sagemaker") as there:
        asked = boto3.Session().client("sagemaker-runtime", region_name=REGION, endpoint_url=there.url)
        body = b'{"messages": [], "max_tokens": 50}'
        said = asked.invoke_endpoint_with_response_stream(
            EndpointName=MODELS["sagemaker"], Body=body, ContentType="application/json"
        )
        assert b"data: [DONE]" in b"".join(event["PayloadPart"]["Bytes"] for event in said["Body"])
