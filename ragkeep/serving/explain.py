"""All that is known of an answer, joined: its record, its feedback, and the release that made it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..config import Paths
from ..errors import NotFound, ReleaseError
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
        "release_details": release, "challenger_details": _details(paths, trial.get("challenger", "")), "feedback": [
            {"at": one.at, "kind": one.kind, "user": one.user, **one.payload} for one in found if one.kind in FEEDBACK
        ],
    }  # fmt: skip


def _details(paths: Paths, number: str) -> dict[str, Any] | None:
    try:
        return asdict(read_release(paths, int(number))) if number else None
    except (ReleaseError, ValueError):
        return None  # pruned since
