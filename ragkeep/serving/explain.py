"""All that is known of an answer, joined: its record, its feedback, and the release that made it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..config import Paths, RetrieveParams, parse
from ..errors import NotFound, ReleaseError
from ..files import read_json
from ..glossary import glossaries
from ..learned import Part, parts_of
from ..releases import read_release
from ..types import Interaction

FEEDBACK = frozenset({"vote", "click", "correction"})


def explain_answer(paths: Paths, found: list[Interaction]) -> dict[str, Any]:
    """Join an answer's record, its feedback and its release. Raises NotFound.

    One with interleaved sources was written by `release`; `trial.teams` says which of them the release of
    `challenger_details` chose.
    """
    about = next((one for one in found if one.kind == "answer"), None)
    if about is None:
        raise NotFound("there is no such answer, or it was erased")
    release = _details(paths, about.release)
    trial = about.payload.get("trial") or {}
    return {
        "answer_id": about.answer, "at": about.at, "workspace": about.workspace, "session": about.session,
        "user": about.user, "release": about.release, **about.payload,
        "release_details": _seen_by(about.workspace, release),
        "challenger_details": _seen_by(about.workspace, _details(paths, trial.get("challenger", ""))),
        "glossary": _words(about, release), "second_look": _second_look(paths, release), "feedback": [
            {"at": one.at, "kind": one.kind, "user": one.user, **one.payload} for one in found if one.kind in FEEDBACK
        ],
    }  # fmt: skip


def _details(paths: Paths, number: str) -> dict[str, Any] | None:
    try:
        return asdict(read_release(paths, int(number))) if number else None
    except (ReleaseError, ValueError):
        return None  # pruned since


def _seen_by(workspace: str, release: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what people of other workspaces say."""
    if release is None:
        return None
    serving = dict(release["serving"])
    if "retrieve" in serving:
        serving["retrieve"] = _own(serving["retrieve"], workspace)
    if "learned" in serving:
        serving["learned"] = [{**part, "retrieve": _own(part["retrieve"], workspace)} for part in serving["learned"]]
    return {**release, "serving": serving}


def _own(retrieve: dict[str, Any], workspace: str) -> dict[str, Any]:
    words = retrieve.get("words")
    return retrieve if words is None else {**retrieve, "words": {workspace: words.get(workspace, {})}}


def _words(about: Interaction, release: dict[str, Any] | None) -> list[str]:
    """Which words of the question were put as the documents say them, as "word=meaning"."""
    if release is None:
        return []
    params = parse(RetrieveParams, release["serving"].get("retrieve") or {}, "release.retrieve")
    asked = about.payload.get("rewritten") or about.payload.get("question") or ""
    return list(glossaries(params)(about.workspace).put(asked)[1])


def _second_look(paths: Paths, release: dict[str, Any] | None) -> dict[str, Any] | None:
    """What put the release's first hits in their order: a learned one's model, lessons and weights by feature."""
    serving = release["serving"] if release else {}
    rerank = (serving.get("retrieve") or {}).get("rerank") or {}
    if not rerank.get("backend"):
        return None
    told = {"by": rerank["model"] or rerank["backend"], "depth": rerank["depth"]}
    learned = next((part for part in parts_of(serving.get("learned", [])) if "rerank" in part.retrieve), None)
    return told | (_learned(paths, learned) if learned else {})


def _learned(paths: Paths, part: Part) -> dict[str, Any]:
    card = read_json(paths.models / part.folder / "card.json") or {}  # none where it was pruned since
    kept = {name: card[name] for name in ("lessons", "weights", "p95_ms") if name in card}
    return {"model": f"{part.learner}/{part.version}", "sha256": part.sha256, "trainset": part.trainset, **kept}
