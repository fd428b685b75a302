"""Answers scored by RAGAS: always by the metrics that need no language model, and by a judge where one is configured.

    scores = score_answers(rows, embedder)                       # no network, no key, seconds
    verdicts = judge_answers(rows, embedder, cache=paths.cache)  # advisory; None without RAGKEEP_JUDGE_URL

A judge is any server with an OpenAI-compatible `/chat/completions`: RAGKEEP_JUDGE_URL (up to and including /v1),
RAGKEEP_JUDGE_MODEL and, where it asks for one, RAGKEEP_JUDGE_KEY. The only file that imports ragas, and late: the
import costs seconds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ragkeep.ports import Embedder
from ragkeep.types import Vectors

from .judge_http import JudgeConfig, ask_json, judge_config

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Requests a judge gets at the same time."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer as a judge sees it. `reference` is what a good answer says; `quotes` are the citations' words."""

    question: str
    answer: str
    contexts: tuple[str, ...]
    reference: str | None = None
    abstained: bool = False
    quotes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """`means` by metric, each 0..1; `rows` align with the input, None where a metric does not apply.

    A metric that failed or gave NaN on a row scores that row 0 and is named in `failures` as
    {row, metric, error}: it lowers the mean, it never drops out of it.
    """

    means: dict[str, float]
    rows: tuple[dict[str, float | None], ...]
    failures: tuple[dict[str, Any], ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


Score = Callable[[AnswerRow], Awaitable[Any] | None]
"""Starts one metric on one row, or None where it does not apply; the result has `.value`."""


def score_answers(rows: Sequence[AnswerRow], embedder: Embedder) -> AnswerScores:
    """Score answers without a language model.

    quoted_spans: share of quoted spans found in the contexts. rouge_l, chrf, string_similarity, semantic_similarity:
    likeness to the reference, for rows that have one; a question left unanswered although it has a reference scores 0.
    """
    metrics = _ragas()
    vectors = _vectors([text for row in rows if row.reference for text in (row.reference, row.answer)], embedder)
    rouge, chrf = metrics.RougeScore(rouge_type="rougeL"), metrics.CHRFScore()
    string, spans = metrics.NonLLMStringSimilarity(), metrics.QuotedSpansAlignment()
    semantic = metrics.SemanticSimilarity(embeddings=_adapter(embedder, vectors), allowed_values=(-1.0, 1.0))
    scores: dict[str, Score] = {
        "quoted_spans": lambda row: _quoted(spans, row),
        "rouge_l": lambda row: _against(rouge, row),
        "chrf": lambda row: _against(chrf, row),
        "string_similarity": lambda row: _against(string, row),
        "semantic_similarity": lambda row: _against(semantic, row),
    }
    return asyncio.run(_score(rows, scores, at_once=1))


def judge_answers(
    rows: Sequence[AnswerRow], embedder: Embedder, *, cache: Path, config: JudgeConfig | None = None
) -> AnswerScores | None:
    """Let the configured language model judge the answers; None where none is configured.

    faithfulness and answer_relevancy for answered questions, context_precision and context_recall for those with a
    reference. A verdict once given is kept under `<cache>/judge` and not asked for again. A judge that cannot be
    reached or talks nonsense fails row by row; nothing is raised.
    """
    config = config or judge_config()
    if config is None:
        return None
    metrics = _ragas()
    llm, embeddings = _llm(config, cache / "judge"), _adapter(embedder, {})
    faithful = metrics.Faithfulness(llm=llm)
    relevant = metrics.AnswerRelevancy(llm=llm, embeddings=embeddings, strictness=1)
    precise, complete = metrics.ContextPrecision(llm=llm), metrics.ContextRecall(llm=llm)
    scores: dict[str, Score] = {
        "faithfulness": lambda row: _faithful(faithful, row),
        "answer_relevancy": lambda row: _relevant(relevant, row),
        "context_precision": lambda row: _context(precise, row),
        "context_recall": lambda row: _context(complete, row),
    }
    return asyncio.run(_score(rows, scores, at_once=AT_ONCE))


def _against(metric: Any, row: AnswerRow) -> Awaitable[Any] | None:
    if row.reference is None:
        return None
    response: Coroutine[Any, Any, Any] = metric.ascore(reference=row.reference, response=row.answer)
    return _zero(response) if row.abstained else response


async def _zero(unused: Coroutine[Any, Any, Any]) -> Any:
    unused.close()
    return _Value(0.0)


@dataclass(frozen=True, slots=True)
class _Value:
    value: float


def _quoted(metric: Any, row: AnswerRow) -> Awaitable[Any] | None:
    if row.abstained or not row.quotes:
        return None
    said = "\n".join(f"“{' '.join(quote.split())}”" for quote in row.quotes)
    return metric.ascore(response=said, retrieved_contexts=list(row.contexts))  # type: ignore[no-any-return]


def _faithful(metric: Any, row: AnswerRow) -> Awaitable[Any] | None:
    if row.abstained:
        return None
    return metric.ascore(  # type: ignore[no-any-return]
        user_input=row.question, response=row.answer, retrieved_contexts=list(row.contexts)
    )


def _relevant(metric: Any, row: AnswerRow) -> Awaitable[Any] | None:
    return None if row.abstained else metric.ascore(user_input=row.question, response=row.answer)


def _context(metric: Any, row: AnswerRow) -> Awaitable[Any] | None:
    if not row.reference or not row.contexts:
        return None
    return metric.ascore(  # type: ignore[no-any-return]
        user_input=row.question, reference=row.reference, retrieved_contexts=list(row.contexts)
    )


async def _score(rows: Sequence[AnswerRow], scores: dict[str, Score], *, at_once: int) -> AnswerScores:
    gate = asyncio.Semaphore(at_once)
    failures: list[dict[str, Any]] = []

    async def one(number: int, name: str) -> float | None:
        async with gate:
            asked = scores[name](rows[number])
            if asked is None:
                return None
            try:
                value = float((await asked).value)
            except Exception as error:
                # advisory by contract: one bad reply is counted, the others still say something
                value, why = math.nan, f"{type(error).__name__}: {error}"
            else:
                why = "not a number"
        if math.isfinite(value):
            return value
        failures.append({"row": number, "metric": name, "error": why[:300]})
        return 0.0

    names = list(scores)
    flat = await asyncio.gather(*(one(n, name) for n in range(len(rows)) for name in names))
    table = tuple(dict(zip(names, flat[n * len(names) :], strict=False)) for n in range(len(rows)))
    failures.sort(key=lambda f: (f["row"], f["metric"]))
    if failures:
        log.warning("%d scores of answers failed and count as 0, the first: %s", len(failures), failures[0])
    given = {name: [v for row in table if (v := row[name]) is not None] for name in names}
    means = {name: sum(values) / len(values) for name, values in given.items() if values}
    return AnswerScores(means, table, tuple(failures), {name: len(values) for name, values in given.items()})


def _ragas() -> ModuleType:
    """Import the metrics with telemetry and the download of a price list switched off."""
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies deprecate each other
        import ragas.metrics.collections as collections
    return collections  # type: ignore[no-any-return]


def _vectors(texts: Sequence[str], embedder: Embedder) -> dict[str, Vectors]:
    unique = sorted(set(texts))
    return dict(zip(unique, embedder.embed(unique, role="passage"), strict=True))


def _adapter(embedder: Embedder, ready: dict[str, Vectors]) -> Any:
    """Give ragas our embedder; `ready` holds what was embedded in one batch before."""
    from ragas.embeddings.base import BaseRagasEmbedding

    class Ours(BaseRagasEmbedding):  # type: ignore[misc]
        def embed_text(self, text: str, **_: Any) -> list[float]:
            vector = ready.get(text)
            if vector is None:
                [vector] = embedder.embed([text], role="passage")
            return vector.tolist()  # type: ignore[no-any-return]

        async def aembed_text(self, text: str, **_: Any) -> list[float]:
            return self.embed_text(text)

    return Ours()


def _llm(config: JudgeConfig, cache: Path) -> Any:
    """Give ragas a model that answers in the JSON asked for."""
    from ragas.llms.base import InstructorBaseRagasLLM

    class Judge(InstructorBaseRagasLLM):  # type: ignore[misc]
        def generate(self, prompt: str, response_model: Any) -> Any:
            schema = response_model.model_json_schema()
            return ask_json(config, prompt, schema, response_model.model_validate_json, cache=cache)

        async def agenerate(self, prompt: str, response_model: Any) -> Any:
            return await asyncio.to_thread(self.generate, prompt, response_model)

    return Judge()
