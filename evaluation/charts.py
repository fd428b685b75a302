"""Charts as inline SVG, in plain Python: no library, no script, colours from the page's style sheet.

Every chart carries a title and a description for those who cannot see it, and the page gives its numbers in a table
besides. Widths are in SVG units; the page scales them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .page import Html, clip, esc, number, seconds

WIDTH = 760
LABEL = 210


@dataclass(frozen=True, slots=True)
class Bar:
    """One measure: tonight's value with its interval, and the champion's (None where there is none)."""

    label: str
    new: float
    low: float | None = None
    high: float | None = None
    base: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One release in a trend."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


def _svg(height: float, body: Sequence[str], *, title: str, text: str) -> Html:
    return Html(
        f'<figure class="wide" tabindex="0"><svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{esc(title)}. '
        f'{esc(text)}"><title>{esc(title)}</title><desc>{esc(text)}</desc>{"".join(body)}</svg></figure>'
    )


def _text(x: float, y: float, text: object, *, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{esc(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, *, kind: str, title: str = "") -> str:
    inner = f"<title>{esc(title)}</title>" if title else ""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"'
    return f'<rect {place} rx="2" class="{kind}">{inner}</rect>'


def _line(x1: float, y1: float, x2: float, y2: float, *, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _whisker(x1: float, x2: float, y: float) -> str:
    ends = "".join(_line(x, y - 4, x, y + 4, kind="whisker") for x in (x1, x2))
    return _line(x1, y, x2, y, kind="whisker") + ends


def _finite(*values: float | None) -> list[float]:
    return [v for v in values if v is not None and math.isfinite(v)]


def score_bars(bars: Sequence[Bar], *, title: str) -> Html:
    """Bars on a scale of 0 to 1: tonight with its interval as a whisker, the champion as a thin bar below."""
    step, top, right = 42, 6, 66
    room = WIDTH - LABEL - right
    body = []
    for i in range(6):
        x = LABEL + room * i / 5
        body.append(_line(x, top, x, top + step * len(bars), kind="axis"))
        body.append(_text(x, top + step * len(bars) + 16, f"{i / 5:.1f}", anchor="middle", kind="t"))
    for i, bar in enumerate(bars):
        y = top + step * i
        body.append(_text(LABEL - 10, y + 21, clip(bar.label, 30), anchor="end"))
        body.append(_rect(LABEL, y + 6, room * min(bar.new, 1), 18, kind="new", title=f"tonight {number(bar.new)}"))
        if bar.base is not None:
            body.append(
                _rect(LABEL, y + 26, room * min(bar.base, 1), 6, kind="base", title=f"champion {number(bar.base)}")
            )
        ends = _finite(bar.low, bar.high)
        if len(ends) == 2:
            body.append(_whisker(LABEL + room * ends[0], LABEL + room * ends[1], y + 15))
        body.append(_text(WIDTH - right + 10, y + 20, number(bar.new)))
    text = "; ".join(f"{b.label}: {number(b.new)}, champion {number(b.base)}" for b in bars)
    return _svg(top + step * len(bars) + 24, body, title=title, text=text)


def forest(bars: Sequence[Bar], *, title: str, tolerated: float) -> Html:
    """Differences to the champion with their intervals around zero; the dashed line is the fall that is tolerated.

    `new` is the difference, `low` and `high` its interval.
    """
    step, top, right = 30, 14, 76
    room = WIDTH - LABEL - right
    reach = max([abs(v) for b in bars for v in _finite(b.new, b.low, b.high)] + [tolerated * 2, 0.01]) * 1.08

    def at(value: float) -> float:
        return LABEL + room * (value + reach) / (2 * reach)

    bottom = top + step * len(bars)
    body = [
        _line(at(0), top, at(0), bottom, kind="zero"),
        _line(at(-tolerated), top, at(-tolerated), bottom, kind="zero dashed"),
        _text(at(0), bottom + 16, "no change", anchor="middle", kind="t"),
        _text(at(-tolerated) - 6, top + 2, f"tolerated {number(-tolerated)}", anchor="end", kind="t"),
        _text(LABEL, bottom + 16, "← worse", kind="t"),
        _text(WIDTH - right, bottom + 16, "better →", anchor="end", kind="t"),
    ]
    for i, bar in enumerate(bars):
        y = top + step * i + step / 2
        body.append(_text(LABEL - 10, y + 4, clip(bar.label, 30), anchor="end"))
        ends = _finite(bar.low, bar.high)
        if len(ends) == 2:
            body.append(_whisker(at(ends[0]), at(ends[1]), y))
        kind = "good" if len(ends) == 2 and ends[0] > 0 else "bad" if len(ends) == 2 and ends[1] < 0 else "new"
        body.append(f'<circle cx="{at(bar.new):.1f}" cy="{y:.1f}" r="5" class="{kind}"/>')
        body.append(_text(WIDTH - right + 10, y + 4, number(bar.new, signed=True)))
    text = "; ".join(f"{b.label}: {number(b.new, signed=True)}" for b in bars)
    return _svg(bottom + 24, body, title=title, text=text)


def deltas(values: Sequence[tuple[str, float]], *, title: str) -> Html:
    """One thin bar a question, largest loss on the left, largest win on the right; ties are left out, and counted."""
    ordered = sorted((v for v in values if v[1]), key=lambda v: (v[1], v[0]))
    ties = len(values) - len(ordered)
    worse = sum(v < 0 for _, v in ordered)
    text = f"{worse} questions lost, {len(ordered) - worse} won, {ties} as before"
    height, middle, room = 190, 90, WIDTH - 60
    reach = max([abs(v) for _, v in ordered], default=1.0)
    wide = min(room / max(1, len(ordered)), 22.0)
    left = 50 + (room - wide * len(ordered)) / 2
    body = [_line(50, middle, WIDTH - 10, middle, kind="zero"), _text(44, middle + 4, "0", anchor="end", kind="t")]
    for value in (reach, -reach):
        y = middle - 76 * value / reach
        body += [
            _line(50, y, WIDTH - 10, y, kind="axis"),
            _text(44, y + 4, number(value, signed=True), anchor="end", kind="t"),
        ]
    for i, (name, value) in enumerate(ordered):
        tall = max(1.0, 76 * abs(value) / reach)
        y = middle - tall if value > 0 else middle
        kind, said = "good" if value > 0 else "bad", f"{number(value, signed=True)} {name}"
        body.append(_rect(left + wide * i, y, wide * 0.8, tall, kind=kind, title=said))
    body.append(_text(50, height - 6, text, kind="t"))
    return _svg(height, body, title=title, text=text)


def time_bars(stages: Sequence[tuple[str, float, float | None]], *, title: str) -> Html:
    """Wall seconds of each stage as bars, CPU seconds as a thin bar below: (name, seconds, cpu_seconds)."""
    step, top, right = 34, 4, 100
    room = WIDTH - LABEL - right
    most = max([v for _, wall, cpu in stages for v in _finite(wall, cpu)] + [0.001])
    body = []
    for i, (name, wall, cpu) in enumerate(stages):
        y = top + step * i
        body.append(_text(LABEL - 10, y + 18, clip(name, 30), anchor="end"))
        body.append(_rect(LABEL, y + 4, room * wall / most, 16, kind="new", title=f"{seconds(wall)} on the clock"))
        if cpu is not None:
            body.append(_rect(LABEL, y + 22, room * cpu / most, 5, kind="base", title=f"{seconds(cpu)} of CPU"))
        body.append(_text(LABEL + room * wall / most + 8, y + 17, seconds(wall), kind="t"))
    text = "; ".join(f"{name}: {seconds(wall)}" for name, wall, _ in stages)
    return _svg(top + step * len(stages) + 4, body, title=title, text=text)


def trend(points: Sequence[Point], *, title: str) -> Html:
    """The main metric over releases, oldest first, with the intervals as a band."""
    height, left, right, top, bottom = 220, 56, 30, 14, 34
    known = [v for p in points for v in _finite(p.value, p.low, p.high)]
    low, high = min(known), max(known)
    pad = max((high - low) * 0.15, 0.01)
    low, high = max(0.0, low - pad), min(1.0, high + pad)

    def x(i: int) -> float:
        return left + (WIDTH - left - right) * (i / max(1, len(points) - 1) if len(points) > 1 else 0.5)

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * (value - low) / max(high - low, 1e-9)

    body = []
    for share in (0, 0.5, 1):
        value = low + (high - low) * share
        body += [_line(left, y(value), WIDTH - right, y(value), kind="axis")]
        body += [_text(left - 8, y(value) + 4, f"{value:.3f}", anchor="end", kind="t")]
    banded = [(i, p) for i, p in enumerate(points) if len(_finite(p.low, p.high)) == 2]
    edge = [f"{x(i):.1f},{y(p.high or 0):.1f}" for i, p in banded] + [
        f"{x(i):.1f},{y(p.low or 0):.1f}" for i, p in reversed(banded)
    ]
    body.append(f'<polygon points="{" ".join(edge)}" class="band"/>' if len(banded) > 1 else "")
    body.append(
        f'<polyline points="{" ".join(f"{x(i):.1f},{y(p.value):.1f}" for i, p in enumerate(points))}" class="line"/>'
    )
    every = max(1, math.ceil(len(points) / 12))
    for i, p in enumerate(points):
        body.append(f'<circle cx="{x(i):.1f}" cy="{y(p.value):.1f}" r="4" class="new"><title>{esc(p.label)}: ')
        body.append(f"{number(p.value)}</title></circle>")
        if (len(points) - 1 - i) % every == 0:
            body.append(_text(x(i), height - 12, clip(p.label, 8), anchor="middle", kind="t"))
    text = "; ".join(f"{p.label}: {number(p.value)}" for p in points)
    return _svg(height, [part for part in body if part], title=title, text=text)
