"""Servers that several rooms' tests share; see tests/services.py."""

import os

import pytest

from infra.local.opensearch.client import Access
from tests import services


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[services.SESSION] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        services.stop_all()


@pytest.fixture(scope="session")
def opensearch() -> Access:
    """URLs of a real OpenSearch without security; skipped with the reason where Java or Maven is missing."""
    return services.shared_opensearch()


@pytest.fixture(scope="session")
def secure_opensearch() -> Access:
    """URLs, user, password and CA file of a real OpenSearch with TLS and users."""
    return services.shared_opensearch(secure=True)
