"""`ragkeep keys create|list|revoke`, `ragkeep queue show|redrive`: who may use the server, what its workers gave up."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Json, emit_json, next_step, project, say, table
from .errors import ConfigError

if TYPE_CHECKING:
    from .ports import Queue
    from .serving.keys import Keys

keys_app = typer.Typer(no_args_is_help=True, help="API keys of the server: make, list, revoke.")
queue_app = typer.Typer(no_args_is_help=True, help="Background work of the server, and its dead letters.")


def _keys() -> Keys:
    from .database import Database
    from .serving.keys import Keys

    return Keys(Database(project()[0].serving))


def _queue() -> Queue:
    from .queues import open_queue

    paths, params = project()
    return open_queue(params.serve.queue, paths.serving)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    role: Annotated[list[str], typer.Option(help="WORKSPACE:reader, :writer or :admin; '*' is every workspace.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="chat, documents, ops or admin; default: the first two.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="After how many days it expires; default: never.")] = None,
    json: Json = False,
) -> None:
    """Make an API key and print it, this once."""
    from .serving.principal import LOCAL, ROLES

    roles = {}
    for given in role:
        workspace, _, named = given.rpartition(":")
        known = next((one for one in ROLES if one == named), None)
        if known is None:
            raise ConfigError(f"--role {given!r} must look like default:reader, with one of {', '.join(ROLES)}")
        roles[workspace] = known
    expires_at = None if days is None else time.time() + days * 86_400
    key, secret = _keys().create(
        name, roles=roles, scopes=scope or ("chat", "documents"), by=LOCAL, expires_at=expires_at
    )
    if json:
        emit_json({"key": secret, **asdict(key)})
        return
    say(secret)
    next_step("keep it: it is not shown again; send it as `Authorization: Bearer ...`")


@keys_app.command("list")
def keys_list(*, json: Json = False) -> None:
    """List all API keys, newest first; what they are is not shown."""
    from .serving.principal import LOCAL

    found = _keys().listed(by=LOCAL)
    if json:
        emit_json({"keys": [asdict(key) for key in found]})
        return
    table("API keys", ("id", "name", "roles", "scopes", "made", "expires", "revoked"), [
        (key.id, key.name, ", ".join(f"{room}:{role}" for room, role in key.roles.items()), ", ".join(key.scopes),
         key.created_at[:10], key.expires_at[:10], key.revoked_at[:10]) for key in found
    ])  # fmt: skip
    next_step("ragkeep keys revoke ID" if found else "ragkeep keys create NAME --role default:reader")


@keys_app.command("revoke")
def keys_revoke(key: Annotated[str, typer.Argument(help="Its id, as `ragkeep keys list` shows it.")]) -> None:
    """End an API key at once, also in servers that run."""
    from .serving.principal import LOCAL

    _keys().revoke(key, by=LOCAL)
    say(f"key {key} counts for nothing any more")
    next_step("ragkeep keys list")


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
