"""Watching, as a part of the night: what tasks/monitor.py finds, and who is told of it (flows/alerts.py).

Every night looks, also one without news; a night's look that is younger than FRESH_S, of the same release, and that
raised no alarm is not had again.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from ragkeep.config import Params, Paths, load_params
from ragkeep.errors import EmbedderMoved, RagkeepError
from ragkeep.releases import NOT_UP, history, pointer
from ragkeep.watched import PARTS, last_look

from .alerts import Trouble, tell
from .lease import hold
from .unchanged import unchanged_result

log = logging.getLogger("prefect.ragkeep")
FRESH_S = 12 * 3600
ACTIONS = {
    "embedder": "Compare the versions of libraries and model with those in the last night's report.",
    "recall": "`ragkeep nightly --force` builds the index anew if the store has lost it; look at the store's log.",
    "questions": "See docs/monitoring.md: new topics want documents, golden questions, and `ragkeep learn`.",
    "documents": "Look at what came in, in the night's report; `ragkeep releases rollback` takes it back.",
    "feedback": "Compare answers of both releases; `ragkeep releases rollback` returns to the one before.",
}


def before_night(paths: Paths, params: Params) -> None:
    """Raise EmbedderMoved where a night would embed with another model than the live index was built with.

    An embedder that cannot be asked now, or no longer exists, is for the stages to tell.
    """
    from tasks.monitor import require_same_embedder

    try:
        require_same_embedder(paths, params)
    except EmbedderMoved:
        raise
    except (RagkeepError, OSError) as error:
        log.warning("the embedder could not be watched: %s", error)


def look(paths: Paths, params: Params, *, fresh: bool = True) -> dict[str, Any] | None:
    """Return what a look found, or with `fresh` what a young one did; None where nothing is live, or it failed.

    Raises EmbedderMoved, with `fresh`: a night that embedded has asked before it did.
    """
    at = pointer(paths)
    if at is None:
        return None
    kept = _young(paths, str(at.number)) if fresh else None
    if kept is not None:
        return kept
    from tasks import monitor

    try:
        found = monitor.look(paths, params)
    except Exception as error:  # whatever it is: watching never costs a night
        log.warning("the live release could not be watched: %s: %s", type(error).__name__, error)
        return None
    if fresh:
        monitor.refuse_another(found["embedder"], found["release"])
    return found


def _young(paths: Paths, release: str) -> dict[str, Any] | None:
    """Return the last look if it is young, of the live release, and found nothing the matter.

    One that a person had draws no portrait of a new index, and the documents it is of do not stay: it is not enough.
    """
    try:
        kept = last_look(paths)
        if not kept or kept["release"] != release or kept["alarms"] or not kept.get("drawn"):
            return None
        age = (datetime.now(UTC) - datetime.fromisoformat(kept["at"])).total_seconds()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return kept if 0 <= age < FRESH_S else None


def accept(paths: Paths, params: Params) -> str:
    """Take a changed embedder for a new one (tasks/monitor.py). Raises Busy while a night runs."""
    from tasks.monitor import accept_embedder

    with hold(paths.state / "lease.sqlite"):
        return accept_embedder(paths, params)


def summary(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a night's result says of a look."""
    return {"at": found["at"], "alarms": found["alarms"], **found["figures"]} if found else None


def unchanged(paths: Paths, params: Params, last: dict[str, Any], began: float) -> dict[str, Any]:
    """Look at what is live on a night without news, and tell it; return the night's result. Raises EmbedderMoved."""
    found = look(paths, params)
    result = unchanged_result(paths, params, last, began) | {"monitor": summary(found)}
    told(paths, params, result, found)
    return result


