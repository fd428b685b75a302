"""The evaluate stage on a small real night: documents, chunks, vectors, an index, questions."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.gate import judge
from evaluation.scores import flat_scores, read_report
from flows import night as nights
from ragkeep.config import (
    EmbedParams,
    EvaluateParams,
    GateParams,
    IndexParams,
    Params,
    Paths,
    RerankParams,
    SourceParams,
)
from ragkeep.errors import CanaryFailed, IndexMissing, StoreError
from ragkeep.files import read_json, write_json
from ragkeep.releases import point, require_champion, save_release
from ragkeep.tables import chunks_table, documents_table
from ragkeep.testing import HashEmbedder
from ragkeep.types import Chunk, Document, content_id
from tasks.embed import describe
from tasks.evaluate import measure_release, run
from tasks.index import run as index
from tasks.shards import write_shard

WORDS = ["apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbor", "island", "jacket"]
PARAMS = Params(
    sources=(SourceParams("docs", "."),), embed=EmbedParams(backend="hash"), index=IndexParams(backend="memory"),
    evaluate=EvaluateParams(sets=("golden.jsonl",)),
)  # fmt: skip
GATE = GateParams(floors={"ndcg_at_10": 0.3, "abstention_accuracy": 0.5}, resamples=199)


def document(number: int) -> Document:
    word = WORDS[number % 10]
    text = f'def open_{word}(path):\n    """Open the {word} and return its {word} keeper."""\n    return {number}\n'
    return Document(f"{number}", f"stdlib/{word}.py", "stdlib", "default", text, "code", "python")


def chunk(made: Document) -> Chunk:
    return Chunk(
        id=content_id(made.uri), document_id=made.id, uri=made.uri, source="stdlib", workspace="default", text=made.text,
        span=(0, len(made.text)), lines=(1, 3), kind="code", language="python", context=made.uri[7:-3],
    )  # fmt: skip


def question(number: int, split: str) -> dict[str, Any]:
    word = WORDS[number]
    labels = [{"name": f"{word}.open_{word}"}]
    return {
        "id": f"{split}{number}",
        "text": f"How do I open the {word}?",
        "split": split,
        "labels": labels,
        "answerable": True,
    }


def night(paths: Paths, shuffle: bool = False) -> None:
    """Leave what the stages before would."""
    documents = [document(n) for n in range(10)]
    chunks = [chunk(d) for d in documents]
    embedder = HashEmbedder()
    vectors = embedder.embed([c.embed_text for c in chunks], role="passage")
    if shuffle:
        vectors = np.roll(vectors, 5, axis=0)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), embedder.dim)
    write_shard(paths.data / "documents", 0, documents_table(documents), "k")
    write_shard(paths.data / "chunks", 0, chunks_table(chunks), "k")
    write_shard(paths.data / "vectors", 0, pa.table({"id": [c.id for c in chunks], "vector": column}), "k")
    write_json(paths.data / "embedder.json", describe(embedder))
    index(paths, PARAMS)


def ask(paths: Paths, *rows: dict[str, Any]) -> None:
    (paths.root / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    made = Paths(tmp_path)
    unknown = {"id": "u", "text": "Who won the cup?", "split": "test", "labels": [], "answerable": False}
    ask(made, *(question(n, "dev") for n in range(4)), *(question(n, "test") for n in range(4, 10)), unknown)
    night(made)
    return made


def rows(paths: Paths, name: str = "by_query") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (paths.data / "evaluation" / f"{name}.jsonl").read_text().splitlines()]


def test_the_version_under_test_is_measured_and_named(paths: Paths) -> None:
    stats = run(paths, PARAMS)
    scores = read_json(paths.data / "evaluation" / "scores.json")
    assert scores["index"]["name"] == read_json(paths.data / "index.json")["name"]
    assert scores["metrics"]["ndcg_at_10"]["mean"] == stats["ndcg_at_10"] == 1.0
    assert scores["metrics"]["abstention_accuracy"]["n"] == 7
    assert scores["metrics"]["citation_validity"]["mean"] == 1.0
    assert {"source=stdlib", "language=python", "set=golden"} <= set(scores["slices"])


def test_a_row_says_what_was_found_where(paths: Paths) -> None:
    run(paths, PARAMS)
    row = next(r for r in rows(paths) if r["id"] == "test4")
    assert (row["rank"], row["resolved"], row["slices"]["source"]) == (1, True, "stdlib")
    assert row["top"][0]["uri"] == "stdlib/engine.py"
    assert row["top"][0]["lines"] == [1, 3]
    assert "ndcg_at_10" not in next(r for r in rows(paths) if r["id"] == "u")["scores"]


def test_the_weight_is_tuned_on_dev_questions_and_no_worse_than_a_leg(paths: Paths) -> None:
    run(paths, PARAMS)
    fusion = read_json(paths.data / "evaluation" / "fusion.json")
    assert (fusion["tuned_on"], fusion["questions"]) == ("dev", 4)
    assert fusion["dev"]["hybrid"] >= max(fusion["dev"]["bm25"], fusion["dev"]["vector"])


def test_a_second_run_leaves_the_same_bytes(paths: Paths) -> None:
    folder = paths.data / "evaluation"
    run(paths, PARAMS)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    run(paths, PARAMS)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert set(before) == {"scores.json", "by_query.jsonl", "answers.jsonl", "fusion.json"}


def test_an_unresolved_label_is_listed_and_a_miss(paths: Paths) -> None:
    ask(paths, question(4, "test"), question(5, "test") | {"labels": [{"name": "apple.no_such"}]})
    run(paths, PARAMS)
    scores = read_json(paths.data / "evaluation" / "scores.json")
    assert scores["unresolved"] == [{"id": "test5", "labels": ["apple.no_such"], "miss": True}]
    assert scores["metrics"]["ndcg_at_10"]["mean"] == 0.5


def test_answers_are_kept_with_citations_and_contexts(paths: Paths) -> None:
    run(paths, PARAMS)
    row = next(r for r in rows(paths, "answers") if r["id"] == "test6")
    assert {"question", "answer", "abstained", "answerable", "citations", "contexts", "hits", "reference"} <= set(row)
    assert row["reference"].startswith("def open_garden")


def test_shuffled_vectors_are_refused_question_by_question(paths: Paths, tmp_path: Path) -> None:
    vectors = replace(PARAMS, retrieve=replace(PARAMS.retrieve, weight=1.0))
    run(paths, vectors)
    (paths.data / "evaluation").rename(tmp_path / "champion")
    night(paths, shuffle=True)
    run(paths, vectors)
    name = read_json(paths.data / "index.json")["name"]
    found = judge(read_report(tmp_path / "champion"), read_report(paths.data / "evaluation"), GATE, index=name)
    assert found.verdict == "fail"
    assert [q["base"] > q["new"] for q in found.questions] == [True] * 6


def test_ranks_are_those_after_a_second_look(paths: Paths) -> None:
    night(paths, shuffle=True)
    first = replace(PARAMS, retrieve=replace(PARAMS.retrieve, weight=1.0))
    second = RerankParams(backend="overlap", top=0, margin=1.0)
    before = run(paths, first)["ndcg_at_10"]
    assert run(paths, replace(first, retrieve=replace(first.retrieve, rerank=second)))["ndcg_at_10"] == 1.0 > before


def test_no_test_question_is_refused_by_the_gate(paths: Paths) -> None:
    ask(paths, question(0, "dev"))
    run(paths, PARAMS)
    name = read_json(paths.data / "index.json")["name"]
    assert judge(None, read_report(paths.data / "evaluation"), GATE, index=name).verdict == "fail"


@pytest.mark.parametrize("lose", [lambda p: (p.data / "index.json").unlink(), lambda p: rename(p, "docs-0")])
def test_a_version_that_is_not_there_is_not_measured(paths: Paths, lose: Callable[[Paths], object]) -> None:
    lose(paths)
    with pytest.raises(IndexMissing, match="run `dvc repro"):
        run(paths, PARAMS)


def publish(paths: Paths) -> None:
    """Make what the stages left the champion, of documents as the manifest lists them."""
    listed = {"uri": [document(n).uri for n in range(10)], "sha": [str(n) for n in range(10)]}
    manifest = paths.data / "sources" / "manifest.parquet"
    manifest.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(listed), manifest)
    release = replace(nights.candidate(paths, PARAMS), number=1)
    nights.keep_evidence(paths, release)
    save_release(paths, release)
    point(paths, 1, previous=None, token=1)


def test_other_questions_are_put_to_the_champion_too(paths: Paths) -> None:
    run(paths, PARAMS)
    publish(paths)
    ask(paths, *(question(n, "dev") for n in range(4)), *(question(n, "test") for n in range(5)))
    night(paths, shuffle=True)
    run(paths, PARAMS)
    found = nights.gate(paths, replace(PARAMS, gate=GATE), nights.candidate(paths, PARAMS))
    assert found.metrics["ndcg_at_10"]["base"] == 1.0
    assert {q["id"] for q in found.questions} == {f"test{n}" for n in range(5)}


def test_the_canary_finds_what_the_index_holds(paths: Paths) -> None:
    run(paths, PARAMS)
    publish(paths)
    assert nights.canary(paths, PARAMS) == 10


def test_the_canary_dies_in_an_index_with_other_texts(paths: Paths) -> None:
    run(paths, PARAMS)
    publish(paths)
    others = [replace(chunk(document(n)), id=f"other{n}") for n in range(10)]
    write_shard(paths.data / "chunks", 0, chunks_table(others), "k")
    with pytest.raises(CanaryFailed, match="does not find what its index"):
        nights.canary(paths, PARAMS)


def test_a_question_on_a_document_that_changed_is_not_put_to_the_champion(paths: Paths) -> None:
    run(paths, PARAMS)
    publish(paths)
    changed = {"uri": [document(n).uri for n in range(10)], "sha": [str(max(n, 5)) for n in range(10)]}
    pq.write_table(pa.table(changed), paths.data / "sources" / "manifest.parquet")
    report = measure_release(paths, PARAMS, require_champion(paths))
    assert {row.id for row in report.rows} == {"test5", "test6", "test7", "test8", "test9", "u"}


def rename(paths: Paths, name: str) -> None:
    write_json(paths.data / "index.json", read_json(paths.data / "index.json") | {"name": name})


def test_questions_of_another_embedder_are_refused(paths: Paths) -> None:
    other = replace(PARAMS, embed=EmbedParams(backend="tests.tasks.test_evaluate:wide"))
    with pytest.raises(StoreError, match="was built with embedder hash-64"):
        run(paths, other)


def wide(params: EmbedParams, cache: Path) -> HashEmbedder:
    return HashEmbedder(32)


def test_scores_are_flattened_for_a_tracker(paths: Paths) -> None:
    run(paths, PARAMS)
    flat = flat_scores(read_json(paths.data / "evaluation" / "scores.json"))
    assert flat["ndcg_at_10"] == flat["ndcg_at_10/source_stdlib"] == 1.0
    assert not any("@" in name or "=" in name for name in flat)
