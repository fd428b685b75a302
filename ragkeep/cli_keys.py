"""`ragkeep keys create|list|revoke`: who may ask the server, and for what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from .console import Json, emit_json, next_step, project, say, table
from .errors import ConfigError

keys_app = typer.Typer(no_args_is_help=True, help="API keys of the server: who may ask it, and for what.")


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    role: Annotated[list[str] | None, typer.Option(help="WORKSPACE=reader|writer|admin; * for all. Repeat.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="chat, documents, ops or admin. Repeat.")] = None,
    expires: Annotated[str, typer.Option(help="A time in ISO 8601, as in 2027-01-31; never when left out.")] = "",
    json: Json = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from .database import Database
    from .serving.keys import Keys
    from .serving.principal import LOCAL

    roles = dict(_role(one) for one in role or ["default=reader"])
    ends = _time(expires) if expires else None
    keys = Keys(Database(project()[0].serving))
    key, secret = keys.create(name, roles=roles, scopes=scope or ["chat"], by=LOCAL, expires_at=ends)  # type: ignore[arg-type]
    if json:
        emit_json({**asdict(key), "secret": secret})
        return
    say(secret)
    next_step(f"send it as Authorization: Bearer ...; ragkeep keys revoke {key.id} ends it")


def _role(text: str) -> tuple[str, str]:
    workspace, _, role = text.partition("=")
    if not role:
        raise ConfigError(f"--role {text!r} must look like default=reader")
    return workspace, role


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ConfigError(f"--expires {text!r} is no time in ISO 8601, as in 2027-01-31") from None


@keys_app.command("list")
def keys_list(*, json: Json = False) -> None:
    """List the keys, also revoked ones; no secret among them."""
    from .database import Database
    from .serving.keys import Keys
    from .serving.principal import LOCAL

    found = Keys(Database(project()[0].serving)).listed(by=LOCAL)
    if json:
        emit_json({"keys": [asdict(key) for key in found]})
        return
    rows = [
        (key.id, key.name, " ".join(f"{w}={r}" for w, r in key.roles.items()), " ".join(key.scopes), key.created_at[:19],
         key.expires_at[:19], key.revoked_at[:19])
        for key in found
    ]  # fmt: skip
    table("API keys", ("id", "name", "roles", "scopes", "made", "expires", "revoked"), rows)
    next_step("ragkeep keys revoke ID" if rows else "ragkeep keys create NAME")


@keys_app.command("revoke")
def keys_revoke(id_: Annotated[str, typer.Argument(metavar="ID", help="Which key.")], *, json: Json = False) -> None:
    """End a key at once, also on a server that runs."""
    from .database import Database
    from .serving.keys import Keys
    from .serving.principal import LOCAL

    Keys(Database(project()[0].serving)).revoke(id_, by=LOCAL)
    if json:
        emit_json({"id": id_, "revoked": True})
        return
    say(f"key {id_} does not count any more")
    next_step("ragkeep keys list")
