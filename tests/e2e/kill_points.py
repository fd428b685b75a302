"""Kill the night at every file operation that matters: `python -m tests.e2e.kill_points --points 200`.

A child runs the stages that write and the switch, and kills itself (SIGKILL) at the nth rename or fsync. The next run
must end where a run that was never killed ends: equal bytes. The points are spread evenly over all there are.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.projects import make_project
from tests.kills import count_and_kill

STAGES = ("scan", "ingest", "chunk", "embed", "index")


def child(root: Path, die_at: int) -> None:
    """Run the writing half of a night in this process; die at the nth rename or fsync, never when it is 0."""
    os.environ["RAGKEEP_HOME"] = str(root)
    seen = count_and_kill(die_at)
    from flows import publish, registry
    from flows.lease import hold
    from ragkeep.config import Paths, load_params
    from ragkeep.files import read_json, write_text
    from ragkeep.releases import pointer, save_release
    from ragkeep.stores import open_store
    from ragkeep.types import Fusion, IndexVersion, Release
    from tasks.stage import run_stage

    registry.set_aliases = registry.tag = lambda *_args: None  # type: ignore[assignment] # MLflow has its own tests
    paths = Paths(root)
    params = load_params(paths.params)
    with hold(paths.state / "lease.sqlite") as lease:
        publish.recover(paths, lambda: open_store(params.index, paths), lease=lease)
        for empty in ("validate", "chunks"):  # what Great Expectations would leave, without its five seconds
            write_text(paths.data / "quarantine" / f"{empty}.jsonl", "")
        for name in STAGES:
            module = __import__(f"tasks.{name}", fromlist=["run"])
            run_stage(name, module.run, paths)
        index = IndexVersion(**read_json(paths.data / "index.json"))
        release = Release(1, index.digest, index, Fusion(), "extractive", {}, "", "", {}, "none", "pass")
        if pointer(paths) is None:
            save_release(paths, release)
            store = open_store(params.index, paths)
            publish.switch(paths, store, release, lease=lease, action="publish", reason="test")
    (root / "points").write_text(str(seen[0]))


def run_child(root: Path, die_at: int) -> int:
    """Run the child in a process of its own; return its exit code, -9 when it was killed."""
    command = [sys.executable, "-m", "tests.e2e.kill_points", "--child", str(root), "--die-at", str(die_at)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def what_is_left(root: Path) -> dict[str, bytes]:
    """The bytes that must not depend on what was killed: outputs, the pointer and the release."""
    files = [*(root / "data").rglob("*.parquet"), *(root / "data").rglob("*.json*")]
    files += [root / ".ragkeep" / "releases" / "1.json"]
    return {str(f.relative_to(root)): f.read_bytes() for f in files if not f.name.startswith(".")}


def survive(folder: Path, points: int) -> Iterator[tuple[int, bool]]:
    """Yield, for each kill point tried, its number and whether the next run ended in the right bytes."""
    clean = make_project(folder / "clean").root
    fresh = folder / "fresh"
    shutil.copytree(clean, fresh)
    assert run_child(clean, 0) == 0
    wanted = what_is_left(clean)
    total = int((clean / "points").read_text())
    for n in range(points):
        at = 1 + n * total // points
        tried = folder / f"killed-{at}"
        shutil.copytree(fresh, tried)
        assert run_child(tried, at) == -9
        assert run_child(tried, 0) == 0
        yield at, what_is_left(tried) == wanted
        shutil.rmtree(tried)


def main() -> None:
    """Print one line a point, and how many survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--child", type=Path)
    parser.add_argument("--die-at", type=int, default=0)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.die_at)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = list(survive(Path(folder), options.points))
    sys.stdout.write(f"{sum(ok for _, ok in results)} of {len(results)} ended in the bytes of a run never killed\n")
    sys.exit(any(not ok for _, ok in results))


if __name__ == "__main__":
    main()
