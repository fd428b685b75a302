"""What 10 million, 100 million and a billion chunks would take, on paper: the tables of docs/sizing.md.

    python -m benchmarks.sizing [--server-ms 12 --embed-core 18.2 --node-price 490 ...]

Nothing is measured here. Each option is either a measured figure, named in docs/sizing.md beside the command that
measures it, or an assumption named as one there; put in your own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

SIZES = {"10 M": 10_000_000, "100 M": 100_000_000, "1 B": 1_000_000_000}
_MONTH_H = 730


@dataclass(frozen=True, slots=True)
class Inputs:
    """Measured on this project's benchmarks, unless docs/sizing.md calls it an assumption."""

    disk: float = 3008  # bytes of a merged chunk on disk
    graph: float = 1577  # bytes of its vector and its place in the graph, which are to stay in memory
    load: float = 1175  # chunks a CPU-second, written, client and server together
    merge: float = 2496  # chunks a CPU-second, merged to one segment
    embed_core: float = 18.2  # chunks a CPU-second embedded on one core
    builder: float = 274  # bytes a chunk of the process that writes and seals, ids and digests
    # assumptions
    embed_h200: float = 20_000  # chunks a second embedded on one H200
    shard: float = 5_000_000  # chunks a shard
    replicas: float = 1
    memory: float = 44  # GB of a node's 64 that are left for files beside 16 of heap
    versions: float = 2  # that lie on disk at once: the live one and the next, or the one before
    slack: float = 1.5  # disk kept free for merges
    node_price: float = 490  # a month, 8 cores and 64 GB of memory
    disk_price: float = 0.12  # a month, GB of SSD
    core_price: float = 0.04  # an hour, one core
    h200_price: float = 4.0  # an hour


def rows(given: Inputs) -> dict[str, Callable[[float], float]]:
    """Name each figure, with how it follows from the number of chunks."""
    copies = 1 + given.replicas

    def shards(n: float) -> float:
        return math.ceil(n / given.shard)

    def memory(n: float) -> float:
        return n * given.graph * copies / 1e9

    def disk(n: float) -> float:
        return n * given.disk * copies * given.versions * given.slack / 1e9

    def nodes(n: float) -> float:
        return max(3, math.ceil(memory(n) / given.memory))

    return {
        "shards": shards,
        "memory for graphs, GB": memory,
        "disk, GB": disk,
        "nodes": nodes,
        "embedding, H200 hours": lambda n: n / given.embed_h200 / 3600,
        "embedding, core hours": lambda n: n / given.embed_core / 3600,
        "writing and merging, core hours": lambda n: n * (1 / given.load + 1 / given.merge) / 3600,
        "memory of the building process, GB": lambda n: n * given.builder / 1e9,
        "nodes, a month": lambda n: nodes(n) * given.node_price,
        "disk, a month": lambda n: disk(n) * given.disk_price,
        "embedding once on H200s": lambda n: n / given.embed_h200 / 3600 * given.h200_price,
        "embedding once on cores": lambda n: n / given.embed_core / 3600 * given.core_price,
        "writing and merging once": lambda n: n * (1 / given.load + 1 / given.merge) / 3600 * given.core_price,
    }


def table(given: Inputs) -> str:
    """Write the figures as a table, to two digits."""
    lines = [f"| | {' | '.join(SIZES)} |", "| --- | ---: | ---: | ---: |"]
    for name, figure in rows(given).items():
        lines.append(f"| {name} | {' | '.join(_rounded(figure(n)) for n in SIZES.values())} |")
    return "\n".join(lines)


def _rounded(value: float) -> str:
    if value == int(value) and value < 1000:
        return str(int(value))
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def main() -> None:
    """Print the table for the given inputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in fields(Inputs):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    print(table(Inputs(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
