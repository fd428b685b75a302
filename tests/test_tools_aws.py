"""Against a real small server that answers as Amazon's EC2 and Lambda do, through boto3 itself."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkeep.errors import ConfigError
from ragkeep.tools import Done
from ragkeep.tools_aws import HIDDEN, aws_reader, hide
from tests.stores.amazon import Keys, Request, forget_aws, log_in, serving
from tests.test_tools import call, done

pytest.importorskip("boto3")
FUNCTIONS = {
    "Functions": [{"FunctionName": "nightly", "Environment": {"Variables": {"DB": "postgres://u:hunter2@db"}}}],
    "NextMarker": "more",
}


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    forget_aws(monkeypatch, tmp_path)
    log_in(monkeypatch, Keys("AKIDEXAMPLE", "secret"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    def answer(request: Request) -> tuple[int, Any]:
        if request.target.startswith("/2015-03-31/functions"):
            return 200, FUNCTIONS
        return 404, {"Message": "not here"}

    with serving(answer) as made:
        yield made


def asked(url: str, operation: str, service: str = "lambda", **parameters: Any) -> Done:
    reader = aws_reader(["lambda", "s3"], url=url)
    return done(call("aws", service=service, operation=operation, parameters=parameters), reader)


def test_what_there_is_is_told_without_secrets(url: str) -> None:
    found = asked(url, "ListFunctions")
    told = json.loads(found.text)
    assert told["Functions"][0] == {"FunctionName": "nightly", "Environment": HIDDEN}
    assert "hunter2" not in found.text


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("lambda", "DeleteFunction"), ("lambda", "Invoke"), ("lambda", "GetFunction"), ("s3", "GetObject"),
        ("s3", "list_buckets"), ("lambda", "ListNothing"), ("ec2", "DescribeInstances"), ("lambda", "GetX; y"),
    ],
)  # fmt: skip
def test_what_writes_or_hands_out_secrets_is_not_done(url: str, service: str, operation: str) -> None:
    found = asked(url, operation, service)
    assert not found.ok
    assert found.text != "aws failed."


def test_amazons_refusal_is_told(url: str) -> None:
    assert "could not do this" in asked(url, "GetAccountSettings").text
    assert "Unknown parameter" in asked(url, "ListFunctions", Nonsense=1).text


def test_services_of_secrets_cannot_be_named() -> None:
    with pytest.raises(ConfigError, match="secretsmanager"):
        aws_reader(["ec2", "secretsmanager"])


def test_what_looks_like_a_secret_is_hidden_anywhere() -> None:
    told = hide({"a": ["AKIAABCDEFGHIJKLMNOP", {"DbPassword": "x", "NextToken": "t"}], "u": "https://me:pw@host/"})
    assert told == {"a": [HIDDEN, {"DbPassword": HIDDEN, "NextToken": "t"}], "u": f"https://{HIDDEN}@host/"}
