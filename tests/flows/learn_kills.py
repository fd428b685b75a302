"""Kill a run where it promotes, begins or ends a trial: `python -m tests.flows.learn_kills --points 50 [--what trial]`.

A child does it and dies of -9 at the nth of what it does to files and to the registry, counted from the function that
`WHAT` names on. What is visible then must be whole. The next night (of every second one) and the next run of the same
must end well: one version a model, the release live or on trial, its aliases, its data, nothing left over.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow.tracking import MlflowClient

from flows import learn, nightly
from ragkeep.config import Paths
from ragkeep.releases import history, pointer
from ragkeep.trials import past_trials, read_trial
from tests.flows import learning
from tests.kills import count_and_kill, in_a_fork

REGISTRY = (
    "create_registered_model", "create_run", "log_batch", "log_artifact", "set_terminated", "create_model_version",
    "set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag",
)  # fmt: skip
COUNTED = [(os, "unlink"), (shutil, "copyfile"), *((MlflowClient, name) for name in REGISTRY)]
MODELS = [("fusion", 1), ("query-tower", 1)]


@dataclass(frozen=True)
class Killed:
    """What is killed: `run` from the function `begins` on, after `prepare`.

    `done` is the verdict of a run that does it, `again` that of one after which nothing is left to do.
    """

    begins: tuple[Any, str]
    run: Callable[[Paths], dict[str, Any]]
    done: str
    again: str
    prepare: Callable[[Paths], object]
    live: int
    moves: list[tuple[str, int]]
    on_trial: int | None = None
    ended: int = 0


def hoping(paths: Paths) -> dict[str, Any]:
    """Learn what only people can judge."""
    return learning.learned(paths, learn=learning.hopeful)


def tried(paths: Paths) -> None:
    """Let what lessons cannot prove be tried."""
    params = yaml.safe_load(paths.params.read_text())
    paths.params.write_text(yaml.safe_dump(params | {"trial": {"share": 0.2, "answers": 40}}))


def decided(paths: Paths) -> None:
    """Put it on trial, and have people open its sources."""
    tried(paths)
    hoping(paths)
    trial = read_trial(paths)
    assert trial is not None
    learning.opened(paths, trial, "challenger")


PUBLISHED = ("publish", 1)
WHAT = {
    "promotion": Killed(
        (learn, "_tried_out"), learning.learned, "promoted", "no gain", lambda _: None,
        live=2, moves=[PUBLISHED, ("publish", 2)],
    ),
    "trial": Killed(
        (learn, "_tried_out"), hoping, "on trial", "no gain", tried,
        live=1, moves=[PUBLISHED], on_trial=2,
    ),
    "decision": Killed(
        (nightly, "conclude"), learning.night, "unchanged", "unchanged", decided,
        live=2, moves=[PUBLISHED, ("promote", 2)], ended=1,
    ),
}  # fmt: skip


def dying(paths: Paths, killed: Killed, die_at: int) -> None:
    """Do it in this process, which dies at a point; leave how many there are where it does not."""
    where, name = killed.begins
    real, seen = getattr(where, name), list[list[int]]()

    def begun(*args: object, **options: object) -> object:
        seen.append(count_and_kill(die_at, *COUNTED))
        return real(*args, **options)

    setattr(where, name, begun)
    assert killed.run(paths)["verdict"] == killed.done
    (paths.root / "points").write_text(str(seen[0][0]))


def judged(paths: Paths, run: Callable[[], list[str]]) -> list[str]:
    """Run something in a process of its own; return what it says is wrong, or how it ended."""
    said = paths.root / "said.json"
    said.unlink(missing_ok=True)
    ended = in_a_fork(lambda: said.write_text(json.dumps(run())))
    found: list[str] = json.loads(said.read_text()) if said.exists() else [f"it ended with {ended}"]
    return found


def after(paths: Paths, killed: Killed, *, night_first: bool) -> list[str]:
    """What is wrong after the next runs; they are run here."""
    said = []
    if night_first:
        learning.night(paths)
        said += [f"after a night: {one}" for one in learning.wrong(paths)]
    wanted = {killed.again if _stands(paths) == _wanted(killed) else killed.done}
    if (paths.releases / "publish.json").exists():  # what was begun is finished first, and then there is no more to do
        wanted.add(killed.again)
    result = killed.run(paths)
    said += [*learning.wrong(paths), *(f"{path.name} is left" for path in paths.models.glob(".*.tmp"))]
    if result["verdict"] not in wanted:
        said.append(f"the next run said {result['verdict']}: {result['reasons']}")
    found = _stands(paths)
    return [*said, *([] if found == _wanted(killed) else [f"{found} and not {_wanted(killed)}"])]


def _stands(paths: Paths) -> tuple[object, ...]:
    at, trial = pointer(paths), read_trial(paths)
    moves = [(event["action"], event["to"]) for event in history(paths)]
    rows = [(row["learner"], row["version"]) for row in learning.models(paths)]
    return at and at.number, rows, moves, trial and trial.number, len(past_trials(paths))


def _wanted(killed: Killed) -> tuple[object, ...]:
    return killed.live, MODELS, killed.moves, killed.on_trial, killed.ended


def first_night(paths: Paths) -> None:
    """Have the first night in a process of its own: what runs threads must not run in the one that forks."""
    assert in_a_fork(lambda: learning.night(paths)) == 0


def survive(folder: Path, killed: Killed, points: int) -> Iterator[tuple[int, list[str]]]:
    """Yield, for each point tried, its number and what was wrong afterwards."""
    fresh = learning.project(folder / "fresh", first_night)
    assert in_a_fork(lambda: killed.prepare(fresh)) == 0
    whole = learning.copied(fresh, folder / "whole")
    assert in_a_fork(lambda: dying(whole, killed, 0)) == 0
    total = int((whole.root / "points").read_text())
    yield 0, judged(whole, lambda: after(whole, killed, night_first=True))
    for n in range(points):
        at = 1 + n * total // points
        tried = learning.copied(fresh, folder / f"killed-{at}")
        ended = in_a_fork(lambda: dying(tried, killed, at))  # noqa: B023 - it is done before the next one
        said = [] if ended == -9 else [f"not killed: {ended}"]
        said += [f"right after: {one}" for one in judged(tried, lambda: learning.broken(tried))]  # noqa: B023
        said += judged(tried, lambda: after(tried, killed, night_first=n % 2 == 0))  # noqa: B023
        yield at, said
        shutil.rmtree(tried.root)


def main() -> None:
    """Print what was wrong, and how many points were survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--what", choices=list(WHAT), default="promotion")
    read = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for at, said in survive(Path(folder), WHAT[read.what], read.points):
            results.append((at, said))
            sys.stdout.write(f"{at}: {'; '.join(said) or 'well'}\n")
            sys.stdout.flush()
    good = sum(not said for _, said in results[1:])
    sys.stdout.write(f"{good} of {read.points} kills of a {read.what} ended well, {len(results)} runs\n")
    sys.exit(any(said for _, said in results))


if __name__ == "__main__":
    main()
