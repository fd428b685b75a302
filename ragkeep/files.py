"""Files that survive a power cut: write a new one, fsync it, rename, fsync the directory.

Skipping any of the three loses acknowledged data (see docs/reliability.md).
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .errors import SourceError

log = logging.getLogger(__name__)
T = TypeVar("T")


def fsync_dir(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: Path) -> None:
    """Make the bytes of a finished file durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it durably takes its name, on error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(fd)
    new = Path(name)
    try:
        yield new
        new.chmod(0o644)
        fsync_file(new)
        new.replace(path)
        fsync_dir(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; on success it durably takes its place with all it holds.

    Killed at any moment, the name stands for the old folder whole, for the new one whole, or, for an instant, for none,
    which the next writer mends. There is one writer at a time. On error the new one is removed and the old one stays.
    """
    new, old = (folder.with_name(f".{folder.name}.{what}") for what in ("new.tmp", "old.tmp"))
    if not folder.exists() and old.exists():
        old.rename(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for path in sorted(new.rglob("*"), reverse=True):  # what a folder holds before the folder
            (fsync_dir if path.is_dir() else fsync_file)(path)
        fsync_dir(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        fsync_dir(folder.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        if not folder.exists() and old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file durably."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file durably, keys sorted, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write_arrays(path: Path, **arrays: Any) -> None:
    """Replace an .npz file durably."""
    import numpy as np

    with replacing(path) as new, new.open("wb") as out:
        np.savez(out, **arrays)


def read_arrays(path: Path, unpack: Callable[[Mapping[str, Any]], T]) -> T | None:
    """Return what `unpack` makes of an .npz file's arrays; None where there is none, or (logged) one it cannot read."""
    import numpy as np

    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            return unpack(kept)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s): it counts as missing", path, error)
        return None


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Replace a JSON-lines file durably, keys sorted; the rows stream."""
    with replacing(path) as new, new.open("w", encoding="utf-8", newline="") as out:
        for row in rows:
            out.write(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file; no file is no rows. Raises SourceError naming the line that is not an object.

    Lines end with a line feed only: `str.splitlines` would also cut at U+2028 inside a text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [_row(line, f"{path}:{n}") for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def sound_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file as `read_rows`, but pass over each line that is not an object, as a power cut leaves it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    found = []
    for line in filter(str.strip, lines):
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [row for row in found if isinstance(row, dict)]


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise SourceError(f"{where} is not JSON ({error}): mend or remove the line") from None
    if not isinstance(row, dict):
        raise SourceError(f"{where} is not a JSON object: mend or remove the line")
    return row


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line to a JSON-lines file durably; a line that a power cut left unfinished is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("ab") as f:
        if f.tell() and not _ends_with_newline(path):
            f.write(b"\n")
        f.write(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        f.flush()
        os.fsync(f.fileno())
    if new:
        fsync_dir(path.parent)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as f:
        f.seek(-1, os.SEEK_END)
        return f.read(1) == b"\n"
