"""The first night is run once a session; a test that changes something gets a copy of it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.projects import Project, make_project


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first night; tests copy it (`project`) rather than change it."""
    project = make_project(tmp_path_factory.mktemp("first") / "project")
    ran = project.run("nightly")
    (project.root / "first.json").write_text(json.dumps(ran.json))
    return project


@pytest.fixture
def project(first_night: Project, tmp_path: Path) -> Project:
    """A copy of the project after its first night."""
    root = tmp_path / "project"
    shutil.copytree(first_night.root, root, symlinks=True)
    return Project(root, first_night.env)
