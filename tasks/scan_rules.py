"""Which files of a source are documents: .gitignore at every level, then the source's own patterns, then the suffix.

Patterns are those of .gitignore (gitignore(5)): a slash inside anchors, `dir/` takes everything below, a later `!x`
takes back. Nothing in an ignored or excluded directory is looked at, as in git.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from ragkeep.config import SourceParams
from ragkeep.loaders import loader_for

REPOSITORIES = frozenset({".git", ".hg", ".svn"})
BINARY_DOCUMENTS = frozenset({"docx", "odf", "pdf", "pptx", "xlsx"})
"""Loaders whose files are binary by nature; a zero byte in any other file means it is not text."""
SNIFFED = 8192
Level = tuple[str, GitIgnoreSpec]
"""A .gitignore: the prefix to cut off a path before asking ("" or "docs/"), and its patterns."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A source's own patterns; `depths` is where its includes can match, None when anywhere."""

    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec
    depths: tuple[tuple[str, ...], ...] | None


def rules_of(source: SourceParams) -> Rules:
    """Compile a source's include and exclude patterns."""
    include = GitIgnoreSpec.from_lines(source.include) if source.include else None
    return Rules(include, GitIgnoreSpec.from_lines(source.exclude), _depths(source.include))


def _depths(patterns: Iterable[str]) -> tuple[tuple[str, ...], ...] | None:
    """Split anchored patterns into path segments, so that a walk for `*.dist-info/METADATA` stays near the root."""
    found = []
    for pattern in patterns:
        body = pattern.strip().lstrip("/").rstrip("/")
        if ("/" not in body and not pattern.startswith("/")) or any(s in pattern for s in ("**", "\\", "!")):
            return None
        found.append(tuple(body.split("/")))
    return tuple(found) or None


def may_hold(rules: Rules, folder: str) -> bool:
    """Whether something below `folder` (relative, no slash at the end) can match the includes."""
    if rules.depths is None:
        return True
    parts = folder.split("/")
    return any(
        all(fnmatch.fnmatchcase(part, seg) for part, seg in zip(parts, segments, strict=False))
        for segments in rules.depths
    )


def ignored(levels: list[Level], path: str) -> bool:
    """Whether .gitignore files hide a path (a directory ends with a slash): the deepest that says anything decides."""
    for prefix, spec in reversed(levels):
        verdict = spec.check_file(_below(path, prefix)).include
        if verdict is not None:
            return verdict
    return False


def _below(path: str, prefix: str) -> str:
    """Say a path as a .gitignore sees it: relative to its folder, which may also lie above the source (prefix "+x/")."""
    return prefix[1:] + path if prefix.startswith("+") else path[len(prefix) :]


def read_level(folder: str, prefix: str) -> Level | None:
    """Read a folder's .gitignore, None where there is none or it cannot be read."""
    try:
        lines = Path(folder, ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return prefix, GitIgnoreSpec.from_lines(lines)


def outer_files(root: Path) -> list[Path]:
    """List the .gitignore files above a source that git would read: up to the folder that holds `.git`.

    There are none when the source is itself the top, or lies in no repository.
    """
    above = [root, *root.parents]
    for i, folder in enumerate(above):
        if (folder / ".git").exists():
            return [p / ".gitignore" for p in reversed(above[1 : i + 1]) if (p / ".gitignore").is_file()]
    return []


def outer_levels(root: Path) -> list[Level]:
    """Read the .gitignore files above a source; none when they hide the source itself, which was named on purpose."""
    levels: list[Level] = []
    for file in outer_files(root):
        level = read_level(str(file.parent), f"+{root.relative_to(file.parent).as_posix()}/")
        levels += [level] if level else []
    return [] if _hidden(levels) else levels


def _hidden(levels: list[Level]) -> bool:
    """Whether a folder between a .gitignore and the source is ignored: git would never get as far as the source."""
    for prefix, spec in levels:
        parts = PurePosixPath(prefix[1:]).parts
        folders = ["/".join(parts[: i + 1]) + "/" for i in range(len(parts))]
        if any(spec.match_file(folder) for folder in folders):
            return True
    return False


def refused(rules: Rules, levels: list[Level], path: str) -> str:
    """Say why a file is not wanted, from its path alone: "ignored", "excluded", "unsupported", or ""."""
    if levels and ignored(levels, path):
        return "ignored"
    if rules.exclude.match_file(path) or (rules.include is not None and not rules.include.match_file(path)):
        return "excluded"
    return "" if loader_for(PurePosixPath(path)) else "unsupported"


def refused_folder(rules: Rules, levels: list[Level], path: str) -> str:
    """Say why a directory is not entered: "repository", "ignored", "excluded", or ""."""
    if os.path.basename(path) in REPOSITORIES:  # noqa: PTH119 - a string, many of them
        return "repository"
    if levels and ignored(levels, path + "/"):
        return "ignored"
    return "excluded" if rules.exclude.match_file(path + "/") or not may_hold(rules, path) else ""


def is_binary(path: str, head: bytes) -> bool:
    """Whether a file's first 8 kB are not text, and no document format that is binary by nature."""
    if b"\0" not in head:
        return False
    loader = loader_for(PurePosixPath(path))
    return (loader is None or loader[0] not in BINARY_DOCUMENTS) and not _wide_text(head)


def _wide_text(head: bytes) -> bool:
    """UTF-16 or UTF-32: a byte order mark, or zero bytes that keep to the same places of every character."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return True
    lanes = sorted(head[i::4].count(0) / (len(head[i::4]) or 1) for i in range(4))
    return lanes[-1] > 0.02 and lanes[-2] > 0.02 and lanes[0] * 4 < lanes[-2] and not head.startswith(b"\x7fELF")
