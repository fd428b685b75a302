"""How the night ran: what came in, what was set aside, what it cost, what it made; each section None for "not run"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import charts
from .page import Html, clip, code, esc, fold, join, legend, note, number, seconds, table
from .report_data import NightReport

ROWS = 200
"""How many rows of a long list a page shows; the rest is counted and stays in data/."""


def ingest(night: NightReport) -> Html | None:
    """What came in, what was left out and why."""
    counts = (night.result or {}).get("documents")
    if not counts and not night.skipped:
        return None
    rows = [(name, number(value)) for name, value in (counts or {}).items()]
    chunks = (night.result or {}).get("chunks") or {}
    rows += [(f"chunks {name}", number(value)) for name, value in chunks.items()]
    reasons = _reasons(night.skipped)
    return join(
        '<div class="cols"><div>',
        table(("documents", "count"), rows, caption="Tonight against the live release", numeric=(1,)) if rows else None,
        "</div><div>",
        table(("reason", "files"), reasons, caption="Skipped files", numeric=(1,))
        if reasons
        else note("No file was skipped."),
        "</div></div>",
    )


def _reasons(skipped: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    counts = (skipped or {}).get("counts", (skipped or {}).get("by_reason", skipped or {}))
    whole = {str(k): v for k, v in counts.items() if isinstance(v, int)}
    return [(name, number(n)) for name, n in sorted(whole.items(), key=lambda item: (-item[1], item[0]))]


def quarantine(night: NightReport) -> Html | None:
    """What was set aside, by reason, and how often that was wrong (released by a person)."""
    if night.quarantine is None:
        return None
    if not night.quarantine and not night.released:
        return note("Nothing is in quarantine.")
    counts = Counter((str(r.get("stage", "")), str(r.get("reason", ""))) for r in night.quarantine)
    freed = Counter(str(r.get("was") or r.get("reason", "")) for r in night.released or ())
    per = [(reason, stage, number(n), number(freed.get(reason, 0))) for (stage, reason), n in counts.most_common()]
    rows = [
        (r.get("uri") or r.get("chunk_id", "?"), r.get("stage", ""), r.get("reason", ""), clip(r.get("detail", ""), 300))
        for r in night.quarantine[:ROWS]
    ]
    more = len(night.quarantine) - len(rows)
    heads = ("reason", "stage", "set aside", "released (false rejects)")
    listing = table(("document or chunk", "stage", "reason", "detail"), rows, caption="As in data/quarantine/")
    return join(
        table(
            heads,
            per,
            caption=f"{len(night.quarantine)} set aside, {len(night.released or ())} released by hand",
            numeric=(2, 3),
        ),
        fold(f"All {len(night.quarantine)} rows" + (f", the first {ROWS}" if more > 0 else ""), listing)
        if rows
        else None,
        Html('<p class="quiet">Wrongly set aside? <code>ragkeep quarantine release URI</code></p>'),
    )


def near_duplicates(night: NightReport) -> Html | None:
    """Documents that are nearly the same; kept, but a reader of two of them reads one."""
    if night.near_duplicates is None:
        return None
    pairs = night.near_duplicates.get("pairs") or []
    count = night.near_duplicates.get("count", len(pairs))
    if not count:
        return note("None.")
    rows = [_pair(row) for row in pairs[:ROWS]]
    said = f"{number(count)} pair{'s' if count > 1 else ''}"
    said += f", the {len(rows)} most alike" if len(rows) < count else ""
    body = table(("document", "is nearly", "similarity"), rows, caption=said, numeric=(2,))
    return fold(said, body) if len(rows) > 8 else body


def _pair(row: Mapping[str, Any] | Sequence[Any]) -> tuple[object, object, object]:
    if isinstance(row, Mapping):
        uris = row.get("uris") or [row.get("a") or row.get("uri", "?"), row.get("b") or row.get("of", "?")]
        return uris[0], ", ".join(map(str, uris[1:])), number(row.get("similarity"))
    return row[0], row[1], number(row[2]) if len(row) > 2 else "–"


def validation(night: NightReport) -> Html | None:
    """What was expected of documents and chunks, and what was not met."""
    if not night.validation:
        return None
    rows = []
    for what, report in sorted(night.validation.items()):
        for r in _expectations(report):
            ok = r.get("success", r.get("ok"))
            mark = Html('<span class="up">✓ met</span>' if ok else '<span class="down">✗ not met</span>')
            observed = r.get("observed", r.get("unexpected", r.get("detail", "")))
            name = r.get("expectation") or r.get("name") or r.get("check") or "?"
            rows.append((ok, (name, what, r.get("severity", ""), mark, clip(observed, 160))))
    ordered = [row for _, row in sorted(rows, key=lambda r: bool(r[0]))]
    failed = sum(not ok for ok, _ in rows)
    caption = f"{len(rows)} expectations, {failed} not met"
    return table(("expectation", "over", "severity", "met", "seen"), ordered, caption=caption)


def _expectations(report: Mapping[str, Any] | Sequence[Any]) -> Iterable[Mapping[str, Any]]:
    rows = (
        report
        if not isinstance(report, Mapping)
        else report.get("expectations") or report.get("results") or report.get("checks")
    )
    if rows is None and isinstance(report, Mapping):
        rows = [{"name": k, **v} for k, v in report.items() if isinstance(v, Mapping)]
    return [{"name": k, **v} for k, v in rows.items()] if isinstance(rows, Mapping) else list(rows or ())


def timings(night: NightReport) -> Html | None:
    """What each stage cost, on the clock and in CPU seconds."""
    if not night.stages:
        return None
    ran = [(name, s) for name, s in night.stages.items() if not s.get("skipped") and s.get("seconds") is not None]
    idle = [name for name, s in night.stages.items() if s.get("skipped")]
    bars = [(name, float(s["seconds"]), s.get("cpu_seconds")) for name, s in ran]
    rows = [
        (name, seconds(s["seconds"]), seconds(s.get("cpu_seconds")), _said(s)) for name, s in ran
    ]  # fmt: skip
    total = f"{seconds(sum(b[1] for b in bars))} in stages"
    return join(
        charts.time_bars(bars, title="Seconds per stage") if bars else None,
        legend(("new", "on the clock"), ("base", "CPU")) if bars else None,
        table(("stage", "clock", "CPU", "what it did"), rows, caption=total, numeric=(1, 2)) if rows else None,
        note(f"Nothing to do: {', '.join(idle)}.") if idle else None,
    )


def _said(stats: Mapping[str, Any]) -> str:
    kept = {k: v for k, v in stats.items() if k not in ("seconds", "cpu_seconds") and isinstance(v, int | float | str)}
    return ", ".join(
        f"{k.replace('_', ' ')} {number(v) if not isinstance(v, str) else clip(v, 60)}" for k, v in kept.items()
    )


def lineage(night: NightReport) -> Html | None:
    """Everything this release was made from, by its hash."""
    r = night.release or {}
    index, fusion = r.get("index") or {}, r.get("fusion") or {}
    facts = {
        "release": r.get("number") or None, "release sha": r.get("sha"), "index version": index.get("name"),
        "index digest": index.get("digest"), "store": index.get("store"), "embedder": index.get("embedder"),
        "fusion": _fusion(fusion) if fusion else None,
        "generator": r.get("generator"), "git": r.get("git_sha"), "dvc.lock": r.get("dvc_lock_sha"),
        "params": r.get("params_sha") or night.params_sha, "MLflow run": r.get("run_id"), "made at": r.get("created_at"),
        **(night.versions or {}),
    }  # fmt: skip
    rows = [(name, code(value)) for name, value in facts.items() if value not in (None, "")]
    return table(("part", "is"), rows, caption="The same parts make the same release") if rows else None


def _fusion(fusion: Mapping[str, Any]) -> str:
    said = f"{fusion.get('method')}, weight {fusion.get('weight')}"
    code = fusion.get("code_weight")
    return said if code is None else f"{said}, for questions about code {code}"


def way_back(night: NightReport) -> Html | None:
    """What to type when this was a mistake."""
    live, number_ = (night.live or {}).get("number"), (night.release or {}).get("number")
    steps = ["ragkeep releases list            # what there is, the live one first"]
    if live:
        steps.append(f"ragkeep releases rollback        # back to release {live}, at once; nothing is rebuilt")
    if number_:
        steps.append(f"ragkeep explain {number_}                # everything release {number_} was made from")
        if not (night.result or {}).get("published"):
            steps.append(f"ragkeep releases promote {number_}       # make it live after all, with your name and reason")
    return Html(f"<pre>{esc(chr(10).join(steps))}</pre>")
