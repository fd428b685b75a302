"""The walls between workspaces over HTTP: what is in `vault` never reaches an admin of `default`, whatever is asked.

The vault's canaries are in its index, its uploads, names, conversations, answers and votes; they are looked for in every
status line's body and header that a hostile key gets, in streams, on WebSockets and in the log.
"""

import json
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from websockets.sync.client import connect

from ragkeep.types import Workspace
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.serving.test_documents import upload
from tests.sizes import sizes

WORDS = ["xyzzy-4711", "plugh-0815", "quux-2323", "zork-9090", "frobozz"]
"""What only the vault knows: in its index, an upload, a vote, a correction, a name."""
ASK = {"message": "What is the canary code of the vault?"}
MINE = {"message": "How often are pumps serviced?"}


@dataclass
class Vault:
    """What was made in the vault: canaries that nobody else may see, and ids that a thief may know all the same."""

    document: str
    answer: str
    session: str
    key: str
    room: str
    owner: httpx.Client
    canaries: list[str] = field(default_factory=list)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    paths = project(tmp_path / "project", cache=100, limits={"key_per_minute": 0, "workspace_per_minute": 0})
    publish(paths)
    yield from serve(paths)


def filled(served: Served) -> Vault:
    """Use the vault as its people do."""
    served.app.state.server.uploads.catalog.create_workspace(Workspace("vault", "the frobozz vault", "local"))
    owner, everything = served.client({"vault": "admin"}, ("chat", "documents", "admin")), served.client()
    document = upload(
        owner, "frobozz.md", b"# Doors\n\nThe second canary code of the vault is plugh-0815.\n", workspace="vault"
    )
    made = owner.post("/v1/chat", json={**ASK, "workspace": "vault", "stream": False}).json()
    assert made["citations"]
    about = {"answer_id": made["answer_id"]}
    assert owner.post("/v1/feedback", json={**about, "kind": "vote", "value": 1, "reason": "quux-2323"}).is_success
    assert owner.post("/v1/feedback", json={**about, "kind": "correction", "text": "zork-9090"}).is_success
    key = {"name": "frobozz key", "scopes": ["chat"], "workspaces": {"vault": "reader"}}
    key_id = owner.post("/v1/keys", json=key).json()["id"]
    room = everything.post("/v1/workspaces", json={"name": "frobozz room"}).json()["id"]
    ids = (document["id"], made["answer_id"], made["session"], key_id, room)
    return Vault(*ids, owner, canaries=[*WORDS, *ids, "vault/codes.md", "uploads-vault"])


HOSTILE = [
    "vault",
    "VAULT",
    "*",
    "ops",
    "default",
    "' OR '1'='1",
    "default' OR workspace='vault",
    "vault\x00",
    "../vault",
    "%",
    "",
    "default,vault",
]


