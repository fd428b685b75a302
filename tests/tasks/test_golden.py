"""Golden questions as a judge: a side is measured as the night measures it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.gain import GOLDEN, Rules
from evaluation.labels import Resolved
from evaluation.sets import Label, Question
from ragkeep.config import EmbedParams, EvaluateParams, IndexParams, Params, Paths, RetrieveParams, SourceParams
from ragkeep.files import read_json, write_json
from ragkeep.learned import INPUT
from ragkeep.stores import open_store
from ragkeep.testing import HashEmbedder
from ragkeep.types import IndexVersion, Legs, Query, content_id
from tasks.embed import run as embed
from tasks.evaluate import run as evaluate
from tasks.golden import Golden, Searched, chosen, proven, read_golden
from tasks.index import run as index
from tasks.lessons import Lesson, Split

from .nights import project, put_chunks, put_documents, put_rows

FEW = Rules(resamples=199)
PARAMS = Params(
    sources=(SourceParams("docs", "docs"),), embed=EmbedParams(backend="hash"), index=IndexParams(backend="memory"),
    evaluate=EvaluateParams(sets=("golden.jsonl",)),
)  # fmt: skip
THINGS = ["apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbor", "island", "jacket"]
ACTS = ["paint", "sell", "move", "wash"]
TEXTS = {f"{thing}-{act}.md": f"To {act} an {thing}, wait for the {THINGS[n - 3]}." for n, thing in enumerate(THINGS)
         for act in ACTS}  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A night over forty documents, asked eighty questions, half of them for tuning."""
    made = project(tmp_path)
    put_documents(made, TEXTS)
    put_chunks(made, TEXTS)
    rows = [
        {"id": f"{split}-{name}", "text": f"who can {ask} the {name.split('-')[0]}", "split": split, "answerable": True,
         "labels": [{"document": f"docs/{name}"}]}
        for split, ask in (("dev", "sell or wash"), ("test", "move and paint"))
        for name in TEXTS
    ]  # fmt: skip
    put_rows(made.root / "golden.jsonl", *rows)
    write_json(made.data / INPUT, [])
    embed(made, PARAMS)
    index(made, PARAMS)
    evaluate(made, PARAMS)
    return made


def searched(paths: Paths, golden: Golden, *, say: str = "{}") -> Searched:
    """Search for all golden questions, worded so."""
    version, store = IndexVersion(**read_json(paths.data / "index.json")), open_store(PARAMS.index, paths)
    worded = {one.id: say.format(one.question) for one in golden.lessons}
    vectors = HashEmbedder().embed(list(worded.values()), role="query")
    queries = [Query(text, vector=vector, candidates=100) for text, vector in zip(worded.values(), vectors, strict=True)]
    legs: dict[str, Legs] = {q: store.legs(version.name, query) for q, query in zip(worded, queries, strict=True)}
    return Searched(legs, worded, PARAMS.retrieve)


def test_what_is_served_scores_what_the_night_said(paths: Paths) -> None:
    golden = read_golden(paths, PARAMS, ())
    served = searched(paths, golden)
    gain = proven(golden, served, searched(paths, golden, say="{} apple"), FEW)
    said = read_json(paths.data / "evaluation" / "scores.json")["metrics"]
    assert {name: one.base for name, one in gain.overall.items()} == pytest.approx(
        {name: said[name]["mean"] for name in ("ndcg_at_10", "recall_at_10")}
    )
    assert gain.weights[0] == read_json(paths.data / "evaluation" / "fusion.json")["weight"]
    assert (gain.judge, gain.overall["ndcg_at_10"].n) == (GOLDEN, 40)
    assert 0.2 < gain.overall["ndcg_at_10"].base < 1


