import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from evaluation.gate import Verdict, gate_files, judge
from evaluation.gate_reports import MARK, comment, write_junit
from evaluation.scores import EvalReport, QuestionScore, estimates, read_report, row_json, write_report
from ragkeep.config import GateParams
from ragkeep.errors import CannotJudge

PARAMS = GateParams(floors={"ndcg_at_10": 0.3}, resamples=999)
LEVELS = np.array([0.0, 0.0, 0.0, 0.301, 0.431, 0.5, 0.631, 1.0, 1.0, 1.0])


def report(scores: list[float], *, index: str = "docs-1", source: str = "stdlib", **summary: object) -> EvalReport:
    rows = tuple(
        QuestionScore(f"q{n}", f"d{n}", f"question {n}", {"ndcg_at_10": s}, {"source": source})
        for n, s in enumerate(scores)
    )
    means = estimates(rows, confidence=0.95, resamples=99, seed=7)
    return EvalReport(index, rows, {"index": {"name": index}, "metrics": means, **summary})


def verdict(base: EvalReport | None, new: EvalReport, params: GateParams = PARAMS) -> Verdict:
    return judge(base, new, params, index="docs-1")


def draw(rng: np.random.Generator, n: int = 150) -> np.ndarray:
    return rng.choice(LEVELS, n)


def redrawn(rng: np.random.Generator, base: np.ndarray, share: float = 0.2) -> np.ndarray:
    """An equally good retriever that differs on a share of the questions."""
    return np.where(rng.random(base.size) < share, draw(rng, base.size), base)


def test_equal_scores_pass_with_an_interval_of_no_width() -> None:
    found = verdict(report([1.0, 0.5, 0.0] * 20), report([1.0, 0.5, 0.0] * 20))
    assert found.verdict == "pass"
    assert found.metrics["ndcg_at_10"]["ci"] == [0, 0]


def test_the_first_night_is_held_against_the_floors_only() -> None:
    assert verdict(None, report([0.5] * 30)).verdict == "pass"
    low = verdict(None, report([0.2] * 30))
    assert low.reasons == ("ndcg_at_10 is 0.2000, below its floor 0.3",)


def test_shuffled_vectors_are_refused_with_a_table_of_questions() -> None:
    base = [1.0, 0.631, 1.0, 0.5] * 30
    found = verdict(report(base), report([0.0] * 118 + [0.3, 1.0]))
    assert found.verdict == "fail"
    assert any("fell from 0.78" in reason for reason in found.reasons)
    assert len(found.questions) == 120
    assert found.questions[0]["delta"] == -1.0
    assert {"id", "text", "base", "new", "delta", "rank"} <= set(found.questions[0])


def test_equal_retrievers_pass_and_a_worse_one_mostly_fails() -> None:
    rng = np.random.default_rng(1)
    params = GateParams(resamples=499)
    passed = caught = 0
    for _ in range(200):
        base = draw(rng)
        passed += verdict(report(list(base)), report(list(redrawn(rng, base))), params).verdict == "pass"
        worse = np.where(rng.random(base.size) < 0.13, base * 0.2, redrawn(rng, base, 0.1))
        caught += verdict(report(list(base)), report(list(worse)), params).verdict == "fail"
    assert passed >= 190
    assert caught >= 120  # the mean loss is 0.05


def test_a_certain_but_tiny_loss_is_tolerated() -> None:
    base = [1.0] * 300
    found = verdict(report(base), report([0.631] * 7 + [1.0] * 293))
    assert found.metrics["ndcg_at_10"]["ci"][1] < 0
    assert found.verdict == "pass"


def test_harm_to_one_source_is_refused_though_the_mean_rose() -> None:
    base, new = report([0.5] * 130), report([0.7] * 100 + [0.2] * 30)
    rows = [replace(r, slices={"source": "readmes" if n >= 100 else "stdlib"}) for n, r in enumerate(new.rows)]
    found = verdict(base, replace(new, rows=tuple(rows)))
    assert found.metrics["ndcg_at_10"]["delta"] > 0
    assert [r.split(":")[0] for r in found.reasons] == ["source=readmes"]


