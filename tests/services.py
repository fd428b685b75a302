"""Real servers for tests: each is started once a session by whoever needs it first, and stopped at the session's end.

The workers of one session (`pytest -n 2`) share them: their folder is named by the process that a person started. It
stops them when it ends; should it be killed, a watcher of its own (`python -m tests.services PID`) does.
"""

import os
import select
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from infra.local import dynamodb, moto, postgres, redis, s3
from infra.local.errors import Unavailable
from infra.local.opensearch.client import Access
from infra.local.opensearch.cluster import Cluster, choose_ports
from infra.local.opensearch.node import QUICK, ClusterSettings
from infra.local.processes import locked
from infra.local.single import Server, Service

ROOT = Path(__file__).parent.parent
SESSION = "RAGKEEP_TEST_SESSION"
"""Environment variable with the id of the process that people started, known to all workers."""


def shared_opensearch(*, secure: bool = False) -> Access:
    """A cluster of one node that all tests of the session share; they must use index names of their own."""
    folder = session_folder() / ("opensearch-secure" if secure else "opensearch")
    watch()
    with locked(session_folder() / f"{folder.name}.lock"):
        cluster = Cluster(folder)
        if not cluster.running():
            start(cluster, nodes=1, secure=secure)
    return cluster.access()


def shared(service: Service) -> dict[str, str]:
    """Settings of a server that all tests of the session share; they must use names of their own."""
    watch()
    server = Server(service, session_folder() / service.name)
    with skipping_what_is_unavailable():
        server.up(0)
    return server.settings()


@contextmanager
def own_opensearch(*, nodes: int = 3, secure: bool = False) -> Iterator[Cluster]:
    """A cluster for one test, which may kill its nodes and bring them back."""
    watch()
    cluster = Cluster(session_folder() / f"own-{uuid.uuid4().hex}")
    try:
        start(cluster, nodes=nodes, secure=secure)
        yield cluster
    finally:
        cluster.down(wipe=True)


def own_postgres() -> AbstractContextManager[Server]:
    """A PostgreSQL for one test, which may kill it and bring it back."""
    return own(postgres.SERVICE)


@contextmanager
def own(service: Service) -> Iterator[Server]:
    """A server for one test, which may kill it and bring it back."""
    watch()
    server = Server(service, session_folder() / f"own-{uuid.uuid4().hex}")
    try:
        with skipping_what_is_unavailable():
            server.up(0)
        yield server
    finally:
        server.down(wipe=True)


def start(cluster: Cluster, *, nodes: int, secure: bool) -> None:
    """Start a cluster on free ports."""
    http_ports, transport_ports = choose_ports(nodes, 0)
    settings = ClusterSettings(http_ports, transport_ports, secure=secure, heap="512m", jvm=QUICK)
    with skipping_what_is_unavailable():
        cluster.up(settings, timeout_s=240)


@contextmanager
def skipping_what_is_unavailable() -> Iterator[None]:
    """Skip the test, with the reason, when this machine lacks what a server needs; with RAGKEEP_CI=1 fail instead."""
    try:
        yield
    except Unavailable as error:
        if os.environ.get("RAGKEEP_CI") == "1":
            pytest.fail(f"in CI nothing is skipped: {error}", pytrace=False)
        pytest.skip(str(error))


def session_folder() -> Path:
    """Where the session's servers keep their data; its name is all that other processes need to know."""
    return Path(tempfile.gettempdir()) / f"ragkeep-services-{os.environ[SESSION]}"


def stop_all() -> None:
    """Stop the session's servers and remove their data."""
    for state in session_folder().glob("*/cluster.json"):
        Cluster(state.parent).down(wipe=True)
    for state in session_folder().glob("own-*/server.json"):
        Server(postgres.SERVICE, state.parent).down(wipe=True)  # of whatever service: what is wiped is killed
    for service in (dynamodb.SERVICE, moto.SERVICE, postgres.SERVICE, redis.SERVICE, s3.SERVICE):
        Server(service, session_folder() / service.name).down(wipe=True)
    shutil.rmtree(session_folder(), ignore_errors=True)


def watch() -> None:
    """Start the session's watcher, if it has none yet."""
    mark = session_folder() / "watched"
    with locked(session_folder() / "lock"):
        if mark.exists():
            return
        command = [sys.executable, "-m", "tests.services", os.environ[SESSION]]
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        child.returncode = 0  # it outlives us on purpose
        mark.touch()


def wait_for_end(pid: int) -> None:
    """Wait until another process is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
    os.close(process)


if __name__ == "__main__":
    os.environ[SESSION] = sys.argv[1]
    wait_for_end(int(sys.argv[1]))
    stop_all()
