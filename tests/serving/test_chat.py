"""Asking over HTTP: streamed, whole, resumed, stopped, over a WebSocket, by OpenAI's client; and what is logged."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from websockets.sync.client import connect

from ragkeep.interactions import read
from tests.serving.conftest import Served

ASK = {"message": "How often are pumps serviced by the vendor?"}


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Parse server-sent events: id, name, data."""
    held: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line and "data" in held:
            yield held["id"], held["event"], json.loads(held["data"])
            held = {}
        elif line and name:
            held[name] = value


def stream(client: httpx.Client, body: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    with client.stream("POST", "/v1/chat", json=body) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        return list(events(reply.iter_lines()))


def test_an_answer_streams_with_its_sources_first_and_its_checked_text_last(client: httpx.Client) -> None:
    found = stream(client, ASK)
    names = [name for _, name, _ in found]
    assert names[:2] == ["start", "sources"]
    assert names[-1] == "done"
    assert set(names[2:-1]) == {"token"}
    done = found[-1][2]
    assert "".join(data["text"] for _, name, data in found if name == "token") == done["text"]
    [citation] = done["citations"]
    assert (citation["uri"], citation["lines"], citation["quote"]) == (
        "manual/pumps.md", [3, 3], "Pumps are serviced yearly by the vendor.",
    )  # fmt: skip
    assert done["sources"][citation["source"] - 1]["uri"] == "manual/pumps.md"
    assert (done["abstained"], done["release"], done["logged"]) == (False, "1", True)


def test_whole_it_is_what_the_stream_ends_with(client: httpx.Client) -> None:
    last = stream(client, ASK)[-1][2]
    whole = client.post("/v1/chat", json={**ASK, "stream": False}).json()
    assert whole.keys() == last.keys()
    assert (whole["text"], whole["citations"]) == (last["text"], last["citations"])


def test_what_the_documents_do_not_hold_is_not_answered(client: httpx.Client) -> None:
    found = client.post("/v1/chat", json={"message": "Who painted the ceiling?", "stream": False}).json()
    assert (found["abstained"], found["text"], found["citations"]) == (True, "Not in the documents.", [])


def test_the_seeds_form_answers_in_short(client: httpx.Client) -> None:
    found = client.post("/chat", json={"message": ASK["message"]}).json()
    assert "yearly" in found["response"]
    assert found["model_version"] == "extractive@1"
    assert found["sources"]
    assert client.post("/chat", json={"massage": "?"}).status_code == 422


def test_an_answer_is_read_on_from_where_the_connection_was_cut(client: httpx.Client) -> None:
    found = stream(client, ASK)
    answer_id, _, number = found[1][0].rpartition(":")
    headers = {"Last-Event-ID": f"{answer_id}:{number}"}
    with client.stream("GET", f"/v1/chat/{answer_id}/events", headers=headers) as reply:
        assert list(events(reply.iter_lines())) == found[2:]


def test_nobody_reads_on_anothers_answer(served: Served, client: httpx.Client) -> None:
    answer_id = stream(client, ASK)[0][2]["answer_id"]
    other = served.client({"default": "reader"})
    assert other.get(f"/v1/chat/{answer_id}/events").status_code == 404
    assert other.delete(f"/v1/chat/{answer_id}").status_code == 404
    assert other.get(f"/v1/answers/{answer_id}").status_code == 404


def test_the_same_idempotency_key_is_one_answer(client: httpx.Client) -> None:
    body = {**ASK, "stream": False, "idempotency_key": "once"}
    first, second = (client.post("/v1/chat", json=body).json() for _ in range(2))
    assert first == second
    other = client.post("/v1/chat", json={**body, "message": "Something else?"})
    assert other.status_code == 409


def test_a_follow_up_leans_on_what_was_said_in_its_session(client: httpx.Client) -> None:
    first = client.post("/v1/chat", json={**ASK, "stream": False}).json()
    again = client.post("/v1/chat", json={"message": "And by whom?", "session": first["session"], "stream": False}).json()
    assert again["citations"][0]["uri"] == "manual/pumps.md"
    alone = client.post("/v1/chat", json={"message": "And by whom?", "stream": False}).json()
    assert alone["abstained"]


def test_everything_about_an_answer_can_be_asked_for(client: httpx.Client) -> None:
    made = client.post("/v1/chat", json={**ASK, "stream": False}).json()
    about = {"answer_id": made["answer_id"]}
    assert client.post("/v1/feedback", json={**about, "kind": "vote", "value": 1, "reason": "clear"}).status_code == 202
    assert client.post("/v1/feedback", json={**about, "kind": "click", "n": 1}).status_code == 202
    told = client.get(f"/v1/answers/{made['answer_id']}").json()
    assert told["question"] == ASK["message"]
    assert told["release_details"]["index"]["name"].startswith("docs-")
    assert told["shown"][0]["uri"] == "manual/pumps.md"
    assert told["timings_ms"]["total"] > 0
    assert told["route"] == "prose"
    assert [one["kind"] for one in told["feedback"]] == ["vote", "click"]


def test_an_answer_says_that_its_question_took_the_code_route(client: httpx.Client) -> None:
    made = client.post("/v1/chat", json={"message": "Does pumps.service() open the lid?", "stream": False}).json()
    assert made["route"] == "code"
    assert client.get(f"/v1/answers/{made['answer_id']}").json()["route"] == "code"


@pytest.mark.parametrize(
    "said", [{"kind": "vote"}, {"kind": "click"}, {"kind": "click", "n": 99}, {"kind": "correction", "text": " "}]
)
def test_feedback_that_says_nothing_is_refused(client: httpx.Client, said: dict[str, Any]) -> None:
    made = client.post("/v1/chat", json={**ASK, "stream": False}).json()
    assert client.post("/v1/feedback", json={"answer_id": made["answer_id"], **said}).status_code == 422
    assert client.post("/v1/feedback", json={"answer_id": "nosuch", "kind": "vote", "value": 1}).status_code == 404


def test_what_was_asked_shown_and_answered_is_in_the_log(served: Served, client: httpx.Client) -> None:
    made = client.post("/v1/chat", json={**ASK, "stream": False}).json()
    [record] = [one for one in read(served.paths.interactions) if one.answer == made["answer_id"]]
    assert (record.kind, record.release, record.payload["text"]) == ("answer", "1", made["text"])
    assert record.payload["cited"] == [1]
    assert not record.payload["aborted"]


def test_a_client_that_goes_away_stops_the_work_and_is_logged(served: Served, client: httpx.Client) -> None:
    slow = served.app.state.server.champion.assistant
    hold(slow)
    with client.stream("POST", "/v1/chat", json=ASK) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 5
    while served.app.state.server.chat.runs.open and time.monotonic() < deadline:
        time.sleep(0.02)
    aborted = [one.payload["aborted"] for one in read(served.paths.interactions)]
    assert aborted == [True]


def hold(assistant: Any) -> None:
    """Make a release's generator wait for ever before its first word."""
    import asyncio

    async def waiting(*_: Any) -> Any:
        await asyncio.sleep(3600)
        yield

    object.__setattr__(assistant.answering._members[0].generator, "stream", waiting)


def test_the_official_client_of_openai_chats_streams_and_embeds(served: Served) -> None:
    client = served.closing.enter_context(openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key()))
    messages: Any = [{"role": "user", "content": ASK["message"]}]
    assert [model.id for model in client.models.list().data] == ["ragkeep", "extractive", "dear"]
    whole = client.chat.completions.create(model="ragkeep", messages=messages)
    pieces = list(client.chat.completions.create(model="extractive", messages=messages, stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert "yearly" in text
    vectors = [row.embedding for row in client.embeddings.create(model="ragkeep", input=["a pump", "a lid"]).data]
    assert [round(sum(x * x for x in vector), 4) for vector in vectors] == [1, 1]
    with pytest.raises(openai.UnprocessableEntityError, match="there is no model"):
        client.chat.completions.create(model="nosuch", messages=messages)


def test_over_a_websocket_the_same_events_come(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.key()}"}
    with connect(f"{served.url.replace('http', 'ws')}/v1/chat/ws", additional_headers=headers) as socket:
        socket.send(json.dumps({"type": "ask", **ASK}))
        found = [json.loads(socket.recv())]
        while found[-1]["type"] not in ("done", "error"):
            found.append(json.loads(socket.recv()))
        assert [one["type"] for one in found[:2]] == ["start", "sources"]
        assert "yearly" in found[-1]["text"]
        socket.send("rubbish")
        socket.send(json.dumps({"type": "dance"}))


def test_texts_are_scored_against_a_question(client: httpx.Client) -> None:
    body = {"query": "pumps are serviced", "texts": ["lids are blue", "pumps are serviced yearly"]}
    found = client.post("/v1/rerank", json=body).json()
    assert found["scores"][1] > found["scores"][0]
    assert found["model"] == "hash"


def test_compared_models_are_paid_for(client: httpx.Client) -> None:
    body = {**ASK, "stream": False, "compare": ["dear", "dear"]}
    found = client.post("/v1/chat", json=body).json()
    assert [one["model"] for one in found["agreement"]["answers"]] == ["dear"]
    assert found["cost_usd"] > 0
    spent = client.get("/v1/me").json()["spent"]
    assert {row["usd"] for row in spent if row["account"].startswith("payer")} == {found["cost_usd"]}
