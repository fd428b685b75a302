"""Both towers from good pairs: docstrings and their functions, files of training and test disjoint.

    uv run python -m benchmarks.learning.both_towers_code --json [--set code] [--seeds 3]

Every seed trains a model and embeds the whole corpus again: about six CPU-minutes each.
"""

from __future__ import annotations

from typing import Any

from tasks.learners.both_towers import learn
from tasks.lessons import TrainingSet

from .common import Bench, run
from .towers import compared

MOST = 4000


def pairs(bench: Bench, seed: int) -> TrainingSet:
    """All training questions with their true answers."""
    return bench.good(MOST, seed)


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Compare both learned towers with the base, alone and end to end."""
    return compared(bench, learn, pairs, seeds)


if __name__ == "__main__":
    run(__doc__, experiment, "code")
