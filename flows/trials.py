"""Put a release on trial beside the champion, or take it off again, under the lease that publications hold."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import ReleaseError
from ragkeep.interactions.segments import last_seq, sealed_paths
from ragkeep.releases import read_release, require_champion
from ragkeep.stores import open_store
from ragkeep.trials import Trial, TrialMode, Unit, as_time, begin_trial, end_trial, read_trial, trial_path
from ragkeep.types import Release

from . import registry
from .lease import Lease, hold
from .publish import now, recover, require_index, require_models, who


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
