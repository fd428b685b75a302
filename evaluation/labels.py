"""Labels become character spans at run time; what does not resolve is listed, and its question counts as a miss."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .corpus import Corpus
from .names import Names, Span
from .sets import Label, Question

Group = tuple[Span, ...]
"""Spans any of which provides one needed piece."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A question's labels as spans: one group a needed piece, empty where none of its labels resolved."""

    question: Question
    groups: tuple[Group, ...]
    unresolved: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every needed piece has a place in the documents; an unanswerable question needs none."""
        return all(self.groups) and bool(self.groups) == self.question.answerable


class Resolver:
    """Holds labels against the documents of one night."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._names: dict[str, Names] = {}

    def resolve(self, question: Question) -> Resolved:
        """Return the question's groups in the order of their numbers."""
        groups: dict[int, list[Span]] = {}
        unresolved = []
        for label in question.labels:
            spans = self.spans(label)
            groups.setdefault(label.group, []).extend(spans)
            if not spans:
                unresolved.append(str(label))
        ordered = tuple(tuple(dict.fromkeys(groups[n])) for n in sorted(groups))
        return Resolved(question, ordered, tuple(unresolved))

    def spans(self, label: Label) -> list[Span]:
        """Return every place a label means, [] where it does not resolve."""
        if label.name:
            if label.source not in self._names:
                self._names[label.source] = Names(self.corpus.text, label.source)
            return self._names[label.source].find(label.name)
        uris = self.corpus.matching(label.document)
        if label.quote:
            return [(uri, *span) for uri in uris for span in quoted(label.quote, self.corpus.text(uri) or "")]
        lengths = ((uri, len(self.corpus.text(uri) or "")) for uri in uris)
        if label.span:
            return [(uri, *label.span) for uri, length in lengths if 0 <= label.span[0] < label.span[1] <= length]
        return [(uri, 0, length) for uri, length in lengths if length]

    def slices(self, resolved: Resolved) -> dict[str, str]:
        """Say which source and language a question asks about; none for an unanswerable one."""
        spans = [span for group in resolved.groups for span in group]
        if spans:
            place = self.corpus.places[spans[0][0]]
            return {"set": resolved.question.evalset, "source": place.source, "language": place.language}
        if not resolved.question.answerable:
            return {"set": resolved.question.evalset}
        label = resolved.question.labels[0]
        source = label.source if label.name else label.document.partition("/")[0]
        return {"set": resolved.question.evalset, "source": source}


def quoted(quote: str, text: str) -> list[tuple[int, int]]:
    """Find every place of a quote in a text, white space aside: a chunker may reflow, a label must not break."""
    words = quote.split()
    if not words:
        return []
    return [m.span() for m in re.finditer(r"\s+".join(map(re.escape, words)), text)]
