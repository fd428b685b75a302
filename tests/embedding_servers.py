"""Stand-ins for embedding models behind a network: real servers that embed by words, each in its wire format."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ragkeep.config import EmbedParams
from ragkeep.embedders.bedrock import TITAN
from ragkeep.testing import HashEmbedder
from tests.stores.amazon import Amazon, Keys, Request, only

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
REGION = "eu-central-1"
MODEL = "intfloat/e5-small"
REMOTE = ("bedrock", "openai", "tei")
INFO = {
    "model_id": MODEL,
    "model_sha": "abc",
    "model_dtype": "float16",
    "max_input_length": 512,
    "max_client_batch_size": 3,
}


@dataclass
class Embeddings:
    """A server of one wire format. `faults` are used up one a request: a status, or what to do with the answer."""

    kind: str
    url: str = ""
    faults: list[str] = field(default_factory=list)
    retry_after: str = "0.05"
    batches: list[list[str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    dim: int = 64
    info: dict[str, Any] = field(default_factory=lambda: dict(INFO))

    def params(self, **more: Any) -> EmbedParams:
        """Say how to reach it."""
        model = {"bedrock": TITAN, "openai": MODEL, "tei": ""}[self.kind]
        return EmbedParams(**{"backend": self.kind, "model": model, "url": self.url, "region": REGION, **more})

    def answer(self, request: Request) -> tuple[int, Any]:
        """Answer as the real one does."""
        if request.target == "/info":
            return 200, self.info
        if wrong := self._wrong(request):
            self.refused.append(wrong)
            return 403, {"message": wrong}
        texts, shape = READERS[self.kind](json.loads(request.body))
        self.batches.append(texts)
        return 200, shape([[3 * float(x) for x in row] for row in HashEmbedder(self.dim).embed(texts, role="query")])

    def _wrong(self, request: Request) -> str:
        target = {"bedrock": f"/model/{TITAN.replace(':', '%3A')}/invoke", "openai": "/embeddings", "tei": "/embed"}
        if request.target != target[self.kind]:
            return f"no {request.target} here"
        return (
            Amazon("bedrock", REGION, only(KEYS), payload_header=False).wrong(request) if self.kind == "bedrock" else ""
        )


Shape = Callable[[list[list[float]]], Any]


def read_openai(body: dict[str, Any]) -> tuple[list[str], Shape]:
    assert all(body["input"]), "OpenAI takes no empty text"
    # in any order: the index counts
    return body["input"], lambda rows: {"data": [{"index": n, "embedding": row} for n, row in enumerate(rows)][::-1]}


READERS: dict[str, Callable[[dict[str, Any]], tuple[list[str], Shape]]] = {
    "openai": read_openai,
    "tei": lambda body: (body["inputs"], lambda rows: rows),
    "bedrock": lambda body: ([body["inputText"]], lambda rows: {"embedding": rows[0], "inputTextTokenCount": 3}),
}


@contextmanager
def embeddings(kind: str) -> Iterator[Embeddings]:
    """Run a stand-in in threads."""
    made = Embeddings(kind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            about = made.faults and made.faults[0].startswith("info-")  # what goes wrong when it is asked of itself
            fault = made.faults.pop(0) if made.faults and about == (self.path == "/info") else ""
            fault = fault.removeprefix("info-")
            if fault == "cut":
                self.close_connection = True
                return None
            if fault.isdigit():
                return self.say(int(fault), b'{"message": "no"}')
            status, said = made.answer(Request(self.command, self.path, headers, body))
            data = {"bad-json": b'{"da', "no-rows": b"{}"}.get(fault) or json.dumps(said).encode()
            return self.say(status, data, trickle=fault == "trickle")

        do_GET = do_POST = handle_one  # noqa: N815 - http.server's names

        def say(self, status: int, data: bytes, *, trickle: bool = False) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            if status == 429:
                self.send_header("retry-after", made.retry_after)
            self.end_headers()
            for at in range(len(data) if trickle else 1):
                self.wfile.write(data[at : at + 1] if trickle else data)
                if trickle:
                    time.sleep(0.1)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that left is no error."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()
