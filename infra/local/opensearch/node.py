"""One OpenSearch server: its settings, its Java options, its start.

Java is started at once, not through the distribution's shell script, which first runs two more Java programs to find
options that are known here.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..processes import ServerProcess, replace_text, spawn, unprivileged
from .security import install_security, security_settings

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Halves the CPU time of a start and wants little memory. For measurements give `--jvm=-XX:+UseG1GC`."""

CLEARED = ("JAVA_", "JDK_JAVA_", "OPENSEARCH_")
"""Environment variables that would change the server's start behind our back start with these."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What all nodes of a cluster have in common; the first node's ports come first."""

    http_ports: tuple[int, ...]
    transport_ports: tuple[int, ...]
    secure: bool
    heap: str
    jvm: str

    @property
    def nodes(self) -> int:
        """How many nodes the cluster has."""
        return len(self.http_ports)


def start_node(folder: Path, number: int, common: ClusterSettings, *, new: bool, home: Path, java: Path) -> ServerProcess:
    """Configure and start one node, counted from 1; `new` is said to all nodes of a cluster that has no data yet."""
    node = folder / f"node-{number}"
    for part in ("config", "data", "logs", "tmp"):
        (node / part).mkdir(parents=True, exist_ok=True)
    config = node / "config"
    replace_text(config / "opensearch.yml", json.dumps(_settings(number, node, common, new=new), indent=1))
    shutil.copy(home / "config" / "log4j2.properties", config)
    if common.secure:
        install_security(folder / "security", config)
    command = [*unprivileged(), *_java_command(node, common, home, java)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    return spawn(command, cwd=home, env=env, log=node / "logs" / "console.log")


def _settings(number: int, node: Path, settings: ClusterSettings, *, new: bool) -> dict[str, Any]:
    yml: dict[str, Any] = {
        "cluster.name": "ragkeep-local",
        "node.name": f"node-{number}",
        "network.host": "127.0.0.1",
        "http.port": settings.http_ports[number - 1],
        "transport.port": settings.transport_ports[number - 1],
        "path.data": str(node / "data"),
        "path.logs": str(node / "logs"),
        # a full disk is to be tested on purpose, not met by chance
        "cluster.routing.allocation.disk.threshold_enabled": False,
    }
    if settings.nodes == 1:
        yml["discovery.type"] = "single-node"
    else:
        yml["discovery.seed_hosts"] = [f"127.0.0.1:{port}" for port in settings.transport_ports]
        if new:  # later this could found a second cluster beside the one that a node had lost sight of
            yml["cluster.initial_cluster_manager_nodes"] = [f"node-{i + 1}" for i in range(settings.nodes)]
    return yml | (security_settings() if settings.secure else {})


def _java_command(node: Path, settings: ClusterSettings, home: Path, java: Path) -> list[str]:
    return [
        f"{java}/bin/java",
        *(f"-Xmx{settings.heap}", "-Xms64m", "-Xss1m", "-XX:+ExitOnOutOfMemoryError"),
        # what the server's own launcher would say
        *("-Djava.awt.headless=true", "-Dfile.encoding=UTF-8", "-Djna.nosys=true", "-XX:-OmitStackTraceInFastThrow"),
        *("-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true", "-Dio.netty.allocator.type=unpooled"),
        *("-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0"),
        *("-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true"),
        *(f"-Djava.io.tmpdir={node / 'tmp'}", f"-XX:ErrorFile={node / 'logs'}/crash-%p.log"),
        *("-Dopensearch.networkaddress.cache.ttl=60", "-Dopensearch.networkaddress.cache.negative.ttl=10"),
        *("-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1", "--add-modules=jdk.incubator.vector"),
        *(f"-javaagent:{home}/agent/opensearch-agent.jar", "--add-opens=java.base/java.nio=ALL-UNNAMED"),
        *(f"-Dopensearch.path.home={home}", f"-Dopensearch.path.conf={node}/config"),
        *("-Dopensearch.distribution.type=zip", "-Dopensearch.bundled_jdk=false"),
        *shlex.split(settings.jvm),
        *("-cp", f"{home}/lib/*", "org.opensearch.bootstrap.OpenSearch"),
    ]
