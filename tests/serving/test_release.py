"""Serving follows the champion between two requests, and takes back a release that does not come up."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import pytest

from ragkeep.app import Assistant
from ragkeep.config import load_params
from ragkeep.errors import IndexMissing, ModelError, ProviderAway, RagkeepError, ReleaseError, StoreError
from ragkeep.releases import point, pointer, read_release, save_release
from ragkeep.serving.auth import COOKIE
from ragkeep.serving.follow import Champion, passing
from ragkeep.serving.run import Rejecting
from ragkeep.types import Release
from tests.serving.conftest import Served, serve
from tests.serving.published import DOCUMENTS, project, promote, publish, serving_of
from tests.sizes import sizes

NEW = {**DOCUMENTS, "manual/pumps.md": "# Pumps\n\nPumps are serviced monthly by the owner.\n"}
ASK = {"message": "How often are pumps serviced?", "stream": False}


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_promotion_is_followed_without_a_restart(served: Served, client: httpx.Client) -> None:
    assert "yearly" in client.post("/v1/chat", json=ASK).json()["text"]
    publish(served.paths, NEW, number=2)
    until(lambda: served.app.state.server.champion.number == 2)
    found = client.post("/v1/chat", json=ASK).json()
    assert "monthly" in found["text"]
    assert found["release"] == "2"


def test_a_release_answers_in_the_words_of_its_glossary_and_says_so(served: Served, client: httpx.Client) -> None:
    asked = {"message": "How often are gatoraqs serviced?", "stream": False}
    assert client.post("/v1/chat", json=asked).json()["abstained"]
    params = load_params(served.paths.params)
    words = asdict(params.retrieve) | {"words": {"default": {"gatoraq": "pumps"}, "vault": {"zorbl": "canary"}}}
    release = replace(
        read_release(served.paths, 1), number=2, sha="with words", serving={**serving_of(params), "retrieve": words}
    )
    save_release(served.paths, release)
    promote(served.paths, 2)
    until(lambda: served.app.state.server.champion.number == 2)
    found = client.post("/v1/chat", json=asked).json()
    assert "yearly" in found["text"]
    assert "glossary:gatoraqs=pumps" in found["flags"]
    assert client.get(f"/v1/answers/{found['answer_id']}").json()["glossary"] == ["gatoraqs=pumps"]
    assert "zorbl" not in client.get(f"/v1/answers/{found['answer_id']}").text  # said by people of another workspace
    assert (
        "glossary:zorbl=canary" not in client.post("/v1/chat", json={**asked, "message": "zorbl code?"}).json()["flags"]
    )
    hits = client.post("/v1/search", json={"query": "gatoraq"}).json()["hits"]
    assert "Pumps" in hits[0]["text"]


@sizes(8, 100, slow=False)
def test_swaps_under_load_fail_no_request_and_mix_no_answer(tmp_path: Path, size: int) -> None:
    paths = project(tmp_path / "project", limits={"key_per_minute": 0, "workspace_per_minute": 0})
    publish(paths)
    for served in serve(paths):
        swapped(served, served.client(), size)


def swapped(served: Served, client: httpx.Client, size: int) -> None:
    publish(served.paths, NEW, number=2)
    says = {"1": "yearly", "2": "monthly"}
    stop, wrong, asked = threading.Event(), list[str](), list[int]()

    def ask() -> None:
        while not stop.is_set():
            reply = client.post("/v1/chat", json=ASK)
            found = reply.json()
            asked.append(1)
            if reply.status_code != 200 or says[found["release"]] not in found["text"]:
                wrong.append(reply.text)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(size):
        number = 1 + turn % 2
        promote(served.paths, number)
        until(lambda number=number: served.app.state.server.champion.number == number)  # type: ignore[misc]
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(asked) > size / 2


def test_a_release_that_does_not_come_up_is_not_used_and_said_so(served: Served, client: httpx.Client) -> None:
    broken = publish(served.paths, NEW, number=2)
    save_release(served.paths, replace(broken, number=3, index=replace(broken.index, name="docs-0000000000000000")))
    promote(served.paths, 3)
    until(lambda: served.app.state.server.champion.rejected is not None)
    found = client.get("/health")
    assert (found.status_code, found.json()["status"]) == (200, "degraded")
    assert "docs-0000000000000000" in found.json()["checks"]["newest_release"]["reason"]
    foreign = {"Cookie": f"{COOKIE}=x", "Origin": "http://["}
    for headers in ({}, {"Authorization": "Bearer rk_nobodys"}, foreign):  # a reason may name hosts
        stranger = httpx.get(f"{served.url}/health", headers=headers)
        assert (stranger.status_code, stranger.json()["status"]) == (200, "degraded")
        assert stranger.json()["checks"]["newest_release"] == {"ok": False}
    assert client.post("/v1/chat", json=ASK).json()["release"] in ("1", "2")


def test_without_a_release_the_next_step_is_said(served: Served, client: httpx.Client) -> None:
    point(served.paths, 0, previous=None, token=1)
    served.app.state.server.champion._assistant = None
    reply = client.post("/v1/chat", json=ASK)
    assert reply.status_code == 503
    assert "run `ragkeep nightly` first" in reply.json()["error"]["message"]
    assert client.get("/health").status_code == 503
    assert client.get("/health/live").status_code == 200


@pytest.mark.usefixtures("client")
def test_taking_back_needs_a_release_before_it(served: Served) -> None:
    at = pointer(served.paths)
    assert at is not None
    assert at.previous is None
    server = served.app.state.server
    with pytest.raises(RagkeepError, match="there is none before it"):
        asyncio.run(Rejecting(served.paths)(server.champion.assistant.release, "x"))


def test_a_server_that_starts_while_the_store_is_away_says_that_and_waits_for_it(served: Served) -> None:
    def load(release: Release) -> Assistant:
        raise StoreError("OpenSearch cannot be reached")

    waiting = Champion(served.paths, load)
    with pytest.raises(ReleaseError, match="run `ragkeep nightly` first"):
        waiting.assistant  # noqa: B018
    asyncio.run(waiting.look())
    with pytest.raises(ReleaseError, match="release 1 does not come up: StoreError: OpenSearch cannot be reached"):
        waiting.assistant  # noqa: B018
    assert waiting.rejected is None


def test_a_store_that_is_away_for_now_takes_no_release_back() -> None:
    assert passing(StoreError("away"))
    assert passing(ProviderAway("away"))
    assert not passing(IndexMissing("dropped"))
    assert not passing(ModelError("altered"))
