"""What a training set promises, held against it, and its data card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ragkeep.config import LearnParams
from ragkeep.errors import ValidationFailed
from tasks.lessons import Lesson
from tasks.questions import Known
from tasks.text_facts import control_share, mojibake_share, visible


def checked(
    lessons: list[Lesson], texts: Mapping[str, str], quarantined: list[dict[str, Any]], known: Known, learn: LearnParams
) -> list[dict[str, Any]]:
    """Hold lessons against the suite; take out those that fail a warning, into `quarantined`.

    Returns the outcomes as JSON. Raises ValidationFailed for a critical one.
    """
    from tasks.expectations import check, lessons_suite

    if not lessons:
        return []
    outcomes = check(_frame(lessons, texts, known), lessons_suite(learn))
    refused = {row: outcome for outcome in reversed(outcomes) if outcome.severity == "warning" for row in outcome.rows}
    for row in sorted(refused):
        quarantined.append(
            {
                "what": "lesson", "lesson": lessons[row].id, "stage": "trainset", "reason": refused[row].reason,
                "severity": "warning", "detail": f"{refused[row].column}: expected {refused[row].expected}",
                "seqs": list(lessons[row].seqs),
            }
        )  # fmt: skip
    failed = [outcome for outcome in outcomes if outcome.severity == "critical" and not outcome.success]
    if failed:
        raise ValidationFailed(f"trainset: {failed[0]}. Nothing was written; please report this with the log's card")
    lessons[:] = [lesson for n, lesson in enumerate(lessons) if n not in refused]
    return [outcome.as_json() for outcome in outcomes]


def _frame(lessons: list[Lesson], texts: Mapping[str, str], known: Known) -> pa.Table:
    """Facts about each lesson, one row each."""
    named = [(*lesson.gains, *lesson.passed) for lesson in lessons]
    return pa.table({
        "row": list(range(len(lessons))),
        "id": [lesson.id for lesson in lessons],
        "split": [lesson.split for lesson in lessons],
        "lowest": [min(lesson.gains.values(), default=0.0) for lesson in lessons],
        "highest": [max(lesson.gains.values(), default=0.0) for lesson in lessons],
        "contradictions": [len(chunks) - len(set(chunks)) for chunks in named],
        "without_text": [sum(chunk not in texts for chunk in chunks) for chunks in named],
        "untraceable": [int(not lesson.seqs) for lesson in lessons],
        "trained_and_unseen": [int(lesson.unseen and lesson.split == "train") for lesson in lessons],
        "like_evaluation": [known.near(lesson.question) for lesson in lessons],
        "length": [len(lesson.question) for lesson in lessons],
        "visible": [visible(lesson.question) for lesson in lessons],
        "control_share": [control_share(lesson.question) for lesson in lessons],
        "mojibake_share": [mojibake_share(lesson.question) for lesson in lessons],
    })  # fmt: skip


def card_text(card: Mapping[str, Any]) -> str:
    """The card for people, in Markdown."""
    window, log = card["window"], card["log"]
    simulated = "**Simulated: no person was asked.** " if card["simulated"] else ""
    lines = [
        "# Training set", "",
        f"{simulated}{card['note'] or 'Lessons that were made of what users did with answers.'}", "",
        f"- set `{card['sha']}`, {card['lessons']:,} lessons, {card['texts']:,} texts",
        f"- {card['synthetic']:,} more questions that nobody asked, made from documents, for training only",
        f"- records {window['first']:,} to {window['last']:,} of the interaction log ({window['records']:,} read, "
        f"{log['erased']:,} erased by {log['erasures']:,} erasures in this window; {log['simulated']:,} simulated)",
        f"- {card['accounts']:,} accounts",
        *_rows("Splits", [(k, ", ".join(f"{n:,} {what}" for what, n in v.items())) for k, v in card["splits"].items()]),
        *_rows("What was said", card["evidence"].items()),
        *_rows("Sources opened, by the rank they were shown at", card["clicks_by_rank"].items()),
        *_rows("Meant of them, by workspace and rank", card["clicks_meant"].items(), "share"),
        *_rows("Left out", card["left_out"].items()),
        *_rows("In quarantine (quarantine.jsonl says which and why)", card["quarantined"].items()),
        *_rows("Expectations", [(e["reason"], "met" if e["success"] else f"{e['unexpected']:,} rows set aside")
                                for e in card["expectations"]]),
        *_rows("Parameters (learn in params.yaml)", card["params"].items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _rows(title: str, rows: Any, value: str = "how many") -> list[str]:
    listed = [f"| {what} | {told} |" for what, told in rows]
    return ["", f"## {title}", "", f"| what | {value} |", "| --- | --- |", *listed] if listed else []
