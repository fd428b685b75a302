"""One web page over HTTP, for sources that name URLs: only from public addresses, checked again on every hop.

A host is resolved once a hop, all its addresses are checked, and the connection goes to the very address that was
checked: a name that answers otherwise a moment later changes nothing. Redirects are followed by hand. Proxies of the
environment are not used, cookies not kept, no credentials sent.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ragkeep import __version__
from ragkeep.errors import RagkeepError

HOPS = 5
SCHEMES = {"http": 80, "https": 443}
MOVED = (301, 302, 303, 307, 308)
GONE = (404, 410)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_V4_IN_V6 = tuple(ipaddress.IPv6Network(text) for text in ("::/96", "2001::/32", "2002::/16"))
_PIECE = 65_536
_AS_IS = "/%:@!$&'()*+,;=~?[]"


class FetchError(RagkeepError):
    """A page was not fetched; the message says why, without the URL."""


class PageGone(FetchError):
    """The server says that there is no such page."""


@dataclass(frozen=True, slots=True)
class Page:
    """What came: `body` None where the validators still hold. `url` is the last hop's, whose validators these are."""

    url: str
    body: bytes | None
    media_type: str = ""
    etag: str = ""
    last_modified: str = ""


def resolve(host: str, port: int) -> list[str]:
    """Return a host's addresses as the system knows them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def dial(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to an address. Raises OSError."""
    return socket.create_connection((address, port), timeout_s)


@cache
def trusted() -> ssl.SSLContext:
    """Trust whom the system trusts; reading its certificates takes a while, so once."""
    return ssl.create_default_context()


@dataclass(frozen=True)
class Fetcher:
    """Fetches pages of at most `max_bytes` within `timeout_s`, all hops included.

    `resolve` and `dial` are what reaches the network: tests give others, so that a public address leads to a server of
    theirs. Nothing else can lift the check.
    """

    max_bytes: int
    timeout_s: float = 30.0
    resolve: Callable[[str, int], list[str]] = resolve
    dial: Callable[[str, int, float], socket.socket] = dial
    tls: Callable[[], ssl.SSLContext] = trusted

    def fetch(self, url: str, known: Page | None = None) -> Page:
        """Get a page, or learn that `known` is still what it was. Raises PageGone, FetchError."""
        ends = time.monotonic() + self.timeout_s
        for _ in range(HOPS + 1):
            try:
                parts = checked(url)
                reply = self._get(parts, _conditions(url, known), ends)
            except (OSError, HTTPException, UnicodeError, ValueError) as error:
                raise FetchError(_said(error, late=time.monotonic() >= ends)) from None
            if isinstance(reply, Page):
                return reply
            after = urljoin(url, reply)
            if parts.scheme == "https" and urlsplit(after).scheme == "http":
                raise FetchError("it redirects from https to http")
            url = after
        raise FetchError(f"it redirects more than {HOPS} times")

    def _get(self, parts: SplitResult, conditions: Mapping[str, str], ends: float) -> Page | str:
        """Ask once; return the page, or where it has moved to."""
        host, port = str(parts.hostname), parts.port or SCHEMES[parts.scheme]
        address = public(self.resolve(host.encode("idna").decode(), port))
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection = HTTPConnection(host, port)
        connection.default_port = SCHEMES[parts.scheme]
        sock = self.dial(address, port, left)
        held: list[Any] = [sock]  # a TLS socket takes the plain one's place
        watch = threading.Timer(left, _cut, [held])  # a byte now and then outlives any socket's time-out
        watch.daemon = True
        watch.start()
        try:
            if parts.scheme == "https":
                held.append(self.tls().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False))
                held[-1].do_handshake()
            connection.sock = held[-1]  # given to it connected: http.client would look the name up once more
            path = quote(parts.path or "/", safe=_AS_IS) + (f"?{quote(parts.query, safe=_AS_IS)}" if parts.query else "")
            headers = {"User-Agent": f"ragkeep/{__version__}", "Accept-Encoding": "identity", **conditions}
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as reply:
                found = self._read(parts.geturl(), reply, asked=bool(conditions))
            if time.monotonic() >= ends:  # it was cut, which may look like an end
                raise TimeoutError
            return found
        finally:
            watch.cancel()
            connection.close()
            held[-1].close()

    def _read(self, url: str, reply: HTTPResponse, *, asked: bool) -> Page | str:
        moved = reply.headers.get("Location")
        if reply.status in MOVED and moved:
            return moved
        found = reply.headers
        validators = {"etag": found.get("ETag", ""), "last_modified": found.get("Last-Modified", "")}
        if reply.status == 304 and asked:
            return Page(url, None, **validators)
        if reply.status in GONE:
            raise PageGone(f"the server answered {reply.status}")
        if reply.status != 200:
            raise FetchError(f"the server answered {reply.status}")
        if found.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchError("it comes compressed, which was not asked for")
        body = bytearray()
        while piece := reply.read(min(_PIECE, self.max_bytes + 1 - len(body))):
            body += piece
            if len(body) > self.max_bytes:
                raise FetchError(f"it is larger than {self.max_bytes:,} bytes")
        length = found.get("Content-Length", "")
        if length.isdecimal() and int(length) != len(body):
            raise FetchError("the connection was cut")
        media_type = found.get_content_type() if "Content-Type" in found else ""
        return Page(url, bytes(body), media_type, **validators)


def _cut(held: Sequence[socket.socket]) -> None:
    for sock in held:
        with contextlib.suppress(OSError):  # it has ended, or became TLS
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS too, without its last words


def _conditions(url: str, known: Page | None) -> dict[str, str]:
    """Validators are only for the URL that gave them: another hop may not know them, or mean something else."""
    if known is None or known.url != url:
        return {}
    named = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in named.items() if value}


def _said(error: Exception, *, late: bool) -> str:
    if late or isinstance(error, TimeoutError):
        return "it took too long"
    return str(error) or type(error).__name__


def checked(url: str) -> SplitResult:
    """Take a URL apart. Raises FetchError where it is none that may be asked for; names no credentials."""
    if any(c <= " " or c == "\\" or c == "\x7f" for c in url):
        raise FetchError("its URL holds white space, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise FetchError("its URL cannot be read") from None
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0:
        raise FetchError("its URL must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise FetchError("its URL names a user: credentials do not belong there")
    return parts._replace(fragment="")


def public(addresses: list[str]) -> str:
    """Return the first of a host's addresses. Raises FetchError unless every one of them is public."""
    if not addresses:
        raise FetchError("its host has no address")
    for address in addresses:
        if not is_public(address):
            raise FetchError("its host has an address that is not public")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is anybody's in the Internet: not this machine's, this network's, a group's or nobody's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped
        if found in _NAT64:  # how a network without IPv4 reaches IPv4: what counts is where that leads
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
            return is_public(str(inner))
        if inner is not None or found.is_site_local or any(found in network for network in _V4_IN_V6):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)
