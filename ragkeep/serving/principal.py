"""Who asks, and what they may do: roles in workspaces, narrowed by the scopes of their key or token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from ..config import is_id
from ..errors import ConfigError, Forbidden

WorkspaceRole: TypeAlias = Literal["reader", "writer", "admin"]
"""reader: ask, search, vote; writer: documents too; admin: keys and the workspace itself too."""
Scope: TypeAlias = Literal["chat", "documents", "ops", "admin"]
ROLES: tuple[WorkspaceRole, ...] = get_args(WorkspaceRole)
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL = "*"
"""In roles: every workspace, and the operations."""
OPS = "ops"
"""In roles: the operations of the whole server, as if they were a workspace; no workspace can be called so."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `user` is "key:<id>" or "user:<subject>"; `key` is the id of the API key, "" for a token's bearer."""

    user: str
    roles: Mapping[str, WorkspaceRole]
    scopes: frozenset[str] = frozenset(SCOPES)
    key: str = ""

    def role_in(self, workspace: str) -> WorkspaceRole | None:
        """The caller's role in a workspace, the higher one where both it and "*" are named."""
        found = [self.roles[name] for name in (workspace, ALL) if name in self.roles]
        return max(found, key=ROLES.index, default=None)

    def may(self, role: WorkspaceRole, workspace: str) -> bool:
        """Whether the caller has at least this role in a workspace."""
        held = self.role_in(workspace)
        return held is not None and ROLES.index(held) >= ROLES.index(role)

    def enter(self, workspace: str, role: WorkspaceRole = "reader") -> str:
        """Return the workspace if the caller may act in it; every route calls this before it touches anything.

        Raises Forbidden, in the same words whether there is such a workspace or not.
        """
        if not is_id(workspace) or not self.may(role, workspace):
            raise Forbidden(f"this key or token has no role {role!r} in that workspace: ask its admin for one")
        return workspace

    def require_scope(self, scope: Scope) -> None:
        """Raise Forbidden where the key or token is not for this."""
        if scope not in self.scopes:
            raise Forbidden(f"this key or token is not for {scope!r}: use one with that scope")

    def may_give(self, roles: Mapping[str, WorkspaceRole], scopes: Iterable[str]) -> bool:
        """Whether the caller may make a key with these roles and scopes: admin of each workspace, no more than it has."""
        rooms = all(self.may("admin", workspace) for workspace in roles)
        return rooms and "admin" in self.scopes and set(scopes) <= self.scopes


LOCAL = Principal("local", {ALL: "admin"})
"""Whoever has a shell on this machine: the command line."""


def check_roles(roles: Mapping[Any, Any]) -> dict[str, WorkspaceRole]:
    """Return roles that are well formed. Raises ConfigError naming the first that is not."""
    for workspace, role in roles.items():
        if workspace != ALL and not (isinstance(workspace, str) and is_id(workspace)):
            raise ConfigError("a workspace must be 1-64 of a-z, 0-9 and '-', or '*' for all")
        if role not in ROLES:
            raise ConfigError(f"a role must be one of {', '.join(ROLES)}, or the key could do nothing")
    return dict(roles)


def check_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return scopes that exist. Raises ConfigError where there is none or an unknown one."""
    given = frozenset(scopes)
    if not given or not given <= set(SCOPES):
        raise ConfigError(f"scopes must be some of {', '.join(SCOPES)}")
    return given
