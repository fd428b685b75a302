"""`ragkeep releases trial start|show|stop`: a challenger beside the champion, and which of them won."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from .console import Json, Reason, emit_json, logs_to_stderr, next_step, project, room, say, table

trial_app = typer.Typer(no_args_is_help=True, help="Try a release beside the champion, on real questions.")


@trial_app.command("start")
def trial_start(
    number: Annotated[int, typer.Argument(help="The challenger's release.")],
    *,
    mode: Annotated[
        Literal["shadow", "split", "interleave"],
        typer.Option(help="Compute it unseen, let it answer a share of the people, or mix its sources in."),
    ] = "shadow",
    share: Annotated[float, typer.Option(help="Of the people (split) or of the answers; above 0, at most 1.")] = 0.1,
    by: Annotated[
        Literal["user", "session"], typer.Option(help="Who stays on one side; session where people share a key.")
    ] = "user",
    until: Annotated[str, typer.Option(help="When it ends by itself: 2026-12-01, or a time of ISO 8601 (UTC).")] = "",
    answers: Annotated[
        int, typer.Option(help="Interleaved: the night promotes what wins once so many are decided; 0: a person does.")
    ] = 0,
    force: Annotated[bool, typer.Option(help="Also show people a release that the gate refused.")] = False,
    reason: Reason = "by hand",
    json: Json = False,
) -> None:
    """Put a release on trial beside the champion; a running server takes it up without a restart."""
    from .trials import told

    paths, params = project()
    options = {"mode": mode, "share": share, "by": by, "until": until, "reason": reason, "force": force,
               "answers": answers}  # fmt: skip
    with logs_to_stderr():
        trial = room("flows.trials").start(paths, params, number, **options)
    if json:
        emit_json(told(trial))
        return
    what = f"{trial.share:.0%} of the {trial.by}s" if mode == "split" else f"{trial.share:.0%} of the answers"
    ends = trial.until or "it is stopped"
    say(f"release {number} is on trial against release {trial.champion}: {mode}, {what}, until {ends}")
    next_step("ragkeep releases trial show")


@trial_app.command("show")
def trial_show(*, json: Json = False) -> None:
    """Say what the trial shows so far, or what the last one showed: who won, with intervals."""
    from .trial_report import trial_state

    paths, _ = project()
    found = trial_state(paths)
    if json:
        emit_json(found)
        return
    trial = found["trial"]
    if trial is None:
        say("No release has been on trial.")
        next_step("ragkeep releases trial start N")
        return
    ended = f"ended {found.get('ended_at', trial['until'])}: {found.get('why', 'its time has passed')}"
    state = "runs" if found["running"] else ended
    say(f"Release {trial['number']} against release {trial['champion']} ({trial['mode']}, {trial['share']:.0%}): {state}")
    say(f"{found['answers']:,} answers to {found['people']:,} {trial['by']}s; {found['says']}")
    heads = ("measure", "champion", "challenger", "difference", "from", "to", "n")
    rows = [
        [row[key] for key in ("measure", "champion", "challenger", "difference", "lo", "hi", "n")]
        for row in found["measures"]
    ]
    table("Trial", heads, rows)
    for name in ("counts", "fell_back", "abstention_disagrees"):
        if found.get(name):
            say(f"{name.replace('_', ' ')}: {_listed(found[name])}")
    if found["running"]:
        say("A look in between: whoever stops as soon as something wins finds winners where there are none.")
    next_step("ragkeep releases trial stop" if found["running"] else "ragkeep releases promote N, or keep the champion")


def _listed(value: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in value.items()) if isinstance(value, dict) else str(value)


@trial_app.command("stop")
def trial_stop(*, reason: Reason = "by hand", json: Json = False) -> None:
    """End the trial; the champion answers alone again."""
    from .trials import told

    paths, _ = project()
    with logs_to_stderr():
        ended = room("flows.trials").stop(paths, reason=reason)
    if json:
        emit_json({"ended": told(ended) if ended else None})
        return
    say(f"release {ended.number} is not on trial any more" if ended else "a damaged trial was taken away")
    next_step("ragkeep releases trial show")
