"""What a start costs: `ragkeep --help` beside a bare `import prefect`, and what it imports.

    uv run --group bench python -m benchmarks.start [--rounds 5] [--json]

Whole processes, CPU seconds. `ratio` > 1: ours is that much cheaper.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.measure import alternate, finish

HEAVY = (
    "torch",
    "prefect",
    "mlflow",
    "great_expectations",
    "ragas",
    "lancedb",
    "openvino",
    "dvc",
    "pandas",
    "pyarrow",
    "boto3",
)


def imported() -> list[str]:
    """Name the heavy libraries that `ragkeep --help` loads; there should be none."""
    program = (
        "import sys; from ragkeep.cli import app; sys.argv = ['ragkeep', '--help']\n"
        "try: app()\nexcept SystemExit: pass\n"
        f"sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr.split()


def main() -> None:
    """Run both in turn, after one of each that does not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry; the last line is always JSON")
    rounds = parser.parse_args().rounds
    ours, peer = [sys.executable, "-m", "ragkeep.cli", "--help"], [sys.executable, "-c", "import prefect.flows"]
    alternate(peer, ours, rounds=1)
    compared = alternate(peer, ours, rounds=rounds)
    finish({"benchmark": "start", "peer": "import prefect", "heavy_imports": imported(), **compared.as_json()})


if __name__ == "__main__":
    main()
