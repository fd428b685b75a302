"""Clicks: what share of them is taken to be meant, by rank, held against how many are right.

    uv run python -m benchmarks.learning.clicks --json [--set code ...] [--seeds 3]

3,000 impressions, or as many as there are questions, with none, 20 % and 40 % of the clicks wrong; each list is by rank,
the mean over the seeds. `meant` is what `tasks.claims.meant` says, blind to the truth and to how people look, and `told`
the number of seeds that had clicks enough for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import SHOWN, Bench, meant_by_rank, run

IMPRESSIONS, WRONG = 3000, (0.0, 0.2, 0.4)


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Count, for each share of wrong clicks, those that are right by rank."""
    return {f"wrong_{share}": _counted(bench, share, seeds) for share in WRONG}


def _counted(bench: Bench, wrong: float, seeds: range) -> dict[str, Any]:
    clicks, right, shares = np.zeros(SHOWN), np.zeros(SHOWN), list[list[float]]()
    for seed in seeds:
        log = bench.seen(IMPRESSIONS, wrong, seed)
        for one in log:
            for chunk in one.clicked:
                rank = one.shown.index(chunk)
                clicks[rank] += 1
                right[rank] += chunk in one.right
        found = meant_by_rank(log)
        shares += [[found[rank] for rank in range(1, SHOWN + 1)]] if len(found) == SHOWN else []
    return {
        "clicks": (clicks / len(seeds)).round(1).tolist(),
        "right": (right / np.maximum(clicks, 1)).round(2).tolist(),
        "meant": np.mean(shares, axis=0).round(2).tolist() if shares else None,
        "told": len(shares),
    }


if __name__ == "__main__":
    run(__doc__, experiment, "code", "squad-a+jargon", "medquad-a", "cosqa-a")
