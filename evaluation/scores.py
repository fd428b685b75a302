"""What a measurement leaves: scores.json (means with intervals, by slice) and by_query.jsonl (one row a question).

Both are pure functions of index, questions and params, so that an unchanged night leaves the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragkeep.errors import CannotJudge
from ragkeep.files import write_json, write_rows

from .compare import bca, mean

SCORES, BY_QUERY, ANSWERS, FUSION = "scores.json", "by_query.jsonl", "answers.jsonl", "fusion.json"


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """One question's scores; a metric that does not apply to it (rank of an unanswerable one) is left out."""

    id: str
    digest: str
    text: str
    scores: dict[str, float]
    slices: dict[str, str] = field(default_factory=dict)
    rank: int | None = None
    resolved: bool = True
    top: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class EvalReport:
    """A measurement of one index version. `summary` is scores.json as read: what the means claim to be."""

    index: str
    rows: tuple[QuestionScore, ...]
    summary: dict[str, Any] = field(default_factory=dict)

    def values(self, metric: str) -> dict[str, float]:
        """Return question id -> score, for the questions the metric applies to."""
        return {row.id: row.scores[metric] for row in self.rows if metric in row.scores}

    def claimed(self, metric: str) -> float | None:
        """Return the mean scores.json gives, None where it gives none."""
        value = (self.summary.get("metrics") or {}).get(metric)
        value = value.get("mean") if isinstance(value, dict) else value
        return float(value) if isinstance(value, int | float) else None

    def mean(self, metric: str) -> float | None:
        """Return the mean over the rows, else what scores.json gives; None where there is neither."""
        values = list(self.values(metric).values())
        return mean(values) if values else self.claimed(metric)


def estimates(
    rows: Sequence[QuestionScore], *, confidence: float, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return metric -> {mean, ci, n}, rounded to 6 digits; a metric no row has is left out, not guessed."""
    names = sorted({name for row in rows for name in row.scores})
    made = {}
    for name in names:
        values = [row.scores[name] for row in rows if name in row.scores]
        low, high = bca(values, confidence=confidence, resamples=resamples, seed=seed)
        made[name] = {"mean": round(mean(values), 6), "ci": [round(low, 6), round(high, 6)], "n": len(values)}
    return made


def slice_values(rows: Iterable[QuestionScore]) -> dict[str, list[QuestionScore]]:
    """Group rows by slice, "source=stdlib"; a question is in as many slices as it has keys."""
    found: dict[str, list[QuestionScore]] = {}
    for row in rows:
        for key, value in row.slices.items():
            found.setdefault(f"{key}={value}", []).append(row)
    return dict(sorted(found.items()))


def flat_scores(summary: dict[str, Any]) -> dict[str, float]:
    """Return scores.json as a flat metric table for a tracker: "ndcg_at_10", "ndcg_at_10/source_stdlib"."""
    flat = {name: value["mean"] for name, value in summary.get("metrics", {}).items()}
    for part, metrics in summary.get("slices", {}).items():
        flat |= {f"{name}/{part.replace('=', '_')}": value["mean"] for name, value in metrics.items()}
    return {name: float(value) for name, value in sorted(flat.items()) if value is not None and math.isfinite(value)}


def row_json(row: QuestionScore) -> dict[str, Any]:
    """One line of by_query.jsonl."""
    return {
        "id": row.id, "digest": row.digest, "text": row.text, "slices": row.slices, "resolved": row.resolved,
        "scores": {name: round(value, 6) for name, value in sorted(row.scores.items())},
        "rank": row.rank, "top": list(row.top),
    }  # fmt: skip


def write_report(folder: Path, summary: dict[str, Any], rows: Sequence[QuestionScore]) -> None:
    """Write by_query.jsonl, then scores.json: the marker that the folder is whole comes last."""
    write_rows(folder / BY_QUERY, map(row_json, rows))
    write_json(folder / SCORES, summary)


def read_report(path: Path) -> EvalReport:
    """Read a measurement from its folder, its scores.json, or a by_query file of `ragkeep eval`.

    Raises CannotJudge when anything is absent or unreadable.
    """
    if path.is_dir():
        path = path / SCORES
    rows_path = path if path.suffix == ".jsonl" else path.with_name(BY_QUERY)
    summary_path = path if path.suffix != ".jsonl" else _summary_of(path)
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        lines = rows_path.read_text(encoding="utf-8").split("\n")
        rows = tuple(_row(json.loads(line)) for line in lines if line.strip())
        index = summary["index"]
        return EvalReport(index=index["name"] if isinstance(index, dict) else index, rows=rows, summary=summary)
    except OSError as error:
        raise CannotJudge(f"{error.filename} cannot be read ({error.strerror}): run the evaluate stage first") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotJudge(f"{path.parent} holds no usable scores ({error!r}): run the evaluate stage again") from None


def _summary_of(by_query: Path) -> Path:
    return by_query.with_name(SCORES) if by_query.name == BY_QUERY else by_query.with_suffix(".json")


def _row(row: dict[str, Any]) -> QuestionScore:
    scores = {name: math.nan if value is None else float(value) for name, value in row["scores"].items()}
    return QuestionScore(
        id=row["id"], digest=row["digest"], text=row["text"], scores=scores, slices=row.get("slices", {}),
        rank=row.get("rank"), resolved=row.get("resolved", True), top=tuple(row.get("top", ())),
    )  # fmt: skip
