"""What keeps a half-written version from being mistaken for a whole one, or lost: fsync, claims, torn manifests."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from ..files import fsync_dir, fsync_file


def sync_tree(folder: Path, synced: set[Path]) -> None:
    """Fsync every file and directory under a folder; of files in `synced`, which it adds to, only the first time.

    LanceDB does not fsync: without this an acknowledged write is gone after a power cut. Its files never change.
    """
    for where, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(where, name)
            if path not in synced:
                fsync_file(path)
                synced.add(path)
        fsync_dir(Path(where))


def drop_torn_manifests(table: Path) -> None:
    """Remove manifests that a power cut left empty: they belong to writes that were never acknowledged."""
    for path in table.glob("*.lance/_versions/*.manifest"):
        if not path.stat().st_size:
            path.unlink()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to build a version: a lock on a file in its folder that ends with the process."""

    fd: int

    @classmethod
    def take(cls, folder: Path) -> Claim | None:
        """Claim a folder, which is made if it is not there; None when somebody else is building in it."""
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "building.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return cls(fd)

    def release(self) -> None:
        """Give the right back."""
        os.close(self.fd)
