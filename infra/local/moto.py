"""Moto's server, which answers as AWS does (SQS, Cognito and more): `python -m infra.local.moto up|status|env|down`.

It keeps everything in memory and takes any keys; `env` prints what AWS clients read. The package moto brings it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from .errors import Unavailable
from .single import Service, run

REGION = "us-east-1"


def _prepare(folder: Path) -> None:
    if not importlib.util.find_spec("moto") or not importlib.util.find_spec("flask_cors"):
        raise Unavailable("moto is not installed: `uv sync` with the group dev, or `pip install 'moto[server]'`")
    folder.mkdir(parents=True, exist_ok=True)


def _settings(_: Path, port: int) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **keys, "AWS_DEFAULT_REGION": REGION}


SERVICE = Service(
    "moto",
    port=5000,
    prepare=_prepare,
    command=lambda _, port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
    environment=lambda _: {},
    settings=_settings,
)

if __name__ == "__main__":
    sys.exit(run(SERVICE, __doc__ or ""))
