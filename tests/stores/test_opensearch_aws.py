"""How the store speaks with Amazon OpenSearch: signed requests, and errors about credentials in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import OpenSearchParams
from ragkeep.errors import ConfigError, StoreError
from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.opensearch_client import Cluster, Refused
from tests.stores.amazon import Amazon, Keys, log_in, only, serving

pytest.importorskip("boto3", reason="signing needs the extra [aws]")

REGION = "eu-central-2"
KEYS = Keys("AKIDEXAMPLE", "s3cret/with+signs")
BULK = b":)\n\x04\xfa\x85create\xfa\x82_id\xe4a\xfc\xfb\xfb\xff:)\n\x04\xfa\x82uri\xe4\xc3\xbc\xfc\xfb\xff"
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/", None),
    ("GET", "/ragkeep-index.*/_mapping?filter_path=*.mappings._meta", None),
    ("GET", "/_cluster/health/docs-1?wait_for_status=green&timeout=30s", None),
    ("GET", "/_alias/ragkeep-live.docs?b=2&a=1&a=0&flag&empty=&text=a%2Cb*c~d", None),
    ("POST", "/docs-1/_search?filter_path=hits.hits.sort,hits.hits._index", {"query": {"term": {"uri": "ü/語.md"}}}),
    ("POST", "/docs-1/_bulk?filter_path=errors,items.create.status", BULK),
    ("PUT", "/docs-1/_settings", {"index.blocks.write": None}),
    ("DELETE", "/docs-1", None),
]


@contextmanager
def cluster_at(url: str, **settings: Any) -> Iterator[Cluster]:
    asked = {"aws_service": "es", "aws_region": REGION, "timeout_s": 5.0, "max_retries": 0, "patience_s": 0.0}
    cluster = Cluster(OpenSearchParams(**{"hosts": (url,), **asked, **settings}))
    yield cluster
    cluster.close()


@pytest.mark.parametrize("service", ["es", "aoss"])
@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzE/+="])
def test_amazon_accepts_every_kind_of_request(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch, service: str, token: str | None
) -> None:
    keys = Keys(KEYS.access_key, KEYS.secret_key, token)
    log_in(monkeypatch, keys)
    amazon = Amazon(service, REGION, only(keys))
    with serving(amazon.answer) as url, cluster_at(url, aws_service=service) as cluster:
        for method, path, body in REQUESTS:
            cluster.ask(method, path, body)
    assert [(r.method, r.target) for r in amazon.passed] == [(method, path) for method, path, _ in REQUESTS]
    assert amazon.passed[5].body == REQUESTS[5][2]
    assert amazon.passed[5].headers["content-type"] == "application/smile"


@pytest.mark.parametrize(
    ("keys", "settings", "said"),
    [
        (Keys("AKIDEXAMPLE", "another"), {}, "signature we calculated does not match"),
        (Keys("AKIDOTHER", KEYS.secret_key), {}, "token included in the request is invalid"),
        (Keys("AKIDEXAMPLE", KEYS.secret_key, "old"), {}, "token included in the request is expired"),
        (KEYS, {"aws_region": "us-east-1"}, "scoped correctly.*aws_region"),
        (KEYS, {"aws_service": "aoss"}, "scoped correctly.*aws_service"),
    ],
)
def test_what_amazon_refuses_is_one_line_with_the_next_step(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, settings: dict[str, str], said: str
) -> None:
    log_in(monkeypatch, keys)
    amazon = Amazon("es", REGION, only(KEYS))
    refused = pytest.raises(Refused, match=rf"does not accept these AWS credentials .*{said}")
    with serving(amazon.answer) as url, cluster_at(url, **settings) as cluster, refused as error:
        cluster.ask("GET", "/_alias")
    assert "\n" not in str(error.value)
    assert keys.secret_key not in str(error.value)
    assert amazon.passed == []


def test_without_a_signature_amazon_refuses(no_aws: Path) -> None:
    amazon = Amazon("es", REGION, only(KEYS))
    with serving(amazon.answer) as url, cluster_at(url, aws_service="") as cluster, pytest.raises(Refused):
        cluster.ask("GET", "/_alias")
    assert amazon.refused == ["Missing Authentication Token"]


def test_a_request_changed_on_its_way_is_refused(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, KEYS)
    amazon = Amazon("es", REGION, only(KEYS))
    with serving(amazon.answer) as url, cluster_at(url) as cluster:
        cluster.ask("POST", "/docs-1/_search?size=3", {"query": {}})
    good = amazon.passed[0]
    changed = [(good.target, b"{}"), ("/docs-2/_search?size=3", good.body), ("/docs-1/_search?size=4", good.body)]
    wrong = [amazon.wrong(type(good)(good.method, target, good.headers, body)) for target, body in changed]
    assert wrong[0] == "The body is another"
    assert all("does not match" in said for said in wrong[1:])
    assert amazon.wrong(good) == ""


ISSUER = """
import datetime, json, pathlib, sys
count = pathlib.Path(sys.argv[1])
n = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(n))
if n > int(sys.argv[2]):
    sys.exit("the login has run out")
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)
print(json.dumps({"Version": 1, "AccessKeyId": f"AKID{n}", "SecretAccessKey": f"secret{n}", "SessionToken": f"token{n}",
    "Expiration": until.isoformat()}))
