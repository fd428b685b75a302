"""Small real servers on this machine: one that answers by a function, one that stands before a cluster; with TLS too."""

import datetime
import http.client
import ipaddress
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

Answer = tuple[int, Any]
Reply = Callable[[str, str, bytes], tuple[int, bytes] | None]
"""Method, path and body to status and body; None hangs up."""


@contextmanager
def listening(reply: Reply, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            made = reply(self.command, self.path, self.rfile.read(int(self.headers.get("content-length", 0))))
            if made is None:
                self.close_connection = True
                return
            self.send_response(made[0])
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(made[1])))
            self.end_headers()
            self.wfile.write(made[1])

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that refuses our certificate is what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def serving(answer: Callable[[str, bytes], Answer], *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that answers every request by a function of path and body; yields its URL."""

    def reply(_: str, path: str, body: bytes) -> tuple[int, bytes]:
        status, said = answer(path, body)
        return status, json.dumps(said).encode()

    with listening(reply, tls=tls) as url:
        yield url


@contextmanager
def relaying(
    url: str, *, tls: ssl.SSLContext | None = None, lost: Callable[[str], bool] = lambda _: False
) -> Iterator[str]:
    """Stand before a server without TLS; where `lost` says so of a path, what was asked is done, and nothing said."""

    def reply(method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        kind = "application/smile" if body.startswith(b":)\n") else "application/json"
        connection = http.client.HTTPConnection(url.rpartition("/")[2], timeout=60)
        try:
            connection.request(method, path, body or None, {"content-type": kind, "accept": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        return None if lost(path) else (answer.status, said)

    with listening(reply, tls=tls) as made:
        yield made


class Authority:
    """Signs certificates for 127.0.0.1; clients know it by the file `ca`."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("cryptography", reason="making certificates needs the package cryptography")
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key, self._folder, self.ca = ec.generate_private_key(ec.SECP256R1()), folder, str(folder / "ca.pem")
        self._write("ca", self._key, "authority", days=30)

    def sign(self, tls: ssl.SSLContext, *, days: int) -> None:
        """Have a server show, from now on, a certificate that ends so many days from now."""
        from cryptography.hazmat.primitives.asymmetric import ec

        self._write("server", ec.generate_private_key(ec.SECP256R1()), "server", days=days)
        tls.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")

    def _write(self, file: str, key: Any, name: str, *, days: int) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        now, common = datetime.datetime.now(datetime.UTC), x509.NameOID.COMMON_NAME
        subject, issuer = (x509.Name([x509.NameAttribute(common, one)]) for one in (name, "authority"))
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        signer = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=file == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (self._folder / f"{file}.pem").write_bytes(made.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        (self._folder / f"{file}.key").write_bytes(private)


def tls_context() -> ssl.SSLContext:
    """What a server encrypts with, once an Authority has signed for it."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
