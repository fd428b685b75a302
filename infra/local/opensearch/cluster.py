"""Several nodes as one cluster: started, watched, killed, brought back and stopped; its state is one JSON file.

All commands that change something hold the cluster's lock, so that two of them at once wait for each other.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import LocalError
from ..java import find_java
from ..processes import POLL_S, ServerProcess, free_ports, locked, replace_text, require_free, require_linux
from .assemble import assemble
from .client import Access, NoAnswer, call
from .node import ClusterSettings, start_node
from .security import USER, make_security

LEAST_JAVA = 21
GRACE_S = 30.0


class Cluster:
    """The cluster of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.settings: ClusterSettings | None = None
        self.processes: dict[int, ServerProcess] = {}
        self.formed = False
        self._load()

    def access(self) -> Access:
        """The addresses of all nodes, and how to log in; raises LocalError where there is no cluster."""
        settings = self._require()
        urls = tuple(f"{'https' if settings.secure else 'http'}://127.0.0.1:{port}" for port in settings.http_ports)
        if not settings.secure:
            return Access(urls)
        security = self.folder / "security"
        return Access(urls, USER, (security / "password").read_text(encoding="utf-8").strip(), str(security / "ca.pem"))

    def up(self, wanted: ClusterSettings, *, timeout_s: float) -> dict[str, Any]:
        """Start all nodes that do not run and wait for them; returns the cluster's health.

        An existing cluster keeps its data, and its ports while any node runs. Raises LocalError when a port is taken, a
        node ends, or the folder holds a cluster of another kind; Unavailable without Java, Maven or openssl.
        """
        require_linux()
        java, home = find_java(LEAST_JAVA), assemble(secure=wanted.secure)
        with locked(self.folder / "lock"):
            self._load()
            self._accept(wanted)
            if wanted.secure:
                make_security(self.folder / "security", home, java)
            down = [number for number in range(1, wanted.nodes + 1) if number not in self.running()]
            return self._start(down, home, java, timeout_s)

    def start(self, number: int, *, timeout_s: float) -> dict[str, Any]:
        """Bring one node back and wait until all running nodes see each other; returns the cluster's health."""
        settings = self._require(number)
        java, home = find_java(LEAST_JAVA), assemble(secure=settings.secure)
        with locked(self.folder / "lock"):
            self._load()
            return self._start([] if number in self.running() else [number], home, java, timeout_s)

    def kill(self, number: int) -> None:
        """End a node as a power cut would (-9). Raises LocalError when it does not run."""
        self._require(number)
        with locked(self.folder / "lock"):
            self._load()
            if number not in self.running():
                raise LocalError(f"node {number} does not run: start it with start-node {number}")
            self._stop([number], signal.SIGKILL)

    def down(self, *, wipe: bool) -> None:
        """Stop all nodes; with `wipe` at once and with their data. A cluster that does not run is no error."""
        if not self.folder.is_dir():
            return
        with locked(self.folder / "lock"):
            self._load()
            self._stop(list(self.processes), signal.SIGKILL if wipe else signal.SIGTERM)
            if wipe:
                shutil.rmtree(self.folder)

    def running(self) -> dict[int, ServerProcess]:
        """The processes of the nodes that run, by node."""
        return {number: process for number, process in self.processes.items() if process.alive()}

    def health(self) -> dict[str, Any]:
        """What the first running node says of the cluster; raises NoAnswer while it cannot say."""
        return dict(call(self.access(), "/_cluster/health", node=min(self.running(), default=1)))

    def _start(self, numbers: list[int], home: Path, java: Path, timeout_s: float) -> dict[str, Any]:
        """Start nodes and wait for them; when it fails none of them is left running."""
        settings = self._require()
        for number in numbers:
            require_free(settings.http_ports[number - 1])
            require_free(settings.transport_ports[number - 1])
        try:
            for number in numbers:
                process = start_node(self.folder, number, settings, new=not self.formed, home=home, java=java)
                self.processes[number] = process
                self.save()
            return self._wait(numbers, timeout_s)
        except BaseException:
            self._stop(numbers, signal.SIGKILL)
            raise

    def _stop(self, numbers: Sequence[int], how: signal.Signals) -> None:
        ended = [self.processes.pop(number) for number in numbers if number in self.processes]
        for process in ended:
            process.signal(how)
        for process in ended:
            process.wait(grace_s=GRACE_S)
        if ended:
            self.save()

    def _wait(self, started: Sequence[int], timeout_s: float) -> dict[str, Any]:
        """Wait until all nodes that run see each other, and of those just started none has ended."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            running = self.running()
            for number in started:
                if number not in running:
                    raise LocalError(f"node {number} ended: {self._reason(number)}")
            with suppress(NoAnswer):
                for number in started:  # a node is known to the others before it listens itself
                    call(self.access(), "/", node=number)
                health = self.health()
                if health["number_of_nodes"] >= len(running) and health["status"] != "red":
                    self.formed = True
                    self.save()
                    return health
            time.sleep(POLL_S)
        raise LocalError(f"the cluster was not ready after {timeout_s:.0f} s: see {self.folder}/node-*/logs/console.log")

    def _reason(self, number: int) -> str:
        """The line of a node's log that tells most, and where the rest is."""
        log = self.folder / f"node-{number}" / "logs" / "console.log"
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "Exception: " in line or line.lower().startswith("error")]
        return f"{(telling or lines or ['it said nothing'])[-1][:300]} (log: {log})"

    def _accept(self, wanted: ClusterSettings) -> None:
        """Take the wanted settings over, as far as the cluster that lies here allows."""
        old = self.settings
        if old and (old.nodes, old.secure) != (wanted.nodes, wanted.secure):
            kind = f"{old.nodes} nodes, {'secure' if old.secure else 'plain'}"
            raise LocalError(f"{self.folder} holds a cluster of {kind}: start it as that, or remove it with down --wipe")
        self.settings = old if old and self.running() else wanted

    def _require(self, number: int = 1) -> ClusterSettings:
        if self.settings is None:
            raise LocalError(f"no cluster in {self.folder}: start one with `python -m infra.local.opensearch up`")
        if not 1 <= number <= self.settings.nodes:
            raise LocalError(f"there is no node {number}: choose one from 1 to {self.settings.nodes}")
        return self.settings

    def _load(self) -> None:
        with suppress(FileNotFoundError):
            state = json.loads((self.folder / "cluster.json").read_text(encoding="utf-8"))
            values = state["settings"]
            ports = {name: tuple(values[name]) for name in ("http_ports", "transport_ports")}
            self.settings = ClusterSettings(**{**values, **ports})
            self.processes = {int(number): ServerProcess(**process) for number, process in state["processes"].items()}
            self.formed = state["formed"]

    def save(self) -> None:
        """Write down what runs; whoever changes it holds the lock."""
        settings = asdict(self._require())
        processes = {str(number): asdict(process) for number, process in self.processes.items()}
        state = {"settings": settings, "processes": processes, "formed": self.formed}
        replace_text(self.folder / "cluster.json", json.dumps(state, indent=1) + "\n")


def choose_ports(nodes: int, first: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """HTTP and transport ports of the nodes: counted from `first`, the latter 100 above; for 0 any free ones."""
    if first == 0:
        found = free_ports(2 * nodes)
        return tuple(found[:nodes]), tuple(found[nodes:])
    return tuple(range(first, first + nodes)), tuple(range(first + 100, first + 100 + nodes))
