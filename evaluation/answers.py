"""Answers held against labels and documents: was it right to answer, does every citation stand where it says?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ragkeep.types import Answer, Citation, Hit

from .corpus import Corpus
from .judge import AnswerRow
from .labels import Resolved

_REFERENCE_CHARS = 1200
_CONTEXTS = 5


def answer_scores(asked: Resolved, answer: Answer, corpus: Corpus) -> dict[str, float]:
    """Score one answer, each 0..1; what does not apply is left out.

    abstention_accuracy: an answerable question was answered, an unanswerable one was not; its two rates are
    answerable_answered and unanswerable_abstained (a generator that never abstains looks good in the first alone).
    citation_validity: the share of citations whose quote stands on the lines named. citation_hit: a citation of an
    answered question touches a labelled place.
    """
    right = float(answer.abstained != asked.question.answerable)
    rate = "answerable_answered" if asked.question.answerable else "unanswerable_abstained"
    scores = {"abstention_accuracy": right, rate: right}
    if answer.abstained:
        return scores
    valid = [stands(citation, corpus) for citation in answer.citations]
    scores["citation_validity"] = sum(valid) / len(valid) if valid else 0.0
    if asked.question.answerable:
        scores["citation_hit"] = float(any(_touches(citation, asked, corpus) for citation in answer.citations))
    return scores


def stands(citation: Citation, corpus: Corpus) -> bool:
    """Whether the quote is in the document, on exactly the lines the citation names, white space aside."""
    span = _span(citation, corpus)
    if span is None:
        return False
    text = corpus.text(citation.uri) or ""
    return bool(citation.quote.strip()) and _squeeze(citation.quote) in _squeeze(text[span[0] : span[1]])


def _touches(citation: Citation, asked: Resolved, corpus: Corpus) -> bool:
    span = _span(citation, corpus)
    if span is None:
        return False
    labels = (label for group in asked.groups for label in group)
    return any(uri == citation.uri and start < span[1] and span[0] < end for uri, start, end in labels)


def _span(citation: Citation, corpus: Corpus) -> tuple[int, int] | None:
    """Return the characters of the lines a citation names, None where the document has no such lines."""
    text, place = corpus.text(citation.uri), corpus.places.get(citation.uri)
    if text is None or place is None:
        return None
    starts = [0, *(found.end() for found in re.finditer("\n", text)), len(text)]
    first, last = (line - place.first_line for line in citation.lines)
    return (starts[first], starts[last + 1]) if 0 <= first <= last < len(starts) - 1 else None


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def answer_row(asked: Resolved, answer: Answer, corpus: Corpus) -> dict[str, Any]:
    """One line of answers.jsonl; `reference` is the first labelled text, what a judge holds the answer against."""
    return {
        "id": asked.question.id,
        "question": asked.question.text,
        "answerable": asked.question.answerable,
        "abstained": answer.abstained,
        "answer": answer.text,
        "citations": [{**asdict(c), "score": round(c.score, 6), "lines": list(c.lines)} for c in answer.citations],
        "contexts": [hit.chunk.text for rank, hit in enumerate(answer.hits) if rank < _CONTEXTS or _cites(answer, hit)],
        "hits": [place_row(hit.chunk.uri, hit.chunk.lines, hit.score) for hit in answer.hits[:_CONTEXTS]],
        "labels": [str(label) for label in asked.question.labels],
        "reference": reference(asked, answer, corpus),
    }


def _cites(answer: Answer, hit: Hit) -> bool:
    first, last = hit.chunk.lines
    return any(c.uri == hit.chunk.uri and first <= c.lines[0] and c.lines[1] <= last for c in answer.citations)


def reference(asked: Resolved, answer: Answer, corpus: Corpus) -> str | None:
    """Return the beginning of the labelled text the answer cites, else of the first one; None without any."""
    spans = [span for group in asked.groups for span in group]
    cited = [(c.uri, *span) for c in answer.citations if (span := _span(c, corpus))]
    near = (s for s in spans if any(s[0] == uri and s[1] < end and start < s[2] for uri, start, end in cited))
    chosen = next(near, spans[0] if spans else None)
    return (corpus.text(chosen[0]) or "")[chosen[1] : min(chosen[2], chosen[1] + _REFERENCE_CHARS)] if chosen else None


def judged(row: dict[str, Any]) -> AnswerRow:
    """Turn a line of answers.jsonl into what a judge is shown."""
    return AnswerRow(
        question=row["question"], answer=row["answer"], contexts=tuple(row["contexts"]), reference=row["reference"],
        abstained=row["abstained"], quotes=tuple(c["quote"] for c in row["citations"]),
    )  # fmt: skip


def place_row(uri: str, lines: Sequence[int], score: float) -> dict[str, Any]:
    """Name a hit's place for a reader."""
    return {"uri": uri, "lines": list(lines), "score": round(float(score), 6)}
