"""Preferences for DPO out of what people did: which of two answers to one question is better.

A correction is better than the answer it corrects; an answer voted up is better than one to the same question voted
down, of the same workspace. What is erased does not come from the log, and what was masked there stays masked. One
person's votes on an answer count once, the last one; an answer that people disagree on teaches nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragkeep.errors import SourceError
from ragkeep.files import read_rows, write_rows
from ragkeep.interactions import read, segments
from ragkeep.types import Interaction

PER_USER = 50
"""Of one person: more would be their taste, or an attack."""


@dataclass(slots=True)
class _Given:
    """An answer as it was given, and what people made of it."""

    seq: int
    workspace: str
    question: str
    text: str
    usable: bool
    votes: dict[str, int] = field(default_factory=dict)
    corrections: dict[str, tuple[int, str]] = field(default_factory=dict)


def preferences(records: Iterable[Interaction], *, workspace: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield {prompt, chosen, rejected, kind, user, seqs, asked, worse}, in the order of the log; equal ones once.

    `asked` is the record of the answer that was corrected or voted up, `worse` that of the rejected one.
    """
    given: dict[str, _Given] = {}
    for record in records:
        if workspace is None or record.workspace == workspace:
            _take(record, given)
    seen, share = set[tuple[str, str, str]](), Counter[str]()
    for row in sorted([*_corrected(given), *_voted(given)], key=lambda row: row["seqs"]):
        key = (row["prompt"], row["chosen"], row["rejected"])
        if key in seen or share[row["user"]] >= PER_USER or row["chosen"].strip() == row["rejected"].strip():
            continue
        seen.add(key)
        share[row["user"]] += 1
        yield row


def _take(record: Interaction, given: dict[str, _Given]) -> None:
    payload = record.payload
    if record.kind == "answer":
        usable = not payload["aborted"] and bool(payload["text"].strip())
        given[record.answer] = _Given(
            record.seq, record.workspace, payload["question"], _uncited(payload["text"]), usable
        )
        return
    about = given.get(record.answer)
    if about is None or about.workspace != record.workspace:
        return
    if record.kind == "vote":
        about.votes[record.user] = payload["value"]
    elif record.kind == "correction" and payload["text"].strip():
        about.corrections[record.user] = (record.seq, payload["text"].strip())


def _uncited(text: str) -> str:
    """An answer without its numbers of snippets, which mean nothing elsewhere."""
    return re.sub(r"\s*\[\d+\]", "", text).strip()


def _corrected(given: dict[str, _Given]) -> Iterator[dict[str, Any]]:
    for about in given.values():
        for user, (seq, text) in about.corrections.items():
            if about.usable:
                row = _row(about.question, text, about.text, "correction", user, (about.seq, seq))
                yield row | {"asked": about.seq, "worse": about.seq}


def _voted(given: dict[str, _Given]) -> Iterator[dict[str, Any]]:
    by_question = defaultdict(list)
    for about in given.values():
        score = sum(about.votes.values()) if len(set(about.votes.values())) == 1 else 0  # people agree on it
        if about.usable and score:
            by_question[about.workspace, " ".join(about.question.casefold().split())].append((score, about))
    for answers in by_question.values():
        better = [about for score, about in answers if score > 0]
        worse = [about for score, about in answers if score < 0]
        for good, bad in zip(better, worse, strict=False):  # each answer once
            user = next(iter(sorted(bad.votes)))
            row = _row(good.question, good.text, bad.text, "votes", user, tuple(sorted((good.seq, bad.seq))))
            yield row | {"asked": good.seq, "worse": bad.seq}


def _row(prompt: str, chosen: str, rejected: str, kind: str, user: str, seqs: tuple[int, ...]) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "kind": kind, "user": user, "seqs": list(seqs)}


def collect(log: Path, out: Path, *, workspace: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Write preferences.jsonl from the sealed part of a log; returns counts. Raises SourceError where there are none."""
    rows = list(preferences(read(log, sealed=True), workspace=workspace))
    if not rows:
        raise SourceError(
            f"{log} holds no corrections and no votes for and against answers to one question: nothing to learn"
        )
    kinds = dict(sorted(Counter(row["kind"] for row in rows).items()))
    if dry_run:
        return {"preferences": len(rows), "kinds": kinds, "would_write": str(out)}
    write_rows(out, ({key: row[key] for key in ("prompt", "chosen", "rejected", "kind", "seqs")} for row in rows))
    return {"preferences": len(rows), "kinds": kinds, "written": str(out)}


def without_erased(path: Path, log: Path) -> int:
    """Take out of a preferences file what was erased from the log since it was made; returns how many rows went."""
    rows, sealed = read_rows(path), segments(log)
    if not rows or not sealed:  # made elsewhere, or there is nothing to erase from
        return 0
    there = {record.seq for record in read(log)}
    gone = set(range(sealed[0].first, max(there) + 1)) - there
    kept = [row for row in rows if gone.isdisjoint(row.get("seqs", ()))]
    if len(kept) < len(rows):
        write_rows(path, kept)
    return len(rows) - len(kept)


def known(path: Path) -> list[int]:
    """The records that the rows of a preferences file were made of."""
    return sorted({seq for row in read_rows(path) for seq in row.get("seqs", ())})
