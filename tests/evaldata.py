"""Where the evaluation data lies: `../shared/data` beside the checkout, or RAGKEEP_EVAL_DATA."""

import os
from pathlib import Path

import pytest


def evaldata(name: str) -> Path:
    """Return one set's folder, or skip the test and say why."""
    root = os.environ.get("RAGKEEP_EVAL_DATA")
    folder = (Path(root) if root else Path(__file__).parents[2] / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"evaluation data {name} is not at {folder}: set RAGKEEP_EVAL_DATA to its parent")
    return folder
