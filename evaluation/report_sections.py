"""The sections of the night report below its head; each takes the night and returns its body, None for "not run"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import charts
from .charts import Bar, Point
from .page import Html, clip, code, esc, fold, interval, metric_name, note, number, seconds, table
from .report_data import NightReport

TOP = 15
WORST = 10
ROWS = 200
"""How many rows of a long list a page shows; the rest is counted and stays in data/."""


def _join(*parts: str | None) -> Html:
    return Html("".join(part for part in parts if part))


def _legend(*pairs: tuple[str, str]) -> Html:
    keys = "".join(f'<span class="key" style="background:var(--{kind})"></span>{esc(label)}' for kind, label in pairs)
    return Html(f"<figcaption>{keys}</figcaption>")


def _signed(value: float | None, ci: Sequence[float] | None = None) -> Html:
    """A difference; with its interval given, coloured only when that leaves zero out."""
    ends = [v for v in (ci or (value,)) if v is not None]
    kind = "" if not ends else "up" if min(ends) > 0 else "down" if max(ends) < 0 else ""
    return Html(f'<span class="{kind}">{number(value, signed=True)}</span>')


def _ordered(night: NightReport, names: set[str]) -> list[str]:
    """The main metric first, then by name."""
    return sorted(names, key=lambda name: (name != night.metric, name))


def _bars(night: NightReport) -> list[Bar]:
    tonight = (night.scores or {}).get("metrics") or {}
    judged = (night.verdict or {}).get("metrics") or {}
    made = []
    for name in _ordered(night, {*tonight, *judged}):
        own, pair = tonight.get(name) or {}, judged.get(name) or {}
        value = own.get("mean", pair.get("new"))
        low, high = own.get("ci") or (None, None)
        if value is not None:
            made.append(Bar(metric_name(name), value, low=low, high=high, base=pair.get("base")))
    return made


def scores(night: NightReport) -> Html | None:
    """Scores with intervals, beside the champion's."""
    if not (night.scores or night.verdict):
        return None
    bars, judged = _bars(night), (night.verdict or {}).get("metrics") or {}
    tonight = (night.scores or {}).get("metrics") or {}
    rows = [
        (
            metric_name(name), number((tonight.get(name) or pair).get("mean", pair.get("new"))),
            interval((tonight.get(name) or {}).get("ci")), number(pair.get("base")),
            _signed(pair.get("delta"), pair.get("ci")),
            interval(pair.get("ci"), signed=True), number((tonight.get(name) or {}).get("n", pair.get("n"))),
        )
        for name, pair in ((n, judged.get(n) or {}) for n in _ordered(night, {*judged, *tonight}))
    ]  # fmt: skip
    heads = ("metric", "tonight", "interval", "champion", "difference", "its interval", "questions")
    return _join(
        charts.score_bars(bars, title="Scores of tonight and of the champion") if bars else None,
        _legend(("new", "tonight, with its interval"), ("base", "champion")),
        table(heads, rows, caption="Means over the test questions; the difference is paired", numeric=range(1, 7)),
        history(night),
    )


def history(night: NightReport) -> Html | None:
    """The main metric over past releases."""
    points = [
        Point(
            str(p.get("release")), float(p["value"]), low=(p.get("ci") or (None,))[0], high=(p.get("ci") or (None,))[-1]
        )
        for p in night.trend or ()
        if p.get("value") is not None
    ]
    if not points:
        return None
    title = f"{metric_name(night.metric)} over the last {len(points)} releases"
    return Html(f"<h3>{esc(title)}</h3>" + charts.trend(points, title=title))


def slices(night: NightReport) -> Html | None:
    """The difference to the champion, slice by slice."""
    parts, own = (night.verdict or {}).get("slices") or {}, (night.scores or {}).get("slices") or {}
    if not parts and not own:
        return None
    bars = [Bar(name, row["delta"], *row["ci"]) for name, row in parts.items() if row.get("delta") is not None]
    rows = []
    for name in sorted({*parts, *own}):
        pair, mine = parts.get(name) or {}, (own.get(name) or {}).get(night.metric) or {}
        new, n = pair.get("new", mine.get("mean")), pair.get("n", mine.get("n"))
        change = (_signed(pair.get("delta"), pair.get("ci")), interval(pair.get("ci"), signed=True))
        rows.append((name, number(new), number(pair.get("base")), *change, number(n)))
    heads = ("slice", "tonight", "champion", "difference", "its interval", "questions")
    metric = metric_name(night.metric)
    return _join(
        charts.forest(bars, title=f"{metric} against the champion, by slice", tolerated=night.tolerated)
        if bars
        else None,
        table(heads, rows, caption=f"{metric} by slice; few questions make no comparison", numeric=range(1, 6)),
    )


def queries(night: NightReport) -> Html | None:
    """Who won and who lost, question by question."""
    rows: Sequence[Mapping[str, Any]] = (night.verdict or {}).get("questions") or ()
    if not rows:
        return None
    chart = charts.deltas(
        [(str(r["text"]), float(r["delta"])) for r in rows], title="Questions against the champion, sorted"
    )
    lost = [r for r in sorted(rows, key=lambda r: (r["delta"], r["id"])) if r["delta"] < 0]
    won = [r for r in sorted(rows, key=lambda r: (-r["delta"], r["id"])) if r["delta"] > 0]
    return _join(chart, '<div class="cols">', _moved("Losses", lost), _moved("Wins", won), "</div>")


