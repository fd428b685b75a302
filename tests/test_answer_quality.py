"""Extractive answers on real questions: how near they come to what people wrote, and every quote in its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragkeep.answer import answer_sync
from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.generators.extractive import extractive
from ragkeep.ports import Embedder
from ragkeep.stores.memory import MemoryStore
from ragkeep.testing import HashEmbedder
from ragkeep.types import Answer, Chunk, EmbeddedBatch, Hit, Query
from tests.evaldata import evaldata

QUESTIONS = 40


def rows(folder: Path, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]


def passages(name: str) -> dict[str, Chunk]:
    made = {}
    for row in rows(evaldata(name), "corpus.jsonl"):
        text, lines = row["text"], (1, 1 + row["text"].count("\n"))
        made[row["id"]] = Chunk(
            row["id"], row["id"], row["id"], name, "default", text, (0, len(text)), lines, "prose", ""
        )
    return made


def keyword_search(chunks: dict[str, Chunk]) -> Callable[[str], list[Hit]]:
    embedder, store, batch = HashEmbedder(), MemoryStore(), tuple(chunks.values())
    store.create("passages", dim=embedder.dim)
    store.write("passages", EmbeddedBatch(batch, embedder.embed([c.text for c in batch], role="passage")))
    store.finish("passages")
    return lambda question: store.search("passages", Query(question, mode="keyword"))


def answers(name: str, embedder: Embedder | None = None, **options: float) -> list[tuple[dict[str, Any], Answer]]:
    search = keyword_search(passages(name))
    generator = extractive(GeneratorParams(), params=AnswerParams(**options), embedder=embedder)  # type: ignore[arg-type]
    asked = [row for row in rows(evaldata(name), "queries.jsonl") if row.get("split", "test") == "test"]
    return [(row, answer_sync(row["text"], search, generator)) for row in asked[:: max(1, len(asked) // QUESTIONS)]]


def rouge_l(row: dict[str, Any], answer: Answer) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return max(float(scorer.score(wanted, answer.text)["rougeL"].fmeasure) for wanted in row["answers"])


@pytest.mark.parametrize(("name", "least"), [("clapnq-a", 0.40), ("product-docs", 0.24), ("mtrag-a", 0.12)])
def test_answers_come_near_to_the_written_ones(name: str, least: float) -> None:
    given = [(row, a) for row, a in answers(name, min_support=0.0) if row.get("answers") and row.get("answerable", True)]
    assert sum(rouge_l(row, answer) for row, answer in given) / len(given) >= least


def test_the_span_asked_for_is_in_the_answer() -> None:
    given = answers("squad-a", min_support=0.0)
    found = [any(span.lower() in answer.text.lower() for span in row["answers"]) for row, answer in given]
    assert sum(found) / len(found) >= 0.65


@pytest.mark.parametrize("name", ["clapnq-a", "product-docs", "squad-a"])
def test_every_quote_stands_on_its_lines(name: str) -> None:
    texts = passages(name)
    citations = [citation for _, answer in answers(name, min_support=0.0) for citation in answer.citations]
    assert len(citations) >= QUESTIONS
    for citation in citations:
        lines = texts[citation.uri].text.splitlines(keepends=True)
        assert citation.quote in "".join(lines[citation.lines[0] - 1 : citation.lines[1]])
