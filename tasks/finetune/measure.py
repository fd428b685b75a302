"""Base and tuned model on the rows kept apart: loss and perplexity of the answers, and what each says by itself.

Both are loaded from their files as a server would, and read the same texts in the same format; every figure is paired
by row, with an interval (evaluation/compare.py). Greedy answers are held against the right ones: whether they hold it
(contained), and how much of its words in order (ROUGE-L, F).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from evaluation.compare import compare
from ragkeep.errors import CannotJudge
from ragkeep.files import write_json, write_rows

from . import formats, weights
from .augment import Row, read
from .config import FormatParams, Place

Tick = Callable[[int, int], None]
METRICS = ("loss", "contained", "rouge_l")


def measure(place: Place, tick: Tick, *, dry_run: bool = False) -> dict[str, Any]:
    """Write evaluation.json and answers.jsonl; returns the figures. Raises CannotJudge, MissingExtra, ModelError."""
    weights.need_packages()
    weights.quietly()
    base = weights.check(weights.find(place.params.model, place.path.parent))
    adapter = weights.check(place.adapter, adapter=True)
    rows = read(place.eval)[: place.params.measure.rows]
    if dry_run:
        return {"rows": len(rows), "base": str(base), "adapter": str(adapter)}
    tokenizer = weights.tokenizer(base)
    formats.install(tokenizer, place.params.format)
    model = weights.model(base).eval()
    total, done = 2 * len(rows), 0

    def step() -> None:
        nonlocal done
        done += 1
        tick(done, total)

    before = score(model, tokenizer, rows, place, step)
    after = score(weights.adapted(model, adapter).eval(), tokenizer, rows, place, step)
    result = {"rows": len(rows), "metrics": {name: _paired(before, after, name) for name in METRICS}}
    result["perplexity"] = {side: _perplexity(found) for side, found in (("base", before), ("tuned", after))}
    write_rows(place.output / "answers.jsonl", (
        {"id": row.id, "question": row.instruction, "right": row.output, "base": a, "tuned": b}
        for row, a, b in zip(rows, before, after, strict=True)
    ))  # fmt: skip
    write_json(place.output / "evaluation.json", result)
    return {**result, "written": str(place.output / "evaluation.json")}


def score(
    model: Any, tokenizer: Any, rows: Sequence[Row], place: Place, step: Callable[[], None]
) -> list[dict[str, Any]]:
    """Score a model row by row: the mean loss of the answer's tokens, their number, and the answer it gives."""
    found = []
    for row in rows:
        loss, tokens = answer_loss(model, tokenizer, row, place.params)
        said = answer(model, tokenizer, row, place.params.format, place.params.measure.max_tokens)
        found.append({
            "loss": loss, "tokens": tokens, "answer": said, "contained": float(_plain(row.output) in _plain(said)),
            "rouge_l": rouge_l(row.output, said),
        })  # fmt: skip
        step()
    return found


def answer_loss(model: Any, tokenizer: Any, row: Row, params: Any) -> tuple[float, int]:
    """Mean cross-entropy of what the assistant says, in nats a token, and how many tokens that is.

    Raises CannotJudge for a row that is too long to hold its answer.
    """
    import torch

    made = tokenizer.apply_chat_template(
        formats.turns(row, params.format), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids = torch.tensor([made["input_ids"][: params.train.max_tokens]])
    mine = torch.tensor([made["assistant_masks"][: params.train.max_tokens]])[0, 1:].bool()
    if not mine.any():
        raise CannotJudge(f"row {row.id} is longer than train.max_tokens {params.train.max_tokens}: raise that")
    with torch.inference_mode():
        logits = model(ids.to(model.device)).logits[0, :-1].float().cpu()
    losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")[mine]
    return float(losses.mean()), int(mine.sum())


def answer(model: Any, tokenizer: Any, row: Row, params: FormatParams, max_tokens: int) -> str:
    """Let a model answer greedily."""
    import torch

    asked = tokenizer.apply_chat_template(
        formats.turns(row, params)[:-1], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = asked["input_ids"].to(model.device)
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids, attention_mask=asked["attention_mask"].to(model.device), max_new_tokens=max_tokens,
            do_sample=False, temperature=None, top_p=None, top_k=None, pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
    text: str = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    return text.strip()


def rouge_l(right: str, said: str) -> float:
    """ROUGE-L, F of precision and recall: the longest common run of words, not necessarily side by side; 0..1."""
    a, b = _plain(right).split(), _plain(said).split()
    if not a or not b:
        return 0.0
    row = [0] * (len(b) + 1)
    for word in a:
        above = 0
        for at, other in enumerate(b, 1):
            above, row[at] = row[at], above + 1 if word == other else max(row[at], row[at - 1])
    return 2 * row[-1] / (len(a) + len(b))


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _paired(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    found = compare([row[name] for row in before], [row[name] for row in after])
    return {"base": found.base, "tuned": found.new, "delta": found.delta, "ci": list(found.ci), "p": found.p}


def _perplexity(found: Sequence[dict[str, Any]]) -> float:
    """Of all tokens of all answers, each counted once."""
    tokens = sum(row["tokens"] for row in found)
    return math.exp(min(700.0, math.fsum(row["loss"] * row["tokens"] for row in found) / tokens))
