"""The gate: may this index version go live? Floors, then no measurable harm against the champion on the same questions.

The rule, and why. A candidate fails against the champion when its paired difference on the main metric is below
-min_effect *and* the whole BCa interval lies below 0: harm that is both large enough to matter and more than chance. The
mean alone would refuse a third of equal retrievers (150 questions, differences of sd 0.3: a standard error of 0.024
against a min_effect of 0.01); demanding that the interval exclude -min_effect would refuse nearly all of them. A tiny but
certain change (four answers of 150 slipping one rank because a document was added) is not harm. Slices follow the same
rule with their own effect and share one error rate (Bonferroni), so that equal retrievers pass in at least 95 of 100
nights however many slices there are: 2.5 % for the main metric, 2.5 % for all slices together. A true loss of 0.05 on 150
questions is caught about three times in four. What small steps may add up to, the floors stop.

Evidence that cannot be trusted is not excused: NaN, a missing metric, no questions, scores of another index version FAIL.
Where there is nothing to compare (files absent, baseline broken, other questions) it is CannotJudge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ragkeep.config import GateParams
from ragkeep.errors import CannotJudge
from ragkeep.files import read_json

from .compare import Paired, compare, mean
from .scores import EvalReport, read_report, slice_values

MIN_COMMON = 0.8
"""The share of both sides' questions that must be the same ones."""
_ROUNDING = 1e-5
_ADD_UNANSWERABLE = (
    ": add questions that the documents do not answer to evaluate.sets (evaluation/sets/unanswerable.jsonl holds some), "
    "or take it out of gate.floors"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found. `reasons` say why it failed; `notes` what a reader should know besides.

    `metrics` and `slices`: name -> {base, new, delta, ci: [lo, hi]}, base to ci null where there is no champion;
    `questions`: the main metric question by question, largest loss first.
    """

    verdict: Literal["pass", "fail"]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    slices: dict[str, dict[str, Any]] = field(default_factory=dict)
    questions: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        row = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in row.items()}


def judge(baseline: EvalReport | None, candidate: EvalReport, params: GateParams, *, index: str) -> Verdict:
    """Judge the scores of the index version under test against the floors and the champion's scores.

    Raises CannotJudge when the baseline's scores are unusable or less than MIN_COMMON of the questions are the same.
    """
    reasons = [*_distrust(candidate, index), *_below_floors(candidate, params)]
    if baseline is None:
        metrics = {name: _row(None, candidate.mean(name)) for name in _metrics(candidate)}
        return _verdict(reasons, ("no champion to compare with: floors only",), metrics)
    ids, notes = _common(baseline, candidate)
    metrics = _compared(baseline, candidate, params, ids)
    slices = _slices(baseline, candidate, params, ids)
    reasons += _lost(baseline, candidate)
    reasons += _harm(metrics, params)
    reasons += [reason for name, row in slices.items() for reason in _slice_harm(name, row, params)]
    questions = _questions(baseline, candidate, params.metric, ids)
    return _verdict(reasons, notes, metrics, slices, questions)


def comparable(baseline: EvalReport, candidate: EvalReport) -> bool:
    """Whether enough of both sides' questions are the same ones, labels and all."""
    old, new = ({(row.id, row.digest) for row in report.rows} for report in (baseline, candidate))
    return len(old & new) >= MIN_COMMON * max(len(old), len(new))


def gate_files(baseline: Path, candidate: Path, params: GateParams) -> dict[str, Any]:
    """Judge two measurements, each a folder, a scores.json or a by_query file, as `ragkeep gate` does.

    The version under test is the one data/index.json beside the candidate's folder names, where there is one.
    Raises CannotJudge.
    """
    new = read_report(candidate)
    folder = candidate if candidate.is_dir() else candidate.parent
    receipt = read_json(folder.parent / "index.json")
    return judge(read_report(baseline), new, params, index=receipt["name"] if receipt else new.index).as_json()


def _distrust(report: EvalReport, index: str) -> Iterator[str]:
    """Say why a candidate's scores cannot be believed."""
    if report.index != index:
        yield f"the scores are of index {report.index}, under test is {index}: run the evaluate stage again"
    if not report.rows:
        yield "no question was asked: nothing is known about this index"
    broken = sorted({n for row in report.rows for n, v in row.scores.items() if not math.isfinite(v)})
    for name in broken:
        ids = [row.id for row in report.rows if not math.isfinite(row.scores.get(name, 0.0))]
        yield f"{name} is not a number for {len(ids)} questions ({', '.join(ids[:3])}...)"
    for name in _metrics(report):
        claimed, values = report.claimed(name), list(report.values(name).values())
        if claimed is None or not math.isfinite(claimed):
            yield f"{name} has no number in scores.json"
        elif name not in broken and values and abs(claimed - mean(values)) > _ROUNDING:
            yield f"{name} is {claimed:.4f} in scores.json but its questions give {mean(values):.4f}"


def _required(report: EvalReport, params: GateParams) -> list[str]:
    """List the metrics that must be there; a measurement of retrieval alone says in `measures` what it can have."""
    measures = report.summary.get("measures")
    return sorted({params.metric, *(name for name in params.floors if measures is None or name in measures)})


def _metrics(report: EvalReport) -> list[str]:
    return sorted({*(report.summary.get("metrics") or {}), *(name for row in report.rows for name in row.scores)})


def _below_floors(report: EvalReport, params: GateParams) -> Iterator[str]:
    for name in _required(report, params):
        value, floor = report.mean(name), params.floors.get(name)
        if value is None:
            yield f"{name} was not measured" + (_ADD_UNANSWERABLE if name == "unanswerable_abstained" else "")
        elif floor is not None and not value >= floor:  # NaN too
            yield f"{name} is {value:.4f}, below its floor {floor}"


def _lost(baseline: EvalReport, candidate: EvalReport) -> Iterator[str]:
    """Name what was measured of the champion and is not of the candidate, unless it says it measures less."""
    measures = candidate.summary.get("measures")
    for name in sorted({*_metrics(baseline)} - {*_metrics(candidate)}):
        if measures is None or name in measures:
            yield f"{name} was measured before and is not now: run the evaluate stage again"


def _common(baseline: EvalReport, candidate: EvalReport) -> tuple[list[str], tuple[str, ...]]:
    """Return the ids of the questions both were asked, and what else there is on either side."""
    old = {row.id: row.digest for row in baseline.rows}
    new = {row.id: row.digest for row in candidate.rows}
    ids = sorted(q for q in new if old.get(q) == new[q])
    if not old:
        raise CannotJudge("the champion's scores hold no question: measure the champion again")
    if not new:
        return [], ()
    if not comparable(baseline, candidate):
        raise CannotJudge(
            f"only {len(ids)} questions are the same ({len(old)} before, {len(new)} now; labels count), too few to "
            "compare: give both the same sets, or overrule with `ragkeep releases promote N --force`"
        )
    changed = sum(q in old and old[q] != new[q] for q in new)
    parts = (("new", len(new.keys() - old.keys())), ("gone", len(old.keys() - new.keys())), ("reworded", changed))
    notes = [f"{n} questions are {what} and not compared" for what, n in parts if n]
    return ids, tuple(notes)


def _compared(
    baseline: EvalReport, candidate: EvalReport, params: GateParams, ids: list[str]
) -> dict[str, dict[str, Any]]:
    found = {}
    for name in _metrics(candidate):
        pairs = _pairs(baseline, candidate, name, ids, whole=name == params.metric)
        found[name] = _row(_paired(pairs, params, params.confidence) if pairs else None, candidate.mean(name))
    if params.metric in found and found[params.metric]["base"] is None and ids:
        raise CannotJudge(f"the champion has no {params.metric}: measure the champion again")
    return found


def _pairs(
    baseline: EvalReport, candidate: EvalReport, name: str, ids: list[str], *, whole: bool
) -> list[tuple[float, float]]:
    """Pair the scores of the common questions; where `whole`, one the candidate has no score for counts as 0."""
    old, new = baseline.values(name), candidate.values(name)
    pairs = [(old[q], new.get(q, 0.0)) for q in ids if q in old and (q in new or whole)]
    if any(not math.isfinite(a) for a, _ in pairs):
        raise CannotJudge(f"the champion's {name} is not a number for some questions: measure the champion again")
    return [(a, b if math.isfinite(b) else 0.0) for a, b in pairs]


def _paired(pairs: list[tuple[float, float]], params: GateParams, confidence: float) -> Paired:
    base, new = zip(*pairs, strict=True)
    return compare(base, new, confidence=confidence, resamples=params.resamples, seed=params.seed)


def _row(found: Paired | None, new: float | None) -> dict[str, Any]:
    if found is None:
        shown = round(new, 6) if new is not None and math.isfinite(new) else None
        return {"base": None, "new": shown, "delta": None, "ci": [None, None], "p": None, "n": None}
    return {
        "base": round(found.base, 6), "new": round(found.new, 6), "delta": round(found.delta, 6),
        "ci": [round(x, 6) for x in found.ci], "p": round(found.p, 5), "n": found.n,
    }  # fmt: skip


def _slices(baseline: EvalReport, candidate: EvalReport, params: GateParams, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Compare the main metric within every slice of enough questions, one error rate shared among them."""
    known, asked = {row.id: row.slices for row in baseline.rows}, set(ids)
    # a question whose document vanished has lost its language: the champion's row still says which slice it hurts
    rows = (replace(row, slices={**known[row.id], **row.slices}) for row in candidate.rows if row.id in asked)
    parts = slice_values(rows)
    distinct = {tuple(row.id for row in part): name for name, part in parts.items()}  # a set is often one source
    pairs = {name: _pairs(baseline, candidate, params.metric, list(q), whole=True) for q, name in distinct.items()}
    pairs = {name: found for name, found in sorted(pairs.items()) if len(found) >= params.slice_min}
    confidence = 1 - (1 - params.confidence) / max(1, len(pairs))
    return {name: _row(_paired(found, params, confidence), None) for name, found in pairs.items()}


def _harm(metrics: dict[str, dict[str, Any]], params: GateParams) -> Iterator[str]:
    row = metrics.get(params.metric)
    if row and row["delta"] is not None and row["delta"] < -params.min_effect and row["ci"][1] < 0:
        yield _said(params.metric, row, params.min_effect)


def _slice_harm(name: str, row: dict[str, Any], params: GateParams) -> Iterator[str]:
    if row["delta"] < -params.slice_min_effect and row["ci"][1] < 0:
        yield f"{name}: " + _said(params.metric, row, params.slice_min_effect)


def _said(name: str, row: dict[str, Any], effect: float) -> str:
    low, high = row["ci"]
    return (
        f"{name} fell from {row['base']:.4f} to {row['new']:.4f} ({row['delta']:+.4f}, "
        f"interval {low:+.4f} to {high:+.4f}, {row['n']} questions; a fall of {effect} is tolerated)"
    )


def _questions(baseline: EvalReport, candidate: EvalReport, metric: str, ids: list[str]) -> tuple[dict[str, Any], ...]:
    """List the common questions the metric applies to, largest loss first."""
    old, asked = {row.id: row for row in baseline.rows}, set(ids)
    rows = [
        {
            "id": row.id, "text": row.text, "base": old[row.id].scores[metric], "new": _number(row.scores.get(metric)),
            "delta": round(_number(row.scores.get(metric)) - old[row.id].scores[metric], 6),
            "rank": [old[row.id].rank, row.rank],
        }
        for row in candidate.rows
        if row.id in asked and metric in old[row.id].scores
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda r: (r["delta"], r["id"])))


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def _verdict(
    reasons: list[str],
    notes: tuple[str, ...],
    metrics: dict[str, dict[str, Any]],
    slices: dict[str, dict[str, Any]] | None = None,
    questions: tuple[dict[str, Any], ...] = (),
) -> Verdict:
    kept = tuple(dict.fromkeys(reasons))
    return Verdict("fail" if kept else "pass", kept, notes, metrics, slices or {}, questions)
