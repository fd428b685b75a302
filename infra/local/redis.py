"""A real Redis that asks for a password: `python -m infra.local.redis up|status|env|down`.

It is the one on the PATH, or Debian's, unpacked into this user's cache: nothing is installed. The password of a new
server is REDIS_PASSWORD, or a random one; `env` prints how ragkeep finds it. A write is on disk before it is answered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .errors import Unavailable
from .processes import locked, replace_text, say
from .secret import secret
from .single import Service, run, service_folder

PACKAGES = ("redis-server", "redis-tools", "liblzf1", "libjemalloc2")
"""What Debian's server is made of, besides libraries that every system has."""


def program() -> Path:
    """Return the server's program, unpacking Debian's where the PATH has none."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    home = service_folder("redis") / "debian"
    with locked(home.parent / "fetch.lock"):
        if not home.is_dir():
            _fetch(home)
    return home / "usr" / "bin" / "redis-server"


def _fetch(home: Path) -> None:
    if not shutil.which("apt-get"):
        raise Unavailable("redis-server is not on the PATH: install Redis, or use Debian")
    say("fetching Debian's redis-server ...")
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="fetching-") as folder:
        ran = subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, capture_output=True, text=True, check=False)
        packages = sorted(Path(folder).glob("*.deb"))
        if ran.returncode or len(packages) != len(PACKAGES):
            raise Unavailable(f"Debian's Redis cannot be fetched: {ran.stderr.strip()[-200:]}: run `apt-get update`")
        for package in packages:
            subprocess.run(["dpkg", "-x", str(package), "new"], cwd=folder, check=True)
        (Path(folder) / "new").rename(home)


def _prepare(folder: Path) -> None:
    program()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"bind": "127.0.0.1", "dir": str(folder), "appendonly": "yes", "appendfsync": "always", "save": '""'}
    lines = [f"{name} {value}\n" for name, value in {**settings, "requirepass": _password(folder)}.items()]
    replace_text(folder / "redis.conf", "".join(lines), mode=0o600)  # a command line would show the password to all


def _password(folder: Path) -> str:
    return secret(folder / "password", "REDIS_PASSWORD")


def _environment(_: Path) -> dict[str, str]:
    libraries = sorted((service_folder("redis") / "debian" / "usr" / "lib").glob("*-linux-gnu"))
    paths = [*map(str, libraries), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_LIBRARY_PATH": ":".join(paths)} if libraries else {}


SERVICE = Service(
    "redis",
    port=6379,
    prepare=_prepare,
    command=lambda folder, port: [str(program()), str(folder / "redis.conf"), "--port", str(port)],
    environment=_environment,
    settings=lambda folder, port: {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "RAGKEEP_REDIS_PASSWORD": _password(folder),
    },
)

if __name__ == "__main__":
    sys.exit(run(SERVICE, __doc__ or ""))
