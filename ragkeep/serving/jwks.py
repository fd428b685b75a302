"""The public keys an issuer of tokens signs with, from a file or a URL, as they change.

They are read again after `KEEP_S`, so that a key taken back does not count for long, and for a key id that is not known,
so that a new one counts at once; but never more often than every `REFETCH_S`, whatever tokens strangers send. While the
issuer does not answer, the keys it gave last count for `STALE_S`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ServiceAway, Unauthorized

if TYPE_CHECKING:
    from jwt import PyJWK

KEEP_S = 600.0
REFETCH_S = 30.0
STALE_S = 86_400.0
TIMEOUT_S = 5.0
MAX_BYTES = 1_000_000
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What tokens may be signed with: public keys only."""

log = logging.getLogger(__name__)


class Jwks:
    """Public keys by their id; safe to share between threads, of which one at a time reads."""

    def __init__(self, source: str, *, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S) -> None:
        self.source, self.clock, self.timeout_s = source, clock, timeout_s
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")

    def key(self, kid: str) -> PyJWK:
        """Return a key by its id. Raises Unauthorized for an unknown id, ServiceAway where no keys can be had."""
        if kid not in self._keys or self.clock() - self._read_at > KEEP_S:
            self._refresh(kid)
        if self.clock() - self._read_at > STALE_S:
            raise ServiceAway("tokens cannot be checked, the issuer's keys cannot be had: try again in a minute")
        if kid not in self._keys:
            raise Unauthorized("this token was signed with a key its issuer does not publish: log in again")
        return self._keys[kid]

    def _refresh(self, kid: str) -> None:
        with self._lock:
            now = self.clock()
            fresh = kid in self._keys and now - self._read_at <= KEEP_S
            if fresh or now - self._tried_at < REFETCH_S:
                return
            self._tried_at = now
            try:
                self._keys = parse_jwks(self._read())
                self._read_at = self.clock()
            except (OSError, HTTPException, ConfigError) as error:
                log.warning("the keys of the issuer of tokens cannot be read from %s: %s", self.source, error)

    def _read(self) -> bytes:
        if not self.source.startswith(("http://", "https://")):
            return Path(self.source).read_bytes()
        opener = urllib.request.build_opener(_NoRedirects)
        deadline = time.monotonic() + self.timeout_s
        with opener.open(self.source, timeout=self.timeout_s) as answer:
            return _read_until(answer, deadline)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Keys come from the address that was configured and from nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def _read_until(answer: Any, deadline: float) -> bytes:
    """Read all of it, however slowly it drips: each read has the time-out, and the whole has it too."""
    found = b""
    while piece := answer.read1(65_536):
        found += piece
        if time.monotonic() > deadline or len(found) > MAX_BYTES:
            raise OSError("the answer is too slow or too large")
    return found


def parse_jwks(raw: bytes) -> dict[str, PyJWK]:
    """Take the signing keys out of a JWKS; what is no public key that tokens may be signed with is left out.

    Raises ConfigError when it is no JWKS, or holds none.
    """
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    try:
        rows = json.loads(raw)["keys"]
        wanted = [row for row in rows if row.get("kid") and row.get("kty") != "oct" and row.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError("that is no JWKS: it must be JSON with a list of keys") from None
    found: dict[str, PyJWK] = {}
    for row in wanted:
        try:
            key = PyJWK.from_dict(row)
        except (PyJWTError, ValueError, KeyError):
            continue  # of a kind that is not supported, or broken: tokens signed with it are refused
        if key.algorithm_name in ALGORITHMS:
            found[row["kid"]] = key
    if not found:
        raise ConfigError("the JWKS holds no public key with a kid that can check signatures")
    return found