class Thief:
    """An admin of `default` with every scope that tries doors at random; the same seed tries the same doors."""

    def __init__(self, served: Served, vault: Vault, seed: int) -> None:
        self.served, self.vault, self.random = served, vault, random.Random(seed)
        self.secret = served.key({"default": "admin"}, ("chat", "documents", "ops", "admin"))
        headers = {"Authorization": f"Bearer {self.secret}"}
        self.client = served.closing.enter_context(httpx.Client(base_url=served.url, headers=headers, timeout=60))
        self.said: set[object] = set()
        self.own = [self.client.post("/v1/chat", json={**MINE, "stream": False}).json()["answer_id"]]
        self.doors: list[Callable[[], tuple[str, str]]] = [
            self.search, self.search, self.chat, self.stream, self.completion, self.by_id, self.by_id, self.lists,
            self.source, self.feedback, self.workspaces, self.keys, self.operations, self.odd,
        ]  # fmt: skip

    def try_door(self, n: int) -> tuple[str, str]:
        """Return what was sent and all that came back."""
        if n % 200 == 0:
            return self.socket()
        if n % 500 == 1:
            return self.upload(n)
        return self.random.choice(self.doors)()

    def pick(self, *more: str) -> str:
        known = [self.vault.document, self.vault.answer, self.vault.session, self.vault.key, self.vault.room]
        picked = self.random.choice([*HOSTILE, *known, "uploads-vault", "vault/codes.md", "manual/pumps.md", *more])
        self.said.add(picked)
        return picked

    def ask(self, method: str, path: str, **options: Any) -> tuple[str, str]:
        reply = self.client.request(method, path, **options)
        assert reply.status_code < 500, (path, options, reply.text)
        own = path.startswith("/v1/sessions") and reply.status_code == 200
        text = json.dumps(self.without_own(reply.json()), ensure_ascii=False) if own else reply.text
        return f"{path} {options}", f"{reply.headers} {text}"

    def without_own(self, value: Any) -> Any:
        """Leave out of its own conversations what the thief named or asked itself: it may have used the vault's ids."""
        if isinstance(value, dict) and value.get("workspace", "default") != "default":
            return value
        if isinstance(value, list):
            return [self.without_own(one) for one in value]
        if isinstance(value, dict):
            return {key: self.without_own(one) for key, one in value.items()}
        return None if value in self.said else value

    def body(self, **said: Any) -> dict[str, Any]:
        """A body with hostile values in some of the places that name something."""
        places = {
            "workspace": self.pick(), "session": self.pick(), "model": self.pick("ragkeep"),
            "idempotency_key": self.pick("x"),
            "filters": {self.random.choice(["uri", "source", "kind", "language"]): self.pick("prose", "manual")},
            "mode": self.random.choice(["hybrid", "vector", "keyword"]), "k": self.random.choice([1, 10, 100]),
        }  # fmt: skip
        return said | {name: places[name] for name in self.random.sample(list(places), self.random.randint(0, 2))}

    def question(self) -> str:
        said = self.random.choice([ASK["message"], MINE["message"], "canary code", "second door", self.pick("?")]) or "?"
        self.said.add(said)
        return said

    def search(self) -> tuple[str, str]:
        body = self.body(query=self.question())
        keep = {"query", "workspace", "filters", "mode", "k"}
        mmr = {"mmr": self.random.random() < 0.1}
        return self.ask("POST", "/v1/search", json={key: body[key] for key in body.keys() & keep} | mmr)

    def chat(self) -> tuple[str, str]:
        if self.random.random() < 0.3:
            context = self.random.choice([self.pick(), {"workspace": self.pick(), "session": self.pick("s")}])
            return self.ask("POST", "/chat", json={"message": self.question(), "context": context})
        return self.ask("POST", "/v1/chat", json=self.body(message=self.question(), stream=False))

    def stream(self) -> tuple[str, str]:
        return self.ask("POST", "/v1/chat", json=self.body(message=self.question()))

    def completion(self) -> tuple[str, str]:
        turns = [{"role": "user", "content": self.question()}]
        more = {"stream": self.random.random() < 0.5, "workspace": self.pick("default", "default")}
        return self.ask("POST", "/v1/chat/completions", json={"messages": turns, **more})

    def by_id(self) -> tuple[str, str]:
        kind = self.random.choice(
            ["answers/{}", "documents/{}", "chat/{}/events", "models/{}", "keys/{}", "workspaces/{}", "sessions/{}"]
        )
        method = self.random.choice(["GET", "DELETE"])
        name = self.pick(f"vault.{'0' * 32}", *self.own).replace("/", "%2F").replace("\x00", "%00").replace(" ", "%20")
        return self.ask(
            method,
            f"/v1/{kind.format(name or 'x')}",
            params={"workspace": self.pick()} if self.random.random() < 0.2 else {},
        )

    def lists(self) -> tuple[str, str]:
        params = {"workspace": self.pick("default"), "cursor": self.pick("", "WyJ-IiwgIn4iXQ", "99")}
        paths = ["/v1/documents", "/v1/workspaces", "/v1/models", "/v1/me", "/v1/sessions"]
        return self.ask("GET", self.random.choice(paths), params=params)

    def source(self) -> tuple[str, str]:
        params = {
            "uri": self.pick("uploads-vault/frobozz.md"),
            "around": "1,9",
            "workspace": self.pick("default", "default"),
        }
        return self.ask("GET", "/v1/source", params=params)

    def feedback(self) -> tuple[str, str]:
        said = [{"kind": "vote", "value": 1}, {"kind": "click", "n": 1}, {"kind": "correction", "text": "x"}]
        return self.ask("POST", "/v1/feedback", json={"answer_id": self.pick(*self.own), **self.random.choice(said)})

    def workspaces(self) -> tuple[str, str]:
        return self.ask("DELETE", f"/v1/workspaces/{self.random.choice(['vault', self.vault.room])}")

    def keys(self) -> tuple[str, str]:
        wanted = {self.random.choice(["vault", "*", "ops", self.vault.room, "default"]): "reader"}
        if self.random.random() < 0.5:
            return self.ask("GET", "/v1/keys")
        return self.ask("POST", "/v1/keys", json={"name": "k", "scopes": ["chat"], "workspaces": wanted})

    def operations(self) -> tuple[str, str]:
        what = self.random.choice(["releases", "history", "trial", "nights", "quarantine", "metrics"])
        return self.ask(
            "GET", self.random.choice([f"/v1/ops/{what}", "/metrics", "/health", "/health/ready", "/openapi.json"])
        )

    def odd(self) -> tuple[str, str]:
        method = self.random.choice(["PUT", "PATCH", "OPTIONS", "POST"])
        where = self.random.choice(["/v1/search", "/v1/documents", "/v1/nosuch", f"/v1/answers/{self.vault.answer}"])
        return self.ask(
            method,
            where,
            content=b'{"query": "canary code", "workspace": "vault"',
            headers={"Content-Type": "application/json"},
        )

    def upload(self, n: int) -> tuple[str, str]:
        """Upload under the vault's names, to either workspace, and ask for it."""
        name = self.random.choice(["codes.md", f"{n}.md"])
        files = {"file": (name, f"# {n}\n\nThe canary code is unknown to number {n}.\n".encode())}
        return self.ask("POST", "/v1/documents", files=files, data={"workspace": self.pick("default")})

    def socket(self) -> tuple[str, str]:
        sent = [
            {"type": "ask", **self.body(message=self.question())}, {"type": "ask", **ASK, "workspace": "vault"},
            {"type": "resume", "answer_id": self.vault.answer, "after": 0}, {"type": "ask", **MINE},
        ]  # fmt: skip
        headers, got = {"Authorization": f"Bearer {self.secret}"}, list[str]()
        with connect(f"{self.served.url.replace('http', 'ws')}/v1/chat/ws", additional_headers=headers) as socket:
            for one in sent:
                socket.send(json.dumps(one))
                while json.loads(said := str(socket.recv(timeout=30)))["type"] not in ("done", "error"):
                    got.append(said)
                got.append(said)
        return json.dumps(sent), "\n".join(got)


