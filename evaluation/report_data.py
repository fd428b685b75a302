"""What a night leaves for its report, as plain data: every field may be absent, and then reads "not run"."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NightReport:
    """One night. The shapes are those of the files they come from.

    title: what the page is called, such as the project's name. at: when, ISO 8601. metric: the gate's main metric.
    tolerated: gate.slice_min_effect, a positive number. error: why the night stopped, if it did.
    result: the JSON contract of `ragkeep nightly`. verdict: Verdict.as_json(). scores, by_query, answers:
    data/evaluation/{scores.json, by_query.jsonl, answers.jsonl}; an answer may bring question, labels, hits, answerable.
    skipped: data/sources/skipped.json ({"counts": {reason: n}}). quarantine: all rows of data/quarantine/*.jsonl.
    released: data/released.jsonl, the false rejects. near_duplicates: {"count", "pairs": [{"a", "b", "similarity"}]},
    the pairs being the most alike of `count`.
    validation: {"documents": ..., "chunks": ...}, each data/validation/*.json. stages: name -> {"seconds",
    "cpu_seconds", ...} or {"skipped": true}, in order. trend: past releases and tonight, oldest first:
    [{"release", "value", "ci"}].
    release: the candidate as JSON. live: the release that was live before it, None for the first night.
    trial: what `ragkeep releases trial show --json` says. monitor: `<state>/monitor/last.json`.
    params_sha: the hash of params.yaml. versions ({"Python": "3.11.7", ...}): the rest of the lineage.
    """

    title: str = "ragkeep"
    at: str = ""
    metric: str = "ndcg_at_10"
    tolerated: float = 0.05
    error: str = ""
    result: Row | None = None
    verdict: Row | None = None
    scores: Row | None = None
    by_query: list[Row] | None = None
    answers: list[Row] | None = None
    skipped: Row | None = None
    quarantine: list[Row] | None = None
    released: list[Row] | None = None
    near_duplicates: Row | None = None
    validation: Row | None = None
    stages: dict[str, Row] | None = None
    trend: list[Row] | None = None
    release: Row | None = None
    live: Row | None = None
    trial: Row | None = None
    params_sha: str = ""
    monitor: Row | None = None
    versions: dict[str, str] | None = None


def as_night(data: dict[str, Any] | NightReport) -> NightReport:
    """Take what a NightReport knows of and leave the rest, and what is not even a list or an object."""
    if isinstance(data, NightReport):
        return data
    fitting = {f.name: str(f.type).partition("[")[0].removesuffix(" | None") for f in fields(NightReport)}
    kinds: dict[str, Any] = {"str": str, "float": (int, float), "list": list, "Row": dict, "dict": dict}
    return NightReport(**{k: v for k, v in data.items() if k in fitting and isinstance(v, kinds[fitting[k]])})
