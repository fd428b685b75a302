"""A question asked again in other words gets the answer given before; another question, or another right, does not."""

from typing import Any

import numpy as np
import pytest

from ragkeep.cache import AnswerCache, names
from ragkeep.types import Answer, ToolCall, Vectors

KEY: tuple[Any, ...] = ("default", "release 1")
ANSWER = Answer("Yearly. [1]", (), abstained=False)


def direction(*parts: float) -> Vectors:
    """A unit vector."""
    made = np.array(parts, np.float32)
    return made / np.linalg.norm(made)


def cache(size: int = 10) -> AnswerCache:
    return AnswerCache(threshold=0.95, size=size)


def test_a_paraphrase_hits_and_another_question_misses() -> None:
    kept = cache()
    kept.keep(KEY, "How often are pumps serviced?", direction(1, 0), ANSWER)
    assert kept.find(KEY, "what is the service interval of pumps?", direction(1, 0.1)) == ANSWER
    assert kept.find(KEY, "who paints the pumps?", direction(1, 1)) is None
    assert (kept.hits, kept.misses) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("how do I enable the pump?", "how do I disable the pump?"),
        ("the population in 2019", "the population in 2020"),
        ("Which team represented the AFC?", "Which team represented the NFC?"),
        ("is it allowed?", "is it not allowed?"),
        ("what does os.path.join do?", "what does os.path.split do?"),
    ],
)
def test_questions_that_name_other_things_are_never_the_same(asked: str, other: str) -> None:
    kept = cache()
    kept.keep(KEY, asked, direction(1, 0), ANSWER)
    assert names(asked) != names(other)
    assert kept.find(KEY, other, direction(1, 0)) is None


def test_how_a_question_begins_is_no_name() -> None:
    assert names("What is the pump?") == names("can you tell me What is the pump?") == frozenset()


@pytest.mark.parametrize("other", [("vault", "release 1"), ("default", "release 2")])
def test_another_workspace_or_release_meets_nothing(other: tuple[Any, ...]) -> None:
    kept = cache()
    kept.keep(KEY, "How often?", direction(1, 0), ANSWER)
    assert kept.find(other, "How often?", direction(1, 0)) is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer("x", (), abstained=False, flags=("rerank-late",)),
        Answer("x", (), abstained=True, reason="blocked"),
        Answer("x", (), abstained=False, unsupported=("a claim",)),
        Answer("x", (), abstained=False, calls=((ToolCall("1", "read_file", {}), True, "what stands there"),)),
    ],
)
def test_what_did_not_go_as_usual_is_not_kept(answer: Answer) -> None:
    kept = cache()
    kept.keep(KEY, "How often?", direction(1, 0), answer)
    assert len(kept) == 0


def test_it_holds_so_many_and_forgets_the_oldest_first() -> None:
    kept = cache(size=2)
    for n in range(4):
        kept.keep((n,), "How often?", direction(1, 0), ANSWER)
    assert len(kept) == 2
    assert kept.find((0,), "How often?", direction(1, 0)) is None
    assert kept.find((3,), "How often?", direction(1, 0)) == ANSWER
    kept.clear()
    assert len(kept) == 0


def test_an_answer_that_was_clear_without_a_second_look_is_kept() -> None:
    kept = cache()
    kept.keep(
        KEY, "How often?", direction(1, 0), Answer("x", (), abstained=False, flags=("rerank-skipped", "glossary:a=b"))
    )
    assert len(kept) == 1
