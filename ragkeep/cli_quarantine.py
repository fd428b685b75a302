"""`ragkeep quarantine list|show|release`: documents that were refused, why, and how to let one in."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import Json, Reason, emit_json, next_step, project, room, say, table

quarantine_app = typer.Typer(no_args_is_help=True, help="Documents that were refused, why, and how to let one in.")


@quarantine_app.command("list")
def quarantine_list(*, json: Json = False) -> None:
    """List what was refused tonight, by reason."""
    paths, _ = project()
    quarantine = room("tasks.quarantine")
    rows = quarantine.listed(paths)
    counts = quarantine.counted(rows)
    documents, chunks = ([r for r in rows if ("chunk_id" in r) == of_chunks] for of_chunks in (False, True))
    if json:
        emit_json({"counts": counts, "documents": documents, "chunks": chunks})
        return
    table("Quarantine", ("stage", "reason", "uri", "detail"), [
        (r["stage"], r["reason"], r["uri"], str(r.get("detail", ""))[:80]) for r in rows
    ])  # fmt: skip
    say(f"{counts['documents']:,} documents, and {counts['chunks']:,} chunks of others")
    next_step("ragkeep quarantine show URI" if rows else "nothing to do")


@quarantine_app.command("show")
def quarantine_show(uri: Annotated[str, typer.Argument(help="As `list` prints it.")], *, json: Json = False) -> None:
    """Show everything known about one refused document."""
    paths, params = project()
    found = room("tasks.quarantine").shown(paths, params, uri)
    if json:
        emit_json(found)
        return
    for key, value in found.items():
        say(f"{key}: {value}")
    next_step(f"ragkeep quarantine release {uri}")


@quarantine_app.command("release")
def quarantine_release(
    uri: Annotated[str, typer.Argument(help="As `list` prints it.")], *, reason: Reason = "by hand", json: Json = False
) -> None:
    """Let one document in from the next night on, as long as its content stays what it is now."""
    paths, _ = project()
    row = room("tasks.quarantine").release(paths, uri, reason=reason)
    if json:
        emit_json(row)
        return
    say(f"{uri} is let in from the next night on")
    next_step("ragkeep nightly")
