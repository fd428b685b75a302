"""The experiments' own parts: what a simulated user clicks, and how a set with jargon is made."""

import numpy as np
import pytest

from benchmarks.learning.common import click
from benchmarks.learning.sets import Labelled, invented, with_jargon

SHOWN = ["a", "b", "c", "d", "e"]
GIVEN = Labelled(
    "some", {"p": "pumps need oil", "v": "valves need care"},
    {"q1": "Which oil do pumps need?", "q2": "Do valves need care?"}, {"q1": {"p": 1}}, {"q2": {"v": 1}},
)  # fmt: skip


@pytest.mark.parametrize(("wrong", "right_share"), [(0.0, 0.86), (0.2, 0.69)])
def test_clicks_are_mostly_right_and_a_stated_share_is_moved(wrong: float, right_share: float) -> None:
    rng = np.random.default_rng(1)
    clicked = [c for _ in range(4000) for c in click(SHOWN, {"a": 1.0}, wrong, rng)]
    assert clicked.count("a") / len(clicked) == pytest.approx(right_share, abs=0.03)


def test_jargon_renames_words_of_questions_and_leaves_passages() -> None:
    made = with_jargon(GIVEN, words=2)
    assert made.corpus == GIVEN.corpus
    assert made.queries["q2"] == f"Do valves {invented('need')} {invented('care')}?"
    assert made.name == "some-jargon"
    assert not made.home


def test_a_question_whose_answers_nobody_trained_on_is_unseen() -> None:
    assert GIVEN.unseen == {"q2"}
