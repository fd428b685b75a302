"""Both towers from clicks: learned from 1,500 impressions, 20 % of the clicks wrong.

    uv run python -m benchmarks.learning.both_towers_clicks --json [--set code] [--seeds 3]

Every seed trains a model and embeds the whole corpus again: about five CPU-minutes each.
"""

from __future__ import annotations

from typing import Any

from tasks.learners.both_towers import learn
from tasks.lessons import TrainingSet

from .common import Bench, run
from .towers import compared

IMPRESSIONS, WRONG = 1500, 0.2


def clicks(bench: Bench, seed: int) -> TrainingSet:
    """The log of one seed."""
    return bench.clicks(IMPRESSIONS, WRONG, seed)


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Compare both learned towers with the base, alone and end to end."""
    return compared(bench, learn, clicks, seeds)


if __name__ == "__main__":
    run(__doc__, experiment, "code")
