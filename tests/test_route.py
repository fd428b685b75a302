"""The code route: what looks like code, and that a release without a weight for code searches all questions alike."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.labels import Resolved
from evaluation.sets import Question
from evaluation.tuning import ENOUGH, Curves, golden_curves, tune
from ragkeep.config import RetrieveParams
from ragkeep.fusion import WEIGHTS
from ragkeep.releases import as_release
from ragkeep.route import fusion_for, route
from ragkeep.types import Fusion, Legs
from tests.serving.published import project, publish


@pytest.mark.parametrize(
    "question",
    [
        "What does os.path.join do with an absolute second part?",
        "why is read_lines slow",
        "readLines returns nothing",
        "Which methods has BasicConfigurator?",
        "When is KeyError raised?",
        "How do I call open() twice?",
        "Where does `seek` go?",
        "what does --no-cache do",
        "a != b although both are nan",
        "Where is main.py?",
        "python check if a string is a number",
        "How do I pass a function as an argument?",
        "regex for digits",
        "memory leaks in C++",
    ],
)
def test_what_has_signs_of_code_takes_the_code_route(question: str) -> None:
    assert route(question) == "code"


@pytest.mark.parametrize(
    "question",
    [
        "How often are pumps serviced by the vendor?",
        "What are the symptoms of chronic lymphocytic leukemia?",
        "Which person(s) and item(s) does Smith(2010) name?",
        "What is the function of the liver?",
        "Who bought YouTube's rival in San Francisco - and why?",
        "Is example.org in the report.pdf of Mr. McDonald?",
        "F4/80+ macrophages regulate mature osteoblast maintenance.",
        "Wie oft werden Pumpen gewartet?",
        "",
    ],
)
def test_what_has_none_takes_the_other(question: str) -> None:
    assert route(question) == "prose"


@pytest.mark.parametrize("piece", ["_", "a.", "a_", "`", "a[", "Aa", "--a", "<a", "aaB", "_ "])
def test_a_question_made_to_take_long_does_not(piece: str) -> None:
    began = time.thread_time()
    route("a" + piece * (300_000 // len(piece)))
    assert time.thread_time() - began < 20  # seconds, and no figure: going back over every letter takes minutes


@given(st.text(), st.sampled_from(["convex", "rrf"]), st.sampled_from(WEIGHTS))
def test_without_a_weight_for_code_every_question_is_searched_alike(text: str, method: Any, weight: float) -> None:
    assert fusion_for(text, Fusion(method, weight)) == Fusion(method, weight)


def test_questions_about_code_are_mixed_by_their_own_weight() -> None:
    fusion = Fusion("convex", 0.8, 0.3)
    assert fusion_for("what does os.path do", fusion) == Fusion("convex", 0.3)
    assert fusion_for("who paints the fence", fusion) == Fusion("convex", 0.8)


ROWS = st.integers(0, 60).flatmap(lambda n: st.integers(0, 10_000).map(lambda seed: rows(n, seed)))


def rows(n: int, seed: int) -> Any:
    return np.random.default_rng(seed).random((n, len(WEIGHTS)))


@given(ROWS, ROWS)
def test_the_code_route_is_never_worse_off_on_the_dev_questions_and_the_other_keeps_its_weight(
    code: Any, prose: Any
) -> None:
    curves: Curves = {"code": code, "prose": prose}
    tuned = tune(curves, RetrieveParams()).fusion
    assert tuned.weight == tune({"prose": np.concatenate([code, prose])}, RetrieveParams()).fusion.weight
    if len(code) < ENOUGH:
        assert tuned.code_weight is None
    else:
        means = code.mean(axis=0)
        assert means[WEIGHTS.index(tuned.on("code").weight)] >= means[WEIGHTS.index(tuned.weight)] - 1e-9


def test_a_weight_of_its_own_needs_a_gain_that_is_no_chance() -> None:
    wordy = np.tile(np.linspace(1, 0, len(WEIGHTS)), (ENOUGH, 1))
    near = np.tile(np.linspace(0, 1, len(WEIGHTS)), (3 * ENOUGH, 1))
    assert tune({"code": wordy, "prose": near}, RetrieveParams()).fusion == Fusion("convex", 1.0, 0.0)
    assert tune({"code": wordy[1:], "prose": near}, RetrieveParams()).fusion == Fusion("convex", 1.0)
    wavering = near[:ENOUGH] + np.linspace(-2, 2.1, ENOUGH)[:, None] * np.linspace(1, 0, len(WEIGHTS))
    assert tune({"code": wavering, "prose": near}, RetrieveParams()).fusion == Fusion("convex", 1.0)


def test_a_fixed_weight_is_everybodys() -> None:
    tuned = tune({"code": rows(30, 1), "prose": rows(30, 2)}, RetrieveParams(weight=0.25))
    assert tuned.fusion == Fusion("convex", 0.25)
    assert tuned.routes == {"code": 30, "prose": 30}


def test_a_release_of_before_is_still_read(tmp_path: Path) -> None:
    release = publish(project(tmp_path / "p"))
    row = asdict(release)
    del row["fusion"]["code_weight"]
    assert as_release(row) == release


def test_a_question_is_tuned_for_the_route_that_its_searched_words_take() -> None:
    labelled = Resolved(Question("q", "why is the reader slow", "dev", (), True, "own"), ((("a.md", 0, 9),),), ())
    legs = {"q": Legs(("c",), np.ones(1, np.float32), np.ones(1, np.float32))}
    curves = golden_curves(legs, [labelled], {"q": "why is read_lines slow"}, {"c": ("a.md", 0, 9)}, "convex")
    assert list(curves) == ["code"]
    assert curves["code"].tolist() == [[1.0] * len(WEIGHTS)]
