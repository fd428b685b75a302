"""What was asked over time, drawn from the interaction log: nothing is counted twice or kept apart from it."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np

from ..interactions import read

POINTS = 60
"""How many points a series has at most."""
NAMES = ("requests", "latency_p50_ms", "latency_p95_ms", "cost_usd", "abstained", "thumbs_down", "errors")


def series(folder: Path, window_s: int) -> dict[str, list[tuple[float, float]]]:
    """Return for each name points of (Unix time of the step's start, value); steps without requests are left out."""
    now = time.time()
    step = max(window_s / POINTS, 1.0)
    took: dict[int, list[float]] = defaultdict(list)
    counts: dict[str, dict[int, float]] = {name: defaultdict(float) for name in NAMES}
    for record in read(folder, skip_damaged=True):
        at = datetime.fromisoformat(record.at).timestamp()
        if at < now - window_s:
            continue
        place = int(at // step)
        if record.kind == "answer":
            took[place].append(float(record.payload["timings_ms"].get("total", 0.0)))
            counts["cost_usd"][place] += float(record.payload["cost_usd"])
            counts["abstained"][place] += bool(record.payload["abstained"])
            counts["errors"][place] += bool(record.payload["aborted"])
        elif record.kind == "vote" and record.payload["value"] < 0:
            counts["thumbs_down"][place] += 1
    for place, times in took.items():
        counts["requests"][place] = len(times)
        counts["latency_p50_ms"][place] = float(np.percentile(times, 50))
        counts["latency_p95_ms"][place] = float(np.percentile(times, 95))
    return {name: [(place * step, value) for place, value in sorted(found.items())] for name, found in counts.items()}
