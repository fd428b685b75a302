import json
from pathlib import Path

import pytest

from evaluation.folder import evaluate_folder
from evaluation.gate import gate_files
from evaluation.scores import read_report
from ragkeep.config import EmbedParams, GateParams, IndexParams, Params, Paths, RetrieveParams, SourceParams
from tests.evaldata import evaldata

WORDS = ["apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbor", "island", "jacket"]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    return Paths(tmp_path)


def params(backend: str = "lancedb", **retrieve: object) -> Params:
    return Params(
        sources=(SourceParams("docs", "."),), embed=EmbedParams(backend="hash"), index=IndexParams(backend=backend),
        retrieve=RetrieveParams(**retrieve),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "words"
    made.mkdir()
    rows = [{"id": f"d{n}", "title": word, "text": f"{word} and {WORDS[n - 1]} here"} for n, word in enumerate(WORDS)]
    asked = [{"id": f"q{n}", "text": f"{word} {word}"} for n, word in enumerate(WORDS)]
    for name, values in (("corpus", rows), ("queries", asked)):
        (made / f"{name}.jsonl").write_text("".join(json.dumps(v) + "\n" for v in values))
    (made / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(8)))
    return made


@pytest.mark.parametrize("backend", ["memory", "lancedb"])
@pytest.mark.parametrize("mode", ["bm25", "vector", "hybrid"])
def test_each_mode_is_scored_on_the_judged_queries(folder: Path, paths: Paths, backend: str, mode: str) -> None:
    found = evaluate_folder(folder, mode, paths=paths, params=params(backend))  # type: ignore[arg-type]
    assert {"set", "mode", "queries", "ndcg_at_10", "recall_at_10", "rr", "by_query"} <= set(found)
    assert (found["set"], found["mode"], found["queries"]) == ("words", mode, 8)
    assert found["ndcg_at_10"] > 0.9
    assert Path(found["by_query"]).match(f"evals/words/{mode}-*.jsonl")


def test_without_training_queries_the_weight_is_cross_fitted(folder: Path, paths: Paths) -> None:
    found = evaluate_folder(folder, "hybrid", paths=paths, params=params("memory"))
    assert found["tuned_on"] == "crossfit"
    assert len(found["weight"]) == 2


def test_training_queries_tune_the_weight_where_there_are_some(folder: Path, paths: Paths) -> None:
    (folder / "qrels_train.tsv").write_text("q8\td8\t1\nq9\td9\t1\n")
    found = evaluate_folder(folder, "hybrid", paths=paths, params=params("memory"))
    assert found["tuned_on"] == "train"
    assert 0 <= found["weight"] <= 1


def test_a_fixed_weight_is_used_as_it_is(folder: Path, paths: Paths) -> None:
    found = evaluate_folder(folder, "hybrid", paths=paths, params=params("memory", weight=0.25))
    assert (found["weight"], found["tuned_on"]) == (0.25, "params")


def test_the_second_mode_finds_the_index_of_the_first(folder: Path, paths: Paths) -> None:
    evaluate_folder(folder, "bm25", paths=paths, params=params())
    before = {p: p.stat().st_mtime_ns for p in (paths.cache / "evalsets").rglob("receipt.json")}
    evaluate_folder(folder, "vector", paths=paths, params=params())
    assert before == {p: p.stat().st_mtime_ns for p in (paths.cache / "evalsets").rglob("receipt.json")}
    assert len(before) == 1


def test_two_modes_can_be_held_against_each_other(folder: Path, paths: Paths) -> None:
    one, two = (evaluate_folder(folder, m, paths=paths, params=params("memory")) for m in ("bm25", "hybrid"))  # type: ignore[arg-type]
    gate = GateParams(floors={"ndcg_at_10": 0.3, "abstention_accuracy": 0.5}, resamples=99)
    assert gate_files(Path(one["by_query"]), Path(two["by_query"]), gate)["verdict"] == "pass"
    assert read_report(Path(one["by_query"])).rows[0].rank == 1


def test_a_measurement_stays_when_a_later_one_comes_out_otherwise(folder: Path, paths: Paths) -> None:
    weights = (0.1, 0.1, 0.9)
    found = [evaluate_folder(folder, "hybrid", paths=paths, params=params("memory", weight=w)) for w in weights]
    assert found[0]["by_query"] == found[1]["by_query"] != found[2]["by_query"]
    gate = GateParams(floors={}, resamples=99)
    assert gate_files(Path(found[0]["by_query"]), Path(found[2]["by_query"]), gate)["verdict"] in ("pass", "fail")


def test_bm25_on_scifact_is_that_of_the_literature(paths: Paths) -> None:
    made = Params(sources=(SourceParams("docs", "."),), embed=EmbedParams(backend="hash"))
    found = evaluate_folder(evaldata("scifact"), "bm25", paths=paths, params=made)
    assert found["ndcg_at_10"] == pytest.approx(0.679, abs=0.015)


@pytest.mark.soak  # five CPU-minutes of embedding; that vectors are the model's is tested in tests/embedders
@pytest.mark.timeout(3600)
def test_scifact_scores_are_those_of_the_literature(paths: Paths) -> None:
    made = Params(sources=(SourceParams("docs", "."),), embed=EmbedParams(precision="fp32"))
    scores = {
        mode: evaluate_folder(evaldata("scifact"), mode, paths=paths, params=made)["ndcg_at_10"]  # type: ignore[arg-type]
        for mode in ("bm25", "vector", "hybrid")
    }
    assert scores["bm25"] == pytest.approx(0.679, abs=0.015)
    assert scores["vector"] == pytest.approx(0.645, abs=0.005)
    assert scores["hybrid"] >= 0.714
