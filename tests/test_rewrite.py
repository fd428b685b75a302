"""A follow-up takes what it leaves out from the questions before it; any other question stays as it is."""

import pytest

from ragkeep.rewrite import follows, standalone
from ragkeep.types import Message

HISTORY = (Message("user", "How often are pumps serviced?"), Message("assistant", "Yearly. [1]"))


@pytest.mark.parametrize("question", ["And by whom?", "why?", "What about valves?", "Is it expensive to do that?"])
def test_a_follow_up_is_put_behind_what_it_leans_on(question: str) -> None:
    assert standalone(question, HISTORY) == f"How often are pumps serviced? {question}"


@pytest.mark.parametrize(
    "question", ["Which crew checks the valves of the engine daily?", "How do I parse a JSON document in Python?"]
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert standalone(question, HISTORY) == question


def test_a_chain_of_follow_ups_leans_on_the_question_that_began_it() -> None:
    longer = (*HISTORY, Message("user", "And by whom?"), Message("assistant", "The vendor. [1]"))
    assert standalone("And why?", longer) == "How often are pumps serviced? And why?"


def test_without_history_nothing_is_added() -> None:
    assert follows("And why?")
    assert standalone("And why?", ()) == "And why?"
