"""A small real server that answers as Amazon does: what is not signed as it should be is refused with 403."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

import pytest

Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What came in, as it was on the wire; names of headers in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials as botocore's signer reads them."""

    access_key: str
    secret_key: str
    token: str | None = None


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Run a server that answers every request by a function; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            status, said = answer(Request(self.command, self.path, headers, body))
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Amazon:
    """Checks signatures for one service and region; remembers what it let through."""

    def __init__(
        self, service: str, region: str, known: Callable[[str], Keys | None], *, payload_header: bool = True
    ) -> None:
        self.service, self.region, self.known = service, region, known
        self.required = {"host", "x-amz-date", *["x-amz-content-sha256"][: int(payload_header)]}
        self.passed, self.refused = list[Request](), list[str]()

    def answer(self, request: Request) -> Answer:
        wrong = self.wrong(request)
        if wrong:
            self.refused.append(wrong)
            return 403, {"message": wrong}
        self.passed.append(request)
        return 200, {}

    def wrong(self, request: Request) -> str:
        """Say what is wrong with a request's signature, if anything is."""
        kind, _, rest = request.headers.get("authorization", "").partition(" ")
        if kind != "AWS4-HMAC-SHA256":
            return "Missing Authentication Token"
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        access_key, *scope = parts["Credential"].split("/")
        at, names = request.headers["x-amz-date"], parts["SignedHeaders"].split(";")
        keys = self.known(access_key)
        age = datetime.now(UTC) - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        digest = hashlib.sha256(request.body).hexdigest()
        checks = {
            "The security token included in the request is invalid": keys is not None,
            "Credential should be scoped correctly": scope == [at[:8], self.region, self.service, "aws4_request"],
            "Signature expired": abs(age.total_seconds()) < 300,
            "The security token included in the request is expired":
                keys is None or request.headers.get("x-amz-security-token") == keys.token,
            "The body is another": request.headers.get("x-amz-content-sha256", digest) == digest,
            "Headers are not signed as they should be": self.required <= {*names}
                and "content-length" not in names
                and ("x-amz-security-token" in names) == ("x-amz-security-token" in request.headers),
        }  # fmt: skip
        for said, holds in checks.items():
            if not holds:
                return said
        assert keys is not None
        if parts["Signature"] != self.signature(request, keys, names):
            return "The request signature we calculated does not match the signature you provided"
        return ""

    def signature(self, request: Request, keys: Keys, names: list[str]) -> str:
        """What botocore signs the request with, read from the wire and written down in the one way Amazon has."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        path, _, query = request.target.partition("?")
        pairs = [[quote(unquote(x), safe="-_.~") for x in pair.split("=", 1)] for pair in query.split("&") if pair]
        canonical = "&".join(sorted("=".join([*pair, ""][:2]) for pair in pairs))
        url = f"http://{request.headers['host']}{path}{'?' * bool(canonical)}{canonical}"
        headers = {name: request.headers[name] for name in names}
        asked = AWSRequest(request.method, url, data=request.body, headers=headers)
        asked.context["timestamp"] = request.headers["x-amz-date"]
        signer = SigV4Auth(keys, self.service, self.region)
        text = signer.string_to_sign(asked, signer.canonical_request(asked))
        return str(signer.signature(text, asked))


def only(keys: Keys) -> Callable[[str], Keys | None]:
    """Know these keys alone."""
    return lambda access_key: keys if access_key == keys.access_key else None


def forget_aws(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make this a machine that knows nothing of AWS; it would be configured in `folder / "config"`."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def log_in(monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """Put keys in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    if keys.token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", keys.token)
