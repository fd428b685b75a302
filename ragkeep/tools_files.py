"""Tools that read files below one folder, for `ragkeep.tools`: list a folder, read lines of a file.

No path leaves the folder: it is walked part by part from an open descriptor, without following any link, so neither
`..` nor a link, also one put there meanwhile, leads out. Hidden files (`.env`, `.git`) are not there for a model.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ports import Tool
from .tools import Ability, ToolError

MAX_BYTES = 4_000_000
MAX_LINES = 400
MAX_NAMES = 500

_PATH = {"type": "string", "description": "a path below the folder, with /", "maxLength": 1000}
_LINE = {"type": "integer", "minimum": 1, "maximum": 10**7}
LIST = Tool(
    "list_files",
    "List a folder: names of files and, with a / at the end, of folders.",
    {"type": "object", "properties": {"path": {**_PATH, "description": "a folder; . is the top"}}, "required": ["path"]},
)
READ = Tool(
    "read_file",
    f"Read lines of a text file, at most {MAX_LINES}, with their numbers.",
    {
        "type": "object",
        "properties": {"path": _PATH, "first_line": _LINE, "last_line": _LINE},
        "required": ["path"],
    },
)


def files(root: Path) -> list[Ability]:
    """Let a model list and read what is below a folder."""
    return [Ability(LIST, lambda asked: list_files(root, asked)), Ability(READ, lambda asked: read_file(root, asked))]


def list_files(root: Path, asked: dict[str, Any]) -> str:
    """List a folder, sorted. Raises ToolError."""
    with _opened(root, asked["path"], os.O_DIRECTORY) as fd, os.scandir(fd) as entries:
        names = sorted(_shown(entry) for entry in entries if not entry.name.startswith(".") and not entry.is_symlink())
    more = [f"({len(names) - MAX_NAMES} more)"] if len(names) > MAX_NAMES else []
    return "\n".join(names[:MAX_NAMES] + more)


def read_file(root: Path, asked: dict[str, Any]) -> str:
    """Read numbered lines of a file. Raises ToolError."""
    with _opened(root, asked["path"], os.O_NONBLOCK) as fd:  # a pipe must not block
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ToolError(f"{asked['path']} is no file")
        if about.st_size > MAX_BYTES:
            raise ToolError(f"{asked['path']} has {about.st_size:,} bytes; files of up to {MAX_BYTES:,} can be read")
        with os.fdopen(os.dup(fd), "rb") as file:
            data = file.read(MAX_BYTES)
    if b"\0" in data[:8192]:
        raise ToolError(f"{asked['path']} is no text")
    lines = data.decode("utf-8", "replace").split("\n")
    first = asked.get("first_line", 1)
    last = min(asked.get("last_line", len(lines)), first + MAX_LINES - 1, len(lines))
    if last < first:
        raise ToolError(f"{asked['path']} has {len(lines)} lines")
    return "\n".join(f"{n}: {lines[n - 1]}" for n in range(first, last + 1))


@contextmanager
def _opened(root: Path, path: str, flags: int) -> Iterator[int]:
    """Open what a path below `root` names. Raises ToolError where there is nothing, or it would lead out."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or any(part.startswith(".") or "\0" in part for part in parts):
        raise ToolError(f"{path} is not below the folder, or is hidden")
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for n, part in enumerate(parts, 1):
            last = n == len(parts)
            kind = flags if last else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    except (OSError, ValueError):
        raise ToolError(f"{path} is not there, or cannot be read") from None
    finally:
        os.close(fd)


def _shown(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
