"""The disk of the interaction log fills up while people ask: they are answered, and told that it is not kept."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.serving.test_rubbish import until

ASK = {"message": "How often are pumps serviced?", "stream": False}


def mounted(folder: Path, size: str) -> None:
    """Mount a small file system, or skip."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")


@pytest.fixture(params=["interactions", "state"])
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Served, Path]]:
    """A server whose log, or all of whose state, is on a file system of a megabyte or two."""
    paths = project(tmp_path / "project")
    folder = getattr(paths, request.param)
    mounted(folder, "1m" if request.param == "interactions" else "4m")
    try:
        publish(paths)
        yield from ((served, folder) for served in serve(paths))
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 512, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def test_answers_go_on_unlogged_and_the_log_recovers(small: tuple[Served, Path]) -> None:
    served, folder = small
    client = served.client()
    assert client.post("/v1/chat", json=ASK).json()["logged"]
    filler = fill(folder)
    until(lambda: not asked(client)["logged"], 20)
    made = asked(client)
    assert ("yearly" in made["text"], made["logged"]) == (True, False)
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    filler.unlink()
    until(lambda: client.get("/health").json()["status"] == "ok", 60)
    assert asked(client)["logged"]


def asked(client: httpx.Client) -> dict[str, object]:
    reply = client.post("/v1/chat", json=ASK)
    assert reply.status_code == 200, reply.text
    time.sleep(0.01)
    return dict(reply.json())
