"""Rubbish: strings that break things, bodies that are too deep, too large, too slow or no bodies, clients that vanish."""

import contextlib
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from ragkeep.serving import connections
from ragkeep.serving.principal import LOCAL
from tests.evaldata import evaldata
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.serving.test_chat import hold
from tests.sizes import sizes

ASK = {"message": "How often are pumps serviced?", "stream": False}
FREE = {"key_per_minute": 0, "workspace_per_minute": 0}


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[Served]:
    """A server without rate limits."""
    paths = project(tmp_path / "project", limits=FREE)
    publish(paths)
    yield from serve(paths)


def fine(reply: httpx.Response) -> None:
    """No fault of the server, and an error in the shape of errors."""
    assert reply.status_code < 500, (reply.request.url, reply.text)
    assert reply.headers["x-request-id"]
    if reply.status_code >= 400:
        assert set(reply.json()["error"]) == {"code", "message", "request_id", "trace_id"}


def everywhere(client: httpx.Client, text: str) -> Iterator[httpx.Response]:
    """Put a text wherever the API takes one."""
    name = text.encode("utf-8", "replace").decode().replace("\x00", "")
    for path in ("/v1/chat", "/chat", "/v1/search", "/v1/chat/completions", "/v1/embeddings", "/v1/workspaces"):
        for key in ("message", "query", "workspace", "session", "model", "input", "name", text):
            base = {"message": "x", "stream": False} if path == "/v1/chat" else {}
            yield raw(client, path, {**base, key: text})
    yield raw(client, "/v1/search", {"query": text, "filters": {"uri": text, "source": text}})
    yield raw(
        client, "/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    )
    yield raw(client, "/v1/feedback", {"answer_id": text, "kind": "vote", "value": 1, "reason": text})
    for query in ("uri", "workspace", "cursor", "around", "status", "key"):
        for path in ("/v1/source", "/v1/documents", "/v1/answers/x", "/"):
            yield client.get(path, params={"uri": "u", "around": "1,2", query: name})
    for path in ("documents", "answers", "chat", "models", "keys", "workspaces"):
        yield client.get(httpx.URL(client.base_url).copy_with(raw_path=b"/v1/" + path.encode() + b"/" + quoted(text)))
    yield client.post("/v1/documents", files={"file": (name[:300], b"x")}, data={"workspace": name})


def quoted(text: str) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in text.encode("utf-8", "surrogatepass"))[:2000]


def raw(client: httpx.Client, path: str, body: Any) -> httpx.Response:
    """Post JSON with whatever it holds as escapes."""
    return client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})


NASTY = [
    "",
    "\x00",
    "a\x00b",
    "\ud800",
    "x\udfff",
    "' OR '1'='1",
    "../../etc/passwd",
    "\u202e",
    "9" * 5000,
    "\n\r\t",
    "{}",
]


@sizes(12, 515, slow=False)
def test_no_string_breaks_anything(open_house: Served, size: int) -> None:
    strings = json.loads((evaldata("attacks-a") / "naughty_strings.json").read_text())
    client = open_house.client()
    for text in [*strings[:: max(1, len(strings) // size)][:size], *NASTY]:
        for reply in everywhere(client, text):
            fine(reply)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000, b'{"message":' * 10_000, b"\xff\xfe", b"null", b"[]", b"3", b'"x"', b"", b"9" * 5000,
        b'{"message": NaN}', b'{"message": "x", "k": 1e999}', b'{"message": "x", "\\ud800": 1}', b"{",
    ],
)  # fmt: skip
def test_no_body_breaks_anything(client: httpx.Client, body: bytes) -> None:
    for path in ("/v1/chat", "/v1/search", "/chat", "/v1/chat/completions", "/v1/embeddings", "/v1/feedback", "/v1/keys"):
        for kind in (
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "x",
            "application/json; charset=\xff",
        ):
            reply = client.post(path, content=body, headers={b"Content-Type": kind.encode("latin-1")})
            fine(reply)
            assert reply.status_code >= 400


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--x", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nno end',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="\x00.md"\r\n\r\nx\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="workspace"\r\n\r\n\xff\xfe\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file\r\n--x--', b"\x00" * 1000,
    ],
)  # fmt: skip
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Starlette leaves a cut file to the collector
def test_no_broken_form_breaks_anything(client: httpx.Client, body: bytes) -> None:
    for kind in (b"multipart/form-data; boundary=x", b"multipart/form-data", b'multipart/form-data; boundary="\xff"'):
        reply = client.post("/v1/documents", content=body, headers={b"Content-Type": kind})
        fine(reply)
        assert reply.status_code >= 400


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/documents"])
def test_a_body_of_fifty_megabytes_is_refused_and_not_kept(served: Served, client: httpx.Client, path: str) -> None:
    big = b"x" * 50_000_000
    kind = "multipart/form-data; boundary=x" if path == "/v1/documents" else "application/json"
    reply = client.post(path, content=big, headers={"Content-Type": kind})
    assert reply.status_code in (400, 413)
    nobody = httpx.post(f"{served.url}{path}", content=big, headers={"Content-Type": kind}, timeout=30)
    assert nobody.status_code == 401
    assert not list((served.paths.state / "incoming").glob("*"))


def test_a_question_that_is_too_long_for_another_form_is_refused(client: httpx.Client) -> None:
    long = [{"role": "user", "content": "x" * 40_000}]
    for more in ({"messages": long}, {"stop": ["a"] * 9}, {"max_tokens": 10**7}, {"model": "m" * 300}):
        reply = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}], **more})
        assert reply.status_code == 422
    assert client.post("/chat", json={"message": "x", "context": {"workspace": "UPPER"}}).status_code == 422


