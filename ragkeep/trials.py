"""A challenger on trial beside the champion: the file that says so, and the trials that are over.

`<state>/releases/challenger.json`, beside the pointer, names one release, how it is tried and against which champion:
`shadow` computes what it would have found, `split` lets it answer a share of the people, `interleave` mixes its sources
with the champion's. Only the holder of the lease writes it (flows/trials.py); servers follow it as they follow the
pointer. A trial is between two named releases: any move of the champion ends it. `trials.jsonl` keeps
those that are over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from blake3 import blake3

from .config import Paths
from .errors import LeaseLost, ReleaseError
from .files import append_row, fsync_dir, read_json, sound_rows, write_json
from .interactions import last_written
from .types import Hit

TrialMode: TypeAlias = Literal["shadow", "split", "interleave"]
Side: TypeAlias = Literal["champion", "challenger"]
Unit: TypeAlias = Literal["user", "session"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Release `number` on trial against `champion`.

    `share` (0..1] is the part of the units (split) or of the answers (shadow, interleave) that it takes part in. `by` is
    who stays on one side: a user, or a session where all people share one key. `until` is UTC in ISO 8601, "" for no end.
    What was logged after the sequence number `after` may belong to it; `token` is the fencing token of the run that began
    it. `answers`: after so many that were decided by what people opened, the next night carries out what they decided;
    0: a person does. Raises ValueError on values that make no sense.
    """

    id: str
    number: int
    champion: int
    mode: TrialMode
    share: float
    by: Unit
    started_at: str
    until: str
    after: int
    token: int
    who: str
    reason: str
    answers: int = 0

    def __post_init__(self) -> None:
        if self.mode not in get_args(TrialMode) or self.by not in get_args(Unit):
            raise ValueError(f"mode is one of {', '.join(get_args(TrialMode))}, by one of {', '.join(get_args(Unit))}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is above 0 and at most 1, not {self.share}")
        if self.answers < 0 or (self.answers and self.mode != "interleave"):
            raise ValueError(
                f"answers are decided by interleaving alone, and at least 0, not {self.answers} by {self.mode}"
            )
        if self.number == self.champion:
            raise ValueError(f"release {self.number} is the champion: it cannot be tried against itself")
        if self.until:
            as_time(self.until)

    def takes(self, key: str) -> bool:
        """Whether a user, session or answer is among the share: the same key always is, or never."""
        drawn = int.from_bytes(blake3(f"{self.id}\n{key}".encode()).digest(8), "little")
        return drawn < self.share * 2**64

    def over(self, now: datetime | None = None) -> bool:
        """Whether its time has passed."""
        return bool(self.until) and (now or datetime.now(UTC)) >= as_time(self.until)


def as_time(text: str) -> datetime:
    """Read a date or time of ISO 8601, UTC where it names no zone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def trial_path(paths: Paths) -> Path:
    """Where the trial that runs is written down."""
    return paths.releases / "challenger.json"


def read_trial(paths: Paths) -> Trial | None:
    """Read the trial that is written down, also one whose time has passed. Raises ReleaseError where it is damaged."""
    path = trial_path(paths)
    try:
        row = read_json(path)
        return None if row is None else Trial(**row)
    except (ValueError, TypeError) as error:
        raise ReleaseError(
            f"{path.name} cannot be read ({' '.join(str(error).split())[:200]}): the champion answers alone; "
            "`ragkeep releases trial stop` takes it away"
        ) from None


def on_trial(paths: Paths) -> int | None:
    """The number of the release whose index a trial still needs; of a damaged file none."""
    try:
        trial = read_trial(paths)
    except ReleaseError:
        return None
    return trial.number if trial and not trial.over() else None


def begin_trial(paths: Paths, trial: Trial) -> None:
    """Write a trial down. Raises LeaseLost when a later run has begun one."""
    now = read_trial(paths)
    if now and now.token > trial.token:
        raise LeaseLost(f"a later run (token {now.token}) has put release {now.number} on trial")
    write_json(trial_path(paths), asdict(trial))


def end_trial(paths: Paths, *, why: str, at: str, outcome: str = "") -> Trial | None:
    """End the trial that is written down, and keep it among those that are over; a damaged one is only taken away.

    `before` is noted with it: the last sequence number in the log, after which nothing belongs to it; and `outcome`:
    "champion" or "neither" where people decided so, "stopped" by a person, "" where something else ended it. Safe to
    repeat, and where there is none. Returns what was ended.
    """
    path = trial_path(paths)
    try:
        trial = read_trial(paths)
    except ReleaseError:
        trial = None
    if trial and trial.id not in {row["id"] for row in past_trials(paths)}:
        ended = {"ended_at": at, "why": why, "outcome": outcome, "before": _last_written(paths)}
        append_row(paths.releases / "trials.jsonl", {**asdict(trial), **ended})
    if path.exists():
        path.unlink(missing_ok=True)
        fsync_dir(path.parent)
    return trial


def _last_written(paths: Paths) -> int | None:
    """None for a log that cannot be read: that must keep nobody from rolling back."""
    try:
        return last_written(paths.interactions)
    except OSError:
        return None


def past_trials(paths: Paths) -> list[dict[str, Any]]:
    """List the trials that are over, oldest first: the fields of Trial, `ended_at`, `why`, `outcome` and `before`.

    A line that a power cut left torn is left out: it must keep nobody from rolling back.
    """
    rows = sound_rows(paths.releases / "trials.jsonl")
    return [row for row in rows if row.keys() >= {"id", "ended_at", "why"}]


def mixed_record(trial: Trial, index: str, teams: Mapping[str, str], hits: Sequence[Hit]) -> dict[str, Any]:
    """What the log keeps of an answer from mixed sources: which side chose the source at each rank."""
    return {
        "id": trial.id, "mode": "interleave", "challenger": str(trial.number), "index": index,
        "teams": [teams.get(hit.chunk.id, "") for hit in hits],
    }  # fmt: skip


def told(trial: Trial) -> dict[str, Any]:
    """Say a trial in JSON, with the numbers of releases as names, as everywhere."""
    return {**asdict(trial), "number": str(trial.number), "champion": str(trial.champion)}


def latest_trial(paths: Paths) -> tuple[Trial, dict[str, Any] | None] | None:
    """Return the trial that runs, or the last that ended, with what `past_trials` notes of it. Raises ReleaseError.

    `before` is None where it was not noted.
    """
    trial = read_trial(paths)
    if trial:
        return trial, None
    past = past_trials(paths)
    if not past:
        return None
    ended = {key: past[-1].get(key) for key in ("ended_at", "why", "outcome", "before")}
    try:
        return Trial(**{key: value for key, value in past[-1].items() if key not in ended}), ended
    except (ValueError, TypeError) as error:
        raise ReleaseError(f"the last line of trials.jsonl cannot be read: {error}") from None
