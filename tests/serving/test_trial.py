"""A challenger beside the champion, over HTTP: in the shadow, for a share of people, or mixed in; never in the way."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkeep.errors import StoreError
from ragkeep.generators.resilient import Resilient
from ragkeep.interactions import impressions, read
from ragkeep.ports import Delta, Request
from ragkeep.releases import save_release
from ragkeep.serving.challenger import FAILURES
from ragkeep.serving.trial import WAITING, Asking
from ragkeep.stores.memory import MemoryStore
from ragkeep.trials import Trial, TrialMode, begin_trial, trial_path
from ragkeep.types import Hit, Interaction, Query, Sampling
from tests.serving.conftest import Served, serve
from tests.serving.published import DOCUMENTS, project, promote, publish

NEW = {**DOCUMENTS, "manual/pumps.md": "# Pumps\n\nPumps are serviced monthly by the owner.\n"}
ASK = {"message": "How often are pumps serviced?", "stream": False}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server of release 1, which says yearly; release 2, which says monthly, is there too."""
    paths = project(tmp_path / "project")
    publish(paths)
    publish(paths, NEW, number=2)
    promote(paths, 1)
    yield from serve(paths)


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(served: Served, mode: TrialMode, *, number: int = 2, share: float = 1.0) -> None:
    """Put a release on trial, and wait until the server has taken it up or given up on it."""
    trial = Trial(f"{number}-1", number, 1, mode, share, "user", "2026-11-21", "", 0, 1, "ann", "")
    begin_trial(served.paths, trial)
    challenger = served.app.state.server.challenger
    until(lambda: challenger.trouble or (challenger._contest and challenger._contest.trial == trial))


def ask(client: httpx.Client, **more: Any) -> dict[str, Any]:
    reply = client.post("/v1/chat", json={**ASK, **more})
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


def logged(served: Served, kind: str = "answer") -> list[Interaction]:
    return [record for record in read(served.paths.interactions) if record.kind == kind]


def counted(client: httpx.Client, outcome: str) -> float:
    line = f'ragkeep_trial_answers_total{{outcome="{outcome}"}} '
    return float(next(row for row in client.get("/metrics").text.splitlines() if row.startswith(line)).removeprefix(line))


def test_in_the_shadow_the_champion_answers_and_the_log_knows_what_the_challenger_would_have_shown(
    served: Served, client: httpx.Client
) -> None:
    begin(served, "shadow")
    found = ask(client)
    assert ("yearly" in found["text"], found["release"]) == (True, "1")
    until(lambda: logged(served, "shadow"))
    [record] = logged(served, "shadow")
    assert (record.answer, record.release, record.payload["abstained"]) == (found["answer_id"], "2", False)
    assert record.payload["shown"][0]["uri"] == "manual/pumps.md"
    assert client.get(f"/v1/answers/{found['answer_id']}").json()["feedback"] == []
    told = client.get("/v1/ops/trial").json()
    assert (told["winner"], told["answers"], told["measures"][0]["measure"]) == ("too few", 1, "overlap@5")
    assert counted(client, "shadowed") == 1


def test_a_share_of_the_people_gets_the_challengers_answers_until_it_is_promoted(
    served: Served, client: httpx.Client
) -> None:
    begin(served, "split")
    found = ask(client)
    assert ("monthly" in found["text"], found["release"]) == (True, "2")
    promote(served.paths, 2)
    until(lambda: served.app.state.server.champion.number == 2)
    assert ask(client)["release"] == "2"
    assert [(r.release, r.payload["trial"]) for r in logged(served)] == [
        ("2", {"id": "2-1", "mode": "split", "side": "challenger"}), ("2", None),
    ]  # fmt: skip
    assert logged(served)[0].payload["index"] == served.app.state.server.champion.assistant.release.index.name


def test_who_is_on_the_champions_side_is_answered_by_it_and_counted(served: Served, client: httpx.Client) -> None:
    begin(served, "split", share=1e-9)
    assert ask(client)["release"] == "1"
    assert logged(served)[0].payload["trial"]["side"] == "champion"


def test_mixed_sources_come_from_both_and_the_answer_says_which_side_chose_each(
    served: Served, client: httpx.Client
) -> None:
    begin(served, "interleave")
    found = ask(client)
    [record] = logged(served)
    part, shown = record.payload["trial"], impressions(record)
    assert (found["release"], record.release, part["challenger"]) == ("1", "1", "2")
    assert {team for team in part["teams"] if team} == {"champion", "challenger"}
    assert len([one for one in shown if one.uri == "manual/pumps.md"]) == 2  # each side has its own edition
    assert {citation["source"] for citation in found["citations"]} <= {source["n"] for source in found["sources"]}
    told = client.get(f"/v1/answers/{found['answer_id']}").json()
    assert (told["release_details"]["number"], told["challenger_details"]["number"]) == (1, 2)
    theirs = part["teams"].index("challenger") + 1
    client.post("/v1/feedback", json={"answer_id": found["answer_id"], "kind": "click", "n": theirs})
    assert client.get("/v1/ops/trial").json()["counts"]["wins"] == 1


