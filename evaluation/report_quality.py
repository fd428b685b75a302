"""How good the night's index is: scores, slices, wins and losses, worst answers; each section None for "not run"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from . import charts
from .charts import Bar, Point
from .page import Html, clip, code, esc, fold, interval, join, legend, metric_name, note, number, table
from .report_data import NightReport

TOP = 15
WORST = 10


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
    return join(
        charts.score_bars(bars, title="Scores of tonight and of the champion") if bars else None,
        legend(("new", "tonight, with its interval"), ("base", "champion")),
        table(heads, rows, caption="Means over the test questions; the difference is paired", numeric=range(1, 7)),
        _unresolved(night),
        history(night),
    )


def _unresolved(night: NightReport) -> Html | None:
    """Questions whose label points at nothing in tonight's documents: the set has aged, or a document is missing."""
    rows = (night.scores or {}).get("unresolved") or ()
    if not rows:
        return None
    missed = sum(bool(row.get("miss")) for row in rows)
    cells = [
        (code(row["id"]), ", ".join(map(str, row.get("labels") or ())), "yes" if row.get("miss") else "") for row in rows
    ]
    said = f"{len(rows)} questions have labels that no document holds; {missed} of them count as missed"
    return fold(
        said,
        table(("question", "labels", "missed"), cells, caption="Mend the label, or find out why the document is gone"),
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
    return join(
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
    return join(chart, '<div class="cols">', _moved("Losses", lost), _moved("Wins", won), "</div>")


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
    return join(
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
    hits = _found(answer, row)
    body = join(
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


def _found(answer: Mapping[str, Any], row: Mapping[str, Any]) -> list[Html]:
    """What was found first, each with the text the answer was made from where that is known."""
    hits, texts = answer.get("hits"), answer.get("contexts") or ()
    if not hits:
        return [_place(hit) for hit in row.get("top") or ()]
    return [_place({**hit, "text": text}) for hit, text in zip_longest(hits, texts[: len(hits)])]


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
