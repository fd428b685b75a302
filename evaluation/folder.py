"""Measure retrieval on somebody else's labelled set: `ragkeep eval --set DIR --mode bm25|vector|hybrid`.

Each entry of the corpus is one document, whole, in a version of the real store kept under `<state>/cache/evalsets`, so
that the next mode finds it there. A hybrid weight never sees the questions it is scored on: it is tuned on
qrels_train.tsv, or, without one, on the other half of the test questions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from ragkeep.analysis import VERSION
from ragkeep.backends import STORES, load
from ragkeep.embedders import load_embedder
from ragkeep.files import write_json, write_rows
from ragkeep.fusion import best_weight, weight_curve
from ragkeep.glossary import glossaries
from ragkeep.retrieve import make_retriever
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Mode, content_id, ids_digest

from .beir import Folder, Qrels, read_folder
from .metrics import CUTOFF, MEASURES, score_run
from .scores import QuestionScore, estimates, row_json
from .tuning import all_legs
from .vectors import CachedEmbedder

if TYPE_CHECKING:
    from pathlib import Path

    from ragkeep.config import Params, Paths, RetrieveParams
    from ragkeep.ports import Embedder, VectorStore

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Like tasks.stage.progress: (label, total) -> a context that yields a function told how much more is done."""
MODES: dict[str, Mode] = {"bm25": "keyword", "keyword": "keyword", "vector": "vector", "hybrid": "hybrid"}
TRAIN_QUESTIONS = 1000
"""How many training questions a weight is tuned on at most; more change it by less than a step."""
_ALIAS, _BATCH = "evalset", 512


@dataclass(frozen=True, slots=True)
class _Bench:
    folder: Folder
    version: IndexVersion
    store: VectorStore
    embedder: Embedder
    corpus_ids: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Mix:
    """A fusion for every question, and where its weight comes from."""

    of: Callable[[str], Fusion]
    weight: float | list[float]
    tuned_on: Literal["train", "crossfit", "params", "none"]


@contextmanager
def silent(_label: str, _total: int) -> Iterator[Callable[[int], None]]:
    """Show no progress."""
    yield lambda _: None


