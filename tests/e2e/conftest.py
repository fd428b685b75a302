"""The first night is run once a session; a test that changes something gets a copy of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.processes import locked
from tests.e2e.projects import Project, make_env, make_project


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first night, one for all workers; tests copy it (`project`) rather than change it."""
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "first"
    with locked(home / "lock"):
        if (home / "project" / "first.json").exists():
            return Project(home / "project", make_env())
        project = make_project(home / "project")
        ran = project.run("nightly")
        (project.root / "first.json").write_text(json.dumps(ran.json))
        return project


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for all later nights: starting one for each would cost 15 CPU seconds a test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    env = {**make_env(), "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        url = f"http://127.0.0.1:{port}/api"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url
        server.terminate()


@pytest.fixture
def project(first_night: Project, prefect_server: str, tmp_path: Path) -> Project:
    """A copy of the project after its first night."""
    root = tmp_path / "project"
    shutil.copytree(first_night.root, root, symlinks=True)
    return Project(root, {**first_night.env, "PREFECT_API_URL": prefect_server})
