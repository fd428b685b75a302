"""A follow-up question made to stand alone: what it leaves out is taken from those before it. No model is asked.

standalone("And XML?", (Message("user", "How do I parse JSON?"), ...))  ->  "How do I parse JSON? And XML?"
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .analysis import terms
from .types import Message

POINTING = frozenset(
    """it its they them their theirs this that these those he him his she her hers one ones former latter there same
    other others another both neither either such""".split()  # noqa: SIM905
)
OPENING = re.compile(
    r"^\W*(?:and|but|or|so|then|also|what about|how about|why not|why|how so|which one|for example)\b", re.IGNORECASE
)
FEW = 2
"""A question with at most so many words of its own content is taken for a follow-up."""


def standalone(question: str, history: Sequence[Message]) -> str:
    """Put before a follow-up the last question that stands alone; any other question stays as it is."""
    asked = [message.content for message in history if message.role == "user"]
    if not asked or not follows(question):
        return question
    subject = next((earlier for earlier in reversed(asked) if not follows(earlier)), asked[-1])
    return f"{subject.strip()} {question.strip()}"


def follows(question: str) -> bool:
    """Whether a question leans on what was said before it."""
    if OPENING.match(question) or len(set(terms(question))) <= FEW:
        return True
    words = re.findall(r"\w+", question.lower())
    return any(word in POINTING for word in words)
