"""The commands: `python -m infra.local.opensearch up|status|env|down|kill-node|start-node|fetch`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LocalError
from ..processes import say
from .assemble import assemble, base_folder
from .cluster import Cluster, choose_ports
from .node import QUICK, ClusterSettings

EPILOG = """Transport ports lie 100 above the HTTP ports. The first start fetches 140 MB with Maven, 190 MB with --secure.
RAGKEEP_OPENSEARCH_HOME says where all is kept (default: ~/.cache/ragkeep/opensearch), OPENSEARCH_JAVA_HOME which JDK
runs it (21 or newer), RAGKEEP_OPENSEARCH_PASSWORD the password of a new secured cluster (default: a random one)."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; an error is one line and exit code 1."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except LocalError as error:
        say(f"error: {error}")
        return 1


def _up(options: argparse.Namespace) -> int:
    begin = time.monotonic()
    http_ports, transport_ports = choose_ports(options.nodes, options.port)
    settings = ClusterSettings(http_ports, transport_ports, options.secure, options.heap, options.jvm)
    cluster = Cluster(options.data)
    health = cluster.up(settings, timeout_s=options.timeout)
    say(f"{cluster.access().urls[0]} is up after {time.monotonic() - begin:.1f} s: {_summary(health)}")
    say("`env` prints what a client needs")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = Cluster(options.data)
    running = cluster.running()
    for number, url in enumerate(cluster.access().urls, 1):
        process = running.get(number)
        use = f"pid {process.pid}, {process.memory_mb()} MiB, {process.cpu_s():.1f} CPU s" if process else "down"
        sys.stdout.write(f"node {number}  {url}  {use}\n")
    if not running:
        raise LocalError("no node runs: start the cluster with up")
    sys.stdout.write(f"{_summary(cluster.health())}\n")
    return 0


def _summary(health: dict[str, Any]) -> str:
    return f"{health['status']}, {health['number_of_nodes']} node(s), {health['active_shards']} active shards"


def _env(options: argparse.Namespace) -> int:
    access = Cluster(options.data).access()
    values = {"STORE": "opensearch", "OPENSEARCH_URL": ",".join(access.urls)}
    if access.ca:
        values |= {"OPENSEARCH_USER": access.user, "OPENSEARCH_CA": access.ca, "OPENSEARCH_PASSWORD": access.password}
    for name, value in values.items():
        sys.stdout.write(f"export RAGKEEP_{name}={shlex.quote(value)}\n")
    return 0


def _down(options: argparse.Namespace) -> int:
    Cluster(options.data).down(wipe=options.wipe)
    say("down, data removed" if options.wipe else "down")
    return 0


def _kill_node(options: argparse.Namespace) -> int:
    Cluster(options.data).kill(options.node)
    say(f"node {options.node} is killed")
    return 0


def _start_node(options: argparse.Namespace) -> int:
    health = Cluster(options.data).start(options.node, timeout_s=options.timeout)
    say(f"node {options.node} is up: {_summary(health)}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    sys.stdout.write(f"{assemble(secure=options.secure)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local.opensearch", description=__doc__, epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _command(commands, "up", _up, "start the cluster and wait for it")
    up.add_argument("--nodes", type=int, default=1, choices=range(1, 10), metavar="N", help="default: 1")
    up.add_argument("--secure", action="store_true", help="TLS and a password")
    up.add_argument("--port", type=int, default=9200, help="of the first node, 0 for any free ones; default: 9200")
    up.add_argument("--heap", default="512m", help="of each node; default: 512m")
    up.add_argument("--jvm", default=QUICK, help=f"more Java options; default, for quick starts: --jvm='{QUICK}'")
    _command(commands, "status", _status, "show the nodes and the health; exit code 1 when down")
    _command(commands, "env", _env, "print how ragkeep finds it, for eval in a shell")
    _command(commands, "down", _down, "stop").add_argument("--wipe", action="store_true", help="and remove all data")
    start = _command(commands, "start-node", _start_node, "bring a killed node back")
    for node in (_command(commands, "kill-node", _kill_node, "kill -9 a node"), start):
        node.add_argument("node", type=int, metavar="I", help="counted from 1")
    for waiting in (up, start):
        waiting.add_argument("--timeout", type=float, default=240, help="seconds to wait; default: 240")
    fetch = commands.add_parser("fetch", help="only fetch and assemble; prints the server's home")
    fetch.add_argument("--secure", action="store_true", help="with the security plugin")
    fetch.set_defaults(run=_fetch)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text)
    command.add_argument("--data", type=Path, default=base_folder() / "cluster", help="the cluster's folder")
    command.set_defaults(run=run)
    return command


if __name__ == "__main__":
    sys.exit(main())