def _moved(name: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    if not rows:
        return Html(f"<div><h3>{name}</h3>{note('none')}</div>")
    cells = [
        (
            r["text"],
            _signed(r["delta"]),
            " → ".join("–" if v is None else str(v) for v in r.get("rank") or ()),
            Html(f'<code class="id">{esc(r["id"])}</code>'),
        )
        for r in rows[:TOP]
    ]
    caption = f"the {min(TOP, len(rows))} largest of {len(rows)}" if len(rows) > TOP else f"all {len(rows)}"
    body = table(("question", "change", "rank", "id"), cells, caption=caption, numeric=(1, 2))
    return Html(f"<div><h3>{name}</h3>{body}</div>")


def worst(night: NightReport) -> Html | None:
    """The answers one should read first: the question, what was said, from where, and what was found."""
    if not night.answers:
        return None
    found = {str(row.get("id")): row for row in night.by_query or ()}
    ranked = sorted(night.answers, key=lambda a: (_merit(a, found, night.metric), str(a.get("id"))))
    parts = [_answer(a, found.get(str(a.get("id"))) or {}, night.metric) for a in ranked[:WORST]]
    return _join(
        note(f"The {len(parts)} worst of {len(ranked)}, by {metric_name(night.metric)}; open one to read it."), *parts
    )


def _merit(answer: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], metric: str) -> float:
    """Rank of badness: an answer to what cannot be known is as bad as it gets, then the main metric decides."""
    if answer.get("answerable") is False:
        return 1.0 if answer.get("abstained") else -1.0
    own = {**((found.get(str(answer.get("id"))) or {}).get("scores") or {}), **(answer.get("scores") or {})}
    values = [float(v) for name, v in own.items() if isinstance(v, int | float) and name in (metric, "score")]
    return min(values, default=1.0)


def _answer(answer: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> Html:
    merged = {**(row.get("scores") or {}), **(answer.get("scores") or {})}
    shown = " ".join(f'<span class="tag">{esc(metric_name(n))} {number(v)}</span>' for n, v in sorted(merged.items()))
    said = answer.get("answer") or answer.get("text") or ""
    text = "not in the documents" if answer.get("abstained") else said
    cites = [_place(c, quote=True) for c in answer.get("citations") or ()]
    hits = [_place(h) for h in answer.get("hits") or row.get("top") or ()]
    body = _join(
        f"<p>{shown}</p>" if shown else None,
        f"<p><b>Answer</b></p><pre>{esc(text)}</pre>",
        _list("Cited", cites),
        _list("Found first", hits),
        _list("Would have answered", [code(_label(x)) for x in answer.get("labels") or ()]),
    )
    odd = (
        " · answered what the documents do not hold"
        if answer.get("answerable") is False and not answer.get("abstained")
        else ""
    )
    question = answer.get("question") or row.get("text") or answer.get("id")
    value = merged.get(metric)
    return fold(Html(f"{esc(question)} <span class=quiet>{number(value) if value is not None else ''}{odd}</span>"), body)


def _label(label: object) -> str:
    if not isinstance(label, Mapping):
        return str(label)
    return str(label.get("name") or f"{label.get('document')}: {label.get('quote', '')}")


def _list(title: str, items: Sequence[str]) -> Html | None:
    body = "".join(f"<li>{item}</li>" for item in items)
    return Html(f"<p><b>{esc(title)}</b></p><ol>{body}</ol>") if items else None


def _place(row: Mapping[str, Any] | str, *, quote: bool = False) -> Html:
    if isinstance(row, str):
        return code(row)
    lines = row.get("lines") or ()
    at = f"{row.get('uri', '?')}:{'-'.join(str(n) for n in dict.fromkeys(lines))}" if lines else str(row.get("uri", "?"))
    right = ' <span class="up">✓ labelled</span>' if row.get("relevant") else ""
    score = f' <span class="quiet">{number(row["score"])}</span>' if isinstance(row.get("score"), int | float) else ""
    context = f" · {esc(row['context'])}" if row.get("context") else ""
    text = row.get("quote") if quote else row.get("text")
    return Html(
        f"{code(at)}{context}{score}{right}" + (f"<blockquote>{esc(clip(text, 400))}</blockquote>" if text else "")
    )


def ingest(night: NightReport) -> Html | None:
    """What came in, what was left out and why."""
    counts = (night.result or {}).get("documents")
    if not counts and not night.skipped:
        return None
    rows = [(name, number(value)) for name, value in (counts or {}).items()]
    chunks = (night.result or {}).get("chunks") or {}
    rows += [(f"chunks {name}", number(value)) for name, value in chunks.items()]
    reasons = _reasons(night.skipped)
    return _join(
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
    return _join(
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
    if not night.near_duplicates:
        return note("None.")
    rows = [_pair(row) for row in night.near_duplicates[:ROWS]]
    said = f"{len(night.near_duplicates)} pair{'s' if len(night.near_duplicates) > 1 else ''}"
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
    return table(("expectation", "over", "severity", "", "seen"), ordered, caption=caption)


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
    return _join(
        charts.time_bars(bars, title="Seconds per stage") if bars else None,
        _legend(("new", "on the clock"), ("base", "CPU")) if bars else None,
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
        "fusion": f"{fusion.get('method')}, weight {fusion.get('weight')}" if fusion else None,
        "generator": r.get("generator"), "git": r.get("git_sha"), "dvc.lock": r.get("dvc_lock_sha"),
        "params": r.get("params_sha") or night.params_sha, "MLflow run": r.get("run_id"), "made at": r.get("created_at"),
        **(night.versions or {}),
    }  # fmt: skip
    rows = [(name, code(value)) for name, value in facts.items() if value not in (None, "")]
    return table(("part", "is"), rows, caption="The same parts make the same release") if rows else None


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
