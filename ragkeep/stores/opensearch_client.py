"""One way to ask an OpenSearch cluster: all nodes in one pool, time limits, retries, and errors that say what to do.

The password comes from RAGKEEP_OPENSEARCH_PASSWORD and is in no message, no repr and no log. opensearchpy is imported
at the first request: it costs most of a CPU-second.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from .. import aws
from ..breaker import Breaker, Resting
from ..config import OpenSearchParams
from ..errors import ConfigError, MissingExtra, StoreError

_BULK = {"content-type": "application/smile", "accept": "application/json"}
BUSY = frozenset({429, 502, 503, 504})
"""What a cluster answers that will soon be able to: the same request may be sent again."""

_FAILURES = 3
"""Searches in a row that found the cluster away, each after its patience, before none is tried for a while."""
_REST_S = 5.0

T = TypeVar("T")


class Refused(StoreError):
    """The cluster's answer was an error; `status` is HTTP's (0: there was no answer), `kind` its exception's name."""

    def __init__(self, message: str, status: int = 0, kind: str = "") -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


@contextmanager
def suppress_status(status: int) -> Iterator[None]:
    """Take an answer of this status for one that needs no action."""
    try:
        yield
    except Refused as error:
        if error.status != status:
            raise


def passing(error: Exception) -> bool:
    """Whether the cluster is busy or away, so that the same request may go through later."""
    return isinstance(error, Refused) and (error.status in BUSY or error.kind in ("connection", "timeout"))


class Cluster:
    """A connection pool; safe to share between threads."""

    def __init__(self, params: OpenSearchParams) -> None:
        self._params = params
        self._breaker = Breaker(failures=_FAILURES, rest_s=_REST_S)

    @cached_property
    def _transport(self) -> Any:
        library, params = _library(), self._params
        theirs = logging.getLogger("opensearch")
        if theirs.level == logging.NOTSET:  # each try that fails would be a warning of 40 lines, and ours to report
            theirs.setLevel(logging.ERROR)
        made = library.Transport(
            [_node(host) for host in params.hosts],
            connection_class=library.Urllib3HttpConnection,
            serializer=_Json(),
            timeout=params.timeout_s,
            max_retries=max(params.max_retries, len(params.hosts) - 1),
            retry_on_timeout=True,
            pool_maxsize=16,
            http_auth=_credentials(params),
            **({"ca_certs": params.ca, "verify_certs": True} if params.ca else {}),
        )
        weakref.finalize(self, made.close)  # a release that was swapped out goes with the last request on it
        return made

    def ask(self, method: str, path: str, body: Any = None, *, absent: Any = ..., timeout_s: float | None = None) -> Any:
        """Send one request and return what its JSON says; `absent`, where given, is returned for a 404.

        `body` is JSON, or bytes of it (for a bulk request: of SMILE, see smile.py). Every node is tried before a
        connection counts as refused. Raises Refused, and MissingExtra without opensearchpy.
        """
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        headers = _BULK if "/_bulk" in path else None
        try:
            return self._transport.perform_request(method, path, body=data, headers=headers, timeout=timeout_s)
        except _library().OpenSearchException as error:
            if error.args and isinstance(error.args[-1], ConfigError):  # ours, about credentials
                raise error.args[-1] from None
            refused = self._refused(error)
        if refused.status == 404 and absent is not ...:
            return absent
        raise refused

    def patiently(self, work: Callable[[], T], *, patience_s: float | None = None) -> T:
        """Do it again while the cluster is busy or away, as long as the params or `patience_s` say.

        For what is safe to repeat.
        """
        patience_s = self._params.patience_s if patience_s is None else patience_s
        for wait_s in _waits(patience_s):
            try:
                return work()
            except Refused as error:
                if wait_s is None or not passing(error):
                    raise
                time.sleep(wait_s)
        raise AssertionError("the last wait is None")

    def promptly(self, work: Callable[[], T], *, patience_s: float) -> T:
        """Do as `patiently` does, but fail at once while the last ones found the cluster away: for readers."""
        try:
            with self._breaker.guard(passing):
                return self.patiently(work, patience_s=patience_s)
        except Resting as rest:
            said = f"{rest.cause}; searches fail at once for {rest.wait_s:.1f} s more"
            raise Refused(said, kind="resting") from None

    def refuse_serverless(self) -> None:
        """Raise StoreError where an index cannot be built; see docs/adr/0005-opensearch.md."""
        if self._params.aws_service == "aoss":
            raise StoreError(
                "OpenSearch Serverless cannot hold an index of ours: it has no Lucene graph, no scripts, no merging, and "
                "takes no document ids beside vectors: use a managed domain, with index.opensearch.aws_service es"
            )

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if "_transport" in self.__dict__:
            self._transport.close()
            del self.__dict__["_transport"]

    def _refused(self, error: Any) -> Refused:
        """Say in one line what happened and what to do."""
        where = f"OpenSearch at {', '.join(self._params.hosts)}"
        if isinstance(error.args[0] if error.args else None, int):
            return _answered(where, self._params, error)
        said = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
        if type(error).__name__ == "SSLError":
            return Refused(f"{where}: {_certificate(said, self._params.ca)}", kind="tls")
        if type(error).__name__ == "ConnectionTimeout":
            advice = f"did not answer within {self._params.timeout_s:g} s: look at its load, or raise"
            return Refused(f"{where} {advice} index.opensearch.timeout_s; nothing live was touched", kind="timeout")
        return Refused(
            f"{where} cannot be reached ({_cause(said)}): is it running, and index.opensearch.hosts right? "
            "Nothing live was touched",
            kind="connection",
        )


