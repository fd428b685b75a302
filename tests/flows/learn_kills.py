"""Kill `ragkeep learn` while it promotes: `python -m tests.flows.learn_kills --points 50`.

A child promotes what was learned and dies of -9 at the nth of what it does to files and to the registry, counted from
`flows.learn._tried_out` on. What is visible then must be whole. The next night (of every second one) and the next
`ragkeep learn` must end well: one version a model, the release live, its aliases, its data, no trial.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mlflow.tracking import MlflowClient

from flows import learn
from ragkeep.config import Paths
from ragkeep.releases import history, pointer
from tests.flows import learning
from tests.kills import count_and_kill, in_a_fork

REGISTRY = (
    "create_registered_model", "create_run", "log_batch", "log_artifact", "set_terminated", "create_model_version",
    "set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag",
)  # fmt: skip
COUNTED = [(os, "unlink"), (shutil, "copyfile"), *((MlflowClient, name) for name in REGISTRY)]


def dying(paths: Paths, die_at: int) -> None:
    """Learn in this process, which dies at a point; leave how many there are where it does not."""
    real, seen = learn._tried_out, list[list[int]]()

    def promoted(*args: object) -> object:
        seen.append(count_and_kill(die_at, *COUNTED))
        return real(*args)  # type: ignore[arg-type]

    learn._tried_out = promoted  # type: ignore[assignment]
    assert learning.learned(paths)["verdict"] == "promoted"
    (paths.root / "points").write_text(str(seen[0][0]))


def judged(paths: Paths, run: Callable[[], list[str]]) -> list[str]:
    """Run something in a process of its own; return what it says is wrong, or how it ended."""
    said = paths.root / "said.json"
    said.unlink(missing_ok=True)
    ended = in_a_fork(lambda: said.write_text(json.dumps(run())))
    found: list[str] = json.loads(said.read_text()) if said.exists() else [f"it ended with {ended}"]
    return found


def after(paths: Paths, *, nightly: bool) -> list[str]:
    """What is wrong after the next runs; they are run here."""
    said = []
    if nightly:
        learning.night(paths)
        said += [f"after a night: {one}" for one in learning.wrong(paths)]
    before = pointer(paths)
    result = learning.learned(paths)
    said += [*learning.wrong(paths), *(f"{path.name} is left" for path in paths.models.glob(".*.tmp"))]
    done = "no gain" if before and before.number == 2 else "promoted"
    at, rows = pointer(paths), learning.models(paths)
    moves = [(event["action"], event["to"]) for event in history(paths)]
    found = (result["verdict"], at and at.number, [(row["learner"], row["version"]) for row in rows], moves)
    want = (done, 2, [("fusion", 1), ("query-tower", 1)], [("publish", 1), ("publish", 2)])
    return [*said, *([] if found == want else [f"{found} and not {want}"])]


def first_night(paths: Paths) -> None:
    """Have the first night in a process of its own: what runs threads must not run in the one that forks."""
    assert in_a_fork(lambda: learning.night(paths)) == 0


def survive(folder: Path, points: int) -> Iterator[tuple[int, list[str]]]:
    """Yield, for each point tried, its number and what was wrong afterwards."""
    fresh = learning.project(folder / "fresh", first_night)
    whole = learning.copied(fresh, folder / "whole")
    assert in_a_fork(lambda: dying(whole, 0)) == 0
    total = int((whole.root / "points").read_text())
    yield 0, judged(whole, lambda: after(whole, nightly=True))
    for n in range(points):
        at = 1 + n * total // points
        tried = learning.copied(fresh, folder / f"killed-{at}")
        ended = in_a_fork(lambda: dying(tried, at))  # noqa: B023 - it is done before the next one
        said = [] if ended == -9 else [f"not killed: {ended}"]
        said += [f"right after: {one}" for one in judged(tried, lambda: learning.broken(tried))]  # noqa: B023
        said += judged(tried, lambda: after(tried, nightly=n % 2 == 0))  # noqa: B023
        yield at, said
        shutil.rmtree(tried.root)


def main() -> None:
    """Print what was wrong, and how many points were survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50)
    points = parser.parse_args().points
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for at, said in survive(Path(folder), points):
            results.append((at, said))
            sys.stdout.write(f"{at}: {'; '.join(said) or 'well'}\n")
            sys.stdout.flush()
    good = sum(not said for _, said in results[1:])
    sys.stdout.write(f"{good} of {points} kills of a promotion ended in one whole release, {len(results)} runs\n")
    sys.exit(any(said for _, said in results))


if __name__ == "__main__":
    main()
