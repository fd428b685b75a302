"""Web sites on this machine under public names and addresses, for a Fetcher: its checks stay as they are.

    with site() as web:
        web.pages["/a"] = "<p>Pumps</p>"
        web.fetcher().fetch("http://site.test/a")

Names resolve to what `web.names` says, one list after the other where there are several; the public address 93.184.216.34
leads to this server, because the test's own `dial` says so, and no other address leads anywhere.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tasks.fetching import Fetcher, resolve

PUBLIC = "93.184.216.34"
Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Web:
    """What the sites serve, and what was asked of them."""

    port: int
    pages: dict[str, str | Reply | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)

    def fetcher(self, **options: Any) -> Fetcher:
        """A Fetcher of this test's network."""
        return Fetcher(**{"max_bytes": 10_000, "timeout_s": 5.0, "resolve": self._resolve, "dial": self._dial} | options)

    def _resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        if host not in self.names:
            return [PUBLIC] if host.endswith(".test") else resolve(host, port)  # numbers, which ask no name server
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _dial(self, address: str, _port: int, timeout_s: float) -> socket.socket:
        self.dialled.append(address)
        assert address == PUBLIC
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)


@contextmanager
def site() -> Iterator[Web]:
    """Serve until the block ends. A page of text is HTML with an ETag; a moved one is a `to(URL)`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.asked.append((self.path, dict(self.headers)))
            found = web.pages.get(self.path, (404, {}, b""))
            if callable(found):
                found(self)
                return
            status, headers, body = _page(found, self.headers.get("If-None-Match")) if isinstance(found, str) else found
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _page(text: str, known: str | None) -> Reply:
    etag = f'"{len(text)}-{hash(text) & 0xFFFF}"'
    headers = {"ETag": etag, "Content-Type": "text/html; charset=utf-8"}
    return (304, headers, b"") if known == etag else (200, headers, text.encode())


def to(url: str, status: int = 302) -> Reply:
    """A redirect."""
    return status, {"Location": url}, b""
