"""An issuer of tokens for tests: its keys, the tokens it signs, and a small app that checks them."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import Body, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from jwt.algorithms import RSAAlgorithm

from ragkeep.database import Database
from ragkeep.errors import RequestError
from ragkeep.serving.auth import Auth, check_routes, needs, needs_ops, open_auth, public
from ragkeep.serving.params import AuthParams
from ragkeep.serving.principal import Principal
from ragkeep.serving.refusals import refuse

ISSUER = "https://issuer.example"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwks(**keys: rsa.RSAPrivateKey) -> str:
    """The published keys, by key id."""
    rows = [{**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid} for kid, key in keys.items()]
    return json.dumps({"keys": [{**row, "alg": "RS256", "use": "sig"} for row in rows]})


def claims(**changed: Any) -> dict[str, Any]:
    """What a good token says."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": "ragkeep", "sub": "ann", "iat": now, "exp": now + 600, "roles": ["docs:writer"]}
    return {key: value for key, value in {**good, **changed}.items() if value is not None}


def token(key: Any = KEY, *, kid: str | None = "one", alg: str = "RS256", **changed: Any) -> str:
    """A signed token."""
    return jwt.encode(claims(**changed), key, algorithm=alg, headers={"kid": kid} if kid else None)


def by_hand(header: dict[str, Any], said: dict[str, Any], signature: bytes) -> str:
    """A token that no library would make."""
    parts = [json.dumps(header).encode(), json.dumps(said).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def auth(folder: Path) -> Auth:
    """Accounts of a new server that trusts the issuer."""
    published = folder / "jwks.json"
    published.write_text(jwks(one=KEY))
    params = AuthParams(ISSUER, "ragkeep", str(published), "roles")
    return open_auth(params, Database(folder / "serving.sqlite"))


def app(accounts: Auth) -> FastAPI:
    """Routes of each kind."""
    made = FastAPI()
    made.state.auth = accounts
    made.add_exception_handler(RequestError, refuse)

    @made.get("/read")
    async def read(who: Annotated[Principal, Depends(needs("reader"))]) -> dict[str, Any]:
        return {"user": who.user, "roles": who.roles}

    @made.post("/write", dependencies=[Depends(needs("writer", scope="documents"))])
    async def write() -> str:
        return "written"

    @made.post("/ask")
    async def ask(
        workspace: Annotated[str, Body(embed=True)], who: Annotated[Principal, Depends(needs("reader"))]
    ) -> str:
        return who.enter(workspace)

    @made.get("/ops", dependencies=[Depends(needs_ops("reader"))])
    async def operations() -> str:
        return "seen"

    @made.get("/health", dependencies=[Depends(public)])
    async def health() -> str:
        return "ok"

    @made.websocket("/chat")
    async def chat(socket: WebSocket, who: Annotated[Principal, Depends(needs("reader"))]) -> None:
        await socket.accept()
        await socket.send_text(who.user)

    check_routes(made)
    return made


def client(accounts: Auth) -> TestClient:
    """A client of such an app."""
    return TestClient(app(accounts), base_url="http://127.0.0.1:8080")


def bearer(secret: str) -> dict[str, str]:
    """The header a caller shows."""
    return {"Authorization": f"Bearer {secret}"}


@contextmanager
def publishing(answers: list[bytes], *, delay_s: float = 0) -> Iterator[tuple[str, list[str]]]:
    """A real server that answers with one body after the other, the last for good; yields its URL and what was asked."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            time.sleep(delay_s)
            body = answers[min(len(asked), len(answers)) - 1]
            with suppress(OSError):  # the client did not wait
                self.send_response(200 if body else 302)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json", asked
    finally:
        server.shutdown()
        server.server_close()
