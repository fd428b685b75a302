"""Servers that several rooms' tests share; see tests/services.py."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from infra.local import dynamodb as dynamodb_starter
from infra.local import moto as moto_starter
from infra.local import postgres
from infra.local import redis as redis_starter
from infra.local import s3 as s3_starter
from infra.local.opensearch.client import Access
from tests import services

LEADING = ("RAGKEEP_", "AWS_", "MLFLOW_TRACKING_", "PREFECT_")

settings.register_profile("steady", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a script's background, also for what tests start
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        os.environ[services.SESSION] = str(os.getpid())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes: two workers then end together."""
    long = {item.path for item in items if item.get_closest_marker("slow") or item.path.parent.name == "e2e"}
    items.sort(key=lambda item: item.path not in long)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        services.stop_all()


@pytest.fixture(autouse=True)
def _no_variable_left_behind() -> Iterator[None]:
    """A variable that says where something is, left behind by one test, sends the next one there."""

    def leading() -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if k.startswith(LEADING) and k != services.SESSION}

    before = leading()
    yield
    assert leading() == before


@pytest.fixture(scope="session")
def opensearch() -> Access:
    """URLs of a real OpenSearch without security; skipped with the reason where Java or Maven is missing."""
    return services.shared_opensearch()


@pytest.fixture(scope="session")
def secure_opensearch() -> Access:
    """URLs, user, password and CA file of a real OpenSearch with TLS and users."""
    return services.shared_opensearch(secure=True)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of a real PostgreSQL with pgvector; a test makes a schema of its own."""
    return services.shared(postgres.SERVICE)["POSTGRES_URL"]


@pytest.fixture(scope="session")
def s3() -> dict[str, str]:
    """Environment variables for clients of a real S3 endpoint, keys included; a test makes a bucket of its own."""
    return services.shared(s3_starter.SERVICE)


@pytest.fixture(scope="session")
def dynamodb() -> dict[str, str]:
    """Environment variables for clients of a real DynamoDB Local; a test makes tables of its own."""
    return services.shared(dynamodb_starter.SERVICE)


@pytest.fixture(scope="session")
def moto() -> dict[str, str]:
    """Environment variables for clients of moto's server, which speaks SQS; a test makes queues of its own."""
    return services.shared(moto_starter.SERVICE)


@pytest.fixture(scope="session")
def redis() -> dict[str, str]:
    """REDIS_URL and RAGKEEP_REDIS_PASSWORD of a real Redis; a test uses keys of its own."""
    return services.shared(redis_starter.SERVICE)
