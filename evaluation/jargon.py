"""A company's own words, made in code: the commonest content words of a set's questions, renamed the same everywhere.

The documents keep the usual words, so a retriever that never saw the new ones has something to learn.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from ragkeep.types import content_id

WORDS = 200
_WORD = re.compile(r"[A-Za-z]{3,}")
_STOP = frozenset(  # as text: a list of strings would be a page long
    """the and for are was were what which who whom whose when where why how did does has have had with that this these
    those from into than then there their they them its his her him she you your our not but can could would should will
    may might must about after before between during over under other some any all most many much more name type kind
    one two first also been being because such used use out off per each both only same very""".split()  # noqa: SIM905
)


def renamed(queries: Mapping[str, str], words: int = WORDS) -> dict[str, str]:
    """Return the questions with their `words` commonest content words renamed."""
    counts = Counter(w for text in queries.values() for w in set(_content(text)))
    chosen = sorted(counts, key=lambda w: (-counts[w], w))[:words]
    names = {word: invented(word) for word in chosen}
    new = lambda m: names.get(m.group().lower(), m.group())  # noqa: E731
    return {q: _WORD.sub(new, text) for q, text in queries.items()}


def invented(word: str) -> str:
    """Make up a pronounceable word, always the same for a word."""
    digits = content_id("jargon", word)
    sounds = ["bdfgklmnprstvz"[int(digits[n : n + 2], 16) % 14] + "aeiou"[int(digits[n + 2], 16) % 5] for n in (0, 3, 6)]
    return "".join(sounds) + "xqz"[int(digits[9], 16) % 3]


def _content(text: str) -> list[str]:
    return [w for w in (m.group().lower() for m in _WORD.finditer(text)) if w not in _STOP]
