"""Gather what a night left behind and write its page and its summary; evaluation/report.py draws them."""

from __future__ import annotations

import contextlib
import logging
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from blake3 import blake3

from evaluation.gate import Verdict
from evaluation.report import headline, render_markdown, render_report
from evaluation.report_data import NightReport
from ragkeep.config import Params, Paths
from ragkeep.errors import RagkeepError
from ragkeep.files import read_json, read_rows, write_text
from ragkeep.releases import all_releases, champion
from ragkeep.trial_report import trial_state
from ragkeep.types import Release

from .night import quarantine_rows
from .unchanged import note

# below Prefect's own logger: heard where it is (`ragkeep schedule`, a worker), silent where `ragkeep nightly` tells it
log = logging.getLogger("prefect.ragkeep")

SHOWN_PACKAGES = (
    "ragkeep",
    "prefect",
    "dvc",
    "mlflow",
    "lancedb",
    "openvino",
    "great-expectations",
    "ragas",
    "ir-measures",
)


def write(
    paths: Paths,
    params: Params,
    release: Release,
    verdict: Verdict,
    *,
    result: dict[str, Any],
    stats: dict[str, dict[str, Any]],
    live: Release | None,
    monitor: dict[str, Any] | None = None,
) -> Path:
    """Write `<state>/reports/<time>.html` and `.md`; return the page's path."""
    evaluation = paths.data / "evaluation"
    night = NightReport(
        title=paths.root.name,
        at=_now(),
        metric=params.gate.metric,
        tolerated=params.gate.slice_min_effect,
        result=result,
        verdict=verdict.as_json(),
        scores=read_json(evaluation / "scores.json"),
        by_query=read_rows(evaluation / "by_query.jsonl"),
        answers=read_rows(evaluation / "answers.jsonl"),
        stages=stats,
        trend=_trend(paths, params.gate.metric),
        release=asdict(release),
        live=asdict(live) if live else None,
        params_sha=blake3(paths.params.read_bytes()).hexdigest(16),
        monitor=monitor,
        **_found(paths),
    )
    return _save(paths, night)


def stopped(paths: Paths, error: Exception, *, began: float) -> None:
    """Leave a page and a line of a night that stopped; a full disk does not hide why it did."""
    with contextlib.suppress(OSError):
        write_failure(paths, error, began=began)
    note(paths, {"verdict": "fail", "error": str(error), "seconds": round(time.monotonic() - began, 2)})


def write_failure(paths: Paths, error: Exception, *, began: float) -> Path:
    """Write the page of a night that stopped: why, what stays live, and what it had found until then.

    `began` is the night's start on `time.monotonic`.
    """
    seconds = time.monotonic() - began
    live = champion(paths)
    return _save(
        paths,
        NightReport(
            title=paths.root.name,
            at=_now(),
            error=str(error),
            result={"verdict": "fail", "published": False, "seconds": round(seconds, 2)},
            stages=_stages_since(paths, time.time() - seconds),
            live=asdict(live) if live else None,
            **_found(paths),
        ),
    )


def _stages_since(paths: Paths, began: float) -> dict[str, Any]:
    """What the stages that ended after a time of the clock said of themselves, in the order they ended."""
    notes = [p for p in (paths.state / "stages").glob("*.json") if not p.name.endswith(".error.json")]
    ended = sorted((p.stat().st_mtime, p) for p in notes)
    return {path.stem: read_json(path) for at, path in ended if at >= began}


def _found(paths: Paths) -> dict[str, Any]:
    """What ingest and validation left, whether or not the night came to its end."""
    validation = {k: read_json(paths.data / "validation" / f"{k}.json") for k in ("documents", "chunks")}
    return {
        "skipped": read_json(paths.data / "sources" / "skipped.json"),
        "quarantine": [row for stage in ("ingest", "validate", "chunks") for row in quarantine_rows(paths, stage)],
        "released": read_rows(paths.data / "released.jsonl"),
        "validation": validation,
        "near_duplicates": (validation["documents"] or {}).get("near_duplicates"),
        "versions": _versions(),
        "trial": _trial(paths),
    }


def _save(paths: Paths, night: NightReport) -> Path:
    page = paths.reports / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.html"
    write_text(page, render_report(night))
    write_text(page.with_suffix(".md"), render_markdown(night))
    state, _, sentence, reasons = headline(night)
    level = logging.WARNING if state in ("stopped", "bad") else logging.INFO
    log.log(level, "%s (%s)", "; ".join([sentence, *reasons]), page)
    return page


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def markdown(page: Path) -> str:
    """Read the summary written beside a page."""
    return page.with_suffix(".md").read_text(encoding="utf-8")


def _trend(paths: Paths, metric: str) -> list[dict[str, Any]]:
    """The main metric of every release, oldest first, with the interval its night measured."""
    rows = []
    for release in reversed(all_releases(paths)):
        scores = read_json(paths.releases / release.evaluation / "evaluation" / "scores.json") or {}
        found = scores.get("metrics", {}).get(metric, {})
        rows.append({"release": release.number, "value": release.scores.get(metric), "ci": found.get("ci")})
    return rows


def _trial(paths: Paths) -> dict[str, Any]:
    """What the challenger's trial shows; a log or file that cannot be read does not stop the page."""
    try:
        return trial_state(paths)
    except (RagkeepError, OSError) as error:
        return {"trial": None, "trouble": str(error)}


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in SHOWN_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
