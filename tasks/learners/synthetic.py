"""Questions made from documents, where users have asked little: rules, no model, offline.

A rule never invents: every word of a question stands in its passage, apart from the question words. Such questions are
easier than people's (they share the passage's words), so they are worth something to a vector leg that does not know a
collection's words yet, and nothing to the choice of the fusion weight, which they would bend towards BM25: lessons made
here are for training only, and weigh no more than one click.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ragkeep.types import content_id

from ..lessons import Lesson

GAIN = 0.5
"""How sure a made-up question's answer is: as sure as one click at the rank that is believed most (tasks/claims.py)."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_IS = re.compile(
    r"^(?P<what>(?:The |An? )?[A-Z][\w'-]*(?:[ -][\w'-]+){0,4}?) (?P<verb>is|are|was|were|means|refers to) (?P<rest>.+)$"
)
_WHEN = re.compile(r"\b(?:in|on|by|since) (?:[A-Z][a-z]+ )?(?:\d{1,2}, )?(?:1[0-9]|20)\d\d\b")
_CODE = re.compile(r"^\s*(?:async\s+)?(?:def|class|function|func|fn)\s+(\w+)", re.MULTILINE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_+")
_PRONOUNS = {"it", "he", "she", "they", "this", "these", "that", "those", "there", "we", "you", "i", "its"}
_LEAST_WORDS, _MOST_WORDS = 3, 16


def make_lessons(texts: Mapping[str, str], taken: Iterable[str] = (), *, each: int = 2, most: int = 4000) -> list[Lesson]:
    """Make at most `each` questions a passage, in order of a hash, for passages that are not `taken`.

    `texts` maps chunk ids to texts, `taken` are chunks that users' lessons name already. A question that two passages
    would give is about neither and left out.
    """
    have = set(taken)
    made = [(q, chunk) for chunk in sorted(texts) if chunk not in have for q in _first(questions(texts[chunk]), each)]
    counts = Counter(q.lower() for q, _ in made)
    kept = sorted((content_id("synthetic", q, chunk), q, chunk) for q, chunk in made if counts[q.lower()] == 1)
    return [Lesson(f"s{name[:16]}", q, {chunk: GAIN}, users=0, synthetic=True) for name, q, chunk in kept[:most]]


def questions(text: str) -> Iterator[str]:
    """Yield questions a text answers, the surest rule first."""
    yield from _of_code(text)
    sentences = [" ".join(part.split()) for part in _SENTENCE.split(text)]
    for rule in (_what_is, _when, _about):
        for sentence in sentences:
            found = rule(sentence)
            if found and _LEAST_WORDS <= len(found.split()) <= _MOST_WORDS:
                yield found


def _of_code(text: str) -> Iterator[str]:
    """The names of what is defined, in words."""
    for name in _CODE.findall(text)[:1]:
        words = [word.lower() for word in _CAMEL.split(name) if word]
        if len(words) >= _LEAST_WORDS:
            yield " ".join(words)


def _what_is(sentence: str) -> str:
    found = _IS.match(sentence)
    if not found or found["what"].split()[0].lower() in _PRONOUNS or len(found["rest"].split()) < _LEAST_WORDS:
        return ""
    what = re.sub(r"^(The|An?)\b", lambda article: article.group().lower(), found["what"])
    verb = found["verb"]
    if verb in ("means", "refers to"):
        return f"What does {what} {'mean' if verb == 'means' else 'refer to'}?"
    return f"What {verb} {what}?"


def _when(sentence: str) -> str:
    found = _WHEN.search(sentence)
    rest = sentence[: found.start()].strip(" ,;") if found else ""
    return f"{rest} when?" if rest and rest.split()[0].lower() not in _PRONOUNS else ""


def _about(sentence: str) -> str:
    """The beginning of a statement, as people type it into a search box."""
    words = sentence.rstrip(".!?:;").split()
    if len(words) < 2 * _LEAST_WORDS or words[0].lower() in _PRONOUNS or not sentence[0].isalpha():
        return ""
    return " ".join(words[:10])


def _first(found: Iterable[str], count: int) -> list[str]:
    return list(dict.fromkeys(q for q, _ in zip(found, range(count * 3), strict=False)))[:count]
