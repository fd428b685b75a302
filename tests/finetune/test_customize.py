"""A customization job of Amazon Bedrock, against moto's server: files in S3, one job for the same rows."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from ragkeep.errors import ConfigError
from ragkeep.files import write_rows
from tasks.finetune.config import Place
from tasks.finetune.customize import customize
from tests.finetune.conftest import Make

ROWS = [{"instruction": "What is it?", "input": "The pump.", "output": "A pump."}]


@pytest.fixture
def place(make: Make, moto: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Place:
    for key, value in moto.items():
        monkeypatch.setenv(key, value)
    bedrock = {"base_model": "amazon.titan-text-lite-v1", "role": "arn:aws:iam::123456789012:role/tune",
               "bucket": f"rows-{uuid.uuid4().hex[:8]}", "region": "us-east-1", "hyper": {"epochCount": "1"}}  # fmt: skip
    made = make(bedrock=bedrock, format={"system": "Be short."})
    client("s3").create_bucket(Bucket=made.params.bedrock.bucket)
    write_rows(made.train, ROWS)
    write_rows(made.eval, ROWS)
    return made


def client(service: str) -> Any:
    import boto3

    return boto3.Session().client(service, region_name="us-east-1")


def test_rows_are_uploaded_and_one_job_is_started(place: Place) -> None:
    first = customize(place)
    assert first["status"] in {"InProgress", "Completed"}
    assert customize(place)["job"] == first["job"]  # a second run asks for the same job
    jobs = client("bedrock").list_model_customization_jobs()["modelCustomizationJobSummaries"]
    assert [job["jobName"] for job in jobs].count(first["job"]) == 1
    bucket, _, key = first["files"][0].removeprefix("s3://").partition("/")
    line = json.loads(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert line == {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": "Be short."}],
        "messages": [
            {"role": "user", "content": [{"text": "What is it?\n\nThe pump."}]},
            {"role": "assistant", "content": [{"text": "A pump."}]},
        ],
    }


def test_a_dry_run_starts_nothing(place: Place) -> None:
    assert customize(place, dry_run=True)["would_write"][0].startswith("s3://rows-")
    assert client("s3").list_objects_v2(Bucket=place.params.bedrock.bucket)["KeyCount"] == 0


def test_what_is_missing_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bedrock\.role is empty"):
        customize(make(bedrock={"base_model": "m"}))
