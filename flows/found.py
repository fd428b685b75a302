"""What the ladder found and what the generator's rung found, as one: which parts there are, and what each stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation.answer_gain import DECIDES
from ragkeep.config import Paths
from ragkeep.learned import Part, rows_of, tonight
from tasks.generator import MADE, NAME, left


def joined(paths: Paths, found: dict[str, Any], *, failed: str = "") -> dict[str, Any]:
    """Put what the generator's rung said beside what the ladder said in data/learned.json.

    `retrieval` says whether the ladder itself proposes anything, `answers` is the generator's gain where it was measured.
    A generator alone is promoted beside all else that is live. `failed` says why its rung left nothing.
    """
    own = left(paths, failed=failed)
    tried, part = own["tried"], own["part"]
    parts = found["parts"]
    if part:
        parts = [row for row in parts or rows_of(tonight(paths.data)) if row["learner"] != NAME] + [part]
    answers = tried["gain"] | {"kept": tried["kept"]} if tried["gain"] else None
    reasons = [*found["reasons"], *(() if tried["skipped"] else (f"{NAME}: {tried['reasons'][0]}",))]
    more = {"parts": parts, "tried": [*found["tried"], tried], "reasons": reasons}
    return {**found, **more, "retrieval": bool(found["parts"]), "answers": answers}


def tried_for(found: dict[str, Any], part: Part) -> dict[str, Any]:
    """The row of what was tried that a part came of; a weight that came with a tower is the tower's."""
    stands = ("kept",) if found["parts"] else ("kept", "hope")
    alike = [one for one in found["tried"] if _generated(one["learner"]) == _generated(part.learner)]
    kept = [one for one in alike if any(map(one.get, stands))]
    return next((one for one in kept if one["learner"] == part.learner), kept[-1])


def made_in(paths: Paths, part: Part) -> Path:
    """Where a new part's files lie until it is registered."""
    return paths.root / (MADE if _generated(part.learner) else "models/learned") / part.folder


def gain_of(found: dict[str, Any], part: Part) -> dict[str, Any] | None:
    """The comparison that a part stands on, None where people shall judge it."""
    gain: dict[str, Any] | None = found["answers"] if _generated(part.learner) else found["gain"]
    return gain if found["parts"] else None


def told(found: dict[str, Any]) -> str:
    """Say in a line what was learned from what, and what it gained or that people shall judge it."""
    return f"learned from {'SIMULATED interactions' if found['simulated'] else 'interactions'}: {_proof(found)}"


def _proof(found: dict[str, Any]) -> str:
    if not found["parts"]:
        return "not proven by them, it puts what was shown in a better order"
    said = []
    if found["retrieval"]:
        gain = found["gain"]
        said.append(
            f"nDCG@10 {_points(gain['overall']['ndcg_at_10'])} over {gain['overall']['ndcg_at_10']['n']} {gain['judge']}"
        )
    if found["answers"] and found["answers"]["kept"]:
        said.append(f"answers' {DECIDES} {_points(found['answers']['overall'][DECIDES])}")
    return ", ".join(said)


def _generated(learner: str) -> bool:
    return learner == NAME


def _points(one: dict[str, Any]) -> str:
    low, high = one["ci"]
    return f"{100 * one['delta']:+.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
