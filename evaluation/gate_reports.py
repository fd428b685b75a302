"""A verdict as files for continuous integration: a comment on a pull request (Markdown), a JUnit report (XML)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ragkeep.files import write_text

SHOWN = 20
_MARKUP = re.compile(r"[\\`*_\[\]<>|@#&]")
MARK = "<!-- ragkeep gate -->"
"""The first line of a comment, by which the next run finds and replaces it."""


def write_comment(path: Path, verdict: dict[str, Any]) -> None:
    """Write the verdict with its metrics, slices and the questions that moved most, as GitHub shows tables."""
    write_text(path, comment(verdict))


def comment(verdict: dict[str, Any]) -> str:
    """Return the Markdown of `write_comment`."""
    good = verdict["verdict"] == "pass"
    lines = [MARK, f"### ragkeep gate: {'passed' if good else 'REFUSED'}", ""]
    lines += [f"- {_cell(reason)}" for reason in (*verdict["reasons"], *verdict.get("notes", ()))] + [""]
    lines += _table("metric", verdict["metrics"]) + _table("slice", verdict.get("slices", {}))
    moved = [q for q in verdict.get("questions", []) if q["delta"]]
    lost, won = [q for q in moved if q["delta"] < 0], [q for q in reversed(moved) if q["delta"] > 0]
    lines += _questions(f"{len(lost)} questions lost", lost) + _questions(f"{len(won)} questions won", won)
    return "\n".join(lines) + "\n"


def _table(what: str, rows: dict[str, dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = [f"| {what} | base | new | delta | 95 % interval | questions |", "| --- | --: | --: | --: | --- | --: |"]
    made = []
    for name, row in sorted(rows.items()):
        low, high = row["ci"]
        told = "" if low is None else f"{low:+.4f} to {high:+.4f}"
        values = (_number(row["base"]), _number(row["new"]), _number(row["delta"], "+.4f"), told, row["n"] or "")
        made.append(f"| {_cell(name)} | " + " | ".join(map(str, values)) + " |")
    return [*head, *made, ""]


def _questions(title: str, rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    shown = [f"| {_cell(q['text'])} | {q['base']:.3f} | {q['new']:.3f} | {_ranks(q['rank'])} |" for q in rows[:SHOWN]]
    more = [f"and {len(rows) - SHOWN} more", ""] if len(rows) > SHOWN else []
    head = ["| question | base | new | rank |", "| --- | --: | --: | --- |"]
    return [f"<details><summary>{title}</summary>", "", *head, *shown, "", *more, "</details>", ""]


def _ranks(ranks: list[int | None]) -> str:
    old, new = (str(rank) if rank else "–" for rank in ranks)
    return f"{old} → {new}"


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def _cell(text: object) -> str:
    """Keep a question of whatever characters inside its cell: no new line, no column, no markup, nobody mentioned."""
    flat = " ".join(str(text).encode("utf-8", "replace").decode().split())[:200]
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", flat)


def write_junit(path: Path, verdict: dict[str, Any]) -> None:
    """Write a JUnit file: a test case for the gate, one for each metric and one for each slice that was compared.

    A reason fails the case it names, and always the gate's.
    """
    from xml.etree import ElementTree as ET

    cases: list[tuple[str, list[str], str]] = []
    reasons = list(verdict["reasons"])
    for kind, rows in (("metric", verdict["metrics"]), ("slice", verdict.get("slices", {}))):
        for name, row in sorted(rows.items()):
            mine = [reason for reason in reasons if reason.startswith((f"{name} ", f"{name}:"))]
            cases.append((f"{kind} {name}", mine, f"{row['base']} -> {row['new']}, interval {row['ci']}"))
    told = "; ".join((*reasons, *verdict.get("notes", ()))) or "no harm found"
    cases.insert(0, ("gate", reasons if verdict["verdict"] != "pass" else [], told))
    failed = sum(bool(found) for _, found, _ in cases)
    suite = ET.Element("testsuite", name="ragkeep gate", tests=str(len(cases)), failures=str(failed))
    for name, found, text in cases:
        case = ET.SubElement(suite, "testcase", classname="ragkeep", name=name)
        if found:
            ET.SubElement(case, "failure", message=_xml(found[0])).text = _xml("\n".join(found))
        ET.SubElement(case, "system-out").text = _xml(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _xml(text: str) -> str:
    """Leave out what no XML file may hold."""
    return "".join(c for c in text.encode("utf-8", "replace").decode() if c >= " " or c in "\n\t")
