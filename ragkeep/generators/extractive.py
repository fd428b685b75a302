"""Answers without a model: the sentences and definitions of the hits that best support the question, word for word.

Pieces are ranked by what they say (cosine of the question's and the piece's embedding), by the words they share with
the question (weighted by rarity among the pieces), by their chunk's place in the ranking and by whether they hold the
kind of thing asked for; near-repeats are left out (maximal marginal relevance, Carbonell and Goldstein 1998).
Below `min_support` the answer is "Not in the documents."; see support.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock

import numpy as np

from ..analysis import idf, terms
from ..config import AnswerParams, GeneratorParams
from ..ports import Delta, Embedder, Request
from ..prompts import NOT_FOUND
from ..types import Hit, Sampling, Usage, Vectors
from .support import Evidence, evidence, holds_kind, support
from .units import Unit, units

MAX_CHUNKS = 5
MAX_EMBEDDED, MAX_EMBEDDED_CHARS, PIECE_CHARS = 8, 900, 240
"""How many pieces are embedded for a question, how long they are together, and how much of each: a character costs
about 0.1 CPU-ms."""
MAX_REMEMBERED = 8192
COSINE, WORDS, PLACE, KIND, HEAD = 1.0, 0.6, 0.5, 0.05, 0.1
"""Weights of the parts of a piece's score; chosen by ROUGE-L of answers by words alone, on five sets."""
REPEAT = 0.2
"""How much of its score a piece loses that repeats what is already said."""
KEEP = 0.8
"""A further piece must have this share of the best one's score."""


@dataclass(slots=True, eq=False)
class Piece:
    """A quotable unit of hit `number` (from 1) and how well it answers."""

    number: int
    unit: Unit
    text: str
    words: frozenset[str]
    vector: Vectors | None = None
    cosine: float = 0.0
    score: float = 0.0


def extractive(spec: GeneratorParams, *, params: AnswerParams, embedder: Embedder | None = None) -> Extractive:
    """Make the default generator; without an embedder it goes by words alone."""
    return Extractive(spec.label, params, embedder)


class Extractive:
    """A Generator that quotes. One line a quote, code in a fence, each with its snippet's number."""

    def __init__(self, name: str, params: AnswerParams, embedder: Embedder | None) -> None:
        self.name = name
        self.params = params
        self.embedder = embedder
        self._vectors = _Remembered(embedder) if embedder else None

    async def stream(
        self,
        request: Request,
        sampling: Sampling,
    ) -> AsyncGenerator[Delta, None]:
        """Yield one quote at a time; about `max_tokens` words in all, the first quote always.

        Nothing is drawn at random, and a quote is not cut at a stop string: it would be no quote.
        """
        chosen = await asyncio.to_thread(self.choose, request.question, request.hits, request.vector)
        spent = 0
        for piece in chosen:
            words = len(piece.text.split())
            if spent and spent + words > sampling.max_tokens:
                break
            yield Delta(("\n" if spent else "") + show(piece, request.hits[piece.number - 1]))
            spent += words
        if not chosen:
            yield Delta(NOT_FOUND)
        yield Delta(usage=Usage(completion_tokens=spent))

    def choose(self, question: str, hits: Sequence[Hit], vector: Vectors | None = None) -> list[Piece]:
        """Pick at most `max_sentences` pieces, in the order they are read; none when support is too weak."""
        pieces, found = self.weigh(question, hits, vector)
        if not pieces or support(found) < self.params.min_support:
            return []
        return pick(pieces, self.params.max_sentences)

    def weigh(
        self,
        question: str,
        hits: Sequence[Hit],
        vector: Vectors | None = None,
    ) -> tuple[list[Piece], Evidence]:
        """Score the pieces of the best hits, best first, and sum up what speaks for an answer being there.

        `vector` is the question's, embedded here where it is not given.
        """
        pieces = _pieces(hits[:MAX_CHUNKS])
        rarity = _rarity(terms(question), pieces)
        for piece in pieces:
            piece.score = _score(piece, question, rarity)
        pieces.sort(key=_order)
        if self._vectors is not None and pieces:
            asked = self._vectors.embedder.embed([question], role="query")[0] if vector is None else vector
            _add_cosines(asked, pieces, self._vectors)
            pieces.sort(key=_order)
        said = [(p.number, p.words, p.cosine) for p in pieces]
        return pieces, evidence(question, hits[:MAX_CHUNKS], said, embedded=self.embedder is not None)


