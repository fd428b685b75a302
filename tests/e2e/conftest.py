"""The first night is run once a session; a test that changes something gets a copy of it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.schedule import server
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


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for all later nights: starting one for each would cost 15 CPU seconds a test.

    It ends with this folder's tests: an idle one takes a twentieth of a core.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        with server() as url:
            yield url


@pytest.fixture
def project(first_night: Project, prefect_server: str, tmp_path: Path) -> Project:
    """A copy of the project after its first night."""
    root = tmp_path / "project"
    shutil.copytree(first_night.root, root, symlinks=True)
    return Project(root, first_night.env).having(PREFECT_API_URL=prefect_server)
