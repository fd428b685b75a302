"""Queues of background work, one backend a file; ragkeep/backends.py names them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from ..backends import QUEUES, load
from ..ports import Queue
from ..serving.params import QueueParams

SILENT = "its worker went silent each time it was tried"
"""Why a job is dead whose workers never said anything."""


def open_queue(params: QueueParams, path: Path) -> Queue:
    """Open the queue params.yaml names; `path` is the file of the one that is a file (`Paths.serving`)."""
    return cast(Queue, load(QUEUES, params.backend, params=params, path=path))
