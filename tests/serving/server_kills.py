"""Kill a server with SIGKILL while it answers and takes uploads, and count what was acknowledged and is lost.

    python -m tests.serving.server_kills --kills 50 [--seed 0]

After each kill: the interaction log is readable, what was said to be logged is in it, uploads that were acknowledged are
listed and still answer after the next start, and the budget of the key is at least what its answers used.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ragkeep.config import Paths, load_params
from ragkeep.database import Database
from ragkeep.interactions import read
from ragkeep.serving.keys import Keys
from ragkeep.serving.principal import ALL, LOCAL, SCOPES
from ragkeep.serving.run import run
from tests.serving.published import project, publish

ASK = {"message": "How often are pumps serviced by the vendor?", "stream": False}


@dataclass
class Told:
    """What clients were told."""

    logged: set[str] = field(default_factory=set)
    uploads: set[str] = field(default_factory=set)
    tokens: int = 0


def child(root: Path) -> None:
    """Serve until killed."""
    paths = Paths(root)
    run(paths, load_params(paths.params), host=None, port=0)


def started(root: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a server; return it and its URL."""
    command = [sys.executable, "-m", "tests.serving.server_kills", "--child", str(root)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout
    line = server.stdout.readline()
    return server, line.split("Serving on ")[1].split(". ")[0]


def ended(server: subprocess.Popen[str]) -> None:
    """Kill a server."""
    server.send_signal(signal.SIGKILL)
    server.communicate()


def asking(client: httpx.Client, told: Told) -> None:
    """Ask until the server is gone."""
    with suppress(httpx.HTTPError):
        while made := client.post("/v1/chat", json=ASK).json():
            told.tokens += sum(made["usage"].values())
            if made["logged"]:
                told.logged.add(made["answer_id"])


def uploading(client: httpx.Client, told: Told, turn: int) -> None:
    """Upload until the server is gone, at most five."""
    with suppress(httpx.HTTPError):
        for n in range(5):
            text = f"# Mill {turn}\n\nThe mill of number {turn}-{n} turns.\n"
            reply = client.post("/v1/documents", files={"file": (f"{turn}-{n}.md", text.encode())})
            if reply.status_code == 202:
                told.uploads.add(reply.json()["id"])


def one_kill(root: Path, secret: str, told: Told, turn: int, rng: random.Random) -> None:
    """Start, load, kill."""
    server, url = started(root)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        work = [threading.Thread(target=asking, args=(client, told)) for _ in range(3)]
        work.append(threading.Thread(target=uploading, args=(client, told, turn)))
        for one in work:
            one.start()
        time.sleep(rng.uniform(0.1, 1.5))
        ended(server)
        for one in work:
            one.join()


def held(root: Path, secret: str, told: Told) -> dict[str, int]:
    """Start once more; count what of the acknowledged is lost."""
    lost_answers = told.logged - {one.answer for one in read(Paths(root).interactions)}
    server, url = started(root)
    try:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
            lost_uploads = sum(not settled(client, one) for one in told.uploads)
            spent = max(row["tokens"] for row in client.get("/v1/me").json()["spent"])
    finally:
        ended(server)
    return {
        "answers acknowledged": len(told.logged), "answers lost": len(lost_answers),
        "uploads acknowledged": len(told.uploads), "uploads lost": lost_uploads,
        "tokens not booked": max(0, told.tokens - spent),
    }  # fmt: skip


def settled(client: httpx.Client, document: str) -> bool:
    """Whether an upload is processed, waiting for it."""
    deadline = time.monotonic() + 600
    while (reply := client.get(f"/v1/documents/{document}")).is_success and time.monotonic() < deadline:
        if reply.json()["status"] != "submitted":
            return bool(reply.json()["status"] == "processed")
        time.sleep(0.1)
    return False


def kills(root: Path, count: int, seed: int) -> dict[str, int]:
    """Kill a server so many times; return what was acknowledged and what of it is lost."""
    paths = project(root, limits={"key_per_minute": 0, "workspace_per_minute": 0})
    publish(paths)
    database = Database(paths.serving)
    _, secret = Keys(database).create("kills", roles={ALL: "admin"}, scopes=SCOPES, by=LOCAL)
    database.close()
    told, rng = Told(), random.Random(seed)
    for turn in range(count):
        one_kill(root, secret, told, turn, rng)
    return {"kills": count, **held(root, secret, told)}


def main() -> None:
    """Parse arguments, kill, report."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--child", type=Path)
    given = arguments.parse_args()
    if given.child:
        return child(given.child)
    root = Path(tempfile.mkdtemp())
    try:
        sys.stdout.write(f"{kills(root / 'project', given.kills, given.seed)}\n")
    finally:
        shutil.rmtree(root)
    return None


if __name__ == "__main__":
    main()