def told(paths: Paths, params: Params, result: dict[str, Any], found: dict[str, Any] | None) -> None:
    """Tell what a finished night and its look found, and the end of what is over."""
    refused = result["verdict"] == "fail"
    reasons = "; ".join(map(str, result.get("reasons", [])))[:1000]
    action = "The live release answers on; open the night's report."
    checked: dict[str, Trouble | None] = {
        "night": None,
        "gate": Trouble(f"the gate refused tonight's release: {reasons}", action) if refused else None,
        "rollback": _taken_back(paths),
    }
    _tell(paths, params, checked | _troubles(found))


def failed(paths: Paths, params: Params, error: BaseException) -> None:
    """Tell that a night stopped."""
    trouble = Trouble(
        f"the night stopped: {str(error)[:1000]}", "What was live answers on; mend it and run it again.", "critical"
    )
    moved = {"embedder": trouble} if isinstance(error, EmbedderMoved) else {}
    _tell(paths, params, {"night": trouble, "rollback": _taken_back(paths), **moved})


def learned(paths: Paths, result: dict[str, Any]) -> None:
    """Tell how a learning run ended, where that is trouble. Safe to call with whatever it returned."""
    reasons = "; ".join(map(str, result.get("reasons", [])))[:1000]
    action = "The champion answers on; `ragkeep models history` and the page of the run say more."
    trouble = None
    if result["verdict"] == "stopped":
        trouble = Trouble(f"learning stopped: {reasons}", action)
    elif result["verdict"] == "refused":
        trouble = Trouble(f"the gate refused what was learned: {reasons}", action)
    try:
        params = load_params(paths.params)
    except (RagkeepError, OSError):
        return
    _tell(paths, params, {"learning": trouble})


def moved(paths: Paths, params: Params) -> None:
    """Tell of a move just made, where a server took a release back by itself."""
    _tell(paths, params, {"rollback": _taken_back(paths)})


def _taken_back(paths: Paths) -> Trouble | None:
    """Whether the last move was one that nobody made."""
    event = next(iter(history(paths)[::-1]), None)
    if event is None or not (event["action"] == "withdraw" or str(event["reason"]).startswith(NOT_UP)):
        return None
    back = f"release {event['to']} answers" if event["to"] else "nothing answers"
    return Trouble(
        f"release {event['from']} was taken back by itself, {back}: {str(event['reason'])[:500]}",
        "Find out why it did not answer before it is promoted again: `ragkeep releases history`.",
        "critical",
        {"from": event["from"], "to": event["to"]},
        case=str(event.get("at")),
    )


def _troubles(found: dict[str, Any] | None) -> dict[str, Trouble | None]:
    """What a look says of each part; one that it cannot tell is left out."""
    known = {what: found[what] for what in PARTS if found[what]["alarm"] is not None} if found else {}
    return {what: _trouble(what, part) if part["alarm"] else None for what, part in known.items()}


def _trouble(what: str, part: dict[str, Any]) -> Trouble:
    said = {
        "embedder": lambda: f"the embedder moved by a cosine distance of {part['distance']:.4f} since {part['since']}",
        "recall": lambda: (
            f"the live index finds {part['value']:.3f} of what it should, at least {part['floor']} is right"
        ),
        "questions": lambda: f"questions are other ones than before: {', '.join(part['reasons'])}",
        "documents": lambda: (
            f"documents are other ones than those of release {part['against']}: {', '.join(part['reasons'])}"
        ),
        "feedback": lambda: (
            f"more answers are voted down than those of release {part['before']}: "
            f"{100 * part['difference']['down'][0]:+.1f} points"
        ),
    }[what]()
    about = {k: v for k, v in part.items() if k not in ("rows", "records", "alarm", "reasons")}
    return Trouble(said, ACTIONS[what], "critical" if what == "recall" else "warning", about)


def _tell(paths: Paths, params: Params, found: dict[str, Trouble | None]) -> None:
    try:
        tell(paths, params, found)
    except Exception as error:  # a damaged state file, say: telling never costs a night
        log.warning("alerts could not be told: %s: %s", type(error).__name__, error)
