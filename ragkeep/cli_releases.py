"""`ragkeep releases list|history|promote|rollback` and `ragkeep explain`: what is live, what was, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_trials import trial_app
from .console import Json, Reason, emit_json, logs_to_stderr, next_step, project, room, say, table

if TYPE_CHECKING:
    from .config import Paths

releases_app = typer.Typer(no_args_is_help=True, help="What is live, what was, and the way back.")
releases_app.add_typer(trial_app, name="trial")


def _text(number: int | None) -> str | None:
    """A release's number as every command prints it in JSON: a name, nothing to reckon with."""
    return None if number is None else str(number)


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {k: _text(v) if k in ("from", "to", "previous") else v for k, v in event.items()}


@releases_app.command("list")
def releases_list(*, json: Json = False) -> None:
    """List all releases, newest first, and which one answers."""
    from .releases import all_releases, pointer

    paths, _ = project()
    at = pointer(paths)
    rows = [
        {
            "number": str(r.number), "created_at": r.created_at, "index": r.index.name, "chunks": r.index.chunks,
            "ndcg_at_10": r.scores.get("ndcg_at_10"), "reason": r.reason,
            "alias": "champion" if at and at.number == r.number else "previous" if at and at.previous == r.number else "",
        }
        for r in all_releases(paths)
    ]  # fmt: skip
    if json:
        live, before = (at.number, at.previous) if at else (None, None)
        emit_json({"champion": _text(live), "previous": _text(before), "releases": rows})
        return
    table("Releases", ("number", "alias", "made", "chunks", "nDCG@10", "gate"), [
        (r["number"], r["alias"], r["created_at"], r["chunks"], r["ndcg_at_10"], str(r["reason"])[:80]) for r in rows
    ])  # fmt: skip
    next_step("ragkeep explain NUMBER, or ragkeep releases rollback" if rows else "ragkeep nightly")


@releases_app.command("history")
def releases_history(*, json: Json = False) -> None:
    """Show who made which release the champion, when and why."""
    from .releases import history

    events = [_event(e) for e in history(project()[0])]
    if json:
        emit_json({"events": events})
        return
    keys = ("at", "action", "from", "to", "who", "reason")
    table("History", keys, [[e.get(k) for k in keys] for e in events])
    next_step("ragkeep releases list")


def _move(action: str, *, json: bool, **options: Any) -> None:
    paths, params = project()
    with logs_to_stderr():
        release = room("flows.start").move(paths, params, action, **options)
    if json:
        emit_json({"action": action, "release": str(release.number), "index": release.index.name})
        return
    say(f"release {release.number} answers now (index {release.index.name})")
    next_step("ragkeep releases history")


@releases_app.command("promote")
def releases_promote(
    number: Annotated[int, typer.Argument(help="Which release.")],
    *,
    reason: Reason = "by hand",
    force: Annotated[bool, typer.Option(help="Also one the gate refused.")] = False,
    json: Json = False,
) -> None:
    """Make a release the champion."""
    _move("promote", json=json, number=number, reason=reason, force=force)


@releases_app.command("rollback")
def releases_rollback(
    *,
    reason: Reason = "by hand",
    expect: Annotated[int | None, typer.Option(help="The champion there should be; refused where it is another.")] = None,
    json: Json = False,
) -> None:
    """Make the release before the champion answer again, at once."""
    _move("rollback", json=json, reason=reason, expect=expect)


def explain(
    what: Annotated[
        str | None, typer.Argument(help="An answer's id, or a release's number; the champion when left out.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Trace an answer back to its release, prompt and chunks, or a release to its data, index, model and code."""
    from dataclasses import asdict

    from .releases import history, read_release, require_champion

    paths, _ = project()
    if what is not None and not what.isdigit():
        _explain_answer(paths, what, json=json)
        return
    found = read_release(paths, int(what)) if what is not None else require_champion(paths)
    events = [_event(e) for e in history(paths) if found.number in (e.get("to"), e.get("from"))]
    row = {**asdict(found), "number": str(found.number), "history": events}
    if json:
        emit_json(row)
        return
    for key in ("number", "sha", "created_at", "reason", "git_sha", "dvc_lock_sha", "run_id", "generator"):
        say(f"{key}: {row[key]}")
    for section in ("index", "fusion", "serving", "scores"):
        for key, value in row[section].items():
            say(f"{section}.{key}: {value}")
    for event in row["history"]:
        change = f"{event['action']} {event['from']} -> {event['to']}"
        say(f"history: {event['at']} {change} by {event['who']}: {event['reason']}")
    say(f"evidence: {paths.releases / found.evaluation}")
    next_step("dvc diff, or ragkeep releases list")


def _explain_answer(paths: Paths, answer: str, *, json: bool) -> None:
    from .interactions import find
    from .serving.explain import explain_answer

    told = explain_answer(paths, find(paths.interactions, answer))
    if json:
        emit_json(told)
        return
    for key, value in told.items():
        if key in ("shown", "release_details", "challenger_details", "feedback"):
            continue
        say(f"{key}: {value}")
    for shown in told["shown"]:
        cited = " (cited)" if shown["rank"] in told["cited"] else ""
        say(f"[{shown['rank']}] {shown['uri']}:{shown['lines'][0]}-{shown['lines'][1]} score {shown['score']:.4f}{cited}")
    for said in told["feedback"]:
        say(f"feedback: {said}")
    next_step(f"ragkeep explain {told['release']}")
