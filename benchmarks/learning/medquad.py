"""Both towers, medical questions: from good pairs of medquad-a, whose questions share templates between train and test.

    uv run python -m benchmarks.learning.medquad --json [--set DIR] [--seeds 1]

Every seed trains for seven CPU-minutes and embeds 5,491 answers again.
"""

from __future__ import annotations

from .both_towers_code import experiment
from .common import run

if __name__ == "__main__":
    run(__doc__, experiment, "medquad-a")
