"""Amazon's DynamoDB Local, which keeps its tables in a file: `python -m infra.local.dynamodb up|status|env|down`.

The server comes from Maven, each of its jars (dynamodb.txt) by coordinate and sha256. It takes any keys, and listens on
every interface (it has no option for one): for test data only. `env` prints what AWS clients read. Tables are made by
the client.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .java import find_java
from .maven import Artifact, fetch
from .processes import locked
from .single import Service, run, service_folder

VERSION = "3.1.0"
JAVA = 17
REGION = "us-east-1"
QUICK = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Java options for a quick start and a small footprint."""


def artifacts() -> list[Artifact]:
    """Everything the server is made of, as dynamodb.txt lists it: `group:name:version type sha256`."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    return [Artifact(coordinate, sha256, kind) for coordinate, kind, sha256 in map(str.split, lines)]


def jars() -> Path:
    """Return the folder of the server's jars, fetching what is not here yet."""
    folder = service_folder("dynamodb") / VERSION
    with locked(folder.parent / "fetch.lock"):
        fetch(artifacts(), folder)
    return folder


def _prepare(folder: Path) -> None:
    find_java(JAVA)
    jars()
    (folder / "tables").mkdir(parents=True, exist_ok=True)


def _command(folder: Path, port: int) -> list[str]:
    home = service_folder("dynamodb") / VERSION
    java = [str(find_java(JAVA) / "bin" / "java"), *QUICK, f"-Djava.library.path={home}", "-cp", f"{home}/*"]
    server = ["software.amazon.dynamodb.services.local.main.ServerRunner", "-port", str(port)]
    return [*java, *server, "-sharedDb", "-dbPath", str(folder / "tables"), "-disableTelemetry"]


def _settings(_: Path, port: int) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{port}", **keys, "AWS_DEFAULT_REGION": REGION}


SERVICE = Service(
    "dynamodb",
    port=8000,
    prepare=_prepare,
    command=_command,
    environment=lambda _: {},
    settings=_settings,
)

if __name__ == "__main__":
    sys.exit(run(SERVICE, __doc__ or ""))
