"""Put a release on trial beside the champion, or take it off again, under the lease that publications hold.

Learning puts on trial what its lessons cannot prove, for only what the champion showed could be taken (flows/learn.py).
Such a trial is decided here, by one look, once as many answers as were planned were decided by what people opened.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import IndexMissing, ReleaseError
from ragkeep.interactions.segments import last_seq, sealed_paths
from ragkeep.learned import Part, parts_of
from ragkeep.releases import read_release, require_champion
from ragkeep.stores import open_store
from ragkeep.trial_report import trial_state
from ragkeep.trials import Trial, TrialMode, Unit, as_time, begin_trial, end_trial, past_trials, read_trial, trial_path
from ragkeep.types import Release

from . import registry
from .lease import Lease, hold
from .publish import now, promote, recover, require_index, require_models, who

LEARNED, DECIDED = "learned: ", "decided: "
"""Begin the reasons of trials that learning began, and of ends that people's clicks made."""


def start(paths: Paths, params: Params, number: int, *, force: bool = False, **options: Any) -> Trial:
    """Put a release on trial; `options` are those of `begin`. Raises Busy, and what `begin` raises."""
    with hold(paths.state / "lease.sqlite") as lease:
        store = open_store(params.index, paths)
        recover(paths, lambda: store, lease=lease)
        release, live = read_release(paths, number), require_champion(paths)
        _allowed(paths, release, live, shadow=options["mode"] == "shadow", force=force)
        require_index(store, release)
        require_models(paths, release)
        return begin(paths, release, live, lease=lease, **options)


def _allowed(paths: Paths, release: Release, live: Release, *, shadow: bool, force: bool) -> None:
    if release.number == live.number:
        raise ReleaseError(f"release {release.number} is the champion: there is nothing to try it against")
    running = read_trial(paths)
    if running and not running.over():
        raise ReleaseError(f"release {running.number} is on trial already: `ragkeep releases trial stop` ends that first")
    if not shadow and not force and not release.reason.startswith("pass"):
        raise ReleaseError(
            f"the gate refused release {release.number} ({release.reason}): people would see it; try it with "
            "`--mode shadow`, or overrule the gate with `--force --reason ...`"
        )


def begin(
    paths: Paths,
    release: Release,
    live: Release,
    *,
    lease: Lease,
    mode: TrialMode,
    share: float,
    by: Unit = "user",
    until: str = "",
    reason: str = "",
) -> Trial:
    """Write the trial down; servers follow it from their next look. Raises LeaseLost, ReleaseError on odd values."""
    lease.check()
    sealed = sealed_paths(paths.interactions)
    after = last_seq(sealed[-1]) if sealed else 0
    try:
        ends = as_time(until).astimezone(UTC).isoformat(timespec="seconds") if until else ""
        trial = Trial(
            f"{release.number}-{lease.token}", release.number, live.number, mode, share, by, now(), ends, after,
            lease.token, who(), reason,
        )  # fmt: skip
    except ValueError as error:
        raise ReleaseError(str(error)) from None
    if trial.over():
        raise ReleaseError(f"{until} has passed: name a later end")
    end_trial(paths, why="its time had passed", at=now())
    registry.set_aliases(paths, {registry.CHALLENGER: release.number})  # first: an alias of no trial does no harm
    begin_trial(paths, trial)
    return trial


def stop(paths: Paths, *, reason: str) -> Trial | None:
    """End the trial; return it, None where only a damaged file was there. Raises Busy, ReleaseError without a trial."""
    with hold(paths.state / "lease.sqlite") as lease:
        lease.check()
        if not trial_path(paths).exists():
            raise ReleaseError("no release is on trial: `ragkeep releases trial start N` begins one")
        ended = end_trial(paths, why=reason, at=now())
        registry.set_aliases(paths, {registry.CHALLENGER: None})
        return ended


def try_learned(paths: Paths, params: Params, release: Release, live: Release, *, lease: Lease, why: str) -> Trial:
    """Have people judge what was learned: mix a share of the answers' sources, until it is decided (`conclude`)."""
    return begin(
        paths, release, live, lease=lease, mode="interleave", share=params.learn.trial_share, reason=f"{LEARNED}{why}"
    )


def due(paths: Paths, params: Params) -> dict[str, Any] | None:
    """Report the trial that learning began, once enough of its answers are decided; else None. Reads the log since."""
    try:
        trial = read_trial(paths)
    except ReleaseError:  # a damaged file: readers say so
        return None
    if trial is None or not trial.reason.startswith(LEARNED):
        return None
    report = trial_state(paths)
    return report if _decided(report) >= params.learn.trial_answers else None


def standing(paths: Paths, params: Params) -> str:
    """Say how far the trial is that runs, "" where none does."""
    trial = read_trial(paths)
    if trial is None or trial.over():
        return ""
    if not trial.reason.startswith(LEARNED):
        return f"release {trial.number} is on trial"
    decided = f"{_decided(trial_state(paths)):,} of {params.learn.trial_answers:,} answers are decided"
    return f"release {trial.number} is on trial: {decided}"


def _decided(report: dict[str, Any]) -> int:
    counts = report.get("counts", {})
    return int(counts.get("wins", 0) + counts.get("losses", 0))


def conclude(paths: Paths, params: Params, *, lease: Lease) -> str:
    """End a trial that is due: what won becomes the champion. Returns what was done in a sentence, "" for nothing."""
    report = due(paths, params)
    if report is None:
        return ""
    number, says = int(report["trial"]["number"]), report["says"]
    if report["winner"] == "challenger":
        try:
            promote(paths, open_store(params.index, paths), number, lease=lease, reason=f"{DECIDED}{says}")
        except (IndexMissing, ReleaseError) as error:
            says = f"{says}, but it cannot be promoted: {error}"
        else:
            return f"release {number} won its trial and answers now: {says}"
    end_trial(paths, why=f"{DECIDED}{says}", at=now())
    registry.set_aliases(paths, {registry.CHALLENGER: None})
    return f"the trial of release {number} is over, the champion stays: {says}"


def lost_before(paths: Paths, parts: Sequence[Part]) -> int | None:
    """Which release of these very parts people decided against; None for none."""
    wanted = {_same(part) for part in parts}
    for row in past_trials(paths):
        if row["why"].startswith(DECIDED):
            bound = parts_of(read_release(paths, row["number"]).serving.get("learned", []))
            if {_same(part) for part in bound} == wanted:
                return int(row["number"])
    return None


def _same(part: Part) -> tuple[str, str]:
    return part.learner, part.sha256 or json.dumps(part.retrieve, sort_keys=True)
