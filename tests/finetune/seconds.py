"""What each step costs on a tiny model made on the spot, in CPU seconds: python -m tests.finetune.seconds"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tasks.finetune import augment, documents, export, measure, merge, questions, train, weights
from tasks.finetune.config import load
from tests.finetune import tiny
from tests.finetune.conftest import SETTINGS, still
from tests.loaders.builders import pdf

STEPS = 30


def main() -> None:
    """Go from a PDF to a GGUF in one process; libraries are imported first, and counted apart."""
    took: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        made = work()
        took[name] = round(time.process_time() - began, 2)
        return made

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "docs").mkdir()
        sentences = [line for line in tiny.MANUAL.splitlines() if line and not line.startswith("#")]
        (folder / "docs" / "pump.pdf").write_bytes(pdf(*sentences))
        step("imports", _imports)
        base = step("a tiny base", lambda: tiny.make(folder / "base"))
        settings = {**SETTINGS, "train": {**SETTINGS["train"], "steps": STEPS, "save_steps": 10}}
        (folder / "finetune.yaml").write_text(yaml.safe_dump({"model": str(base), **settings}))
        project = load(folder)
        step("prepare-data", lambda: documents.prepare(project, still))
        step("generate-qa", lambda: questions.generate(project, still))
        step("augment", lambda: augment.build(project))
        card = step(f"train, {STEPS} steps", lambda: train.train(project, still))
        step("evaluate", lambda: measure.measure(project, still))
        step("merge-adapter", lambda: merge.merge(project))
        step("export", lambda: export.export(project, "gguf"))
    losses = [point["loss"] for point in card["curve"]]
    sys.stdout.write(json.dumps({"cpu_seconds": took, "first_loss": losses[0], "last_loss": losses[-1]}) + "\n")


def _imports() -> None:
    import importlib

    weights.quietly()
    for name in ("peft", "trl"):
        importlib.import_module(name)
    import trl

    assert trl.SFTTrainer
    assert trl.DPOTrainer


if __name__ == "__main__":
    main()
