"""What ends in the middle: releases that were swapped out, answers that are stopped, deletions that are killed."""

import asyncio
import gc
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx

from ragkeep.answer import Asked
from ragkeep.app import load_release
from ragkeep.config import ToolParams, load_params
from ragkeep.interactions import read
from ragkeep.releases import require_champion
from ragkeep.serving.deletions import Deletions
from ragkeep.types import Interaction, Message
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.serving.test_documents import ASK as ASK_UPLOAD
from tests.serving.test_documents import upload
from tests.serving.test_release import ASK, until


def answers(served: Served) -> list[Interaction]:
    return [one for one in read(served.paths.interactions) if one.kind == "answer"]


def test_a_models_search_keeps_the_callers_filters(tmp_path: Path) -> None:
    paths = project(tmp_path / "project")
    publish(paths)
    assistant = load_release(paths, load_params(paths.params), require_champion(paths))
    assistant = replace(assistant, answer=replace(assistant.answer, tools=ToolParams(search=True)))
    [ability] = assistant.abilities(Asked("?", filters={"uri": "manual/lids.md"}))
    hits: Any = ability.do({"query": "How often are pumps serviced?"})
    assert {hit.chunk.uri for hit in hits} == {"manual/lids.md"}


def test_a_release_that_was_swapped_out_goes_with_the_last_request_on_it(served: Served, client: httpx.Client) -> None:
    client.post("/v1/chat", json=ASK)
    champion = served.app.state.server.champion
    under_way = champion.assistant
    store = weakref.ref(under_way.store)
    publish(served.paths, number=2)
    until(lambda: champion.number == 2, 30)
    assert store() is not None
    del under_way

    def gone() -> bool:
        gc.collect()
        return store() is None

    until(gone, 30)


class Slow:
    """A memory that takes for ever to write a turn down."""

    trouble = None

    async def append(self, _session: str, *_turns: Message) -> None:
        await asyncio.sleep(60)

    async def recent(self, _session: str) -> list[Message]:
        return []


def test_an_answer_that_is_stopped_after_it_was_logged_is_logged_once(served: Served, client: httpx.Client) -> None:
    chat = served.app.state.server.chat
    memory, chat.memory = chat.memory, Slow()
    with client.stream("POST", "/v1/chat", json={**ASK, "stream": True}) as reply:
        lines = reply.iter_lines()
        answer = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ").rpartition(":")[0]
        until(lambda: len(answers(served)) == 1, 30)
        assert client.delete(f"/v1/chat/{answer}").status_code == 204
        assert '"stopped"' in "".join(lines)
    chat.memory = memory
    assert [(one.answer, one.payload["aborted"]) for one in answers(served)] == [(answer, False)]
    assert not chat._logged


def test_an_answer_whose_document_was_deleted_meanwhile_is_neither_logged_nor_remembered(
    served: Served, client: httpx.Client
) -> None:
    server = served.app.state.server
    server.live.remove("default", "manual/pumps.md")  # and the answer still sees the release as it was
    made = client.post("/v1/chat", json=ASK).json()
    assert made["sources"][0]["uri"] == "manual/pumps.md"
    assert not made["logged"]
    assert not answers(served)
    follow = {"message": "And by whom?", "session": made["session"], "stream": False}
    assert client.post("/v1/chat", json=follow).json()["abstained"]


def test_a_deletion_that_was_killed_half_way_is_finished_at_the_next_start(tmp_path: Path) -> None:
    paths = project(tmp_path / "project")
    publish(paths)
    notes = Deletions(paths.state / "deleting")
    for served in serve(paths):
        client = served.client()
        found = upload(client)
        client.post("/v1/chat", json=ASK_UPLOAD)
        uploads = served.app.state.server.uploads
        record = uploads.catalog.document(found["id"])
        try:
            with notes.noted("document", asdict(record)):
                uploads.delete(record.id)
                raise KeyboardInterrupt  # the process ends here
        except KeyboardInterrupt:
            assert len(notes.open()) == 1
        assert any("forty rounds" in str(one.payload) for one in answers(served))
    for served in serve(paths):
        assert not answers(served)
        assert not notes.open()
        assert served.client().post("/v1/chat", json=ASK_UPLOAD).json()["abstained"]


def test_so_is_that_of_a_workspace(tmp_path: Path) -> None:
    paths = project(tmp_path / "project")
    publish(paths)
    notes = Deletions(paths.state / "deleting")
    for served in serve(paths):
        client = served.client()
        room = client.post("/v1/workspaces", json={"name": "room"}).json()["id"]
        upload(client, workspace=room)
        client.post("/v1/chat", json={**ASK_UPLOAD, "workspace": room})
        uploads = served.app.state.server.uploads
        try:
            with notes.noted("workspace", {"id": room}):
                uploads.catalog.delete_workspace(room)
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert answers(served)
    for served in serve(paths):
        assert not answers(served)
        assert not notes.open()
        assert not list((paths.uploads / room).iterdir())


def test_a_deletion_of_what_is_not_there_leaves_no_note(served: Served, client: httpx.Client) -> None:
    assert client.delete("/v1/workspaces/nowhere").status_code == 404
    assert not Deletions(served.paths.state / "deleting").open()
