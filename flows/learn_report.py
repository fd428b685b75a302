"""The page of a learning run, beside the nights' pages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.report_learned import render_learned
from ragkeep.config import Paths
from ragkeep.files import read_json, write_text
from tasks.lessons import CARD


def write(paths: Paths, found: dict[str, Any], result: dict[str, Any]) -> Path:
    """Write the page; return where it is."""
    at = datetime.now(UTC)
    card = read_json(paths.data / "trainset" / CARD)
    page = paths.state / "learned" / f"{at:%Y-%m-%dT%H%M%S}.html"
    write_text(page, render_learned({**found, "card": card}, result, title=paths.root.name, at=at.isoformat()))
    return page
