"""Pairs to train.jsonl and eval.jsonl; new rows for training are old ones asked in another way.

Only the question changes: what is answered, and the text it is answered from, stay as they are. Rows for evaluation are
written as they came. The same seed gives the same rows.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ragkeep.errors import SourceError
from ragkeep.files import read_rows, write_rows
from ragkeep.types import content_id

from .config import Place
from .documents import read_pieces
from .questions import Pair, read_pairs


@dataclass(frozen=True, slots=True)
class Row:
    """A row to train or to evaluate on. `made` names how it came about: "" for a pair as it was generated."""

    id: str
    instruction: str
    input: str
    output: str
    made: str = ""


def build(place: Place, *, dry_run: bool = False) -> dict[str, Any]:
    """Write train.jsonl and eval.jsonl; returns counts. Raises SourceError without pairs or rows to train on."""
    pairs, params = read_pairs(place), place.params
    texts = {piece.id: piece.text for piece in read_pieces(place)} if params.questions.context else {}
    rows = {split: [_row(pair, texts) for pair in pairs if pair.split == split] for split in ("train", "eval")}
    if not rows["train"]:
        raise SourceError(f"{place.pairs} holds no pairs to train on: lower questions.eval_share, or add documents")
    new = augment(rows["train"], ratio=params.augment.ratio, kinds=params.augment.kinds, seed=params.seed)
    counts = {
        "rows": len(rows["train"]), "new": len(new), "kinds": dict(sorted(Counter(row.made for row in new).items())),
        "wanted": round(params.augment.ratio * len(rows["train"])), "eval": len(rows["eval"]),
    }  # fmt: skip
    if dry_run:
        return {**counts, "would_write": [str(place.train), str(place.eval)]}
    write_rows(place.train, (asdict(row) for row in [*rows["train"], *new]))
    write_rows(place.eval, (asdict(row) for row in rows["eval"]))
    return {**counts, "train": len(rows["train"]) + len(new), "written": [str(place.train), str(place.eval)]}


def _row(pair: Pair, texts: dict[str, str]) -> Row:
    return Row(pair.id, pair.question, texts.get(pair.chunk, ""), pair.answer)


def read(path: Any) -> list[Row]:
    """Read rows, also those made elsewhere: only instruction and output must be there. Raises SourceError."""
    rows = []
    for number, row in enumerate(read_rows(path), 1):
        texts = {key: row.get(key, "") for key in ("instruction", "input", "output", "made")}
        if not all(isinstance(text, str) for text in texts.values()) or not texts["instruction"] or not texts["output"]:
            raise SourceError(
                f"{path}:{number} needs the texts instruction and output, and may have input: mend the line"
            )
        rows.append(Row(str(row.get("id") or content_id(*texts.values())), **texts))
    if not rows:
        raise SourceError(f"{path} holds no rows: run `ragkeep finetune augment`")
    return rows


def augment(rows: list[Row], *, ratio: float, kinds: tuple[str, ...], seed: int) -> list[Row]:
    """Make `round(ratio * len(rows))` new rows, the kinds in turn; fewer where nothing new is left to say."""
    wanted, rng = round(ratio * len(rows)), random.Random(seed)  # noqa: S311 - no secret
    seen = {(row.instruction, row.output) for row in rows}
    made: list[Row] = []
    for turn in range(_ROUNDS):
        order = rng.sample(rows, len(rows))
        for at, row in enumerate(order):
            if len(made) == wanted:
                return made
            kind = kinds[(at + turn) % len(kinds)]
            text = KINDS[kind](row.instruction, rng)
            if (text, row.output) not in seen:
                seen.add((text, row.output))
                made.append(Row(content_id(row.id, kind, text), text, row.input, row.output, kind))
    return made


_ROUNDS = 40  # of trying: few questions can only be varied so often

_INSTRUCTIONS = (
    "Answer the question: {}", "Please answer: {}", "{} Answer in as few words as you can.", "Question: {}",
    "Give a short answer. {}", "{} Use the words of the documentation.", "Reply with the answer only: {}", "Help me: {}",
)  # fmt: skip
_SHAPES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), shapes)
    for pattern, shapes in (
        (r"What (is|are|was|were) (.+)\?", ("Can you tell me what {1} {0}?", "Explain what {1} {0}.", "Describe {1}.")),
        (r"What (does|do) (.+) (\w+)\?", ("Tell me what {1} {2}{s}.", "I want to know what {1} {2}{s}.")),
        (r"What happens (if|when|unless) (.+)\?", ("Say what happens {0} {1}.", "{0} {1}, what follows?")),
        (r'Why is this so: "(.+)"\?', ('What is the reason for this: "{0}"?', 'Give the reason: "{0}"')),
        (r'Which word or number is missing: "(.+)"\?', ('Fill in the gap: "{0}"', 'Complete this: "{0}"')),
        (r"How (is|are|was|were) (.+) described\?", ("Describe {1}.", "What is written about {1}?")),
        (
            r'What does the section "(.+)" say first\?',
            ('How does the section "{0}" begin?', 'Quote the beginning of "{0}".'),
        ),
    )
)
_GENERAL = ("Could you tell me: {}", "I would like to know: {}", "Do you know the answer? {}", "One more question: {}")


def _instruction(question: str, rng: random.Random) -> str:
    return rng.choice(_INSTRUCTIONS).format(question)


def _paraphrase(question: str, rng: random.Random) -> str:
    """Ask in another shape of the same question; what has no known shape is asked politely."""
    for pattern, shapes in _SHAPES:
        if found := pattern.fullmatch(question):
            third = "s" if found.group(1) == "does" else ""
            text = rng.choice(shapes).format(*found.groups(), s=third)
            return text[0].upper() + text[1:]
    return rng.choice(_GENERAL).format(question)


def _whitespace(question: str, rng: random.Random) -> str:
    gaps = [m.start() for m in re.finditer(" ", question)]
    at = rng.choice(gaps) if gaps else 0
    return rng.choice(
        (f"{question[:at]} {question[at:]}", f"{question}\n", f" {question}", f"{question[:at]}\n{question[at + 1 :]}")
    )


def _case(question: str, rng: random.Random) -> str:
    first = question[:1].lower() + question[1:]
    return rng.choice((question.lower(), question.upper(), first, first.removesuffix("?")))


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "instruction": _instruction,
    "paraphrase": _paraphrase,
    "whitespace": _whitespace,
    "case": _case,
}
