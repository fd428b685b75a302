"""Accounts whose acts look like an attack on what is learned: they are set aside, with the reason, and not believed.

Nothing here looks at clocks, and nobody is judged alone: an account is held against what the others say. In a project
of one person nobody is suspicious.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from ragkeep.analysis import terms
from tasks.claims import STRONG, Opinion

OTHERS = 3
"""Accounts besides the suspect that are needed to judge it by."""
ERRING, CHANCE = 0.35, 1e-3
"""How often an honest account contradicts the others at most, and how improbable its record must be to doubt that."""
TARGETED, TIMES, COVERED = 5, 5.0, 0.2
"""Questions pushed to one document that they share next to nothing with, and how many times more often than others do."""
RUN = 30
"""Answers in a row that were rated without one question asked between."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An account that is not believed, why, and what was seen."""

    user: str
    reason: str
    detail: str


@dataclass(slots=True)
class _Record:
    """What is known of one account."""

    agreed: int = 0
    contradicted: int = 0
    documents: Counter[str] = field(default_factory=Counter)
    lessons: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))


def suspects(
    said: Sequence[Sequence[Opinion]],
    *,
    questions: Sequence[str],
    document: Callable[[str], str],
    texts: Mapping[str, str],
    runs: Mapping[str, int],
) -> list[Suspect]:
    """Find them, in the order of their names.

    `said` are the opinions on each of `questions`, `document` names a chunk's document, `runs` says how many answers in a
    row an account rated without asking.
    """
    records: dict[str, _Record] = defaultdict(_Record)
    for number, about in enumerate(said):
        _agreement(about, records)
        _documents(number, about, records, document)
    found = []
    for user in sorted(records):
        reasons = (_contrary(records[user]), _targeting(user, records, questions, texts), _bursting(runs.get(user, 0)))
        why = next(filter(None, reasons), None)
        if why and len(records) > OTHERS:
            found.append(Suspect(user, *why))
    return found


def _agreement(about: Sequence[Opinion], records: dict[str, _Record]) -> None:
    """Hold each strong opinion against those of the others on the same chunk, where two more agree than disagree."""
    signs: dict[str, dict[str, int]] = defaultdict(dict)
    for one in about:
        if abs(one.net) >= STRONG:
            signs[one.chunk][one.user] = 1 if one.net > 0 else -1
    for by_user in signs.values():
        total = sum(by_user.values())
        for user, sign in by_user.items():
            others = total - sign
            if abs(others) >= 2:
                records[user].agreed += sign * others > 0
                records[user].contradicted += sign * others < 0


def _documents(
    number: int, about: Sequence[Opinion], records: dict[str, _Record], document: Callable[[str], str]
) -> None:
    """Count for how many questions each account speaks for a document."""
    seen: set[tuple[str, str]] = set()
    for one in about:
        where = (one.user, document(one.chunk))
        if one.net >= STRONG and where not in seen:
            seen.add(where)
            records[one.user].documents[where[1]] += 1
            records[one.user].lessons[where[1]].append((number, one.chunk))


def _contrary(record: _Record) -> tuple[str, str] | None:
    compared = record.agreed + record.contradicted
    if tail(compared, record.contradicted, ERRING) >= CHANCE:
        return None
    return "contradicts", f"against all others in {record.contradicted} of {compared} comparisons"


def tail(n: int, k: int, p: float) -> float:
    """The chance of at least k of n, each with chance p."""
    if not k:
        return 1.0
    if n > 500:  # the normal curve, where the powers would underflow
        return 0.5 * math.erfc((k - 0.5 - n * p) / math.sqrt(2 * n * p * (1 - p)))
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def _targeting(
    user: str, records: Mapping[str, _Record], questions: Sequence[str], texts: Mapping[str, str]
) -> tuple[str, str] | None:
    """Whether an account pushes one document for questions that have nothing to do with it."""
    mine = records[user].documents
    many = [uri for uri, count in mine.most_common(3) if count >= TARGETED]
    if not many:
        return None
    others = [record.documents for name, record in records.items() if name != user and record.documents]
    for uri in many:
        # the median account, so that those who attack together do not excuse each other
        expected = mine.total() * median([theirs[uri] / theirs.total() for theirs in others] or [0.0])
        strange = sum(covered(questions[n], texts.get(chunk, "")) < COVERED for n, chunk in records[user].lessons[uri])
        if strange >= max(TARGETED, mine[uri] / 2) and mine[uri] >= TIMES * expected:
            return "one document", f"{strange} questions that share no words with it, for {uri}"
    return None


def covered(question: str, text: str) -> float:
    """The share of a question's terms that a text holds."""
    asked = set(terms(question))
    return len(asked & set(terms(text))) / max(1, len(asked))


def _bursting(run: int) -> tuple[str, str] | None:
    return ("burst", f"{run} answers rated in a row without a question asked") if run >= RUN else None