def test_on_a_websocket_rubbish_is_answered_and_the_next_question_too(served: Served) -> None:
    said = ["{", "[" * 10_000, "3", "null", "{}", '{"type": "ask"}', '{"type": "ask", "message": "\\ud800"}',
            '{"type": "resume"}', '{"type": "cancel", "answer_id": {}}', '{"type": "ask", "\\ud800": 1}']  # fmt: skip
    with talking(served) as socket:
        for words in said:
            socket.send(words)
            assert json.loads(socket.recv(timeout=10))["type"] == "error"
        socket.send(json.dumps({"type": "ask", "message": ASK["message"]}))
        made = [json.loads(socket.recv(timeout=10)) for _ in range(2)]
        assert made[0]["type"] == "start"
        for after in (-5, 1e999, "x", None, 10**9):
            socket.send(json.dumps({"type": "resume", "answer_id": made[0]["answer_id"], "after": after}))
        socket.send(json.dumps({"type": "resume", "answer_id": made[0]["answer_id"], "after": 0}))
        while json.loads(socket.recv(timeout=10))["type"] != "done":
            pass


@contextlib.contextmanager
def talking(served: Served, secret: str = "") -> Iterator[Any]:
    headers = {"Authorization": f"Bearer {secret or served.key()}"}
    with connect(f"{served.url.replace('http', 'ws')}/v1/chat/ws", additional_headers=headers) as socket:
        yield socket


def test_a_key_that_is_revoked_counts_for_nothing_on_an_open_websocket(served: Served) -> None:
    secret = served.key({"default": "reader"})
    keys = served.app.state.server.auth.keys
    with talking(served, secret) as socket:
        keys.revoke(keys.principal(secret).key, by=LOCAL)
        socket.send(json.dumps({"type": "ask", "message": "x"}))
        assert json.loads(socket.recv(timeout=10))["code"] == "unauthorized"


def test_the_same_idempotency_key_in_parallel_is_one_answer(client: httpx.Client) -> None:
    made = list[str]()
    body = {**ASK, "idempotency_key": "once"}
    asking = [
        threading.Thread(target=lambda: made.append(client.post("/v1/chat", json=body).json()["answer_id"]))
        for _ in range(8)
    ]
    together(asking)
    assert len(made) == 8
    assert len(set(made)) == 1


def together(threads: list[threading.Thread]) -> None:
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def header(path: str, secret: str, length: int) -> bytes:
    said = {"Host": "localhost", "Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def address(served: Served) -> tuple[str, int]:
    url = httpx.URL(served.url)
    return url.host, url.port or 80


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)


def test_connections_that_say_nothing_are_hung_up_on(
    served: Served, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 1.0)
    silent = [socket.create_connection(address(served)) for _ in range(200)]
    for one in silent[:100]:
        one.send(b"GET /health HTTP/1.1\r\nX-Slow")
    assert client.post("/v1/search", json={"query": "pumps"}).status_code == 200
    for one in silent:
        one.settimeout(20)
        assert one.recv(1) == b""
        one.close()


@pytest.mark.parametrize("most", ["SILENT_S", "BODY_S"])
def test_a_body_that_trickles_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch, most: str) -> None:
    monkeypatch.setattr(connections, most, 1.5 if most == "BODY_S" else 0.5)
    head = header("/v1/search", served.key(), 100)
    with socket.create_connection(address(served), timeout=20) as slow:
        slow.sendall(head)
        for _ in range(4):
            with contextlib.suppress(OSError):
                slow.send(b"{")
            time.sleep(1.0)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_slow_client_holds_nobody_up(served: Served, client: httpx.Client) -> None:
    body = json.dumps({"query": "pumps"}).encode()
    head = header("/v1/search", served.key(), len(body))
    with socket.create_connection(address(served), timeout=20) as slow:
        slow.sendall(head)
        for byte in body:
            slow.send(bytes([byte]))
            assert client.get("/health/live").status_code == 200
            time.sleep(0.05)
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")


def state_of(served: Served) -> tuple[int, int]:
    """Threads aside, what a leak would show in: file descriptors, and answers that are still being made."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), served.app.state.server.chat.runs.open  # noqa: PTH208


def vanish(served: Served, secret: str, body: dict[str, Any], *, reads: int) -> socket.socket:
    data = json.dumps(body).encode()
    head = header("/v1/chat", secret, len(data))
    made = socket.create_connection(address(served), timeout=30)
    made.sendall(head + data)
    if reads:
        made.recv(reads)
    return made


@sizes(1, 10, slow=False)
def test_of_a_hundred_streams_half_vanish_and_nothing_is_left(open_house: Served, size: int) -> None:
    secret, client = open_house.key(), open_house.client()
    client.post("/v1/chat", json=ASK)
    before, runs = state_of(open_house), open_house.app.state.server.chat.runs
    hold(open_house.app.state.server.champion.assistant)
    for _ in range(size):
        streams = [vanish(open_house, secret, {"message": ASK["message"]}, reads=n % 2) for n in range(100)]
        until(lambda: runs.open >= 90)
        for one in streams[:50]:
            one.close()
        until(lambda: runs.open <= 50)
        assert client.get("/health/live").status_code == 200
        for one in streams[50:]:
            one.close()
        until(lambda: runs.open == 0)
    until(lambda: state_of(open_house)[0] <= before[0] + 5)


def test_a_client_of_openais_form_that_goes_away_stops_the_work(open_house: Served) -> None:
    hold(open_house.app.state.server.champion.assistant)
    runs = open_house.app.state.server.chat.runs
    with contextlib.suppress(httpx.ReadTimeout):
        body = {"messages": [{"role": "user", "content": ASK["message"]}]}
        open_house.client().post("/v1/chat/completions", json=body, timeout=1)
    until(lambda: runs.open == 0)
