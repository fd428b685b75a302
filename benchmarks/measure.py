"""Two pieces of work in turn, in CPU seconds: the machine is busy with other things, so wall time says nothing.

A side is a function, or the command line of a process; seconds are user + system, of this process and of the children
that it waited for. Rounds alternate and change the order, and the ratio is the median over rounds.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Side = Callable[[], Any] | Sequence[str]
"""A piece of work: a function without arguments, or the command line of a process."""


@dataclass(frozen=True, slots=True)
class Compared:
    """CPU seconds of each round, and by how much `ours` is cheaper: the median of peer / ours, and its range."""

    peer: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over rounds of the peer's seconds by ours."""
        return statistics.median(self._ratios())

    def as_json(self) -> dict[str, Any]:
        """Say the medians, the ratio and its range over the rounds."""
        ratios = self._ratios()
        return {
            "ratio": round(self.ratio, 2),
            "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
            "peer_cpu_s": round(statistics.median(self.peer), 4),
            "ours_cpu_s": round(statistics.median(self.ours), 4),
            "rounds": len(ratios),
        }

    def _ratios(self) -> list[float]:
        return [p / max(o, 1e-9) for p, o in zip(self.peer, self.ours, strict=True)]


def alternate(peer: Side, ours: Side, *, rounds: int = 5, cwd: Path | None = None) -> Compared:
    """Run both sides `rounds` times in turn, each first in every other round.

    Raises subprocess.CalledProcessError when a command fails: a failure must not look fast.
    """
    seconds: dict[str, list[float]] = {"peer": [], "ours": []}
    for n in range(rounds):
        order = [("peer", peer), ("ours", ours)]
        for name, side in order if n % 2 == 0 else reversed(order):
            seconds[name].append(cpu_seconds(side, cwd=cwd))
    return Compared(tuple(seconds["peer"]), tuple(seconds["ours"]))


def over(slices: Iterable[Any], work: Callable[[Any], Any], made: list[Any]) -> Side:
    """Make a side that does the next slice at every call and adds what comes out to `made`."""
    todo = iter(slices)
    return lambda: made.append(work(next(todo)))


def cpu_seconds(side: Side, *, cwd: Path | None = None) -> float:
    """Run one side once; user + system seconds it took, its children's with them."""
    began = _spent()
    if callable(side):
        side()
    else:
        subprocess.run(side, check=True, cwd=cwd, stdout=subprocess.DEVNULL, env=os.environ)
    return _spent() - began


def _spent() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def finish(result: dict[str, Any], *, table: bool = False) -> None:
    """Print the result as the last line: one JSON object; with `table` as one figure a line before it."""
    if table:
        for name, value in result.items():
            print(f"{name:24} {value}")
    print(json.dumps(result, sort_keys=True), flush=True)
