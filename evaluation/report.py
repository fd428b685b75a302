"""What a night leaves to read: `render_report(night)` is one HTML page, `render_markdown(night)` a short summary.

The page asks nothing of anybody: no script, no font, no request; charts are inline SVG. A part whose data is missing
reads "not run", a part whose data is broken says so: a report must never be what stops a night. flows/report.py
fills NightReport and writes the file; `ragkeep report` says where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import report_monitor as monitor
from . import report_quality as quality
from . import report_running as running
from . import report_trial
from .page import STYLE, Html, clip, esc, interval, metric_name, note, number, seconds
from .report_data import NightReport, as_night

__all__ = ["NightReport", "render_markdown", "render_report"]

SECTIONS: tuple[tuple[str, str, Callable[[NightReport], Html | None]], ...] = (
    ("scores", "Scores against the champion", quality.scores),
    ("slices", "Slices", quality.slices),
    ("questions", "Wins and losses, question by question", quality.queries),
    ("answers", "Worst answers", quality.worst),
    ("trial", "The challenger on trial", report_trial.trial),
    ("ingest", "What came in", running.ingest),
    ("quarantine", "Quarantine", running.quarantine),
    ("duplicates", "Near-duplicates", running.near_duplicates),
    ("validation", "Validation", running.validation),
    ("watching", "Watching what is live", monitor.watching),
    ("timings", "Where the time went", running.timings),
    ("lineage", "Lineage", running.lineage),
    ("back", "The way back", running.way_back),
)

BROKEN = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What odd data makes of straight code."""


def render_report(data: dict[str, Any] | NightReport) -> str:
    """Render one self-contained HTML page; never raises on missing or odd data."""
    night = as_night(data)
    state, mark, head, reasons = _headline(night)
    body = "".join(_section(night, *section) for section in SECTIONS)
    when = night.at[:16].replace("T", " ") or "unknown date"
    links = "".join(f'<a href="#{ident}">{esc(name)}</a>' for ident, name, _ in SECTIONS)
    listed = "".join(f"<li>{esc(reason)}</li>" for reason in reasons)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{esc(f"{head} · {night.title}")}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE.read_text('utf-8')}</style></head>"
        f'<body><header><p class="quiet">{esc(night.title)} · night of {esc(when)}</p>'
        f'<div class="hero {state}"><h1><span class="mark" aria-hidden="true">{mark}</span>{esc(head)}</h1>'
        f'{f"<ul>{listed}</ul>" if listed else ""}</div>{_tiles(night)}<nav aria-label="Sections">{links}</nav></header>'
        f"<main>{body}</main></body></html>\n"
    )


def headline(night: NightReport) -> tuple[str, str, str, list[str]]:
    """Say in one line how the night ended: (state, mark, sentence, reasons)."""
    result, verdict = night.result or {}, night.verdict or {}
    told = (verdict.get("reasons"), verdict.get("notes"), result.get("reasons"))
    reasons = list(dict.fromkeys(str(r) for rows in told for r in rows or ()))
    number_ = (night.release or {}).get("number") or result.get("release")
    live = (night.live or {}).get("number")
    if night.error:
        kept = f"release {live} stays live" if live else "nothing was live before, and nothing is"
        return "stopped", "!", f"The night stopped; {kept}", [night.error, *reasons]
    if result.get("verdict") == "unchanged":
        return "still", "=", f"Nothing new to publish: release {result.get('release') or live} stays live", reasons
    if result.get("published"):
        said = f"every floor held; no measurable harm against release {live}" if live else "every floor held"
        return "good", "✓", f"Release {number_} is live", [said, *reasons]
    if verdict.get("verdict") == "fail" or result.get("verdict") == "fail":
        kept = f"release {live} stays live" if live else "nothing is live yet"
        return "bad", "✗", f"Held back: {kept}", reasons or ["the gate gave no reason"]
    return "stopped", "!", "No verdict", reasons or ["the night did not come as far as the gate"]


def _headline(night: NightReport) -> tuple[str, str, str, list[str]]:
    try:
        return headline(night)
    except BROKEN as error:
        return "stopped", "!", "No verdict", [f"what the night left cannot be read: {error!r}"]


def _section(night: NightReport, ident: str, name: str, render: Callable[[NightReport], Html | None]) -> str:
    try:
        body = render(night)
    except BROKEN as error:
        body = note(f"could not be shown, its data is not as expected: {error!r}")
    shown = note("not run") if body is None else body
    return f'<section id="{ident}" aria-labelledby="{ident}-h"><h2 id="{ident}-h">{esc(name)}</h2>{shown}</section>'


def _tiles(night: NightReport) -> str:
    known = _figures(night)
    tiles = "".join(f'<div class="tile"><b>{esc(value)}</b><span>{esc(name)}</span></div>' for name, value in known)
    return f'<div class="tiles">{tiles}</div>'


def _figures(night: NightReport) -> list[tuple[str, str]]:
    try:
        return figures(night)
    except BROKEN:
        return []


def figures(night: NightReport) -> list[tuple[str, str]]:
    """List the night's key figures, those that are known: (what, figure)."""
    result = night.result or {}
    documents, chunks = result.get("documents") or {}, result.get("chunks") or {}
    pair = ((night.verdict or {}).get("metrics") or {}).get(night.metric) or {}
    own = ((night.scores or {}).get("metrics") or {}).get(night.metric) or {}
    name = metric_name(night.metric)
    found = [
        (f"{name} {interval(own.get('ci'))}".strip(), number(own.get("mean", pair.get("new")))),
        (f"{name} against the champion", number(pair.get("delta"), signed=True)),
        ("documents", number(documents.get("seen"))),
        ("changed or new", number(documents.get("changed"))),
        ("deleted", number(documents.get("deleted"))),
        ("in quarantine", number(documents.get("quarantined"))),
        (f"chunks embedded of {number(chunks.get('total'))}", number(chunks.get("embedded"))),
        ("the whole night", seconds(result.get("seconds"))),
    ]
    return [row for row in found if row[1] != "–"]


def render_markdown(data: dict[str, Any] | NightReport) -> str:
    """Render a summary for a log, a chat or an artifact of the orchestrator."""
    night = as_night(data)
    _, mark, head, reasons = _headline(night)
    lines = [f"## {mark} {_plain(head)}", "", *(f"- {_plain(reason)}" for reason in reasons), ""]
    lines += ["| figure | |", "| --- | ---: |", *(f"| {_plain(n)} | {_plain(v)} |" for n, v in _figures(night)), ""]
    rows = [r for r in _metric_rows(night) if r]
    if rows:
        lines += ["| metric | champion | tonight | difference | interval |", "| --- | ---: | ---: | ---: | --- |", *rows]
    return "\n".join(lines).rstrip() + "\n"


def _metric_rows(night: NightReport) -> list[str]:
    metrics = (night.verdict or {}).get("metrics")
    rows = metrics.items() if isinstance(metrics, dict) else ()
    return [
        f"| {_plain(metric_name(name))} | {number(row.get('base'))} | {number(row.get('new'))} "
        f"| {number(row.get('delta'), signed=True)} | {interval(row.get('ci'), signed=True)} |"
        for name, row in rows
        if isinstance(row, dict)
    ]


def _plain(value: object) -> str:
    """Keep a value from being read as Markdown or HTML."""
    text = " ".join(clip(value, 500).split())
    return "".join(f"\\{c}" if c in "\\`*_[]|<>#" else c for c in text)
