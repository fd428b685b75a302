"""What the tests of fine-tuning share: a base model made once, and projects that name it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.finetune import augment, documents, questions
from tasks.finetune.config import Place, load
from tests.finetune import tiny

NEEDED = ("torch", "transformers", "peft", "trl", "datasets")
MISSING = [name for name in NEEDED if not importlib.util.find_spec(name)]
SETTINGS: dict[str, Any] = {
    "data": {"sources": ["docs"], "chunk_size": 200, "chunk_overlap": 0},
    "questions": {"eval_share": 0.25, "context": False},
    "lora": {"r": 8, "alpha": 16},
    "train": {"steps": 6, "batch": 2, "save_steps": 2, "learning_rate": 0.01, "max_tokens": 256},
    "measure": {"rows": 4, "max_tokens": 8},
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2 of random weights; skipped with the reason where the extra [train] is not installed."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}: pip install 'ragkeep[train]'")
    from tasks.finetune import weights

    weights.quietly()
    return tiny.make(tmp_path_factory.mktemp("base") / "tiny-qwen2")


Make = Callable[..., Place]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a finetune.yaml over SETTINGS, beside a folder docs/ with a manual."""

    def made(model: Path | str = "no-such-model", **changes: Any) -> Place:
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / "manual.md").write_text(tiny.MANUAL)
        settings = {"model": str(model), **SETTINGS}
        for key, value in changes.items():
            settings[key] = {**settings.get(key, {}), **value} if isinstance(value, dict) else value
        (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(settings))
        return load(tmp_path)

    return made


def still(done: int, total: int) -> None:
    """Show no progress."""


def rows_of(place: Place) -> Place:
    """Go as far as rows to train on."""
    documents.prepare(place, still)
    questions.generate(place, still)
    augment.build(place)
    return place