def test_a_document_that_was_deleted_is_not_shown_by_the_challenger_either(served: Served, client: httpx.Client) -> None:
    begin(served, "interleave")
    server = served.app.state.server
    server.live.remove("default", "manual/pumps.md")
    server.refresh()
    assert "manual/pumps.md" not in {source["uri"] for source in ask(client)["sources"]}


def test_another_workspaces_documents_do_not_come_in_by_the_challenger(served: Served, client: httpx.Client) -> None:
    begin(served, "interleave")
    sources = ask(client, message="What is the canary code of the vault?")["sources"]
    assert {source["uri"] for source in sources} <= set(NEW)


class Broken(MemoryStore):
    """A store that fails."""

    def search(self, index: str, query: Query) -> list[Hit]:
        """Fail."""
        raise StoreError(f"{index} is away")


@pytest.mark.parametrize("mode", ["split", "interleave", "shadow"])
def test_a_challenger_that_fails_fails_no_request_and_is_left_out(
    served: Served, client: httpx.Client, mode: TrialMode
) -> None:
    begin(served, mode)
    server = served.app.state.server
    server.challenger.replace(lambda assistant: replace(assistant, store=Broken()))
    for _ in range(FAILURES):
        found = ask(client)
        assert ("yearly" in found["text"], found["release"], found["logged"]) == (True, "1", True)
    until(lambda: server.challenger.trouble)
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert "is away" in health.json()["checks"]["challenger"]["reason"]
    assert counted(client, "failed" if mode == "shadow" else "fallback") == FAILURES
    assert ask(client)["release"] == "1"
    assert logged(served)[-1].payload["trial"] is None


class Breaking:
    """A generator that stops after some words."""

    name = "extractive"

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Say something and fail."""
        yield Delta("Pumps are serviced monthly by ")
        raise RuntimeError("the model is gone")


def test_one_that_fails_in_the_middle_of_an_answer_is_followed_by_the_champions(
    served: Served, client: httpx.Client
) -> None:
    begin(served, "split")
    answering = Resilient([Breaking()], deadline_s=10)
    served.app.state.server.challenger.replace(lambda assistant: replace(assistant, answering=answering))
    found = ask(client)
    assert (found["text"].count("yearly"), "monthly" in found["text"], found["release"]) == (1, False, "1")
    [record] = logged(served)
    assert (record.release, record.payload["trial"]["side"]) == ("1", "challenger")
    assert record.payload["index"] == served.app.state.server.champion.assistant.release.index.name


def test_a_challenger_without_its_index_is_left_out(served: Served, client: httpx.Client) -> None:
    release = served.app.state.server.champion.assistant.release
    broken = replace(release, number=3, index=replace(release.index, name="docs-0000000000000000"))
    save_release(served.paths, broken)
    begin(served, "split", number=3)
    assert ask(client)["release"] == "1"
    assert "release 3 does not come up" in client.get("/health").json()["checks"]["challenger"]["reason"]


def test_a_damaged_trial_file_leaves_the_champion_alone_with_one_message(
    served: Served, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    begin(served, "split")
    trial_path(served.paths).write_text('{"id": 7')
    server = served.app.state.server
    until(lambda: server.challenger.trouble)
    time.sleep(0.8)  # a few looks more
    assert ask(client)["release"] == "1"
    assert "`ragkeep releases trial stop`" in client.get("/health").json()["checks"]["challenger"]["reason"]
    assert "`ragkeep releases trial stop`" in client.get("/v1/ops/trial").json()["trouble"]
    assert sum("left out" in line.message for line in caplog.records) == 1
    trial_path(served.paths).unlink()
    until(lambda: not server.challenger.trouble)
    assert client.get("/health").json()["status"] == "ok"


@pytest.mark.usefixtures("client")
def test_more_than_the_shadow_can_hold_is_dropped_and_counted(served: Served, client: httpx.Client) -> None:
    begin(served, "shadow")
    trials = served.app.state.server.chat.trials
    contest = trials.challenger._contest
    waiting: Asking = Asking(contest, "a", None, "", "u", "s", 0.0)  # type: ignore[arg-type]  # nobody looks at it
    trials._queue._queue.extend([waiting] * WAITING)  # a shadow that is busy
    ask(client)
    assert counted(client, "dropped") == 1
