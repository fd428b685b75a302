"""What came of a trial, from the interaction log alone: which release won, with an interval, or that nobody can say yet.

    found = report_trial(trial, read(paths.interactions, after=trial.after))

Every difference is challenger less champion. Whoever asked is the unit: acts of others on an answer do not count, and
intervals are of people (docs/trials.md), for answers of one person are alike. Looking again and again until something
wins finds winners where there are none: a report of a trial that still runs says that it is a look in between.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from .config import Paths
from .interactions import read
from .interactions.records import impressions
from .trial_stats import (
    Numbers,
    difference_interval,
    effective,
    newcombe,
    overlap,
    ratio_interval,
    rbo,
    sign_flip_p,
)
from .trials import Side, Trial, latest_trial, told
from .types import Interaction

FEW_ANSWERS, FEW_PEOPLE, FEW_DECIDED = 30, 5, 20
"""With fewer answers, people (a side), or interleaved answers that were decided by clicks, nobody is said to have won."""
DEPTH, RBO_DEPTH = 5, 10
JUDGED = {"thumbs_down": -1, "thumbs_up": 1}
"""Shares of answers that decide a split, and which way is better. Fewer clicks or more abstentions may be good or bad:
they are shown and decide nothing."""
SURE, SHOWN_SURE = 0.975, 0.95
"""How sure the intervals are that decide, of which a split has two, and those that are only shown."""
SHOWN = ("clicked", "abstained", "stopped")
_WAITING = 10_000
_SEARCH = ("embed", "retrieve", "rerank")


def trial_state(paths: Paths) -> dict[str, Any]:
    """Report the trial that runs, or else the last one: {"trial": None} where there was none. Raises ReleaseError.

    Reads the log from where the trial began to where it ended, so that it costs what was asked meanwhile.
    """
    found = latest_trial(paths)
    if found is None:
        return {"trial": None}
    trial, ended = found
    records, told_of = read(paths.interactions, after=trial.after, skip_damaged=True), dict(ended or {})
    before = told_of.pop("before", None)
    report = report_trial(trial, records if before is None else takewhile(lambda one: one.seq <= before, records))
    return {"trial": told(trial), "running": ended is None and not trial.over(), **told_of, **report}


@dataclass(slots=True)
class _Seen:
    """One answer of the trial, and what whoever asked did with it."""

    unit: str
    user: str
    side: Side | None
    teams: Sequence[str]
    fell_back: bool
    abstained: bool
    stopped: bool
    took_ms: float | None
    vote: int = 0
    clicks: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Shadow:
    """One answer beside what the challenger would have shown."""

    unit: str
    overlap: float
    rbo: float
    abstained: tuple[bool, bool | None]
    searched_ms: tuple[float | None, float]


def report_trial(trial: Trial, records: Iterable[Interaction]) -> dict[str, Any]:
    """Say what a trial's records show.

    `winner` is "challenger", "champion", "neither" or "too few"; a shadow has none (""), for nobody saw it. `says` is one
    sentence. `measures` have champion, challenger, difference, lo, hi and n, all of them numbers or None.
    """
    seen, shadows, simulated = _gathered(trial, records)
    if trial.mode == "shadow":
        found = _shadow_report(shadows)
    else:
        found = _split_report(seen) if trial.mode == "split" else _interleave_report(seen)
    answers = len(shadows) if trial.mode == "shadow" else len(seen)
    return {
        "mode": trial.mode, "answers": answers, "people": found.pop("people"), "simulated": simulated,
        **found, "says": _sentence(trial, found["winner"], simulated, answers),
    }  # fmt: skip


def _sentence(trial: Trial, winner: str, simulated: int, answers: int) -> str:
    said = {
        "challenger": f"release {trial.number} (the challenger) is better than release {trial.champion}",
        "champion": f"release {trial.champion} (the champion) is better than release {trial.number}",
        "neither": f"no difference is shown between release {trial.number} and release {trial.champion}",
        "too few": "too few answers to say anything",
        "": f"release {trial.number} ran in the shadow: this says how it differs, not which is better",
    }[winner]
    real = f"; {simulated:,} of {answers:,} answers are SIMULATED" if simulated else ""
    return said + real


def _gathered(trial: Trial, records: Iterable[Interaction]) -> tuple[list[_Seen], list[_Shadow], int]:
    seen, shadows = dict[str, _Seen](), list[_Shadow]()
    waiting: OrderedDict[str, Interaction] = OrderedDict()
    simulated = 0
    for record in records:
        if record.kind == "answer":
            if trial.mode == "shadow":
                waiting[record.answer] = record
                if len(waiting) > _WAITING:
                    waiting.popitem(last=False)
            elif (one := _seen(trial, record)) is not None:
                seen[record.answer] = one
                simulated += record.user.startswith("sim:")
        elif record.kind == "shadow" and record.payload["trial"] == trial.id and record.answer in waiting:
            shadows.append(_compared(trial, waiting.pop(record.answer), record))
            simulated += record.user.startswith("sim:")
        elif record.answer in seen and seen[record.answer].user == record.user:
            _acted(seen[record.answer], record)
    return list(seen.values()), shadows, simulated


def _unit(trial: Trial, record: Interaction) -> str:
    return record.user if trial.by == "user" else f"{record.user}/{record.session}"


def _seen(trial: Trial, record: Interaction) -> _Seen | None:
    """Read an answer's part in the trial; None where it had none, or no release was asked (refused by the guard)."""
    payload = record.payload
    part: Mapping[str, Any] = payload.get("trial") or {}
    if part.get("id") != trial.id or (not payload["model"] and not payload["aborted"]):
        return None
    timings = payload["timings_ms"]
    took = None if "cache" in timings or payload["aborted"] else timings.get("total")
    side = part.get("side")
    return _Seen(
        _unit(trial, record), record.user, side, part.get("teams", ()),
        side == "challenger" and record.release != str(trial.number), payload["abstained"], payload["aborted"], took,
    )  # fmt: skip


