"""Chunks to pairs.jsonl: questions whose answer stands in the chunk, and a reason for each that was refused.

A share of the chunks is kept apart for evaluation before anything else is done; where chunks overlap, a pair for
training whose answer also stands in the text of an evaluation chunk is dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ragkeep.errors import SourceError
from ragkeep.files import read_rows, write_rows
from ragkeep.types import content_id

from . import rules
from .config import Place
from .documents import Piece, read_pieces

Split = Literal["train", "eval"]
Asked = tuple[str, str]
"""A question and its answer, as a generator proposes them."""

_UNSURE = re.compile(
    r"\b(?:(?:i|we) (?:do not|don't|cannot|can't|could not) (?:know|say|tell|answer|find)|"
    r"not (?:mentioned|stated|specified|provided|given)|no (?:answer|information)|unknown|n/?a|none)\b",
    re.IGNORECASE,
)
_MIN_WORDS, _MAX_ANSWER = 3, 600


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its answer: characters `start` to `end` of the chunk's text. `by` is the rule or the generator."""

    id: str
    chunk: str
    document: str
    question: str
    answer: str
    start: int
    end: int
    split: Split
    by: str


def generate(place: Place, tick: Callable[[int, int], None], *, dry_run: bool = False) -> dict[str, Any]:
    """Write pairs.jsonl; returns counts. Raises SourceError where no chunk gave a pair, ProviderError, ConfigError."""
    pieces, params = read_pieces(place), place.params.questions
    held = held_out([piece.id for piece in pieces], params.eval_share, place.params.seed)
    if dry_run:
        return {"chunks": len(pieces), "eval_chunks": len(held), "would_ask": params.generator.label}
    if params.generator.backend == "rules":
        proposed: Iterable[tuple[Piece, list[Asked], str]] = ((p, rules.propose(p.text), "") for p in pieces)
    else:
        from .ask import propose  # late: brings the providers

        proposed = propose(pieces, params, place.output / "replies.jsonl")
    pairs, reasons = _sift(proposed, held, place, tick, len(pieces))
    if not pairs:
        raise SourceError(
            f"no pair of {len(pieces)} chunks was fit to train on: {_said(reasons)}; see questions.generator"
        )
    write_rows(place.pairs, (asdict(pair) for pair in pairs))
    splits = Counter(pair.split for pair in pairs)
    full = Counter(pair.chunk for pair in pairs)
    return {
        "chunks": len(pieces), "chunks_with_all": sum(n == params.pairs for n in full.values()), "pairs": len(pairs),
        "train": splits["train"], "eval": splits["eval"], "refused": dict(sorted(reasons.items())),
        "by": dict(sorted(Counter(pair.by for pair in pairs).items())), "written": str(place.pairs),
    }  # fmt: skip


def held_out(chunks: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Choose the chunks for evaluation: those whose hash is smallest, so that a new chunk moves few others."""
    many = round(share * len(chunks)) or int(share > 0 and len(chunks) > 1)
    return frozenset(sorted(chunks, key=lambda chunk: content_id(str(seed), chunk))[:many])


def _sift(
    proposed: Iterable[tuple[Piece, list[Asked], str]],
    held: frozenset[str],
    place: Place,
    tick: Callable[[int, int], None],
    total: int,
) -> tuple[list[Pair], Counter[str]]:
    """Keep of every chunk the first pairs that hold; a chunk with too few leaves a reason as well."""
    wanted, label = place.params.questions.pairs, place.params.questions.generator.label
    pairs, reasons, seen = list[Pair](), Counter[str](), set[str]()
    for done, (piece, asked, failed) in enumerate(proposed, 1):
        kept = 0
        for question, answer in asked:
            if kept == wanted:
                break
            found = accept(question, answer, piece.text, seen)
            if isinstance(found, str):
                reasons[found] += 1
                continue
            kept += 1
            pairs.append(_pair(piece, question, found, "eval" if piece.id in held else "train", label))
        if kept < wanted:
            reasons[f"chunk: {failed}" if failed else f"chunk: only {kept} of {wanted} pairs"] += 1
        tick(done, total)
    return _apart(pairs, reasons), reasons


def accept(question: str, answer: str, text: str, seen: set[str]) -> tuple[int, int] | str:
    """Find where the answer stands in the text, or say why the pair is refused; `seen` remembers every question."""
    asked = " ".join(question.split())
    if len(asked.split()) < _MIN_WORDS:
        return "pair: no question"
    if not re.search(r"\w", answer):
        return "pair: no answer"
    if _UNSURE.fullmatch(answer.strip(" .!")) or _UNSURE.match(answer.strip()):
        return "pair: the answer is a don't-know"
    if len(answer) > _MAX_ANSWER:
        return "pair: the answer is too long"
    span = stands(answer, text)
    if span is None:
        return "pair: the answer is not in the chunk"
    if " ".join(answer.split()).casefold() in asked.casefold():
        return "pair: the question holds the answer"
    key = re.sub(r"\W+", " ", asked).casefold().strip()
    if key in seen:
        return "pair: asked before"
    seen.add(key)
    return span


def stands(answer: str, text: str) -> tuple[int, int] | None:
    """Find an answer in a text, white space aside: its characters there."""
    words = answer.split()
    found = re.search(r"\s+".join(map(re.escape, words)), text) if words else None
    return found.span() if found else None


def _pair(piece: Piece, question: str, span: tuple[int, int], split: Split, by: str) -> Pair:
    asked, answer = " ".join(question.split()), piece.text[span[0] : span[1]]
    identity = content_id(piece.id, asked, answer)
    return Pair(identity, piece.id, piece.document, asked, answer, *span, split, by)


def _apart(pairs: list[Pair], reasons: Counter[str]) -> list[Pair]:
    """Drop from training what the evaluation asks: the same answer to the same words, in a chunk that overlaps."""
    tested = {(pair.document, pair.answer) for pair in pairs if pair.split == "eval"}
    kept = [pair for pair in pairs if pair.split == "eval" or (pair.document, pair.answer) not in tested]
    if len(pairs) > len(kept):
        reasons["pair: its answer is asked for in the evaluation"] += len(pairs) - len(kept)
    return kept


def read_pairs(place: Place) -> list[Pair]:
    """Read pairs.jsonl. Raises SourceError where there is none."""
    rows = read_rows(place.pairs)
    if not rows:
        raise SourceError(f"{place.pairs} holds no pairs: run `ragkeep finetune generate-qa`")
    try:
        return [Pair(**row) for row in rows]
    except TypeError as error:
        raise SourceError(f"{place.pairs} has other columns than generate-qa writes ({error})") from None


def _said(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} ({n})" for reason, n in reasons.most_common(3))
