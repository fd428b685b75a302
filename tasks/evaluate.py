"""Measure the index version data/index.json names, and no other: `python -m tasks.evaluate`.

Tunes the fusion weight on the dev questions, then asks the test questions the way a user would: retrieve, answer, cite.
Leaves data/evaluation/{fusion.json, by_query.jsonl, answers.jsonl, scores.json}, the last one last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from evaluation.answers import answer_row, answer_scores, judged, place_row
from evaluation.corpus import Corpus
from evaluation.judge import AnswerScores, judge_answers, score_answers
from evaluation.labels import Resolved, Resolver
from evaluation.metrics import CUTOFF, earned_at, first_rank, place, score_earned
from evaluation.scores import ANSWERS, FUSION, EvalReport, QuestionScore, estimates, slice_values, write_report
from evaluation.sets import EvalSet, load_sets
from evaluation.tuning import Tuned, all_legs, chunk_places, golden_curves, tune
from evaluation.vectors import CachedEmbedder
from ragkeep.answer import answer_sync, shown
from ragkeep.app import release_params
from ragkeep.config import Params, Paths
from ragkeep.embedders import load_embedder
from ragkeep.errors import IndexMissing
from ragkeep.files import read_json, write_json, write_rows
from ragkeep.generators import open_generators
from ragkeep.glossary import Glossary, glossaries
from ragkeep.learned import effective
from ragkeep.ports import Embedder, Generator, Reranker, VectorStore
from ragkeep.rerank import depth, open_reranker
from ragkeep.retrieve import make_retriever
from ragkeep.stores import open_store
from ragkeep.tables import file_shas
from ragkeep.types import Answer, Fusion, Hit, IndexVersion, Release
from tasks.stage import progress, stage_main

_CONFIDENCE, _RESAMPLES = 0.95, 2999


@dataclass(frozen=True, slots=True)
class _Bench:
    """What is measured: one version, with the parts it would be served with."""

    params: Params
    version: IndexVersion
    store: VectorStore
    embedder: Embedder
    generator: Generator
    resolver: Resolver
    reranker: Reranker | None
    glossary: Callable[[str], Glossary]


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Measure and write; return counts and the main scores."""
    written, params = params, effective(params, paths.data, paths.cache)
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    resolver = Resolver(Corpus(paths.data / "documents"))
    asked = [resolver.resolve(question) for evalset in sets for question in evalset.questions]
    dev, test = ([r for r in asked if r.question.split == split] for split in ("dev", "test"))
    bench = _open(paths, params, _receipt(paths), resolver)
    bench.embedder.embed([r.question.text for r in asked], role="query")  # all in one batch
    tuned = _tune(paths, bench, dev)
    if params.retrieve.weight != written.retrieve.weight:
        tuned = replace(tuned, tuned_on="learned")
    rows, said = _measure(bench, tuned.fusion, test)
    advice = judge_answers([judged(row) for row in said], bench.embedder, cache=paths.cache)
    summary = _summary(bench, tuned, sets, asked, rows) | _advice(advice)
    folder = paths.data / "evaluation"
    write_json(folder / FUSION, tuned.as_json())
    write_rows(folder / ANSWERS, said)
    write_report(folder, summary, rows)
    means = {name: value["mean"] for name, value in summary["metrics"].items()}
    return {"questions": len(rows), "unresolved": len(summary["unresolved"]), "weight": tuned.fusion.weight, **means}


def measure_release(paths: Paths, params: Params, release: Release) -> EvalReport:
    """Ask a release that is kept today's test questions, with its own embedder, fusion and generator.

    Labels resolve in tonight's documents, so only questions are asked whose labelled documents that release holds byte
    for byte (and those that have no answer). Raises IndexMissing when the store has dropped its index.
    """
    resolver = Resolver(Corpus(paths.data / "documents"))
    old, new = file_shas(paths.releases / release.evaluation), file_shas(paths.data)
    test = [
        r
        for evalset in load_sets([paths.root / name for name in params.evaluate.sets])
        for r in map(resolver.resolve, evalset.questions)
        if r.question.split == "test" and all(old.get(uri) == new[uri] for group in r.groups for uri, _, _ in group)
    ]
    bench = _open(paths, release_params(params, release), release.index, resolver)
    rows, _ = _measure(bench, release.fusion, test)
    return EvalReport(index=release.index.name, rows=tuple(rows))


def _receipt(paths: Paths) -> IndexVersion:
    receipt = read_json(paths.data / "index.json")
    if receipt is None:
        raise IndexMissing(f"{paths.data / 'index.json'} does not exist: run `dvc repro index` first")
    return IndexVersion(**receipt)


def _open(paths: Paths, params: Params, version: IndexVersion, resolver: Resolver) -> _Bench:
    """Open exactly the version under test. Raises IndexMissing when the store does not hold it sealed."""
    store = open_store(params.index, paths)
    held = {(v.name, v.digest) for v in store.versions(version.alias)}
    if (version.name, version.digest) not in held:
        raise IndexMissing(f"the store does not hold index {version.name}: run `dvc repro --force index`")
    embedder = CachedEmbedder(load_embedder(params.embed, paths.cache), paths.cache)
    make_retriever(store, embedder, version)  # refuses another embedder than the version's
    generator = open_generators(params.answer, embedder, cache=paths.cache)[0]
    reranker = open_reranker(params.retrieve.rerank, paths.cache)
    return _Bench(params, version, store, embedder, generator, resolver, reranker, glossaries(params.retrieve))


