"""Put a release on trial beside the champion, or take it off again, under the lease that publications hold.

Learning puts on trial what its lessons cannot prove, for only what the champion showed could be taken (flows/learn.py).
Such a trial is decided here, by one look, once as many answers as were planned when it began were decided by what people
opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import CanaryFailed, IndexMissing, ReleaseError
from ragkeep.files import read_rows
from ragkeep.interactions import last_written, read
from ragkeep.interactions.segments import last_seq, sealed_paths
from ragkeep.learned import LEDGER, Part, parts_of
from ragkeep.releases import read_release, require_champion
from ragkeep.stores import open_store
from ragkeep.trial_report import FEW_PEOPLE, trial_state
from ragkeep.trials import Trial, TrialMode, Unit, as_time, begin_trial, end_trial, past_trials, read_trial, trial_path
from ragkeep.types import Release

from . import night, registry
from .lease import Lease, hold
from .publish import now, promote, recover, require_index, require_models, rollback, who


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
    answers: int = 0,
) -> Trial:
    """Write the trial down; servers follow it from their next look. Raises LeaseLost, ReleaseError on odd values."""
    lease.check()
    sealed = sealed_paths(paths.interactions)
    after = last_seq(sealed[-1]) if sealed else 0
    try:
        ends = as_time(until).astimezone(UTC).isoformat(timespec="seconds") if until else ""
        trial = Trial(
            f"{release.number}-{lease.token}", release.number, live.number, mode, share, by, now(), ends, after,
            lease.token, who(), reason, answers,
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
        ended = end_trial(paths, why=reason, at=now(), outcome="stopped")
        registry.set_aliases(paths, {registry.CHALLENGER: None})
        return ended


def try_learned(paths: Paths, params: Params, release: Release, live: Release, *, lease: Lease, why: str) -> Trial:
    """Have people judge what was learned: mix a share of the answers' sources, until it is decided (`conclude`)."""
    how = params.trial
    return begin(
        paths, release, live, lease=lease, mode="interleave", share=how.share, by=how.by, answers=how.answers, reason=why
    )


def due(paths: Paths) -> dict[str, Any] | None:
    """Report the trial that people have decided, by as many answers as were planned; else None. Reads the log since."""
    try:
        trial = read_trial(paths)
    except ReleaseError:  # a damaged file: readers say so
        return None
    if trial is None or not trial.answers:
        return None
    report = trial_state(paths)
    return report if _decided(report) >= trial.answers and report["winner"] != "too few" else None


def standing(paths: Paths) -> str:
    """Say how far the trial is that runs, "" where none does. Raises ReleaseError where its file is damaged."""
    trial = read_trial(paths)
    if trial is None or trial.over():
        return ""
    if not trial.answers:
        return f"release {trial.number} is on trial"
    report = trial_state(paths)
    decided = f"{_decided(report):,} of {trial.answers:,} answers are decided, by {report['people']:,} {trial.by}s"
    return f"release {trial.number} is on trial: {decided} (at least {FEW_PEOPLE} are needed)"


def _decided(report: dict[str, Any]) -> int:
    counts = report.get("counts", {})
    return int(counts.get("wins", 0) + counts.get("losses", 0))


def conclude(paths: Paths, params: Params, *, lease: Lease) -> str:
    """End a trial that is due: what won becomes the champion, unless it cannot answer, or learned from somebody erased.

    Returns what was done in a sentence, "" where there was nothing to do.
    """
    report = due(paths)
    if report is None:
        return ""
    number, says, winner = int(report["trial"]["number"]), report["says"], report["winner"]
    if winner == "challenger":
        trouble = _taken(paths, params, number, lease=lease, says=says)
        if not trouble:
            return f"release {number} won its trial and answers now: {says}"
        says, winner = f"{says}; but {trouble}", ""
    end_trial(paths, why=says, at=now(), outcome=winner)
    registry.set_aliases(paths, {registry.CHALLENGER: None})
    return f"the trial of release {number} is over, the champion stays: {says}"


def _taken(paths: Paths, params: Params, number: int, *, lease: Lease, says: str) -> str:
    """Make what won the champion; say why not where that cannot be."""
    store = open_store(params.index, paths)
    if _unlearned(paths, read_release(paths, number)):
        return "somebody it learned from was erased meanwhile: `ragkeep learn` learns anew"
    try:
        promote(paths, store, number, lease=lease, reason=f"won its trial: {says}")
        night.canary(paths, params)
    except (IndexMissing, ReleaseError) as error:
        return f"it cannot be promoted: {error}"
    except CanaryFailed as error:
        rollback(paths, store, lease=lease, reason="did not answer")
        return str(error)
    return ""


def _unlearned(paths: Paths, release: Release) -> bool:
    """Whether a record is gone that one of a release's models was made of: an erasure leaves none of it."""
    names = {f"{part.learner}/{part.version}" for part in parts_of(release.serving.get("learned", []))}
    wanted = {seq for row in read_rows(paths.state / LEDGER) if row["model"] in names for seq in row["interactions"]}
    if not wanted:
        return False
    there = (one.seq for one in read(paths.interactions, after=min(wanted) - 1, skip_damaged=True) if one.kind != "erase")
    return bool(wanted.difference(there))


def lost_before(paths: Paths, parts: Sequence[Part]) -> str:
    """Say which trial of the same learners' people decided against, or a person stopped; "" for none.

    It holds until the log is twice as long as it was then: a little more to learn from is no other candidate.
    """
    learners, last = {part.learner for part in parts if not part.version}, last_written(paths.interactions) or 0
    for row in reversed(past_trials(paths)):
        if not row.get("answers") or not row.get("outcome") or last >= 2 * (row.get("before") or 0):
            continue
        if learners <= {part.learner for part in parts_of(read_release(paths, row["number"]).serving.get("learned", []))}:
            number = row["number"]
            return {
                "champion": f"people opened the champion's sources more in the trial of release {number}",
                "neither": f"people saw no difference in the trial of release {number}",
                "stopped": f"somebody stopped the trial of release {number}; `ragkeep releases trial start {number} "
                f"--mode interleave --answers {row['answers']}` begins it again",
            }[row["outcome"]]
    return ""
