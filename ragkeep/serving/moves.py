"""Releases put on and taken off, by the command line in a process of its own: the registry's libraries weigh more than
the whole server, and a move must not die with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Literal

from ..config import Paths
from ..errors import RequestError

TIMEOUT_S = 120.0


class MoveFailed(RequestError):
    """A release could not be put on or taken off."""

    status = 409
    code = "not_moved"


async def move(
    paths: Paths,
    action: Literal["rollback", "promote"],
    *,
    reason: str,
    number: int | None = None,
    expect: int | None = None,
) -> str:
    """Promote a release or roll back; return the number of the champion then. Raises MoveFailed, in one line.

    `expect` is the champion that a rollback takes back: another one is left alone.
    """
    which = [] if number is None else [str(number)]
    command = [sys.executable, "-m", "ragkeep.cli", "releases", action, *which, "--reason", reason, "--json"]
    command += [] if expect is None else ["--expect", str(expect)]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=paths.root, env={**os.environ, "RAGKEEP_HOME": str(paths.root)}, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(child.communicate(), TIMEOUT_S)
    except TimeoutError:
        raise MoveFailed("the move takes long and goes on: look at the history in a minute") from None
    lines = said.decode(errors="replace").strip().splitlines()
    told: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if child.returncode or "release" not in told:
        raise MoveFailed(str(told.get("error") or f"the move ended with exit code {child.returncode}")[:500])
    return str(told["release"])
