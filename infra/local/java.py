"""Find a JDK that is new enough."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import Unavailable

FOLDERS = (Path("/usr/lib/jvm"), Path("/opt/java"))


def find_java(least: int) -> Path:
    """Return the home of a JDK of at least this version: the one the environment names, else the newest installed.

    Raises Unavailable where there is none.
    """
    named = [Path(os.environ[name]) for name in ("OPENSEARCH_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    chosen = next((home for home in named if _version(home) >= least), None)
    best = chosen or max(_installed(), key=_version, default=None)
    if best is None or _version(best) < least:
        seen = sorted({_version(home) for home in [*named, *_installed()]} - {0})
        raise Unavailable(f"no JDK {least} or newer (found: {seen or 'none'}): install one, or set OPENSEARCH_JAVA_HOME")
    return best


def _installed() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(folder.glob("*"))
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parent.parent


def _version(home: Path) -> int:
    """Major version of a JDK, 0 for what is none."""
    try:
        release = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(found[1]) if found and os.access(home / "bin" / "java", os.X_OK) else 0