"""


def issue(config: Path, *, times: int) -> None:
    """Configure keys that are always about to run out; new ones are given out `times` times."""
    program = config.with_name("issue.py")
    program.write_text(ISSUER)
    command = f"{sys.executable} {program} {config.with_name('count')} {times}"
    config.write_text(f"[default]\nregion = {REGION}\ncredential_process = {command}\n")


def test_keys_that_run_out_are_renewed_between_two_requests(no_aws: Path) -> None:
    issue(no_aws, times=9)
    amazon = Amazon("es", REGION, lambda key: Keys(key, f"secret{key[4:]}", f"token{key[4:]}"))
    with serving(amazon.answer) as url, cluster_at(url, aws_region="") as cluster:
        for _ in range(3):
            cluster.ask("GET", "/_alias")
    tokens = [request.headers["x-amz-security-token"] for request in amazon.passed]
    assert len(set(tokens)) == 3


def test_keys_that_cannot_be_renewed_are_one_clear_error(no_aws: Path, capfd: pytest.CaptureFixture[str]) -> None:
    issue(no_aws, times=1)
    with (
        cluster_at("http://127.0.0.1:9") as cluster,
        pytest.raises(ConfigError, match=r"ran out .*aws sso login") as error,
    ):
        cluster.ask("GET", "/_alias")
    assert "\n" not in str(error.value)
    assert "the login has run out" in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("env", "config", "said"),
    [
        ({}, "[default]\nregion = x\n", r"AWS credentials and there are none: log in"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s3cret"}, "", "AWS region: name it in"),
        ({"AWS_PROFILE": "nobody"}, "", r"profile \(nobody\) could not be found"),
        ({"AWS_ACCESS_KEY_ID": "a"}, "", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_is_not_configured_is_named(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], config: str, said: str
) -> None:
    no_aws.write_text(config)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    refused = pytest.raises(ConfigError, match=f"Amazon OpenSearch needs .*{said}")
    with cluster_at("http://127.0.0.1:9", aws_region="") as cluster, refused as error:
        cluster.ask("GET", "/_alias")
    assert "s3cret" not in str(error.value)


def test_serverless_is_refused_before_anything_is_built() -> None:
    store = OpenSearchStore(OpenSearchParams(hosts=("http://127.0.0.1:9",), aws_service="aoss"))
    with pytest.raises(StoreError, match=r"Serverless cannot hold .*aws_service es"):
        store.create("docs-1", dim=8)
