"""Uploads: in the answers within seconds, in the next night, and out of everything again when they are deleted."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkeep.config import load_params
from ragkeep.interactions import read
from tests.serving.conftest import Served, serve
from tests.serving.published import DOCUMENTS, project, publish

TURBINE = b"# Turbines\n\nThe turbine of the blue mill turns at forty rounds a minute.\n"
ASK = {"message": "How fast does the turbine of the blue mill turn?", "stream": False}


def upload(client: httpx.Client, name: str = "turbine.md", data: bytes = TURBINE, **form: str) -> dict[str, Any]:
    """Upload a file and wait until it is processed or refused."""
    reply = client.post("/v1/documents", files={"file": (name, data)}, data=form)
    assert reply.status_code == 202, reply.text
    deadline = time.monotonic() + 30
    while (found := client.get(f"/v1/documents/{reply.json()['id']}").json())["status"] == "submitted":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(found)


def test_an_upload_is_answered_from_at_once_and_cited(client: httpx.Client) -> None:
    assert client.post("/v1/chat", json=ASK).json()["abstained"]
    found = upload(client)
    assert (found["status"], found["chunks"], found["uri"]) == ("processed", 1, "uploads-default/turbine.md")
    made = client.post("/v1/chat", json=ASK).json()
    [citation] = made["citations"]
    assert (citation["uri"], citation["lines"]) == ("uploads-default/turbine.md", [3, 3])
    around = client.get("/v1/source", params={"uri": citation["uri"], "around": "3,3"}).json()
    assert around["lines"][2] == "The turbine of the blue mill turns at forty rounds a minute."


def test_what_was_there_before_is_still_found(client: httpx.Client) -> None:
    upload(client)
    hits = client.post("/v1/search", json={"query": "How often are pumps serviced?"}).json()["hits"]
    assert hits[0]["uri"] == "manual/pumps.md"


def test_the_next_night_finds_it_as_a_source_and_its_release_needs_no_help(served: Served, client: httpx.Client) -> None:
    upload(client)
    [manual, uploads] = load_params(served.paths.params).sources
    assert (uploads.name, uploads.workspace) == ("uploads-default", "default")
    assert [path.name for path in uploads.root.iterdir()] == ["turbine.md"]
    assert manual.name == "manual"


def test_an_upload_survives_a_swap_and_a_restart(served: Served, client: httpx.Client) -> None:
    upload(client)
    publish(served.paths, {**DOCUMENTS, "manual/new.md": "# New\n\nSomething else.\n"}, number=2)
    deadline = time.monotonic() + 10
    while served.app.state.server.champion.number != 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    found = client.post("/v1/chat", json=ASK).json()
    assert (found["release"], found["abstained"]) == ("2", False)


def test_after_a_restart_uploads_are_still_answered_from(tmp_path: Path) -> None:
    paths = project(tmp_path / "project")
    publish(paths)
    for turn in range(2):
        for served in serve(paths):
            client = served.client()
            if turn == 0:
                upload(client)
            assert not client.post("/v1/chat", json=ASK).json()["abstained"]


def test_deleting_takes_it_out_of_the_answers_the_log_and_the_files(served: Served, client: httpx.Client) -> None:
    found = upload(client)
    client.post("/v1/chat", json=ASK)
    gone = client.delete(f"/v1/documents/{found['id']}").json()
    assert (gone["status"], gone["erased_interactions"], gone["models_trained_on"]) == ("deleted", 1, [])
    assert client.post("/v1/chat", json=ASK).json()["abstained"]
    assert client.get(f"/v1/documents/{found['id']}").status_code == 404
    assert not list((served.paths.uploads / "default").iterdir())
    assert not any("forty rounds" in str(one.payload) for one in read(served.paths.interactions))


def test_a_document_of_the_index_that_is_replaced_by_an_upload_is_hidden(served: Served) -> None:
    live = served.app.state.server.live
    live.remove("default", "manual/pumps.md")
    served.app.state.server.refresh()
    hits = served.client().post("/v1/search", json={"query": "How often are pumps serviced?"}).json()["hits"]
    assert hits
    assert "manual/pumps.md" not in {hit["uri"] for hit in hits}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [("x.exe", b"MZ", "unsupported"), ("empty.md", b"", "empty"), ("broken.docx", b"no zip", "damaged")],
)
def test_a_bad_file_ends_with_its_reason_and_holds_up_no_other(
    client: httpx.Client, name: str, data: bytes, reason: str
) -> None:
    found = upload(client, name, data)
    assert (found["status"], found["reason"].partition(":")[0]) == ("error", reason)
    assert upload(client)["status"] == "processed"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/abs.md", "a/../b.md", "..\\..\\c.md"])
def test_a_name_cannot_leave_its_folder(served: Served, client: httpx.Client, name: str) -> None:
    client.post("/v1/documents", files={"file": (name, TURBINE)})
    kept = [path for path in served.paths.uploads.rglob("*") if path.is_file()]
    assert all(path.parent == served.paths.uploads / "default" for path in kept)


def test_a_name_is_taken_once_in_a_workspace(client: httpx.Client) -> None:
    upload(client)
    assert client.post("/v1/documents", files={"file": ("turbine.md", TURBINE)}).status_code == 409


def test_a_reader_may_not_upload_and_a_stranger_not_even_look(served: Served, client: httpx.Client) -> None:
    found = upload(client)
    reader, stranger = served.client({"default": "reader"}), served.client({"vault": "admin"})
    assert reader.post("/v1/documents", files={"file": ("x.md", TURBINE)}).status_code == 403
    assert reader.get(f"/v1/documents/{found['id']}").status_code == 200
    assert stranger.get(f"/v1/documents/{found['id']}").status_code == 404
    assert stranger.delete(f"/v1/documents/{found['id']}").status_code == 404
    assert stranger.get("/v1/documents").status_code == 403


def test_a_workspace_is_made_filled_and_deleted(served: Served, client: httpx.Client) -> None:
    room = client.post("/v1/workspaces", json={"name": "Blue Mill"}).json()
    upload(client, workspace=room["id"])
    answer = client.post("/v1/chat", json={**ASK, "workspace": room["id"]}).json()
    assert not answer["abstained"]
    assert client.post("/v1/chat", json=ASK).json()["abstained"]
    assert room["id"] in {one["id"] for one in client.get("/v1/workspaces").json()["workspaces"]}
    assert client.delete(f"/v1/workspaces/{room['id']}").json()["documents"] == 1
    assert client.post("/v1/chat", json={**ASK, "workspace": room["id"]}).json()["abstained"]
    assert client.delete("/v1/workspaces/default").status_code == 403
    assert served.paths.uploads.exists()


def remembered(served: Served, workspace: str) -> set[str]:
    """What was asked in a workspace and is still kept in any tier of memory, or waits for one."""
    database = served.app.state.server.chat.memory._journal._database
    rows = [
        *database.rows("SELECT body FROM entries WHERE session LIKE ? AND id > ''", [f"{workspace}/%"]),
        *database.rows("SELECT body FROM pending WHERE session LIKE ?", [f"{workspace}/%"]),
    ]
    found = [json.loads(row["body"]) for row in rows]
    return {turn["content"] for turn in found if turn["role"] == "user"}


def test_conversations_go_with_the_documents_they_showed_and_with_their_workspace(
    served: Served, client: httpx.Client
) -> None:
    room = client.post("/v1/workspaces", json={"name": "Blue Mill"}).json()["id"]
    other = {"message": "How often are pumps serviced?", "stream": False}
    document = upload(client)
    for asked in (ASK, other, {**other, "workspace": room}):
        client.post("/v1/chat", json=asked)
    assert remembered(served, "default") == {ASK["message"], other["message"]}
    client.delete(f"/v1/documents/{document['id']}")
    assert ASK["message"] not in remembered(served, "default")
    assert remembered(served, room) == {other["message"]}
    client.delete(f"/v1/workspaces/{room}")
    assert remembered(served, room) == set()


def test_health_names_a_tier_of_memory_that_is_down(served: Served, client: httpx.Client) -> None:
    assert client.get("/health").json()["checks"]["memory"] == {"ok": True, "reason": ""}
    served.app.state.server.chat.memory._watched[0].fell("it took longer than 0.5 s")
    found = client.get("/health").json()
    assert (found["status"], found["checks"]["memory"]["reason"]) == ("degraded", "hot: it took longer than 0.5 s")


def test_a_document_deleted_while_it_is_read_does_not_come_back(served: Served, client: httpx.Client) -> None:
    uploads = served.app.state.server.uploads
    read_it = uploads._read

    def slowly(record: Any) -> Any:
        found = read_it(record)
        uploads.delete(record.id)
        return found

    uploads._read = slowly
    reply = client.post("/v1/documents", files={"file": ("turbine.md", TURBINE)})
    deadline = time.monotonic() + 30
    while client.get(f"/v1/documents/{reply.json()['id']}").status_code != 404 and time.monotonic() < deadline:
        time.sleep(0.05)
    while uploads.queue.depth().taken and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.post("/v1/chat", json=ASK).json()["abstained"]
    assert "up" not in {hit["uri"][:2] for hit in client.post("/v1/search", json={"query": "turbine"}).json()["hits"]}
