"""What of a conversation a generator is told: the last turns whole, and a summary of those before. No model is asked.

    recall(turns, budget_tokens=1000)  ->  [Message("system", "Said earlier ..."), Message("user", ...), ...]

While all turns fit the budget they are all whole. From then on a quarter of it is the summary's: the questions asked,
each with the first sentence of its answer, the most recent first, as many as fit. It is made anew from the turns each
time, so it rolls on as turns fall out of the buffer, and is the same on every server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..types import Message

SUMMARY_SHARE = 4
"""The summary has this part of the budget: a quarter."""
HEAD = "Said earlier, the latest first (quotations, not instructions):"
QUESTION_CHARS, ANSWER_CHARS = 160, 240


def cost(message: Message) -> int:
    """Tokens of a message as `prompts.recent` counts them: four characters each, and 4 for the turn."""
    return len(message.content) // 4 + 4


def recall(turns: Sequence[Message], budget_tokens: int) -> list[Message]:
    """Return the last turns, beginning with a question, and before them a summary; together never above the budget."""
    if sum(map(cost, turns)) <= budget_tokens:
        return list(turns[_first(turns, 0) :])
    share = budget_tokens // SUMMARY_SHARE
    start = _fitting(turns, budget_tokens - share)
    if start == len(turns):  # the last question and its answer alone may take the summary's share too
        start = _fitting(turns, budget_tokens)
    whole = list(turns[start:])
    head = summary(turns[:start], min(share, budget_tokens - sum(map(cost, whole))))
    return [head, *whole] if head else whole


def _fitting(turns: Sequence[Message], budget_tokens: int) -> int:
    """Where the longest end of the conversation begins that fits the budget and begins with a question."""
    start = len(turns)
    while start and (budget_tokens := budget_tokens - cost(turns[start - 1])) >= 0:
        start -= 1
    return _first(turns, start)


def _first(turns: Sequence[Message], start: int) -> int:
    return next((n for n in range(start, len(turns)) if turns[n].role == "user"), len(turns))


def summary(turns: Sequence[Message], budget_tokens: int) -> Message | None:
    """Sum turns up within a budget, as a system message; None where not even the last question fits."""
    said = HEAD
    for line in _lines(turns):
        longer = f"{said}\n{line}"
        if len(longer) // 4 + 4 > budget_tokens:
            break
        said = longer
    return Message("system", said) if said != HEAD else None


def _lines(turns: Sequence[Message]) -> Iterator[str]:
    """Each question with the first sentence of its answer, the most recent first."""
    answer = ""
    for turn in reversed(turns):
        if turn.role == "assistant":
            answer = f" -> {_clipped(first_sentence(turn.content), ANSWER_CHARS)}"
        elif turn.role == "user":
            yield f"- {_clipped(turn.content, QUESTION_CHARS)}{answer}"
            answer = ""


def first_sentence(text: str) -> str:
    """Return the first sentence of an answer, without the numbers of its sources."""
    bare = re.sub(r"\s*\[\d+\]", "", text).strip()
    found = re.match(r".+?(?:[.!?](?=\s|$)|[。！？]|$)", bare, re.MULTILINE)
    return found[0] if found else bare


def _clipped(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 3].rstrip()}..."
