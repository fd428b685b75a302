"""What the interaction log says of the releases and of what is asked, for watching: read as a stream, little is kept.

Only what is sealed is read, in the order of sequence numbers: clocks jump, and an unsealed record may be taken back.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.drift import LEAST, Share
from ragkeep.config import Paths
from ragkeep.interactions import read
from ragkeep.interactions.segments import answer_key
from ragkeep.releases import history
from ragkeep.trial_stats import newcombe, wilson
from ragkeep.types import Interaction
from tasks.history import window_start

WINDOW = 200_000
"""The newest records that releases are judged by."""
QUESTIONS = 400
"""Questions a window of them holds: as many as embed in seconds."""
_CHARS = 2000
LEAST_ANSWERS = 100
"""Answers of each release, below which their shares are shown and not compared."""
CONFIDENCE = 0.99
"""Of the interval that must lie above 0 for an alarm: it is looked at every night."""
SHOWN = 10
SHARES = ("abstained", "down", "clicked")


@dataclass(slots=True)
class Release:
    """Counts of one release's answers: given whole, abstained, voted down by the last vote, with a source opened."""

    first: int
    answers: int = 0
    abstained: int = 0
    down: int = 0
    clicked: int = 0
    simulated: int = 0


@dataclass(slots=True)
class Tally:
    """All releases of the window, and which row each answer is: some 30 MB at most."""

    releases: dict[str, Release] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _rows: dict[int, int] = field(default_factory=dict)
    _release: array[int] = field(default_factory=lambda: array("i"))
    _down: bytearray = field(default_factory=bytearray)
    _clicked: bytearray = field(default_factory=bytearray)

    def add(self, record: Interaction) -> None:
        """Count a record; one about an answer that is older than the window, erased or was cut off counts nowhere."""
        if record.kind == "answer":
            self._answer(record)
            return
        row = self._rows.get(answer_key(record.answer))
        if row is None:
            return
        release = self.releases[self._names[self._release[row]]]
        if record.kind == "vote":
            down = int(record.payload["value"] < 0)
            release.down += down - self._down[row]
            self._down[row] = down
        elif record.kind == "click" and not self._clicked[row]:
            self._clicked[row] = 1
            release.clicked += 1

    def _answer(self, record: Interaction) -> None:
        if record.payload["aborted"] or not record.release or _tried(record):
            return
        if record.release not in self.releases:
            self.releases[record.release] = Release(record.seq)
            self._names.append(record.release)
        release = self.releases[record.release]
        release.answers += 1
        release.abstained += bool(record.payload["abstained"])
        release.simulated += record.user.startswith("sim:")
        self._rows[answer_key(record.answer)] = len(self._release)
        self._release.append(self._names.index(record.release))
        self._down.append(0)
        self._clicked.append(0)


def releases(paths: Paths, live: str) -> dict[str, Any]:
    """Tell each release's shares with their intervals, newest first, and hold the live one against the one before it.

    That is the one it took the place of, as the history of publications has it. What was said on trial is in no row.
    "difference" holds the shares' differences; "alarm" says whether that of the answers voted down lies above 0 with its
    whole interval, None where either release has fewer than LEAST_ANSWERS.
    """
    tally = Tally()
    start = window_start(paths.interactions, WINDOW)
    for record in read(paths.interactions, after=start, sealed=True, skip_damaged=True):
        tally.add(record)
    ordered = sorted(tally.releases.items(), key=lambda item: -item[1].first)
    rows = [_shares(name, one) for name, one in ordered[:SHOWN]]
    before = next((str(event["from"]) for event in reversed(history(paths)) if str(event["to"]) == live), "")
    compared = _compared(before, tally.releases.get(before), tally.releases.get(live))
    return {"rows": rows, **compared}


def _tried(record: Interaction) -> bool:
    """Whether an answer was another than the champion's for a trial's sake: a challenger's, or of mixed sources."""
    trial = record.payload.get("trial") or {}
    return trial.get("mode") == "interleave" or trial.get("side") == "challenger"


def _shares(name: str, one: Release) -> dict[str, Any]:
    shares = {what: getattr(one, what) / one.answers for what in SHARES}
    return {
        "release": name, "answers": one.answers, "simulated": one.simulated,
        **{what: _rounded((share, *wilson(share, one.answers))) for what, share in shares.items()},
    }  # fmt: skip


def _compared(before: str, then: Release | None, now: Release | None) -> dict[str, Any]:
    if now is None or then is None:
        return {"alarm": None, "why": "too few to tell: only one release, or none, has answered since"}
    if min(now.answers, then.answers) < LEAST_ANSWERS:
        fewest = min(now.answers, then.answers)
        return {"alarm": None, "before": before, "why": f"too few to tell: {fewest} answers of at least {LEAST_ANSWERS}"}
    found = {what: _difference(what, now, then) for what in SHARES}
    return {
        "before": before, "alarm": found["down"][1] > 0,
        "difference": {what: _rounded(share) for what, share in found.items()},
    }  # fmt: skip


def _difference(what: str, now: Release, then: Release) -> Share:
    a, b = getattr(now, what) / now.answers, getattr(then, what) / then.answers
    return a - b, *newcombe(a, now.answers, b, then.answers, confidence=CONFIDENCE)


def _rounded(share: Share) -> list[float]:
    return [round(value, 4) for value in share]


@dataclass(frozen=True, slots=True)
class Questions:
    """A window of questions, each once: (workspace, text), and the sources shown first for them; records first..last."""

    asked: tuple[tuple[str, str], ...]
    sources: dict[str, int]
    first: int
    last: int

    @property
    def enough(self) -> bool:
        """Whether something can be told of them."""
        return len(self.asked) >= LEAST


def newest(folder: Path, after: int) -> Questions:
    """Return the newest QUESTIONS above a sequence number."""
    start = max(after, window_start(folder, WINDOW))
    return _gathered(_asked(folder, start))


def between(folder: Path, first: int, last: int) -> Questions:
    """Return the questions of a range, those that were not erased since."""
    return _gathered(row for row in _asked(folder, first - 1, last))


def _asked(folder: Path, after: int, last: int | None = None) -> Iterator[tuple[int, str, str, str]]:
    for record in read(folder, after=after, sealed=True, skip_damaged=True):
        if last is not None and record.seq > last:
            return
        if record.kind == "answer" and not record.payload["aborted"] and not _tried(record):
            text = (record.payload["rewritten"] or record.payload["question"])[:_CHARS]
            shown = record.payload["shown"]
            yield record.seq, record.workspace, text, shown[0]["uri"].partition("/")[0] if shown else "(none)"


def _gathered(rows: Iterator[tuple[int, str, str, str]]) -> Questions:
    kept: dict[tuple[str, str], tuple[int, str]] = {}
    order: deque[tuple[str, str]] = deque()
    for seq, workspace, text, source in rows:
        key = (workspace, text)
        if key in kept:  # asked again: it counts once, or who repeats a question is taken for many
            continue
        kept[key] = (seq, source)
        order.append(key)
        if len(order) > QUESTIONS:
            del kept[order.popleft()]
    seqs = [seq for seq, _ in kept.values()]
    sources = Counter(source for _, source in kept.values())
    return Questions(tuple(order), dict(sorted(sources.items())), min(seqs, default=0), max(seqs, default=0))