def _acted(one: _Seen, record: Interaction) -> None:
    if record.kind == "vote":  # who changes their mind is believed the last
        one.vote = record.payload["value"]
    elif record.kind == "click":
        one.clicks.add(record.payload["rank"])


def _split_report(seen: Sequence[_Seen]) -> dict[str, Any]:
    sides = {side: [one for one in seen if one.side == side] for side in ("champion", "challenger")}
    ours, theirs = sides["champion"], sides["challenger"]
    people = {side: len({one.unit for one in some}) for side, some in sides.items()}
    few = min(len(ours), len(theirs)) < FEW_ANSWERS or min(people.values()) < FEW_PEOPLE
    measures = [_share(name, ours, theirs) for name in (*JUDGED, *SHOWN)]
    winner = "too few" if few else _decided(measures)
    return {
        "winner": winner, "people": sum(people.values()), "measures": [*measures, _latency(ours, theirs)],
        "fell_back": sum(one.fell_back for one in theirs),
        "sides": {side: {"answers": len(some), "people": people[side]} for side, some in sides.items()},
    }  # fmt: skip


def _decided(measures: Sequence[Mapping[str, Any]]) -> str:
    """Who is better in at least one of the judged measures, and worse in none."""
    sides = set()
    for row in measures:
        better = JUDGED.get(row["measure"], 0)
        if better and row["lo"] is not None and (row["lo"] > 0 or row["hi"] < 0):
            sides.add("challenger" if (row["lo"] > 0) == (better > 0) else "champion")
    return sides.pop() if len(sides) == 1 else "neither"


def _hit(name: str, one: _Seen) -> bool:
    return {
        "thumbs_down": one.vote < 0, "thumbs_up": one.vote > 0, "clicked": bool(one.clicks),
        "abstained": one.abstained, "stopped": one.stopped,
    }[name]  # fmt: skip


def _share(name: str, ours: Sequence[_Seen], theirs: Sequence[_Seen]) -> dict[str, Any]:
    """Compare the shares of answers that something holds for; of those that were stopped only that is known."""
    champion, challenger = (_by_person([(o.unit, _hit(name, o)) for o in some if name == "stopped" or not o.stopped])
                            for some in (ours, theirs))  # fmt: skip
    (a, n), (b, m) = ((_mean(hits, sizes), effective(hits, sizes)) for hits, sizes in (challenger, champion))
    confidence = SURE if name in JUDGED else SHOWN_SURE
    low, high = newcombe(a, n, b, m, confidence=confidence) if n and m else (None, None)
    return _row(name, b if m else None, a if n else None, (low, high), int(champion[1].sum() + challenger[1].sum()))


def _latency(ours: Sequence[_Seen], theirs: Sequence[_Seen]) -> dict[str, Any]:
    """Compare the mean time of whole answers, in milliseconds; those from the cache are left out."""
    timed = [[(one.unit, one.took_ms) for one in some if one.took_ms is not None] for some in (ours, theirs)]
    champion, challenger = (_by_person(some) for some in timed)
    b, a = (_mean(*some) if some[0].size else None for some in (champion, challenger))
    row = _row("latency_ms", b, a, difference_interval(challenger, champion), sum(map(len, timed)))
    for side, some in zip(("champion", "challenger"), timed, strict=True):
        row[f"{side}_p95"] = float(np.percentile([ms for _, ms in some], 95)) if some else None
    return row


