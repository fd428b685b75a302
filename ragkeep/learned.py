"""What was learned from interactions, as parts of a release: what each changes in params.yaml, and for what it was made.

A release carries its parts (`Release.serving["learned"]`), so the next night starts from what the champion has, and a
step back takes what was learned with it. params.yaml itself is never written.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .config import AnswerParams, EmbedParams, GeneratorParams, Params, RetrieveParams, parse
from .embedders import load_embedder, query_fingerprint
from .errors import ModelError
from .files import read_json, read_rows, write_rows
from .models import remembered_sha256, require_safetensors

log = logging.getLogger(__name__)
INPUT = "inputs/learned.json"
"""Under data/: the parts of this night, written by the scan and read by every stage that embeds, searches or answers."""

LEDGER = "trained.jsonl"
"""Under the state: which interactions each model that is kept was made of, {model, interactions}, a line a model."""
FINETUNED = "finetune/"
"""Begins the names of generators in the ledger, which `ragkeep finetune` makes and nobody here removes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that was learned, by one learner.

    `embed` and `retrieve` are what it changes in these sections of params.yaml; `base` is the fingerprint of what
    embedded when it was learned: on anything else it is worth nothing ("": it is for any). `folder`, under the models'
    folder, holds its card, and its weights where there are any, with their `sha256`; `version` is its number in the
    registry. `answer` is a generator's: what asks it (`generator`, as in answer.generators), which comes before those of
    params.yaml, and the one of them that it was proven against (`over`).
    """

    learner: str
    base: str
    embed: dict[str, Any] = field(default_factory=dict)
    retrieve: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    sha256: str = ""
    trainset: str = ""
    version: int = 0
    answer: dict[str, Any] = field(default_factory=dict)


def parts_of(rows: Sequence[dict[str, Any]]) -> list[Part]:
    """Read parts from JSON."""
    return [Part(**row) for row in rows]


def rows_of(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Write parts as JSON; `answer` only where it says something, so that releases from before it stay what they are."""
    rows = (asdict(part) for part in parts)
    return [{key: value for key, value in row.items() if value or key != "answer"} for row in rows]


def placed(values: Mapping[str, Any], where: Path | str) -> dict[str, Any]:
    """Put where the files are in place of "{folder}" in what a part changes."""

    def put(value: Any) -> Any:
        return placed(value, where) if isinstance(value, dict) else value

    return {k: v.replace("{folder}", str(where)) if isinstance(v, str) else put(v) for k, v in values.items()}


def outcome_of(tried: Mapping[str, Any]) -> str:
    """Say in a word what came of a rung, a row of `tried` in data/learned.json."""
    if tried["kept"]:
        return "kept"
    return "skipped" if tried.get("skipped") else "not proven" if tried.get("hope") else "refused"


def base_of(params: EmbedParams, cache: Path) -> str:
    """Name what embeds questions and passages: what a part is made for."""
    return query_fingerprint(load_embedder(params, cache))


def apply(params: Params, parts: Sequence[Part], cache: Path) -> tuple[Params, list[Part]]:
    """Put parts, in their order, into params; return those too that were.

    Left out, with a warning, is what was learned for another embedder than it would stand on now, what is no longer
    whole on the disk, a fusion weight where params.yaml fixes one, and a generator that was proven against another than
    params.yaml names now: what a person wrote comes first.
    """
    kept = []
    for part in parts:
        reason = _unfit(params, part, cache)
        if reason:
            log.warning("what %s learned is left out: %s; `ragkeep learn` learns it anew", part.learner, reason)
            continue
        embed = parse(EmbedParams, asdict(params.embed) | part.embed, f"learned by {part.learner}: embed")
        retrieve = parse(RetrieveParams, asdict(params.retrieve) | part.retrieve, f"learned by {part.learner}: retrieve")
        params = replace(params, embed=embed, retrieve=retrieve, answer=asking(params.answer, part))
        kept.append(part)
    return params, kept


def asking(answer: AnswerParams, part: Part) -> AnswerParams:
    """Put a part's generator, if it has one, before those that answer."""
    if not part.answer:
        return answer
    first = parse(GeneratorParams, part.answer["generator"], f"learned by {part.learner}: answer.generator")
    return replace(answer, generators=(first, *answer.generators))


def _unfit(params: Params, part: Part, cache: Path) -> str:
    now = base_of(params.embed, cache)
    if part.base and part.base != now:
        return f"it is for {part.base}, and {now} embeds now"
    if "weight" in part.retrieve and not isinstance(params.retrieve.weight, str):
        return "retrieve.weight is fixed in params.yaml"
    if "rerank" in part.retrieve and params.retrieve.rerank.backend:
        return "retrieve.rerank is set in params.yaml"
    if part.answer and part.answer["over"] != params.answer.generators[0].label:
        over, first = part.answer["over"], params.answer.generators[0].label
        return f"it is proven against {over}, and answer.generators in params.yaml begins with {first}"
    if part.sha256:
        try:
            verify_part(part, cache)
        except ModelError as error:
            return str(error)
    return ""


def verify_part(part: Part, cache: Path) -> None:
    """Hold a part's weights against their hash. Raises ModelError naming the file."""
    weights = require_safetensors(cache.parent / "models" / part.folder)
    found = remembered_sha256(weights, cache / "models" / "sha256.json")
    if found != part.sha256:
        raise ModelError(
            f"{weights} has the sha256 {found[:12]}..., not {part.sha256[:12]}...: it was changed or damaged"
        )


def tonight(data: Path) -> list[Part]:
    """Read the parts the scan wrote down; none where there is no such file yet."""
    return parts_of(read_json(data / INPUT) or [])


def effective(params: Params, data: Path, cache: Path) -> Params:
    """Put tonight's parts into params: what a stage that embeds, searches or answers works with."""
    return apply(params, tonight(data), cache)[0]


def note_trained(state: Path, model: str, interactions: Sequence[int]) -> None:
    """Note in the ledger of which interactions a model was made; one that is noted already stays as it is."""
    with _ledger(state) as path:
        rows = read_rows(path)
        if model not in {row["model"] for row in rows}:
            write_rows(path, [*rows, {"model": model, "interactions": sorted(interactions)}])


def keep_trained(state: Path, models: Collection[str]) -> None:
    """Take models that are gone out of the ledger; generators, which are not kept here, stay in it."""
    with _ledger(state) as path:
        rows = read_rows(path)
        kept = [row for row in rows if row["model"] in models or row["model"].startswith(FINETUNED)]
        if kept != rows:
            write_rows(path, kept)


@contextmanager
def _ledger(state: Path) -> Iterator[Path]:
    """Hold the ledger, which learning, pruning and a fine-tune may want to write at once."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / f".{LEDGER}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield state / LEDGER
