"""What of a conversation is told: the last turns whole, a summary before them, and never more than the budget."""

import random

import pytest

from ragkeep import prompts
from ragkeep.memory.buffer import HEAD, cost, first_sentence, recall
from ragkeep.rewrite import standalone
from ragkeep.types import Message


def talk(turns: int, words: int = 30) -> list[Message]:
    """A conversation: question n asks about topic n."""
    said = []
    for n in range(1, turns + 1):
        said.append(Message("user", f"What is topic {n}?"))
        said.append(Message("assistant", f"Topic {n} is this. {'More of it. ' * words}[{n}]"))
    return said


def test_while_it_fits_everything_is_whole() -> None:
    assert recall(talk(2), 1000) == talk(2)


def test_the_third_turn_can_use_the_first() -> None:
    known = recall(talk(2), 1000)
    known[0] = Message("user", "How do I parse JSON with comments?")
    assert standalone("And XML?", (known[0], known[1])) == "How do I parse JSON with comments? And XML?"


def test_past_the_budget_a_summary_takes_the_place_of_the_oldest() -> None:
    known = recall(talk(8), 600)
    head, whole = known[0], known[1:]
    assert whole == talk(8)[-len(whole) :]
    assert 2 <= len(whole) < 16
    assert head.role == "system"
    lines = head.content.splitlines()
    newest = 8 - len(whole) // 2
    assert lines[:2] == [HEAD, f"- What is topic {newest}? -> Topic {newest} is this."]
    assert lines[1:] == sorted(lines[1:], reverse=True)


def test_the_summary_rolls_on() -> None:
    first, later = (recall(talk(n), 600)[0].content for n in (8, 9))
    assert first != later
    assert "topic 3?" in first
    assert set(first.splitlines()) & set(later.splitlines()) > {HEAD}


@pytest.mark.parametrize("seed", range(30))
def test_it_is_never_above_the_budget(seed: int) -> None:
    rng = random.Random(seed)
    turns = [Message(m.role, m.content * rng.randint(1, 9)) for m in talk(rng.randint(0, 30), rng.randint(0, 60))]
    for budget in (0, 1, 7, 40, 100, 333, 1000, 5000):
        known = recall(turns, budget)
        assert sum(map(cost, known)) <= budget
        whole = [message for message in known if message.role != "system"]
        assert whole == turns[len(turns) - len(whole) :]
        assert not whole or whole[0].role == "user"


def test_a_last_answer_that_is_long_takes_the_summarys_share_too() -> None:
    turns = [*talk(3, words=5), *talk(1, words=95)]
    known = recall(turns, 320)
    assert [m.content for m in known if m.role != "system"] == [m.content for m in turns[-2:]]


def test_what_is_told_passes_the_prompts_own_budget_unchanged() -> None:
    known = recall(talk(40), 1000)
    assert prompts.recent(known, 1000) == tuple(known)


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("It is 3.11, said the page [2]. More.", "It is 3.11, said the page."),
        ("One line [1]\nanother", "One line"),
        ('"Use json.loads" [1]', '"Use json.loads"'),
        ("第一句。第二句。", "第一句。"),
        ("", ""),
    ],
)
def test_the_first_sentence_of_an_answer(answer: str, first: str) -> None:
    assert first_sentence(answer) == first
