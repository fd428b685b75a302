"""SciFact against published figures: BM25 0.679, all-MiniLM-L6-v2 0.645 nDCG@10, and their fusion above both.

Titles are searched with the abstracts, which are not cut. Vectors are kept under .ragkeep/ between runs; without them
the dense tests cost three minutes and run only with `-m slow`.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluation.metrics import score_run
from ragkeep.config import EmbedParams
from ragkeep.embedders import load_embedder
from ragkeep.fusion import tune_weight
from ragkeep.ports import VectorStore
from ragkeep.stores.lancedb import open_store
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, Legs, Mode, Query, Vectors
from tests.evaldata import evaldata

CACHE = Path(__file__).parents[1] / ".ragkeep" / "cache"
FINGERPRINTED = CACHE / "tests"


def rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def judged(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        question, document, gain = line.split("\t")
        found.setdefault(question, {})[document] = int(gain)
    return found


class SciFact:
    """The set, loaded once."""

    def __init__(self, folder: Path) -> None:
        self.texts = {row["id"]: row["text"] for row in rows(folder / "queries.jsonl")}
        self.test, self.train = judged(folder / "qrels.tsv"), judged(folder / "qrels_train.tsv")
        self.chunks = tuple(abstract(row) for row in rows(folder / "corpus.jsonl"))


def abstract(row: dict[str, str]) -> Chunk:
    return Chunk(
        id=row["id"], document_id=row["id"], uri=f"scifact/{row['id']}", source="scifact", workspace="default",
        text=row["text"], span=(0, len(row["text"])), lines=(1, 1), kind="prose", language="en", context=row["title"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def scifact() -> SciFact:
    return SciFact(evaldata("scifact"))


def indexed(path: Path, chunks: tuple[Chunk, ...], vectors: Vectors) -> VectorStore:
    store = open_store(path)
    store.create("scifact", dim=vectors.shape[1])
    store.write("scifact", EmbeddedBatch(chunks, vectors))
    store.finish("scifact")
    return store


def ndcg(qrels: dict[str, dict[str, int]], run: dict[str, list[str]]) -> float:
    return float(np.mean([scores["ndcg_at_10"] for scores in score_run(qrels, run).values()]))


def test_bm25_is_as_good_as_published(scifact: SciFact, tmp_path: Path) -> None:
    store = indexed(tmp_path, scifact.chunks, np.ones((len(scifact.chunks), 1), np.float32))
    run = {
        question: [hit.chunk.id for hit in store.search("scifact", Query(scifact.texts[question], mode="keyword"))]
        for question in scifact.test
    }
    assert ndcg(scifact.test, run) == pytest.approx(0.679, abs=0.015)


class Dense:
    """The set indexed with MiniLM in fp32."""

    def __init__(self, data: SciFact, path: Path) -> None:
        self.data = data
        self.store = indexed(path, data.chunks, kept_vectors("documents", [c.embed_text for c in data.chunks]))
        questions = sorted({*data.test, *data.train})
        vectors = kept_vectors("questions", [data.texts[q] for q in questions])
        self.vectors = dict(zip(questions, vectors, strict=True))

    def query(self, question: str, mode: Mode, weight: float = 0.5) -> Query:
        vector = self.vectors[question]
        return Query(self.data.texts[question], vector=vector, mode=mode, fusion=Fusion("convex", weight))

    def ndcg(self, mode: Mode, weight: float = 0.5) -> float:
        run = {
            question: [hit.chunk.id for hit in self.store.search("scifact", self.query(question, mode, weight))]
            for question in self.data.test
        }
        return ndcg(self.data.test, run)

    def legs(self, questions: Iterable[str]) -> list[Legs]:
        return [self.store.legs("scifact", self.query(question, "hybrid")) for question in questions]


def kept_vectors(what: str, texts: list[str]) -> Vectors:
    embedder = load_embedder(EmbedParams(precision="fp32"), CACHE)
    path = FINGERPRINTED / f"scifact-{what}-{embedder.fingerprint.replace('/', '-')}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, embedder.embed(texts, role="query" if what == "questions" else "passage"))
    vectors: Vectors = np.load(path)
    return vectors


@pytest.fixture(scope="module")
def dense(request: pytest.FixtureRequest, scifact: SciFact, tmp_path_factory: pytest.TempPathFactory) -> Dense:
    if "slow" not in str(request.config.option.markexpr) and not list(FINGERPRINTED.glob("scifact-questions-*")):
        pytest.skip("SciFact's vectors are not under .ragkeep/cache/tests: make them once with -m slow")
    return Dense(scifact, tmp_path_factory.mktemp("scifact"))


@pytest.mark.slow
def test_minilm_is_as_good_as_published(dense: Dense) -> None:
    assert dense.ndcg("vector") == pytest.approx(0.645, abs=0.005)


@pytest.mark.slow
def test_hybrid_with_the_weight_of_the_train_questions_beats_both_legs(dense: Dense) -> None:
    train = dense.data.train
    relevant = [{document: float(gain) for document, gain in train[question].items()} for question in train]
    weight = tune_weight(dense.legs(train), relevant)
    assert dense.ndcg("hybrid", weight) >= 0.714
