"""Cross-encoder over the top 10, from the embedder's weights: 1,500 impressions, 20 % wrong, behind tuned fusion.

    [IMPRESSIONS=1500] uv run --extra torch python -m benchmarks.learning.cross_encoder --json [--set code] [--seeds 1]

`mix` is the share its z-score got beside the mix's, chosen on lessons it was not trained on; 0 ends in `nothing`.
"""

from __future__ import annotations

import os
from typing import Any

from tasks.learners.cross_encoder import learn

from .common import Bench, run
from .reranker import IMPRESSIONS, compared


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Learn for each seed, put the first ten of the tuned mix in the learned order, and compare."""
    return compared(bench, seeds, learn, int(os.environ.get("IMPRESSIONS", IMPRESSIONS)))


if __name__ == "__main__":
    run(__doc__, experiment, "code")
