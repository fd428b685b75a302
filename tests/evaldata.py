"""Where the evaluation data lies: beside the checkout, or where RAGKEEP_EVAL_DATA says."""

import os
from pathlib import Path

import pytest


def evaldata(name: str) -> Path:
    """Return a data set's folder; skip the test, saying why, where it is absent."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("RAGKEEP_EVAL_DATA") or default).resolve() / name
    if not folder.is_dir():
        pytest.skip(f"evaluation data not found: {folder} (set RAGKEEP_EVAL_DATA to the folder that holds {name})")
    return folder