@pytest.mark.parametrize("seed", range(4))
@sizes(600, 20_000)
def test_no_canary_of_a_workspace_reaches_a_key_of_another(
    served: Served, size: int, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    vault = filled(served)
    thief = Thief(served, vault, seed)
    caplog.set_level(logging.INFO)
    for name in ("httpx", "uvicorn.access"):  # they say what the thief asked
        caplog.set_level(logging.WARNING, name)
    caplog.clear()
    leaks = []
    for n in range(size // 4):
        sent, got = thief.try_door(n)
        leaks += [(canary, sent, got[:500]) for canary in vault.canaries if canary in got and canary not in unquote(sent)]
    assert leaks == []
    assert [word for word in WORDS[:4] if word in caplog.text] == []
    still = (
        served.client({"vault": "reader"}).post("/v1/chat", json={**ASK, "workspace": "vault", "stream": False}).json()
    )
    assert any(word in still["text"] for word in WORDS)
    told = served.client().get(f"/v1/answers/{vault.answer}").json()
    assert [one["kind"] for one in told["feedback"]] == ["vote", "correction"]
    kept = vault.owner.get(f"/v1/sessions/{vault.session}", params={"workspace": "vault"}).json()["turns"]
    assert [one["answer_id"] for one in kept] == [vault.answer]