def evaluate_folder(
    folder: Path,
    mode: Literal["bm25", "vector", "hybrid"],
    *,
    paths: Paths,
    params: Params,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return {set, mode, queries, ndcg_at_10, recall_at_10, rr, by_query, weight, tuned_on}.

    by_query is a file of one row a judged question, named by its content, so that it stays when a later measurement
    comes out otherwise; queries without judgments are not asked. `progress` is told how many documents are embedded.
    Raises ConfigError when the folder's files are absent or disagree.
    """
    bench = _open(read_folder(folder), paths, params, progress)
    mix = _mix(bench, params.retrieve) if mode == "hybrid" else _Mix(lambda _: Fusion(), 0.0, "none")
    run = _search(bench, params.retrieve, MODES[mode], mix)
    rows = _rows(bench.folder, run)
    summary = _summary(bench, mode, mix, rows, params)
    path = paths.state / "evals" / bench.folder.name / f"{mode}-{_sha(summary, rows)[:8]}.jsonl"
    write_rows(path, map(row_json, rows))
    write_json(path.with_suffix(".json"), summary)
    means = {name: summary["metrics"][name]["mean"] for name in ("ndcg_at_10", "recall_at_10", "rr")}
    found: dict[str, Any] = {"set": bench.folder.name, "mode": mode, "queries": len(rows), **means, "by_query": str(path)}
    return found | ({"weight": mix.weight, "tuned_on": mix.tuned_on} if mode == "hybrid" else {})


def _open(folder: Folder, paths: Paths, params: Params, progress: Progress) -> _Bench:
    embedder = CachedEmbedder(load_embedder(params.embed, paths.cache), paths.cache)
    store: VectorStore = load(STORES, params.index.backend, path=paths.cache / "evalsets", params=params.index)
    corpus_ids = {content_id(_ALIAS, name): name for name in folder.corpus}
    version = IndexVersion(
        name=f"{_ALIAS}-{content_id(folder.digest, embedder.fingerprint, str(VERSION))[:16]}",
        alias=_ALIAS,
        store=params.index.backend,
        embedder=embedder.fingerprint,
        dim=embedder.dim,
        chunks=len(corpus_ids),
        digest=ids_digest(corpus_ids),
        built_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    if (version.name, version.digest) not in {(v.name, v.digest) for v in store.versions(_ALIAS)}:
        with progress(f"index {folder.name}", len(corpus_ids)) as advance:
            _build(store, version, folder, embedder, advance)
    return _Bench(folder, version, store, embedder, corpus_ids)


def _build(
    store: VectorStore, version: IndexVersion, folder: Folder, embedder: Embedder, advance: Callable[[int], None]
) -> None:
    store.drop(version.name)
    store.create(version.name, dim=version.dim)
    entries = iter(sorted(folder.corpus.items()))
    while batch := list(islice(entries, _BATCH)):
        chunks = tuple(_chunk(name, text) for name, text in batch)
        store.write(version.name, EmbeddedBatch(chunks, embedder.embed([c.text for c in chunks], role="passage")))
        advance(len(batch))
    store.finish(version.name)
    store.seal(version)


def _chunk(name: str, text: str) -> Chunk:
    return Chunk(
        id=content_id(_ALIAS, name), document_id=name, uri=f"{_ALIAS}/{name}", source=_ALIAS, workspace="default",
        text=text, span=(0, len(text)), lines=(1, text.count("\n") + 1), kind="prose", language="",
    )  # fmt: skip


def _mix(bench: _Bench, retrieve: RetrieveParams) -> _Mix:
    """Find each question's weight on other questions than itself."""
    if not isinstance(retrieve.weight, str):
        fixed = Fusion(retrieve.fusion, retrieve.weight)
        return _Mix(lambda _: fixed, retrieve.weight, "params")
    if bench.folder.train:
        chosen = sorted(bench.folder.train, key=content_id)[:TRAIN_QUESTIONS]
        tuned = Fusion(retrieve.fusion, _tuned(bench, bench.folder.train, chosen, retrieve))
        return _Mix(lambda _: tuned, tuned.weight, "train")
    halves: list[list[str]] = [[], []]
    for q in bench.folder.test:
        halves[_half(q)].append(q)
    weights = [_tuned(bench, bench.folder.test, other, retrieve) for other in reversed(halves)]
    return _Mix(lambda q: Fusion(retrieve.fusion, weights[_half(q)]), weights, "crossfit")


def _half(query: str) -> int:
    return int(content_id(query)[0], 16) % 2


def _tuned(bench: _Bench, qrels: Qrels, chosen: Sequence[str], retrieve: RetrieveParams) -> float:
    if not chosen:
        return Fusion().weight
    put = glossaries(retrieve)("default").apply
    texts = {q: (put(bench.folder.queries[q]), "default") for q in chosen}
    legs = all_legs(bench.store, bench.embedder, bench.version, texts, retrieve.candidates)
    relevant = [{content_id(_ALIAS, d): float(g) for d, g in qrels[q].items() if g > 0} for q in chosen]
    return best_weight(weight_curve([legs[q] for q in chosen], relevant, method=retrieve.fusion, k=CUTOFF))


def _search(bench: _Bench, retrieve: RetrieveParams, mode: Mode, mix: _Mix) -> dict[str, list[str]]:
    """Ask every judged question the way serving does: query id -> corpus ids, best first."""
    if mode != "keyword":
        bench.embedder.embed([bench.folder.queries[q] for q in bench.folder.test], role="query")  # all in one batch
    run, glossary = {}, glossaries(retrieve)("default")
    for q in bench.folder.test:
        ask = make_retriever(
            bench.store, bench.embedder, bench.version, k=CUTOFF, mode=mode, fusion=mix.of(q),
            candidates=retrieve.candidates, glossary=glossary,
        )  # fmt: skip
        run[q] = [bench.corpus_ids[hit.chunk.id] for hit in ask(bench.folder.queries[q])]
    return run


def _rows(folder: Folder, run: Mapping[str, Sequence[str]]) -> list[QuestionScore]:
    scores = score_run(folder.test, run)
    return [
        QuestionScore(
            id=q, digest=_digest(folder, q), text=folder.queries[q], scores=scores[q], slices={"set": folder.name},
            rank=next((n for n, d in enumerate(run[q], 1) if folder.test[q].get(d, 0) > 0), None),
            top=tuple({"id": d} for d in run[q]),
        )
        for q in sorted(folder.test)
    ]  # fmt: skip


def _digest(folder: Folder, query: str) -> str:
    return content_id(query, folder.queries[query], json.dumps(folder.test[query], sort_keys=True))


def _sha(summary: dict[str, Any], rows: Sequence[QuestionScore]) -> str:
    return content_id(json.dumps([summary, *map(row_json, rows)], sort_keys=True))


def _summary(bench: _Bench, mode: str, mix: _Mix, rows: Sequence[QuestionScore], params: Params) -> dict[str, Any]:
    return {
        "index": {"name": bench.version.name, "digest": bench.version.digest, "embedder": bench.version.embedder},
        "mode": mode,
        "measures": sorted(MEASURES.values()),  # what this kind of measurement can have: no answers
        "metrics": estimates(rows, confidence=0.95, resamples=2999, seed=params.evaluate.seed),
        "fusion": {"weight": mix.weight, "tuned_on": mix.tuned_on},
        "n": {"test": len(rows)},
    }
