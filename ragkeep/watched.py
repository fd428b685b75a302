"""What was found of the live release, and what of it is the matter, as kept on disk: read by the night and by the server.

The night writes these files (tasks/monitor.py, flows/alerts.py). One that is damaged counts as none, and a torn line of
the series is passed over: what was lost is found anew by the next look, and nobody is kept from seeing the rest.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .config import Paths
from .files import read_json, sound_rows

log = logging.getLogger(__name__)
LAST, HISTORY, ALERTS = "last.json", "history.jsonl", "alerts.json"
PARTS = ("embedder", "recall", "questions", "documents", "feedback")
"""The parts of a look; each has `alarm`: True, False, or None where it cannot be told, and then `why`."""
_FIELDS = {"alert", "state", "severity", "summary", "action", "since", "knows"}


def last_look(paths: Paths) -> dict[str, Any] | None:
    """Return what the last look found; None before the first."""
    return _read(paths.monitor / LAST)


def looks(paths: Paths, limit: int = 90) -> list[dict[str, Any]]:
    """Return the figures of the last looks, oldest first."""
    return sound_rows(paths.monitor / HISTORY)[-limit:]


def alerts(paths: Paths) -> dict[str, dict[str, Any]]:
    """Return what is the matter, and what is over and not told to everyone yet: name -> the alert as it was told."""
    found = _read(paths.state / ALERTS) or {}
    return {name: row for name, row in found.items() if isinstance(row, dict) and row.keys() >= _FIELDS}


def firing(paths: Paths) -> dict[str, dict[str, Any]]:
    """Return what is the matter now: name -> the alert as it was told."""
    return {name: row for name, row in alerts(paths).items() if row["state"] == "firing"}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except ValueError as error:
        log.warning("%s is damaged (%s): what is the matter is told anew", path, error)
        return None
    return found if isinstance(found, dict) else None