def _waits(patience_s: float) -> Iterator[float | None]:
    """Yield how long to wait before each next try, longer and longer with jitter; None: this try is the last."""
    until, longest = time.monotonic() + patience_s, 0.25
    while time.monotonic() < until:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - spreads retries, keeps no secret
        longest = min(2 * longest, 10.0)
    yield None


def _library() -> Any:
    try:
        return importlib.import_module("opensearchpy")
    except ImportError:
        raise MissingExtra("the OpenSearch store", "opensearch") from None


def _node(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return {
        "host": parts.hostname,
        "port": parts.port or (443 if tls else 80),
        "use_ssl": tls,
        "url_prefix": parts.path.strip("/"),
    }


def _answered(where: str, params: OpenSearchParams, error: Any) -> Refused:
    status, kind, info = error.args[0], str(error.args[1]), error.args[2] if len(error.args) > 2 else None
    told = info if isinstance(info, dict) else {}
    reason = describe_error(told.get("error") or told.get("message") or told.get("Message") or kind)
    if params.aws_service and status in (401, 403) and not kind.endswith("_block_exception"):
        return Refused(f"{where} {_unsigned(reason)}", status, kind)
    return Refused(f"{where} {advise(status, reason, user=params.user)}", status, kind)


def advise(status: int, reason: str, *, user: str = "") -> str:
    """Put an error answer in words, with the next step. `user` is who asked."""
    if status == 401:
        return f"does not know user {user!r} or the password: set index.opensearch.user and RAGKEEP_OPENSEARCH_PASSWORD"
    if "read-only-allow-delete" in reason or "read-only / allow delete" in reason or "flood" in reason:
        return "has made the index read-only, its disk is nearly full: free some space, then run again; live is as it was"
    if "create-index blocked" in reason:
        return "takes no new index, its disks are nearly full: free some space, then run again; live is as it was"
    if "index write (api)" in reason:
        return "holds this index sealed: build a new version instead of writing to it"
    if status == 403:
        return f"does not let user {user!r} do this ({reason}): give it a role with rights on the prefix's indexes"
    if status in BUSY:
        return f"is too busy or not whole ({status}: {reason}): wait, or add nodes; nothing live was touched"
    return f"answered {status}: {reason}"


def _unsigned(reason: str) -> str:
    return (
        f"does not accept these AWS credentials ({reason}): log in again if they ran out, let its access policy name "
        "their role, and check index.opensearch.aws_region, aws_service and this machine's clock"
    )


def describe_error(error: Any) -> str:
    """Name type and reason of an error object, its root causes with it, on one line."""
    if not isinstance(error, dict):
        return " ".join(str(error).split())[:500]
    causes = [error, *error.get("root_cause", []), error.get("caused_by") or {}]
    causes += [shard.get("reason") or {} for shard in error.get("failed_shards", [])]
    causes += [cause.get("caused_by") or {} for cause in causes]
    said = dict.fromkeys(f"{c.get('type')}: {c.get('reason')}" for c in causes if c.get("reason"))
    return " ".join("; ".join(said).split())[:500]


def _certificate(said: str, ca: str) -> str:
    if "has expired" in said:
        return "its certificate has expired: renew it on the cluster; nothing live was touched"
    if "self-signed" in said or "self signed" in said or "local issuer" in said:
        known = f"the file {ca}" if ca else "the system's certificates"
        return f"its certificate is signed by nobody in {known}: set index.opensearch.ca to its CA's file"
    if "match" in said:
        return f"its certificate is for another host ({said[-160:]}): use the name it is made out to in hosts"
    return f"no TLS connection ({said[-200:]}): is it https, and index.opensearch.ca the right file?"


def _cause(said: str) -> str:
    for known in ("Connection refused", "Name or service not known", "No route to host", "timed out"):
        if known in said:
            return known.lower()
    return said[-160:]


def _credentials(params: OpenSearchParams) -> Any:
    if params.aws_service:
        return _signer(params)
    if not params.user:
        return None
    return params.user, os.environ.get("RAGKEEP_OPENSEARCH_PASSWORD", "")


def _signer(params: OpenSearchParams) -> Callable[..., dict[str, str]]:
    session = aws.session("signing requests for Amazon OpenSearch", params.aws_region)
    credentials, signer = session.get_credentials(), _library().Urllib3AWSV4SignerAuth

    def sign(method: str, url: str, body: Any, headers: dict[str, str] | None = None) -> dict[str, str]:
        # asked each time, since temporary keys are renewed
        made = signer(aws.keys(credentials), session.region_name, params.aws_service)
        signed: dict[str, str] = made(method, url, body, headers)
        return signed

    return sign


class _Json:
    """What opensearchpy takes for a serializer: ours is made already, theirs is read by orjson."""

    mimetype = "application/json"

    def loads(self, text: str) -> Any:
        return orjson.loads(text)

    def dumps(self, data: Any) -> Any:
        return data