def test_a_slice_of_few_questions_is_not_judged() -> None:
    new = report([0.5] * 130)
    rows = [replace(r, slices={"source": f"s{n // 10}"}) for n, r in enumerate(new.rows)]
    assert verdict(report([0.5] * 130), replace(new, rows=tuple(rows))).slices == {}


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_score_that_is_no_number_fails(broken: float) -> None:
    found = verdict(report([0.5] * 30), report([0.5] * 29 + [broken]))
    assert found.verdict == "fail"
    assert any("not a number" in reason for reason in found.reasons)


def test_a_nan_mean_fails_though_all_questions_have_numbers() -> None:
    new = report([0.5] * 30)
    new.summary["metrics"]["ndcg_at_10"]["mean"] = math.nan
    assert "ndcg_at_10 has no number in scores.json" in verdict(report([0.5] * 30), new).reasons


def test_a_mean_that_its_questions_do_not_give_fails() -> None:
    new = report([0.5] * 30)
    new.summary["metrics"]["ndcg_at_10"]["mean"] = 0.9
    assert "its questions give 0.5" in verdict(report([0.5] * 30), new).reasons[0]


def test_a_missing_metric_fails() -> None:
    params = replace(PARAMS, floors={"ndcg_at_10": 0.3, "abstention_accuracy": 0.5})
    assert verdict(None, report([0.5] * 30), params).reasons == ("abstention_accuracy was not measured",)


def test_a_measurement_of_retrieval_alone_needs_no_answers() -> None:
    params = replace(PARAMS, floors={"ndcg_at_10": 0.3, "abstention_accuracy": 0.5})
    assert verdict(None, report([0.5] * 30, measures=["ndcg_at_10"]), params).verdict == "pass"


def test_it_still_needs_the_main_metric() -> None:
    new = EvalReport("docs-1", report([0.5]).rows[:1], {"measures": [], "metrics": {}})
    rows = (replace(new.rows[0], scores={}),)
    assert "ndcg_at_10 was not measured" in verdict(None, replace(new, rows=rows)).reasons


def test_no_question_fails() -> None:
    found = verdict(report([0.5] * 30), report([]))
    assert found.verdict == "fail"
    assert found.reasons[0] == "no question was asked: nothing is known about this index"


def test_scores_of_another_index_fail() -> None:
    found = verdict(report([0.5] * 30), report([0.9] * 30, index="docs-0"))
    assert found.reasons == ("the scores are of index docs-0, under test is docs-1: run the evaluate stage again",)


def test_a_question_without_a_score_counts_as_zero() -> None:
    new = report([0.5] * 30)
    rows = tuple(replace(r, scores={} if n < 15 else r.scores) for n, r in enumerate(new.rows))
    found = verdict(report([0.5] * 30), replace(new, rows=rows))
    assert found.metrics["ndcg_at_10"]["delta"] == pytest.approx(-0.25)
    assert found.verdict == "fail"


def test_only_questions_asked_both_times_are_compared() -> None:
    old, new = report([0.5] * 100), report([0.5] * 110)
    rows = (replace(new.rows[0], digest="other labels"), *new.rows[1:])
    found = verdict(old, replace(new, rows=rows))
    assert found.metrics["ndcg_at_10"]["n"] == 99
    assert found.notes == ("10 questions are new and not compared", "1 questions are reworded and not compared")


def test_mostly_other_questions_cannot_be_judged() -> None:
    new = report([0.5] * 30)
    rows = tuple(replace(r, digest="x" * (n > 10)) if n > 10 else r for n, r in enumerate(new.rows))
    with pytest.raises(CannotJudge, match="only 11 questions are the same"):
        verdict(report([0.5] * 30), replace(new, rows=rows))


def test_a_broken_baseline_cannot_be_judged() -> None:
    with pytest.raises(CannotJudge, match="not a number"):
        verdict(report([0.5] * 29 + [math.nan]), report([0.5] * 30))


def saved(folder: Path, scores: list[float], index: str = "docs-1") -> Path:
    made = report(scores, index=index)
    write_report(folder, made.summary, made.rows)
    return folder


def test_files_are_judged_as_their_contract_says(tmp_path: Path) -> None:
    new = saved(tmp_path / "new" / "evaluation", [0.6] * 30)
    (tmp_path / "new" / "index.json").write_text('{"name": "docs-1"}')
    found = gate_files(saved(tmp_path / "old", [0.5] * 30, "docs-0"), new / "scores.json", PARAMS)
    assert found["verdict"] == "pass"
    assert set(found["metrics"]["ndcg_at_10"]) >= {"base", "new", "delta", "ci"}
    assert json.loads(json.dumps(found, allow_nan=False))["metrics"]["ndcg_at_10"]["delta"] == 0.1


