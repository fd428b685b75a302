"""`ragkeep monitor`: how the live release is doing, any time."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .console import Json, emit_json, logs_to_stderr, next_step, project, room, say, table
from .watched import PARTS, firing


def monitor(
    *,
    accept_embedder: Annotated[
        bool, typer.Option("--accept-embedder", help="Take a changed embedder for a new one: the next night embeds anew.")
    ] = False,
    json: Json = False,
) -> None:
    """Look at the live release: its index and embedder, drift of questions and documents, votes by release."""
    paths, params = project()
    with logs_to_stderr():
        watching = room("tasks.monitor")
        accepted = room("flows.watch").accept(paths, params) if accept_embedder else ""
        found = {} if accepted else watching.look(paths, params, draw=False)
        alerts = firing(paths)
    if accepted:
        if json:
            emit_json({"accepted": accepted})
            return
        say(f"{accepted} is taken as it is now; its vectors are forgotten")
        next_step("ragkeep nightly, which embeds everything anew")
        return
    if json:
        emit_json({**found, "firing": sorted(alerts)})
        return
    table("Watching", ("what", "state", "figures"), [_row(what, found[what]) for what in PARTS])
    rows = [
        (r["release"], r["answers"], *(_share(r[k]) for k in ("abstained", "down", "clicked")))
        for r in found["feedback"].get("rows") or []
    ]
    if rows:
        table("Releases", ("release", "answers", "abstained", "voted down", "source opened"), rows)
    next_step("docs/monitoring.md tells what each alarm means" if found["alarms"] else "ragkeep report")


def _row(what: str, part: dict[str, Any]) -> tuple[str, str, str]:
    state = {True: "ALARM", False: "well", None: "cannot tell"}[part["alarm"]]
    left_out = ("alarm", "why", "rows", "records")
    return what, state, part.get("why") or ", ".join(f"{k} {v}" for k, v in part.items() if k not in left_out)


def _share(share: list[float] | None) -> str:
    return "-" if share is None else f"{share[0]:.3f} [{share[1]:.3f}, {share[2]:.3f}]"