def _pieces(hits: Sequence[Hit]) -> list[Piece]:
    made, seen = [], set()
    for number, hit in enumerate(hits, 1):
        context = terms(hit.chunk.context) if hit.chunk.kind == "code" else []
        for unit in units(hit.chunk):
            text = hit.chunk.text[unit.start : unit.end]
            if text not in seen:
                seen.add(text)
                made.append(Piece(number, unit, text, frozenset([*terms(text), *context])))
    return made


def _rarity(asked: Sequence[str], pieces: Sequence[Piece]) -> dict[str, float]:
    """Weigh the question's words that some piece holds by how few pieces do."""
    holding = Counter(word for piece in pieces for word in piece.words)
    return {word: idf(len(pieces), holding[word]) for word in asked if holding[word]}


class _Remembered:
    """Vectors of pieces that were embedded lately: most questions meet chunks that others met. Safe between threads."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = Lock()

    def of(self, texts: Sequence[str]) -> list[Vectors]:
        """Return a vector for each text."""
        with self._lock:
            known = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known |= zip(new, self.embedder.embed(new, role="passage"), strict=True)
        with self._lock:
            for text in texts:
                self._known[text] = known[text]
                self._known.move_to_end(text)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return [known[text] for text in texts]


def _add_cosines(asked: Vectors, pieces: Sequence[Piece], vectors: _Remembered) -> None:
    """Embed in one batch those that could win, and add what that says; `pieces` are best first without it."""
    texts = [" ".join(piece.text.split())[:PIECE_CHARS] for piece in pieces[:MAX_EMBEDDED]]
    within = sum(end <= MAX_EMBEDDED_CHARS for end in accumulate(map(len, texts)))
    for piece, vector in zip(pieces, vectors.of(texts[:within]), strict=False):
        piece.vector, piece.cosine = vector, float(vector @ asked)
        piece.score += COSINE * piece.cosine


def _shared(piece: Piece, rarity: dict[str, float]) -> float:
    total = sum(rarity.values())
    return sum(w for word, w in rarity.items() if word in piece.words) / total if total else 0.0


def _score(piece: Piece, question: str, rarity: dict[str, float]) -> float:
    """Score a piece by all but its cosine."""
    score = WORDS * _shared(piece, rarity) + PLACE / piece.number + KIND * holds_kind(question, piece.text)
    return score + HEAD * (piece.unit.role == "head") - HEAD * (piece.unit.role == "code")


def _order(piece: Piece) -> tuple[float, int, int]:
    return -piece.score, piece.number, piece.unit.start


def pick(pieces: Sequence[Piece], limit: int) -> list[Piece]:
    """Take pieces while they are nearly as good as the best and say something new; in reading order."""
    chosen: list[Piece] = []
    left = list(pieces[:30])
    while left and len(chosen) < limit:
        worth = [p.score * (1 - REPEAT * max((_alike(p, c) for c in chosen), default=0.0)) for p in left]
        at = int(np.argmax(worth))
        if chosen and worth[at] < KEEP * chosen[0].score:
            break
        chosen.append(left.pop(at))
    chosen = _with_heads(chosen, pieces)[:limit]
    order = list(dict.fromkeys(p.number for p in chosen))
    return sorted(chosen, key=lambda p: (order.index(p.number), p.unit.start))


def _with_heads(chosen: Sequence[Piece], pieces: Sequence[Piece]) -> list[Piece]:
    """Put before each piece of a definition its head: a sentence about code says little without what it is about."""
    made: list[Piece] = []
    for piece in chosen:
        heads = [
            p for p in pieces if p.number == piece.number and p.unit.role == "head" and p.unit.end <= piece.unit.start
        ]
        above = max(heads, key=lambda p: p.unit.start, default=piece)
        made += [p for p in dict.fromkeys((above, piece)) if p not in made]
    return made


def _alike(a: Piece, b: Piece) -> float:
    shared = len(a.words & b.words) / max(1, min(len(a.words), len(b.words)))
    if a.vector is None or b.vector is None:
        return shared
    return max(shared**2, float(a.vector @ b.vector) ** 2)


def show(piece: Piece, hit: Hit) -> str:
    """Write a piece of the answer: prose on one line and then `[n]`, code as it stands and `[n]` below it."""
    remark = piece.text.lstrip().startswith(("#", "/", "*", "--"))
    if piece.unit.role == "sentence" or (piece.unit.role == "doc" and not remark):
        return f"{' '.join(piece.text.split())} [{piece.number}]"
    return f"```{hit.chunk.language}\n{piece.text}\n```\n[{piece.number}]"