def _interleave_report(seen: Sequence[_Seen]) -> dict[str, Any]:
    """Count for each answer whose sources were opened more; the difference is from one half of those that were opened."""
    won: dict[str, list[float]] = defaultdict(list)
    counts = Counter[str]()
    for one in seen:
        teams = Counter(one.teams[rank - 1] for rank in one.clicks if rank <= len(one.teams))
        if not one.clicks:
            counts["not clicked"] += 1
            continue
        lead = teams["challenger"] - teams["champion"]
        counts["wins" if lead > 0 else "losses" if lead < 0 else "ties"] += 1
        won[one.unit].append((lead > 0) - (lead < 0))
    sums, sizes = _by_person([(unit, score / 2) for unit, scores in won.items() for score in scores])
    low, high = ratio_interval(sums, sizes, confidence=SURE)
    decided, clicked = counts["wins"] + counts["losses"], int(sizes.sum())
    p = sign_flip_p(sums)
    row = _row("preference", None, None, (low, high), clicked, difference=_mean(sums, sizes) if clicked else None)
    few = decided < FEW_DECIDED or len(won) < FEW_PEOPLE
    clear = p < 1 - SURE and (low > 0 or high < 0)
    winner = "too few" if few else "neither" if not clear else "challenger" if low > 0 else "champion"
    return {
        "winner": winner, "people": len({one.unit for one in seen}), "measures": [row], "p": p,
        "counts": {name: counts[name] for name in ("wins", "losses", "ties", "not clicked")},
    }  # fmt: skip


def _compared(trial: Trial, answer: Interaction, shadow: Interaction) -> _Shadow:
    ours, theirs = ([one.chunk for one in impressions(record)] for record in (answer, shadow))
    cached = "cache" in answer.payload["timings_ms"]
    took = [sum(r.payload["timings_ms"].get(step, 0.0) for step in _SEARCH) for r in (answer, shadow)]
    return _Shadow(
        _unit(trial, answer), overlap(ours, theirs, k=DEPTH), rbo(ours[:RBO_DEPTH], theirs[:RBO_DEPTH]),
        (answer.payload["abstained"], shadow.payload["abstained"]), (None if cached else took[0], took[1]),
    )  # fmt: skip


def _shadow_report(shadows: Sequence[_Shadow]) -> dict[str, Any]:
    both = [(one.unit, *one.abstained) for one in shadows if one.abstained[1] is not None]
    abstained = _by_person([(unit, float(bool(theirs)) - ours) for unit, ours, theirs in both])
    took = [(one.unit, one.searched_ms[0], one.searched_ms[1]) for one in shadows if one.searched_ms[0] is not None]
    paired = _by_person([(unit, theirs - (ours or 0.0)) for unit, ours, theirs in took])
    row = _row(
        "abstained",
        float(np.mean([ours for _, ours, _ in both])) if both else None,
        float(np.mean([bool(theirs) for *_, theirs in both])) if both else None, ratio_interval(*abstained), len(both),
    )  # fmt: skip
    disagree = {
        "only champion": sum(ours and not theirs for _, ours, theirs in both),
        "only challenger": sum(bool(theirs) and not ours for _, ours, theirs in both),
    }  # fmt: skip
    latency = _row(
        "search_ms", float(np.mean([ours or 0.0 for _, ours, _ in took])) if took else None,
        float(np.mean([theirs for *_, theirs in took])) if took else None, ratio_interval(*paired), len(took),
    )  # fmt: skip
    alike = [
        _alike(name, [(one.unit, getattr(one, name)) for one in shadows]) for name in ("overlap", "rbo")
    ]  # fmt: skip
    winner = "too few" if len(shadows) < FEW_ANSWERS else ""
    people = len({one.unit for one in shadows})
    return {"winner": winner, "people": people, "measures": [*alike, row, latency], "abstention_disagrees": disagree}


def _alike(name: str, found: Sequence[tuple[str, float]]) -> dict[str, Any]:
    sums, sizes = _by_person(found)
    named = f"overlap@{DEPTH}" if name == "overlap" else name
    mean = _mean(sums, sizes) if found else None
    return _row(named, None, None, ratio_interval(sums, sizes), len(found), difference=mean)


def _by_person(values: Sequence[tuple[str, float | None]]) -> tuple[Numbers, Numbers]:
    """Sum values by person: sums and how many, both float64 (people,)."""
    sums: dict[str, list[float]] = {}
    for unit, value in values:
        both = sums.setdefault(unit, [0.0, 0.0])
        both[0] += float(value or 0.0)
        both[1] += 1
    table = np.array(list(sums.values()), np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _mean(sums: Numbers, sizes: Numbers) -> float:
    return float(sums.sum() / sizes.sum()) if sizes.size else 0.0


def _row(
    measure: str,
    champion: float | None,
    challenger: float | None,
    bounds: tuple[float | None, float | None],
    n: int,
    *,
    difference: float | None = None,
) -> dict[str, Any]:
    if champion is not None and challenger is not None:
        difference = challenger - champion
    low, high = (None if bound is None or not np.isfinite(bound) else float(bound) for bound in bounds)
    return {
        "measure": measure, "champion": champion, "challenger": challenger, "difference": difference,
        "lo": low, "hi": high, "n": n,
    }  # fmt: skip
