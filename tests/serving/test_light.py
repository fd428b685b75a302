"""A started server has loaded nothing it does not need: its start is short, and stays so."""

import subprocess
import sys
from pathlib import Path

from tests.serving.published import project, publish

HEAVY = [
    *("torch", "transformers", "sentence_transformers", "mlflow", "prefect", "great_expectations", "ragas"),
    *("lancedb", "pandas", "scipy", "boto3", "opentelemetry.sdk"),
]
PROGRAM = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from ragkeep.config import Paths, load_params
from ragkeep.serving.run import create_app
paths = Paths(Path(sys.argv[1]))
with TestClient(create_app(paths, load_params(paths.params)), base_url="http://127.0.0.1") as client:
    assert client.get("/health/ready").status_code == 200
    print([name for name in sys.argv[2:] if name in sys.modules])
"""


def test_a_started_server_has_loaded_nothing_heavy(tmp_path: Path) -> None:
    paths = project(tmp_path / "project")
    publish(paths)
    command = [sys.executable, "-c", PROGRAM, str(paths.root), *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