def of_two_kinds(words: list[str]) -> tuple[Golden, Searched]:
    """Questions that only words answer, and questions that only vectors answer: `words` are the ids of the first kind."""
    names = [f"{split}{n}" for split in ("dev", "test") for n in range(8)]
    places: dict[str, tuple[str, int, int]] = {"right": ("a", 0, 9), "wrong": ("b", 0, 9)}
    lessons, answers, legs = [], {}, {}
    for name in names:
        split: Split = "select" if name.startswith("dev") else "report"
        lessons.append(Lesson(name, name, {}, split=split))
        question = Question(name, name, "dev", (Label(document="a"),), True, "golden")
        answers[name] = Resolved(question, ((("a", 0, 9),),), ())
        leg = (np.array([0.0, 1.0], np.float32), np.array([1.0, 0.0], np.float32))
        legs[name] = Legs(("right", "wrong"), *(leg if name in words else reversed(leg)))
    return Golden(tuple(lessons), answers, places), Searched(legs, {name: name for name in names}, RetrieveParams())


def half_of(name: str) -> int:
    return int(content_id("half", name)[0], 16) % 2


def test_a_half_is_judged_with_the_weight_that_the_other_half_tuned() -> None:
    """What serves one half is wrong for all of the other: each gets what the other wants."""
    golden, searched = of_two_kinds([f"dev{n}" for n in range(8) if half_of(f"dev{n}")])
    second = 1 / np.log2(3)  # the right one is found second, everywhere
    assert chosen(golden, searched, searched, FEW).overall["ndcg_at_10"].base == pytest.approx(second)


def test_test_questions_are_judged_with_the_weight_that_the_dev_questions_tuned() -> None:
    golden, searched = of_two_kinds([f"test{n}" for n in range(8)])  # dev: vectors; test: words
    assert proven(golden, searched, searched, FEW).overall["ndcg_at_10"].base == pytest.approx(1 / np.log2(3))


def test_questions_whose_labels_are_gone_judge_nothing(paths: Paths) -> None:
    gone = {"id": "gone", "text": "who left", "split": "test", "answerable": True, "labels": [{"document": "docs/x.md"}]}
    before = read_golden(paths, PARAMS, ())
    with (paths.root / "golden.jsonl").open("a") as file:
        file.write(json.dumps(gone) + "\n")
    assert read_golden(paths, PARAMS, ()) == before


def test_the_dev_questions_choose(paths: Paths) -> None:
    golden = read_golden(paths, PARAMS, ())
    served = searched(paths, golden)
    same = chosen(golden, served, served, FEW)
    assert (same.overall["ndcg_at_10"].delta, same.overall["ndcg_at_10"].n) == (0.0, 40)
    worse = chosen(golden, served, searched(paths, golden, say="{} apple apple apple"), FEW)
    assert worse.overall["ndcg_at_10"].ci[1] < 0


def test_a_weight_that_somebody_wrote_is_not_tuned(paths: Paths) -> None:
    golden = read_golden(paths, PARAMS, ())
    served = searched(paths, golden)
    fixed = replace(served, params=RetrieveParams(weight=0.85))
    assert proven(golden, fixed, served, FEW).weights[0] == 0.85


def test_a_document_nobody_trained_on_is_unseen(paths: Paths) -> None:
    name = "apple-sell.md"
    places = read_golden(paths, PARAMS, ()).places
    golden = read_golden(paths, PARAMS, {chunk for chunk, place in places.items() if place[0] == f"docs/{name}"})
    seen = [one.id for one in golden.lessons if not one.unseen]
    assert seen == [f"dev-{name}", f"test-{name}"]


def test_no_golden_sets_are_no_judge(paths: Paths) -> None:
    assert read_golden(paths, replace(PARAMS, evaluate=EvaluateParams(sets=())), ()) == Golden()


def test_questions_without_an_answer_judge_nothing(paths: Paths) -> None:
    unknown = {"id": "u", "text": "Who won the cup?", "split": "test", "labels": [], "answerable": False}
    with (paths.root / "golden.jsonl").open("a") as file:
        file.write(json.dumps(unknown) + "\n")
    assert "u" not in {one.id for one in read_golden(paths, PARAMS, ()).lessons}
