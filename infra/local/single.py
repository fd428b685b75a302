"""A service of one process in one folder, and its commands up, status, env, down: what PostgreSQL and S3 share."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LocalError
from .processes import POLL_S, ServerProcess, free_ports, locked, replace_text, require_free, require_linux, say, spawn

GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """What is particular to a service; every function gets the data folder first."""

    name: str
    port: int
    prepare: Callable[[Path], None]
    """Fetch the program and make the first data; does nothing when that is done."""
    command: Callable[[Path, int], list[str]]
    environment: Callable[[Path], Mapping[str, str]]
    """Variables for the server besides the caller's own."""
    settings: Callable[[Path, int], Mapping[str, str]]
    """Variables for a client."""
    ready: Callable[[Path, int], bool] = lambda _, port: listens(port)
    stop: signal.Signals = signal.SIGTERM


class Server:
    """The server of one data folder."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder.absolute()
        self.port = 0
        self.process: ServerProcess | None = None
        self._load()

    def running(self) -> bool:
        """Whether the server's process runs."""
        return self.process is not None and self.process.alive()

    def settings(self) -> dict[str, str]:
        """Environment variables that tell a client where the server is; raises LocalError where there is none."""
        if not self.port:
            raise LocalError(f"no {self.service.name} in {self.folder}: start one with up")
        return dict(self.service.settings(self.folder, self.port))

    def up(self, port: int, *, timeout_s: float = 60) -> None:
        """Start the server, unless it runs, and wait until it is ready; port 0 is any free one.

        Raises LocalError when the port is taken or the process ends, Unavailable where the program cannot be had.
        """
        require_linux()
        with locked(self.folder / "lock"):
            self._load()
            if self.running():
                return
            self.service.prepare(self.folder)
            self.port = port or free_ports(1)[0]
            require_free(self.port)
            env = {**os.environ, **self.service.environment(self.folder)}
            command = self.service.command(self.folder, self.port)
            self.process = spawn(command, cwd=self.folder, env=env, log=self.folder / "log")
            self._save()
            self._wait(self.process, timeout_s)

    def down(self, *, wipe: bool) -> None:
        """Stop the server; with `wipe` at once and with its data. One that does not run is no error."""
        if not self.folder.is_dir():
            return
        with locked(self.folder / "lock"):
            self._load()
            if self.process:
                self.process.signal(signal.SIGKILL if wipe else self.service.stop)
                self.process.wait(grace_s=GRACE_S)
            if wipe:
                shutil.rmtree(self.folder)

    def _wait(self, process: ServerProcess, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not process.alive():
                lines = (self.folder / "log").read_text(encoding="utf-8", errors="replace").split("\n")
                said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
                raise LocalError(f"{self.service.name} ended: {said[:300]} (log: {self.folder}/log)")
            if self.service.ready(self.folder, self.port):
                return
            time.sleep(POLL_S)
        process.signal(signal.SIGKILL)
        raise LocalError(f"{self.service.name} was not ready after {timeout_s:.0f} s: see {self.folder}/log")

    def _load(self) -> None:
        with suppress(FileNotFoundError):
            state = json.loads((self.folder / "server.json").read_text(encoding="utf-8"))
            self.port, self.process = state["port"], ServerProcess(**state["process"])

    def _save(self) -> None:
        if self.process:
            state = {"port": self.port, "process": asdict(self.process)}
            replace_text(self.folder / "server.json", json.dumps(state, indent=1) + "\n")


def listens(port: int) -> bool:
    """Whether something takes connections at a port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def service_folder(name: str) -> Path:
    """Where a service's program and, unless --data says otherwise, its data lie."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RAGKEEP_SERVICES_HOME") or Path(cache) / "ragkeep").absolute() / name


def run(service: Service, about: str, arguments: list[str] | None = None) -> int:
    """The command line of a service; an error is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog=f"python -m infra.local.{service.name}", description=about)
    parser.add_argument("command", choices=["up", "status", "env", "down"])
    parser.add_argument("--data", type=Path, default=service_folder(service.name) / "data", help="the server's folder")
    parser.add_argument("--port", type=int, default=service.port, help=f"0 for any free one; default: {service.port}")
    parser.add_argument("--wipe", action="store_true", help="with down: remove all data")
    options = parser.parse_args(arguments)
    try:
        return _run(Server(service, options.data), options)
    except LocalError as error:
        say(f"error: {error}")
        return 1


def _run(server: Server, options: argparse.Namespace) -> int:
    if options.command == "up":
        server.up(options.port)
    elif options.command == "down":
        server.down(wipe=options.wipe)
        say("down, data removed" if options.wipe else "down")
        return 0
    if options.command == "env":
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in server.settings().items()]
        sys.stdout.write("".join(lines))
        return 0
    return _show(server)


def _show(server: Server) -> int:
    if server.process is None or not server.running():
        raise LocalError(f"{server.service.name} does not run: start it with up")
    use = f"pid {server.process.pid}, {server.process.memory_mb()} MiB, {server.process.cpu_s():.1f} CPU s"
    sys.stdout.write(f"{server.service.name} is up at 127.0.0.1:{server.port}, {use}; `env` prints a client's settings\n")
    return 0
