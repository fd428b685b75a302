"""Conversations are listed, opened again and deleted by those who had them, and by nobody else."""

from pathlib import Path
from typing import Any

import httpx

from ragkeep.interactions import read
from ragkeep.interactions.segments import sealed_paths
from ragkeep.serving.deletions import Deletions
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.serving.test_release import until

PUMPS = "How often are pumps serviced?"


def ask(client: httpx.Client, message: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.post("/v1/chat", json={"message": message, "stream": False, **more}).json()
    assert made["logged"]
    return made


def listed(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/v1/sessions", params=params).json()["sessions"]
    return rows


def test_conversations_are_listed_newest_first_and_paged(client: httpx.Client) -> None:
    for n in range(5):
        ask(client, f"Question {n} about pumps?", session=f"s{n}")
    ask(client, "And a valve?\nOr two?", session="s1")
    rows = listed(client)
    assert [(row["id"], row["turns"]) for row in rows] == [("s1", 2), ("s4", 1), ("s3", 1), ("s2", 1), ("s0", 1)]
    assert rows[0]["title"] == "Question 1 about pumps?"
    assert rows[0]["created_at"] < rows[0]["updated_at"]
    first = client.get("/v1/sessions", params={"limit": 3}).json()
    second = client.get("/v1/sessions", params={"limit": 3, "cursor": first["next"]}).json()
    assert [row["id"] for page in (first, second) for row in page["sessions"]] == ["s1", "s4", "s3", "s2", "s0"]
    assert (bool(first["next"]), second["next"]) == (True, "")
    assert listed(client, workspace="vault") == []


def test_a_conversation_opens_again_with_its_sources_citations_and_own_vote(client: httpx.Client) -> None:
    made = ask(client, PUMPS, session="s1")
    ask(client, "How often are valves checked?", session="s1")
    for value in (-1, 1):
        client.post("/v1/feedback", json={"answer_id": made["answer_id"], "kind": "vote", "value": value})
    opened = client.get("/v1/sessions/s1").json()
    first, second = opened["turns"]
    assert (first["question"], first["text"], first["vote"], second["vote"]) == (PUMPS, made["text"], 1, None)
    assert [(one["n"], one["source"], one["lines"]) for one in first["citations"]] == [
        (one["n"], one["source"], one["lines"]) for one in made["citations"]
    ]
    assert first["sources"][0]["uri"] == made["sources"][0]["uri"] == "manual/pumps.md"
    last = client.get("/v1/sessions/s1", params={"limit": 1}).json()
    earlier = client.get("/v1/sessions/s1", params={"limit": 1, "cursor": last["earlier"]}).json()
    assert [page["turns"][0]["answer_id"] for page in (earlier, last)] == [first["answer_id"], second["answer_id"]]
    assert earlier["earlier"] == ""


def test_nobody_sees_or_deletes_anothers_conversation_though_the_ids_are_the_same(served: Served) -> None:
    ann, bob = served.client({"default": "reader"}), served.client({"default": "admin"})
    ask(ann, "A question of Ann's about pumps?", session="same")
    assert listed(bob) == []
    assert bob.get("/v1/sessions/same").status_code == bob.delete("/v1/sessions/same").status_code == 404
    ask(bob, "A question of Bob's about pumps?", session="same")
    assert bob.delete("/v1/sessions/same").json()["erased_interactions"] == 1
    assert (listed(bob), [row["title"] for row in listed(ann)]) == ([], ["A question of Ann's about pumps?"])
    assert ann.get("/v1/sessions/same", params={"workspace": "vault"}).status_code == 403


def test_a_deleted_conversation_is_gone_from_log_disk_memory_and_streams(served: Served, client: httpx.Client) -> None:
    made = ask(client, PUMPS, session="s1")
    kept = ask(client, "How often are valves checked?", session="s2")
    client.post("/v1/feedback", json={"answer_id": made["answer_id"], "kind": "correction", "text": "Twice a year."})
    said = client.delete("/v1/sessions/s1").json()
    assert said == {"id": "s1", "status": "deleted", "erased_interactions": 2, "models_trained_on": []}
    assert [row["id"] for row in listed(client)] == ["s2"]
    assert client.get(f"/v1/answers/{made['answer_id']}").status_code == 404
    assert client.get(f"/v1/chat/{made['answer_id']}/events").status_code == 404
    assert client.get(f"/v1/answers/{kept['answer_id']}").status_code == 200
    follow = {"message": "And by whom?", "session": "s1", "stream": False}
    assert client.post("/v1/chat", json=follow).json()["abstained"]  # it has nothing to lean on
    folder = served.paths.interactions
    on_disk = b"".join(path.read_bytes() for path in [*sealed_paths(folder), *folder.glob("sessions.sqlite*")])
    assert b"pumps serviced" not in on_disk
    assert client.delete("/v1/sessions/nosuch").status_code == 404
    assert Deletions(served.paths.state / "deleting").open() == []


def test_an_answer_under_way_when_its_conversation_is_deleted_is_neither_logged_nor_remembered(
    served: Served, client: httpx.Client
) -> None:
    chat = served.app.state.server.chat
    for n in range(20):  # the deletion meets the answers at all their steps
        with client.stream("POST", "/v1/chat", json={"message": PUMPS, "session": f"s{n}"}) as reply:
            next(reply.iter_lines())
            assert client.delete(f"/v1/sessions/s{n}").is_success
    until(lambda: not chat.runs.open, 30)
    assert listed(client) == []
    assert [one for one in read(served.paths.interactions) if one.kind == "answer"] == []
    follow = {"message": "And by whom?", "session": "s3", "stream": False}
    assert client.post("/v1/chat", json=follow).json()["abstained"]


def test_a_deletion_that_was_cut_short_is_finished_and_the_list_is_made_again(tmp_path: Path) -> None:
    paths = project(tmp_path / "project")
    publish(paths)
    for served in serve(paths):
        client = served.client()
        for session in ("s1", "s2"):
            ask(client, PUMPS, session=session)
        assert len(listed(client)) == 2
        user = client.get("/v1/me").json()["user"]
        secret = client.headers["Authorization"]
    whose = {"id": f"default/{user}/s1", "workspace": "default", "user": user, "session": "s1"}
    try:
        with Deletions(paths.state / "deleting").noted("session", whose):
            raise InterruptedError
    except InterruptedError:
        pass
    for path in paths.interactions.glob("sessions.sqlite*"):
        path.unlink()
    for served in serve(paths):
        client = served.client()
        client.headers["Authorization"] = secret
        assert [row["id"] for row in listed(client)] == ["s2"]
