"""A night in which nothing changed, from the command line, beside `dvc repro` doing nothing.

    uv run --group bench python -m benchmarks.noop_night [--project DIR] [--rounds 5] [--json]

The project must have had its first night. Whole processes, CPU seconds. `ratio` > 1: ours is that much cheaper.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import alternate, finish


def main() -> None:
    """Run both no-ops in turn, after one of each that does not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, default=Path.cwd(), help="a project that has had its first night")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    options = parser.parse_args()
    root = options.project.resolve()
    here = str(Path(sys.executable).parent)
    os.environ.update(RAGKEEP_HOME=str(root), PATH=here + os.pathsep + os.environ["PATH"])
    ours = [sys.executable, "-m", "ragkeep.cli", "nightly", "--json"]
    said = subprocess.run(ours, cwd=root, capture_output=True, text=True, check=True).stdout
    if '"verdict":"unchanged"' not in said:
        said = subprocess.run(ours, cwd=root, capture_output=True, text=True, check=True).stdout
    if '"verdict":"unchanged"' not in said:
        sys.exit(f"the night of {root} does not come out unchanged: {said.strip()[-300:]}")
    peer = [sys.executable, "-m", "dvc", "repro"]
    subprocess.run(peer, cwd=root, capture_output=True, check=True)
    compared = alternate(peer, ours, rounds=options.rounds, cwd=root)
    finish({"benchmark": "noop_night", "peer": "dvc repro", "unit": "CPU seconds a process", **compared.as_json()})


if __name__ == "__main__":
    main()
