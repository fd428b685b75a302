"""Whether a generator that was learned answers better: two generators over the same held-out questions, pair by pair.

Every answer is scored as the night scores it, by rules (RAGAS without a language model, what it cites), against what a
user said it should have been, or else the passage that users agree answers the question. One measure decides, chosen
before anything was measured; the others must not be harmed, by the gate's rule for harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ragkeep.config import GateParams
from ragkeep.ports import Embedder
from ragkeep.types import Answer

from .compare import Paired, compare
from .gain import Verdict
from .judge import AnswerRow, score_answers

DECIDES = "rouge_l"
"""The longest common run of words with what is right, F of precision and recall; 0 for a question left unanswered."""
GUARDS = ("semantic_similarity", "citation_hit", "answered")
NOTED = ("chrf", "string_similarity")
REFERENCE_CHARS = 1200


def answer_row(question: str, answer: Answer, right: str) -> AnswerRow:
    """Show an answer to a judge, with what is right."""
    contexts = tuple(hit.chunk.text for hit in answer.sources)
    quotes = tuple(citation.quote for citation in answer.citations)
    return AnswerRow(question, answer.text, contexts, right[:REFERENCE_CHARS], answer.abstained, quotes)


def scores(
    questions: Sequence[str],
    answers: Sequence[Answer],
    right: Sequence[str],
    gains: Sequence[Mapping[str, float]],
    embedder: Embedder,
) -> list[dict[str, float]]:
    """Score answers, each 0..1: likeness to `right`, citation_hit (one of `gains`' chunks is cited), answered."""
    rows = [answer_row(*one) for one in zip(questions, answers, right, strict=True)]
    alike = score_answers(rows, embedder).rows
    return [
        {name: one[name] or 0.0 for name in (DECIDES, *GUARDS, *NOTED) if name in one}
        | {"citation_hit": float(cites(answer, wanted)), "answered": float(not answer.abstained)}
        for one, answer, wanted in zip(alike, answers, gains, strict=True)
    ]


def cites(answer: Answer, gains: Mapping[str, float]) -> bool:
    """Whether a citation stands in a chunk that users agree on."""
    right = [hit.chunk for hit in answer.hits if gains.get(hit.chunk.id, 0.0) > 0]
    return any(
        one.uri == chunk.uri and chunk.lines[0] <= one.lines[0] and one.lines[1] <= chunk.lines[1]
        for one in answer.citations
        for chunk in right
    )


def paired(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]], params: GateParams, *, confidence: float
) -> dict[str, Paired]:
    """Compare both sides' scores of the same questions, measure by measure."""
    return {
        name: compare(
            [row[name] for row in before], [row[name] for row in after],
            confidence=confidence, resamples=params.resamples, seed=params.seed,
        )
        for name in (DECIDES, *GUARDS, *NOTED)
    }  # fmt: skip


def verdict(found: Mapping[str, Paired], params: GateParams, *, min_lessons: int) -> Verdict:
    """Judge a candidate: the interval of what decides lies above 0, and no guard falls measurably. A tie is refused."""
    one = found[DECIDES]
    checks = [
        (one.n >= min_lessons, f"{one.n} questions were held out, {min_lessons} are needed"),
        (one.ci[0] > 0, f"answers: {DECIDES} {told(one)}: the lower bound must be above 0"),
    ]
    for name in GUARDS:
        harmed = found[name].delta < -params.min_effect and found[name].ci[1] < 0
        checks.append((not harmed, f"answers: {name} {told(found[name])}: must not fall measurably"))
    against = [text for passed, text in checks if not passed]
    return Verdict(not against, (*against, *(text for passed, text in checks if passed)))


def told(one: Paired) -> str:
    """Say a comparison in points."""
    low, high = (f"{100 * bound:+.1f}" for bound in one.ci)
    return f"{100 * one.delta:+.1f} points [{low}, {high}] over {one.n} questions"


def as_json(found: Mapping[str, Paired], confidence: float) -> dict[str, Any]:
    """Return a comparison in the shape of `gain.Gain.as_json`, with the measure that decides."""
    overall = {name: asdict(one) for name, one in found.items()}
    return {"measure": DECIDES, "overall": overall, "slices": {}, "confidence": confidence}
