"""What watching found, for the night's page: the live index and embedder, questions, documents, and votes by release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ragkeep.watched import PARTS

from .page import Html, interval, join, note, number, table
from .report_data import NightReport

NAMES = {"recall": "recall of the live index", "feedback": "thumbs-down"}
"""Parts of a look that have another name on the page."""


def watching(night: NightReport) -> Html | None:
    """What was looked at, what it says, and the releases with what people did with their answers."""
    found = night.monitor
    if not found:
        return None
    rows = [(NAMES.get(what, what), _mark(found[what]), _said(what, found[what])) for what in PARTS]
    heads = ("release", "answers", "abstained", "", "voted down", "", "source opened", "")
    releases = [_release(row) for row in found["feedback"].get("rows") or []]
    simulated = sum(row["simulated"] for row in found["feedback"].get("rows") or [])
    return join(
        table(("what", "state", "figures"), rows, caption=f"Release {found['release']}, looked at on {found['at']}"),
        table(heads, releases, caption="By release, with 95 % intervals", numeric=(1, 2, 4, 6)) if releases else None,
        note(f"{number(simulated)} of these answers were asked for by `ragkeep simulate`.") if simulated else None,
    )


def _mark(part: Mapping[str, Any]) -> Html:
    if part["alarm"] is None:
        return Html('<span class="quiet">cannot tell</span>')
    return Html('<span class="down">✗ alarm</span>' if part["alarm"] else '<span class="up">✓ well</span>')


def _said(what: str, part: Mapping[str, Any]) -> str:
    if part["alarm"] is None:
        return str(part["why"])
    told = ", ".join(map(str, part.get("reasons") or []))
    figures = {"embedder": _embedder, "recall": _recall, "feedback": _feedback}.get(what, _drift)(part)
    return f"{told}: {figures}" if told else figures


def _embedder(part: Mapping[str, Any]) -> str:
    return f"largest cosine distance {part['distance']:.6f} since {part['since']}, {part['fingerprint']}"


def _recall(part: Mapping[str, Any]) -> str:
    return (
        f"{number(float(part['value']))} of the ten nearest, at least {part['floor']}; {part['asked']} vectors asked for"
    )


def _feedback(part: Mapping[str, Any]) -> str:
    names = {"down": "voted down", "abstained": "abstained", "clicked": "source opened"}
    told = [f"{names[what]} {number(share[0], signed=True)} {interval(share[1:], signed=True)}"
            for what, share in part["difference"].items() if share]  # fmt: skip
    return f"{'; '.join(told)} against release {part['before']}, 99 % intervals"


def _drift(part: Mapping[str, Any]) -> str:
    shifts = ", ".join(f"{name} {number(value)}" for name, value in sorted(part["psi"].items()))
    figures = [f"told apart with AUC {number(part['auc'])} (p {number(part['p'])})", f"psi: {shifts}"]
    if "far" in part:
        figures.append(f"far from every document: {number((part['far'] or [None])[0])}")
    if "now" in part:
        figures.append(f"{part['now']} questions against {part['before']}")
    return "; ".join(figures)


def _release(row: Mapping[str, Any]) -> tuple[object, ...]:
    cells: list[object] = [row["release"], number(row["answers"])]
    for what in ("abstained", "down", "clicked"):
        share, *ends = row[what] or [None]
        cells += [number(share), interval(ends)]
    return tuple(cells)
