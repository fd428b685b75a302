"""Passwords of local servers: from the environment or made up, kept in a file that only this user can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .processes import replace_text


def secret(path: Path, variable: str) -> str:
    """Return what the file holds; a new one is filled from the environment variable, or at random.

    At random it is letters and digits: DynamoDB Local takes no other keys, and one environment may be its and S3's.
    """
    if not path.exists():
        replace_text(path, (os.environ.get(variable) or secrets.token_hex(18)) + "\n", mode=0o600)
    return path.read_text(encoding="utf-8").strip()
