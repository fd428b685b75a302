"""Golden sets: questions whose labels name a place in a document, never a chunk, so that re-chunking cannot age them.

One JSON object a line: {"id", "text", "split": "dev" | "test", "labels": [...], "answerable": true | false}. A label is
{"name": "json.load"} (a qualified name in the sources of "stdlib", or of "source"), {"document": glob on uris, "quote":
exact text}, {"document": uri, "span": [start, end]}, or {"document": glob} for all of it. Labels are alternatives; those
with different "group" numbers are different pieces that are all needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ragkeep.errors import ConfigError
from ragkeep.types import content_id


@dataclass(frozen=True, slots=True)
class Label:
    """A place that answers a question: a `name`, or a `document`, or its `quote` or `span` of characters alone."""

    name: str = ""
    source: str = "stdlib"
    document: str = ""
    quote: str = ""
    span: tuple[int, int] | None = None
    group: int = 0

    def __str__(self) -> str:
        if self.quote:
            return f"{self.document}: {self.quote[:60]!r}"
        return self.name or (f"{self.document}{self.span}" if self.span else self.document)


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `digest` hashes everything that decides its score, so that two nights know they asked the same."""

    id: str
    text: str
    split: str
    labels: tuple[Label, ...]
    answerable: bool
    evalset: str
    workspace: str = "default"
    digest: str = ""


@dataclass(frozen=True, slots=True)
class EvalSet:
    """A file of questions; `digest` hashes those of both splits: what is asked, where, and what for."""

    name: str
    questions: tuple[Question, ...] = field(repr=False)
    digest: str


def load_set(path: Path) -> EvalSet:
    """Read one set. Raises ConfigError naming file, line and fault."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: see evaluate.sets in params.yaml") from None
    questions = [_question(line, f"{path}:{n}", path.stem) for n, line in enumerate(lines, 1) if line.strip()]
    return EvalSet(
        path.stem, tuple(questions), content_id(*sorted(f"{q.digest} {q.split} {q.workspace}" for q in questions))
    )


def load_sets(paths: list[Path]) -> list[EvalSet]:
    """Read all sets. Raises ConfigError also when two questions share an id."""
    sets = [load_set(path) for path in paths]
    seen: dict[str, str] = {}
    for evalset in sets:
        for question in evalset.questions:
            if question.id in seen:
                raise ConfigError(f"{evalset.name}: the question id {question.id!r} is used in {seen[question.id]} too")
            seen[question.id] = evalset.name
    return sets


def _question(line: str, where: str, evalset: str) -> Question:
    try:
        row = json.loads(line)
        labels = tuple(_label(label, where) for label in row["labels"])
        question = Question(
            id=str(row["id"]), text=row["text"].strip(), split=row["split"], labels=labels,
            answerable=bool(row["answerable"]), evalset=evalset, workspace=row.get("workspace", "default"),
            digest=_digest(row),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where} is not a question ({error!r}): see the docstring of evaluation/sets.py") from None
    if question.split not in ("dev", "test") or not question.text:
        raise ConfigError(f"{where}: needs a text, and split must be dev or test, not {question.split!r}")
    if question.answerable != bool(labels):
        raise ConfigError(f"{where}: an answerable question needs labels, an unanswerable one must have none")
    return question


def _label(row: dict[str, Any], where: str) -> Label:
    if unknown := set(row) - {known.name for known in fields(Label)}:
        raise ConfigError(f"{where}: a label has no {', '.join(sorted(unknown))}: {row!r}")
    if not all(row.get(key, True) for key in ("quote", "span")):
        raise ConfigError(f"{where}: an empty quote or span would be all of the document: leave it out, {row!r}")
    span = tuple(row["span"]) if "span" in row else None
    label = Label(
        name=row.get("name", ""), source=row.get("source", "stdlib"), document=row.get("document", ""),
        quote=row.get("quote", ""), span=span, group=int(row.get("group", 0)),
    )  # fmt: skip
    if bool(label.name) == bool(label.document):
        raise ConfigError(f"{where}: a label is a name, or a document, with or without a quote or a span, not {row!r}")
    return label


def _digest(row: dict[str, Any]) -> str:
    scored = {k: row[k] for k in ("id", "text", "labels", "answerable")}
    return content_id(json.dumps(scored, sort_keys=True, ensure_ascii=False))