def _tune(paths: Paths, bench: _Bench, dev: Sequence[Resolved]) -> Tuned:
    retrieve = bench.params.retrieve
    answerable = [r for r in dev if r.question.answerable]
    texts = {r.question.id: (_worded(bench, r), r.question.workspace) for r in answerable}
    legs = all_legs(bench.store, bench.embedder, bench.version, texts, retrieve.candidates)
    places = chunk_places(paths.data / "chunks", answerable)
    worded = {q: text for q, (text, _) in texts.items()}
    return tune(golden_curves(legs, answerable, worded, places, retrieve.fusion), retrieve)


def _measure(bench: _Bench, mix: Fusion, test: Sequence[Resolved]) -> tuple[list[QuestionScore], list[dict[str, Any]]]:
    """Search and answer; return a score and an answer row a question. Ranks are those a reader sees."""
    hits = _ask(bench, mix, test)
    answers = _answer(bench, test, hits)
    hits = {q: list(shown(answers[q].hits, found)) for q, found in hits.items()}
    said = [answer_row(r, answers[r.question.id], bench.resolver.corpus) for r in test]
    return _rows(bench, test, hits, answers, score_answers([judged(row) for row in said], bench.embedder)), said


def _ask(bench: _Bench, mix: Fusion, test: Sequence[Resolved]) -> dict[str, list[Hit]]:
    """Search the way serving does: question id -> hits, deep enough for the measures and for the answer."""
    reach = depth(bench.params.retrieve.rerank, max(CUTOFF, bench.params.retrieve.k))
    retrievers = {
        workspace: make_retriever(
            bench.store, bench.embedder, bench.version, k=reach, workspace=workspace, fusion=mix,
            candidates=bench.params.retrieve.candidates, glossary=bench.glossary(workspace),
        )
        for workspace in sorted({r.question.workspace for r in test})
    }  # fmt: skip
    return {r.question.id: retrievers[r.question.workspace](r.question.text) for r in test}


def _answer(bench: _Bench, test: Sequence[Resolved], hits: dict[str, list[Hit]]) -> dict[str, Answer]:
    """Answer every test question from the hits a user's answer would rest on."""
    answers = {}
    k, params = bench.params.retrieve.k, bench.params.answer
    second = (bench.reranker, bench.params.retrieve.rerank)
    reach = depth(second[1], k)
    with progress("answers", len(test)) as advance:
        for r in test:
            retrieve = partial(_given, hits[r.question.id][:reach])
            answers[r.question.id] = answer_sync(
                _worded(bench, r), retrieve, bench.generator, params=params, second=second, k=k
            )
            advance(1)
    return answers


def _worded(bench: _Bench, asked: Resolved) -> str:
    """Put a question as serving does."""
    return bench.glossary(asked.question.workspace).apply(asked.question.text)


def _given(hits: list[Hit], _question: str) -> list[Hit]:
    return hits


def _rows(
    bench: _Bench,
    test: Sequence[Resolved],
    hits: dict[str, list[Hit]],
    answers: dict[str, Answer],
    likeness: AnswerScores,
) -> list[QuestionScore]:
    answerable = {r.question.id: r for r in test if r.question.answerable}
    earned = {q: earned_at([place(hit) for hit in hits[q]], r.groups) for q, r in answerable.items()}
    ranked = score_earned(earned, {q: len(r.groups) for q, r in answerable.items()})
    rows = []
    for r, alike in zip(test, likeness.rows, strict=True):
        q = r.question.id
        said = answer_scores(r, answers[q], bench.resolver.corpus)
        said |= {name: value for name, value in alike.items() if value is not None}
        rows.append(
            QuestionScore(
                id=q, digest=r.question.digest, text=r.question.text, scores={**ranked.get(q, {}), **said},
                slices=bench.resolver.slices(r), rank=first_rank(earned.get(q, [])), resolved=r.complete,
                top=tuple(place_row(hit.chunk.uri, hit.chunk.lines, hit.score) for hit in hits[q][:CUTOFF]),
            )
        )  # fmt: skip
    return rows


def _advice(judge: AnswerScores | None) -> dict[str, Any]:
    """Say what a configured language model thought; it decides nothing, so it is kept apart from the metrics."""
    if judge is None:
        return {}
    return {"advisory": {"means": judge.means, "counts": judge.counts, "failures": len(judge.failures)}}


def _summary(
    bench: _Bench, tuned: Tuned, sets: Sequence[EvalSet], asked: Sequence[Resolved], rows: Sequence[QuestionScore]
) -> dict[str, Any]:
    """Build scores.json: a pure function of index, questions and params."""
    seed = bench.params.evaluate.seed
    version = bench.version
    return {
        "index": {"name": version.name, "digest": version.digest, "embedder": version.embedder},
        "sets": {s.name: {"digest": s.digest, "questions": len(s.questions)} for s in sets},
        "n": {"dev": tuned.questions, "test": len(rows)},
        "unresolved": [
            {"id": r.question.id, "labels": list(r.unresolved), "miss": not r.complete}
            for r in asked
            if r.unresolved or not r.complete
        ],
        "metrics": estimates(rows, confidence=_CONFIDENCE, resamples=_RESAMPLES, seed=seed),
        "slices": {
            name: estimates(part, confidence=_CONFIDENCE, resamples=_RESAMPLES, seed=seed)
            for name, part in slice_values(rows).items()
        },
        "fusion": tuned.as_json(),
        "generator": bench.generator.name,
        "by_query": "by_query.jsonl",
    }


if __name__ == "__main__":
    stage_main("evaluate", run)
