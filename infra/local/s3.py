"""A real S3 endpoint that keeps its objects as plain files: `python -m infra.local.s3 up|status|env|down`.

It is the Versity S3 gateway, built with Go the first time. The keys of a new server are S3_ACCESS_KEY and S3_SECRET_KEY,
or random ones; `env` prints what AWS clients read. Buckets are made by the client.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .errors import Unavailable
from .processes import locked, say
from .secret import secret
from .single import Service, run, service_folder

MODULE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"
REGION = "us-east-1"


def program() -> Path:
    """Return the gateway's program, building it when it is not here yet; Go checks the source's digests itself."""
    path = service_folder("s3") / f"versitygw-{VERSION}"
    with locked(path.parent / "build.lock"):
        if not path.is_file():
            _build(path)
    return path


def _build(path: Path) -> None:
    if not shutil.which("go"):
        raise Unavailable("go is not on the PATH: install Go, or use the `s3` service of infra/compose.yaml")
    say(f"building versitygw {VERSION}, some minutes the first time ...")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="building-") as folder:
        command = ["go", "install", "-ldflags=-s -w", f"{MODULE}@{VERSION}"]
        ran = subprocess.run(command, env={**os.environ, "GOBIN": folder}, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise Unavailable(f"versitygw cannot be built: {ran.stderr.strip()[-300:]}: check the network and `go env`")
        (Path(folder) / "versitygw").rename(path)


def _prepare(folder: Path) -> None:
    program()
    (folder / "objects").mkdir(parents=True, exist_ok=True)
    (folder / "versions").mkdir(exist_ok=True)


def _keys(folder: Path) -> tuple[str, str]:
    return secret(folder / "access-key", "S3_ACCESS_KEY"), secret(folder / "secret-key", "S3_SECRET_KEY")


def _command(folder: Path, port: int) -> list[str]:
    store = ["posix", "--versioning-dir", str(folder / "versions"), str(folder / "objects")]
    return [str(program()), "--region", REGION, "--quiet", "--port", f"127.0.0.1:{port}", *store]


def _environment(folder: Path) -> dict[str, str]:
    access, password = _keys(folder)
    return {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": password}


def _settings(folder: Path, port: int) -> dict[str, str]:
    access, password = _keys(folder)
    keys = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": password}
    return {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", **keys, "AWS_DEFAULT_REGION": REGION}


SERVICE = Service(
    "s3",
    port=9000,
    prepare=_prepare,
    command=_command,
    environment=_environment,
    settings=_settings,
)

if __name__ == "__main__":
    sys.exit(run(SERVICE, __doc__ or ""))
