"""Questions without a model: each rule knows one shape of English sentence, and its answer is a span of the text.

Best rules first: definitions, what stands under a heading, labelled values, causes, conditions, purposes, and at last
gaps to fill in. Nothing is invented: a text without such sentences gives few questions or none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ragkeep.generators.units import prose_units

Asked = tuple[str, str]

_NAME = r"(?:(?:The|A|An|This|Each|Every)\s+)?[\w\"'`.()/-]+(?:\s+[\w\"'`.()/-]+){0,5}?"
_VERB = (
    r"(?:allows?|provides?|supports?|returns?|raises?|contains?|includes?|requires?|stores?|creates?|"
    r"protects?|prevents?|removes?|holds?|describes?|specifies|specify|offers?|handles?)"
)
_IS = re.compile(rf"({_NAME})\s+(is|are|was|were|means?|refers? to)\s+(.+?)[.!]?$", re.DOTALL)
_DOES = re.compile(rf"({_NAME})\s+({_VERB})\s+(.+?)[.!]?$", re.DOTALL)
_BECAUSE = re.compile(r"(.{12,}?),?\s+because\s+(.+?)[.!]?$", re.DOTALL)
_IF = re.compile(r"(If|When|Whenever|Unless)\s+(.{6,}?),\s+(?:then\s+)?(.{6,}?)[.!]?$", re.DOTALL)
_TO = re.compile(r"(?:In order to|To)\s+([a-z].{4,}?),\s+(.{6,}?)[.!]?$", re.DOTALL)
_LABEL = re.compile(
    r"^[ \t]*(?:[-*+][ \t]+)?\**([A-Z][\w ()/-]{2,40}?)\**[ \t]*:\**[ \t]+(\S.{1,160}?)[ \t]*$", re.MULTILINE
)
_HEADING = re.compile(r"^(?:#{1,6}[ \t]+(.{3,80}?)[ \t#]*|(\S.{2,79}?)\n(?:={3,}|-{3,}|~{3,}))\n+", re.MULTILINE)
_PRONOUN = re.compile(
    r"(?:it|this|that|these|those|they|he|she|we|you|i|there|here|which|who|what|such|one|its)\b", re.IGNORECASE
)
_CLAUSE = re.compile(r"\b(?:if|when|that|which|who|where|because|while|and|or|but|than|as|not|to)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\d.,:/-]*\d|\d+")
_BEFORE = re.compile(
    r"(?:without|in|on|by|for|from|with|as|at|after|before|during|since|under|over|however|although|so|also|thus|see)\b",
    re.IGNORECASE,
)
_TITLE = re.compile(r"[A-Z][\w'-]+(?:\s+(?:of\s+)?[A-Z][\w'-]+)*")
_CODE = re.compile(r"[={}<>$\\]|\w\(|://|\b(?:def|class|import|return)\b.*[:(]")


def propose(text: str) -> list[Asked]:
    """Ask all the rules can of a text, best first, no answer twice."""
    sentences = [text[unit.start : unit.end] for unit in prose_units(text)]
    made = [asked for rule in (_headed, _labelled) for asked in rule(text)]
    for rule in _SENTENCE_RULES:
        made += [asked for sentence in sentences for asked in rule(sentence)]
    kept: dict[str, Asked] = {}
    for question, answer in made:
        answer = answer.strip().rstrip(",;:")
        if 2 <= len(answer) <= 500:
            kept.setdefault(" ".join(answer.split()), (" ".join(question.split()), answer))
    return list(kept.values())


def _headed(text: str) -> Iterator[Asked]:
    """The first sentence under a heading says what the heading is about."""
    for found in _HEADING.finditer(text):
        unit = next(prose_units(text, found.end()), None)
        title = (found.group(1) or found.group(2)).strip(" *`")
        if unit and re.search(r"\w", title) and not _HEADING.search(text, found.end(), unit.start + 1):
            yield f'What does the section "{title}" say first?', text[unit.start : unit.end]


def _labelled(text: str) -> Iterator[Asked]:
    """A line `Label: value`."""
    for found in _LABEL.finditer(text):
        label = found.group(1).strip()
        if len(label.split()) <= 5 and not label.lower().startswith(("note", "example", "warning", "see ", "http")):
            yield f"What is given as {_lower(label)}?", found.group(2)


def _defined(sentence: str) -> Iterator[Asked]:
    found = _IS.match(sentence)
    if not found or not _names(found.group(1)):
        return
    subject, verb, rest = found.groups()
    if len(rest.split()) < 3 or re.match(r"(?:not|also|only|being|now|then|used|called|able|likely)\b", rest):
        return
    subject = _lower(subject)
    if verb.startswith("mean"):
        yield f"What does {subject} mean?", rest
    elif verb.startswith("refer"):
        yield f"What does {subject} refer to?", rest
    elif re.match(r"(?:an?|the|one of)\b", rest):
        yield f"What {verb} {subject}?", rest
    elif re.match(r"\w+(?:ed|en|wn|lt|ilt|ade|ut)\b", rest):
        yield f"What is said of {subject}?", f"{verb} {rest}" if f"{verb} {rest}" in sentence else rest
    else:
        yield f"How {verb} {subject} described?", rest


def _doing(sentence: str) -> Iterator[Asked]:
    found = _DOES.match(sentence)
    if not found or not _names(found.group(1)) or len(found.group(3).split()) < 2:
        return
    subject, verb, rest = found.groups()
    plural = not verb.endswith("s")
    base = verb if plural else "specify" if verb == "specifies" else verb.removesuffix("s")
    yield f"What {'do' if plural else 'does'} {_lower(subject)} {base}?", rest


def _caused(sentence: str) -> Iterator[Asked]:
    found = _BECAUSE.match(sentence)
    if found and not _PRONOUN.match(found.group(1)):
        yield f'Why is this so: "{found.group(1).strip()}"?', found.group(2)


def _conditional(sentence: str) -> Iterator[Asked]:
    found = _IF.match(sentence)
    if found:
        word = {"If": "if", "Unless": "unless"}.get(found.group(1), "when")
        yield f"What happens {word} {found.group(2)}?", found.group(3)


def _purposeful(sentence: str) -> Iterator[Asked]:
    found = _TO.match(sentence)
    if found:
        yield f"What does one do to {found.group(1)}?", found.group(2)


def _counted(sentence: str) -> Iterator[Asked]:
    """A number in a sentence of some length is worth a gap."""
    numbers = list(_NUMBER.finditer(sentence))
    if len(numbers) == 1 and _worth(sentence):
        yield _gap(sentence, *numbers[0].span())


def _gapped(sentence: str) -> Iterator[Asked]:
    """At last: the longest name or word of a sentence as a gap."""
    if not _worth(sentence):
        return
    names = [m for m in _TITLE.finditer(sentence) if m.start() and len(m.group()) >= 4]
    words = [m for m in re.finditer(r"[^\W\d_][\w-]{5,}", sentence) if m.start() and not m.group().endswith("ly")]
    if chosen := names or words:
        best = max(chosen, key=lambda w: (len(w.group()), -w.start()))
        if len(re.findall(rf"\b{re.escape(best.group())}\b", sentence, re.IGNORECASE)) == 1:
            yield _gap(sentence, *best.span())


def _worth(sentence: str) -> bool:
    """Whether a sentence makes a gap that can be filled: of some length, no code, no row of a table."""
    return 6 <= len(sentence.split()) <= 40 and not _CODE.search(sentence) and sentence.count("|") < 2


def _gap(sentence: str, start: int, end: int) -> Asked:
    return f'Which word or number is missing: "{sentence[:start]}____{sentence[end:]}"?', sentence[start:end]


_SENTENCE_RULES: tuple[Callable[[str], Iterator[Asked]], ...] = (
    _defined,
    _caused,
    _conditional,
    _doing,
    _purposeful,
    _counted,
    _gapped,
)


def _names(subject: str) -> bool:
    """Whether a subject stands by itself: a question about "it" or half a clause is none."""
    words = subject.casefold().split()
    alone = not _PRONOUN.match(subject) and not _BEFORE.match(subject) and not _CLAUSE.search(subject)
    return alone and len(subject) >= 3 and len(words) == len(set(words))


def _lower(subject: str) -> str:
    """A sentence's first word in the middle of another: articles and plain words lose their capital."""
    first, _, rest = subject.partition(" ")
    small = first.lower() if first.istitle() and (rest or first.lower() in ("the", "a", "an")) else first
    return f"{small} {rest}".strip() if first.lower() in ("the", "a", "an", "this", "each", "every") else subject
