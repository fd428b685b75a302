"""The starters of single servers: PostgreSQL and S3 let nobody in without the password, and data outlive a restart."""

import http.client
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from redis import AuthenticationError, Redis

from infra.local import dynamodb, moto, postgres, redis, s3
from infra.local.errors import LocalError
from infra.local.single import Server, Service, run
from tests import services


@contextmanager
def started(service: Service, folder: Path) -> Iterator[Server]:
    server = Server(service, folder)
    try:
        with services.skipping_what_is_unavailable():
            server.up(0)
        yield server
    finally:
        server.down(wipe=True)


def query(url: str, sql: str) -> str:
    psql = [str(postgres.programs() / "psql"), url, "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]
    ran = subprocess.run(psql, capture_output=True, text=True, env={**os.environ, "PGCONNECT_TIMEOUT": "10"})
    return (ran.stdout + ran.stderr).strip()


def test_postgres_has_vectors_and_keeps_its_data(tmp_path: Path) -> None:
    with started(postgres.SERVICE, tmp_path / "data") as server:
        url = server.settings()["POSTGRES_URL"]
        assert query(url, "select '[1,2]'::vector <-> '[4,6]'") == "5"
        query(url, "create table kept as select 7 as n")
        server.down(wipe=False)
        server.up(server.port)
        assert query(url, "select n from kept") == "7"
        assert "password authentication failed" in query(url.replace("ragkeep:", "ragkeep:wrong"), "select 1")


@pytest.mark.slow  # builds the gateway where that has not been done
def test_s3_answers_only_who_signs(tmp_path: Path) -> None:
    with started(s3.SERVICE, tmp_path / "data") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("PUT", "/bucket")
        assert connection.getresponse().status == 403
        connection.close()
        assert server.settings()["AWS_ENDPOINT_URL_S3"] == f"http://127.0.0.1:{server.port}"


def client(server: Server, name: str) -> Any:
    where = server.settings()
    url = where.get("AWS_ENDPOINT_URL") or where[f"AWS_ENDPOINT_URL_{name.upper()}"]
    keys = {"aws_access_key_id": where["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": where["AWS_SECRET_ACCESS_KEY"]}
    return boto3.Session().client(name, endpoint_url=url, region_name=where["AWS_DEFAULT_REGION"], **keys)


def test_dynamodb_keeps_its_tables(tmp_path: Path) -> None:
    with started(dynamodb.SERVICE, tmp_path / "data") as server:
        client(server, "dynamodb").create_table(
            TableName="kept",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        server.down(wipe=False)
        server.up(server.port)
        assert client(server, "dynamodb").list_tables()["TableNames"] == ["kept"]


def test_dynamodb_is_pinned_artifact_by_artifact() -> None:
    found = dynamodb.artifacts()
    assert f"software.amazon.dynamodb:DynamoDBLocal:{dynamodb.VERSION}" in {one.coordinate for one in found}
    assert all(re.fullmatch("[0-9a-f]{64}", one.sha256) for one in found)


def test_moto_speaks_sqs(tmp_path: Path) -> None:
    with started(moto.SERVICE, tmp_path / "data") as server:
        url = client(server, "sqs").create_queue(QueueName="work")["QueueUrl"]
        assert client(server, "sqs").list_queues()["QueueUrls"] == [url]


def test_redis_keeps_its_keys_and_asks_for_the_password(tmp_path: Path) -> None:
    with started(redis.SERVICE, tmp_path / "data") as server:
        where = server.settings()
        with Redis.from_url(where["REDIS_URL"], password=where["RAGKEEP_REDIS_PASSWORD"]) as client:
            client.set("kept", "7")
        server.down(wipe=False)
        server.up(server.port)
        with Redis.from_url(where["REDIS_URL"], password=where["RAGKEEP_REDIS_PASSWORD"]) as client:
            assert client.get("kept") == b"7"
        with Redis.from_url(where["REDIS_URL"]) as stranger, pytest.raises(AuthenticationError):
            stranger.get("kept")


BROKEN = Service(
    "broken",
    port=1,
    prepare=lambda _: None,
    command=lambda _, port: ["sh", "-c", "echo no room for it; exit 1"],
    environment=lambda _: {},
    settings=lambda _, port: {},
)


def test_a_server_that_ends_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="broken ended: no room for it"):
        Server(BROKEN, tmp_path / "data").up(0)


def test_a_taken_port_and_a_missing_server_are_one_clear_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run(BROKEN, "", ["up", "--port", str(port), "--data", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err == (
        f"error: port {port} is taken: choose another with --port, or --port 0 for any free one\n"
    )
    for command in ("status", "env"):
        assert run(BROKEN, "", [command, "--data", str(tmp_path / "none")]) == 1
        assert capsys.readouterr().err.startswith("error: ")
    assert run(BROKEN, "", ["down", "--data", str(tmp_path / "none")]) == 0


def test_a_session_shares_one_server(postgres_url: str) -> None:
    assert query(postgres_url, "select 1") == "1"
    assert services.shared(postgres.SERVICE)["POSTGRES_URL"] == postgres_url


def test_passwords_are_for_their_owner_only(tmp_path: Path) -> None:
    with started(postgres.SERVICE, tmp_path / "data"):
        assert (tmp_path / "data" / "password").stat().st_mode & 0o077 == 0
