"""Query tower: learned from 3,000 impressions, 20 % of the clicks wrong, over passage vectors that stay as they are.

    uv run python -m benchmarks.learning.query_side --json [--set DIR+jargon] [--seeds 3]

Jargon: the 200 commonest content words of the questions are renamed, the passages keep the usual ones.
"""

from __future__ import annotations

from typing import Any

from tasks.learners.query_tower import learn
from tasks.lessons import TrainingSet

from .common import Bench, run
from .towers import compared

IMPRESSIONS, WRONG = 3000, 0.2


def clicks(bench: Bench, seed: int) -> TrainingSet:
    """The log of one seed."""
    return bench.clicks(IMPRESSIONS, WRONG, seed)


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Compare the learned query tower with the base, alone and end to end."""
    return compared(bench, learn, clicks, seeds)


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a+jargon")
