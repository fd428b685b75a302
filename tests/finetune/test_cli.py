"""`ragkeep finetune` as a person meets it: from a PDF to a model that answers, and every command's help."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ragkeep.cli import app
from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.errors import RagkeepError
from ragkeep.files import read_json
from ragkeep.generators.local import local
from ragkeep.ports import Request
from ragkeep.types import Message, Sampling
from tests.finetune.conftest import SETTINGS
from tests.loaders.builders import pdf

COMMANDS = (
    "init", "validate", "prepare-data", "generate-qa", "augment", "preferences", "train", "evaluate", "merge-adapter",
    "export", "inspect",
)  # fmt: skip
PAGES = (
    "The pump is a machine that moves water. The valve protects the pump from sand.",
    "If the pressure falls below 3 bar, the pump stops. The station was built in 1987.",
    "To clean the filter, close the valve and open the drain. The filter contains a fine mesh of steel.",
    "The alarm is a red lamp above the door. Every technician carries a key for the gate.",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("sources: [{name: docs, path: docs}]\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pump.pdf").write_bytes(pdf(*PAGES))
    monkeypatch.setenv("RAGKEEP_HOME", str(tmp_path))
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str) -> Any:
    """Run a command with --json; returns its object. Raises what it raises."""
    result = CliRunner().invoke(app, ["finetune", *args, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_from_a_pdf_to_a_model_that_answers(base: Path, project: Path) -> None:
    run("init", "--model", str(base))
    written = yaml.safe_load((project / "finetune.yaml").read_text())
    settings = {**written, **{key: {**written[key], **value} for key, value in SETTINGS.items()}}
    (project / "finetune.yaml").write_text(yaml.safe_dump(settings))
    assert run("validate")["ok"]
    assert run("prepare-data")["chunks"] >= 2
    counts = run("generate-qa")
    assert counts["train"] > 0 < counts["eval"]
    assert run("augment")["train"] > counts["train"]
    dry = run("train", "--dry-run")
    assert not (project / "finetune" / "adapter").exists()
    assert dry["rows"] > 0
    card = run("train", "--no-track")
    assert card["curve"][-1]["loss"] < card["curve"][0]["loss"]
    assert set(run("evaluate")["metrics"]) == {"loss", "contained", "rouge_l"}
    merged = run("merge-adapter")
    assert run("export")["same_tokens"]
    assert len(answer_of(merged["written"], "What is the pump?")) > 0


def answer_of(model: str, question: str) -> str:
    """Ask the merged model through the backend that serves it."""
    generator = local(GeneratorParams("local", model=model), params=AnswerParams())
    request = Request(question, (), (Message("user", question),))

    async def collect() -> str:
        return "".join([delta.text async for delta in generator.stream(request, Sampling(max_tokens=24))])

    return asyncio.run(collect())


def test_a_person_is_told_what_comes_next(project: Path) -> None:
    result = CliRunner().invoke(app, ["finetune", "init"], catch_exceptions=False)
    assert result.stdout.splitlines()[-1].startswith("Next: name your model")
    result = CliRunner().invoke(app, ["finetune", "prepare-data"], catch_exceptions=False)
    assert result.stdout.splitlines()[-1] == "Next: ragkeep finetune generate-qa"


def test_what_is_wrong_is_one_line_and_a_code(project: Path) -> None:
    (project / "finetune.yaml").write_text("model: nowhere/at-all\nlora: {r: 3}\n")
    with pytest.raises(RagkeepError, match=r"finetune\.yaml: lora\.r must be between 8 and 64") as error:
        run("train")
    assert error.value.exit_code == 1
    (project / "finetune.yaml").write_text("model: nowhere/at-all\n")
    result = CliRunner().invoke(app, ["finetune", "validate", "--json"])
    checks = {check["name"]: check["ok"] for check in json.loads(result.stdout.splitlines()[-1])["checks"]}
    assert result.exit_code == 1
    assert checks["sources"]
    assert not checks.get("model", False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, ["finetune", command, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, ragkeep.cli; print(sorted({'torch', 'transformers', 'trl', 'peft', 'numpy'} & {*sys.modules}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_training_is_tracked(project: Path) -> None:
    """MLflow makes its schema in 15 s."""
    pytest.importorskip("mlflow")
    from flows.registry import record_finetune
    from ragkeep.config import Paths

    card = {"method": "sft", "key": "abc", "seconds": 1.0, "trainable": {"share": 0.1}, "sha256": "x", "lora": {"r": 8},
            "curve": [{"step": n, "loss": 5.0 - n, "tokens": n} for n in range(3)]}  # fmt: skip
    (project / "card.json").write_text(json.dumps(card))
    run_id = record_finetune(Paths(project), card, project / "card.json")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project / '.ragkeep' / 'mlflow.db'}")
    assert [point.value for point in client.get_metric_history(run_id, "loss")] == [5.0, 4.0, 3.0]
    assert client.get_run(run_id).data.params["lora.r"] == "8"
    assert read_json(project / "card.json")
