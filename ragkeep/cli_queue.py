"""`ragkeep queue show|redrive`: the server's background work, and what its workers gave up."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Json, emit_json, next_step, project, say, table

if TYPE_CHECKING:
    from .ports import Queue

queue_app = typer.Typer(no_args_is_help=True, help="Background work of the server, and its dead letters.")


def _queue() -> Queue:
    from .queues import open_queue

    paths, params = project()
    return open_queue(params.serve.queue, paths.serving)


@queue_app.command("show")
def queue_show(*, json: Json = False) -> None:
    """Count the jobs, and show the dead letters with their reasons."""
    queue = _queue()
    depth, dead = queue.depth(), queue.dead()
    if json:
        emit_json({"depth": asdict(depth), "dead": [asdict(one) for one in dead]})
        return
    say(f"{depth.waiting} waiting, {depth.taken} being worked on, {depth.dead} dead")
    table("Dead letters", ("job", "workspace", "tries", "died", "reason"), [
        (one.job.id, one.job.workspace, one.job.attempt, one.died_at, one.reason) for one in dead
    ])  # fmt: skip
    next_step("ragkeep queue redrive" if dead else "ragkeep serve")


@queue_app.command("redrive")
def queue_redrive(
    *, workspace: Annotated[str, typer.Option(help="Only this workspace's.")] = "", json: Json = False
) -> None:
    """Put dead letters back to be tried again, as new."""
    moved = _queue().redrive(workspace=workspace)
    if json:
        emit_json({"redriven": moved})
        return
    say(f"{moved} jobs are waiting again")
    next_step("ragkeep queue show")