def test_a_slice_whose_documents_vanished_is_still_that_slice() -> None:
    old = report([0.9] * 400)
    spoken = [{"language": "md" if n < 25 else "py"} for n in range(400)]
    base = replace(old, rows=tuple(replace(r, slices=s) for r, s in zip(old.rows, spoken, strict=True)))
    new = report([0.0] * 20 + [0.9] * 5 + [0.96] * 375)
    left = [{"source": "docs"}] * 20 + spoken[20:]
    lost = tuple(replace(r, slices=s) for r, s in zip(new.rows, left, strict=True))
    found = verdict(base, replace(new, rows=lost))
    assert found.verdict == "fail"
    assert any(reason.startswith("language=md") for reason in found.reasons)


def test_a_metric_the_champion_had_must_be_measured_again() -> None:
    old, new = report([0.5] * 30), report([0.5] * 30)
    rows = tuple(replace(r, scores=r.scores | {"citation_validity": 1.0}) for r in old.rows)
    found = verdict(replace(old, rows=rows), new)
    assert found.reasons == ("citation_validity was measured before and is not now: run the evaluate stage again",)
    alone = replace(new, summary=new.summary | {"measures": ["ndcg_at_10"]})
    assert verdict(replace(old, rows=rows), alone).verdict == "pass"


def test_files_of_another_index_than_the_receipt_beside_them_fail(tmp_path: Path) -> None:
    new = saved(tmp_path / "data" / "evaluation", [0.6] * 30)
    (tmp_path / "data" / "index.json").write_text('{"name": "docs-2"}')
    assert gate_files(new, new, PARAMS)["verdict"] == "fail"


def test_absent_and_unreadable_files_cannot_be_judged(tmp_path: Path) -> None:
    good = saved(tmp_path / "good", [0.5] * 30)
    with pytest.raises(CannotJudge, match="cannot be read"):
        gate_files(tmp_path / "nothing", good, PARAMS)
    (good / "scores.json").write_text("{")
    with pytest.raises(CannotJudge, match="no usable scores"):
        gate_files(good, good, PARAMS)


def test_nan_in_a_file_fails_the_gate(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", [0.5] * 30)
    rows = [row_json(r) for r in report([0.5] * 30).rows]
    rows[3]["scores"]["ndcg_at_10"] = math.nan
    (folder / "by_query.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert judge(None, read_report(folder), PARAMS, index="docs-1").verdict == "fail"


def test_a_verdict_becomes_a_junit_file(tmp_path: Path) -> None:
    write_junit(tmp_path / "j" / "gate.xml", verdict(None, report([0.1] * 30)).as_json())
    text = (tmp_path / "j" / "gate.xml").read_text()
    assert 'failures="2"' in text
    assert "below its floor" in text


def test_a_junit_file_has_a_case_for_every_metric_and_slice(tmp_path: Path) -> None:
    write_junit(tmp_path / "gate.xml", verdict(report([0.9] * 30), report([0.5] * 30)).as_json())
    cases = {case.get("name"): case for case in ET.parse(tmp_path / "gate.xml").iter("testcase")}
    assert {"gate", "metric ndcg_at_10"} <= cases.keys()
    assert cases["gate"].find("failure") is not None
    assert "fell from" in (cases["metric ndcg_at_10"].find("failure").get("message") or "")  # type: ignore[union-attr]


def test_a_comment_shows_what_was_lost_question_by_question() -> None:
    text = comment(verdict(report([0.9] * 30), report([0.5] * 30)).as_json())
    assert text.startswith(f"{MARK}\n### ragkeep gate: REFUSED")
    assert "<summary>30 questions lost</summary>" in text
    assert "| 0.900 | 0.500 |" in text
    assert "and 10 more" in text


def test_a_question_cannot_leave_its_cell() -> None:
    hostile = {
        "text": "a | b\n</details> @everyone [x](http://a) `",
        "base": 1.0,
        "new": 0.0,
        "delta": -1.0,
        "rank": [1, None],
    }
    text = comment({"verdict": "fail", "reasons": ["r"], "metrics": {}, "questions": [hostile]})
    (row,) = [line for line in text.splitlines() if line.startswith("| a")]
    assert row.count("|") == 5
    assert not {"@", "[", "<", "`"} & set(row)
