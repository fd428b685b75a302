"""How models behind a network are asked over HTTP: one request, one error for each way it can fail, no secret in any.

    async with aclosing(stream(call, "text/event-stream")) as chunks: ...     # generators
    answer = ask(client, call)                                                # embedders

Nothing is retried here, redirects are not followed, and an error that is shown never holds the key that was sent.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import orjson

from . import tracing
from .errors import ConfigError, ProviderAway, ProviderBusy, ProviderError, ProviderRefused

CONNECT_S = 10.0
_MAX_SAID = 65_536
_MAX_ANSWER = 1 << 28
_BUSY = (429, 503, 529)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `what` names the model in errors, `secret` is what no error may show."""

    what: str
    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout_s: float
    secret: str = field(default="", repr=False)
    method: str = "POST"


def secret(name: str, what: str) -> str:
    """Read a key from the environment variable `name`; "" where none is named. Raises ConfigError where it is not set."""
    if not name:
        return ""
    found = os.environ.get(name, "").strip()
    if not found:
        raise ConfigError(f"{what} takes its key from the environment variable {name}, which is not set")
    return found


def bearer(key: str) -> dict[str, str]:
    """Headers of a JSON request with a key, if there is one."""
    return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})


async def stream(call: Call, media: str) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an answer as they come; closing it closes the connection, and so stops the work upstream.

    Raises ProviderBusy, ProviderAway, ProviderRefused (also where the answer is of another type than `media`).
    """
    timeout = httpx.Timeout(None, connect=min(call.timeout_s, CONNECT_S))
    with _span(call) as here:
        headers = {**call.headers, **tracing.headers(), "accept": media, "accept-encoding": "identity"}
        async with aclosing(_streamed(call, media, headers, timeout, here)) as chunks:
            async for chunk in chunks:
                yield chunk


async def _streamed(
    call: Call, media: str, headers: Mapping[str, str], timeout: httpx.Timeout, here: tracing.Span
) -> AsyncGenerator[bytes, None]:
    try:
        # a client a request: a pool would belong to one event loop, and a generator is asked from several
        async with (
            httpx.AsyncClient(verify=_trust(), timeout=timeout) as client,
            client.stream("POST", call.url, content=call.body, headers=headers) as response,
        ):
            here.set(**{"http.response.status_code": response.status_code})
            if response.status_code != 200:
                raise failure(call, response.status_code, response.headers, await _head(response))
            if media not in response.headers.get("content-type", ""):
                raise ProviderRefused(f"{call.what} answered with no stream of {media}: check its url, {_host(call.url)}")
            async for chunk in response.aiter_raw():
                yield chunk
    except httpx.TransportError as error:
        raise _away(call, error) from None
    except httpx.InvalidURL as error:
        raise ProviderRefused(f"{call.what}: {call.url} is no URL ({error})") from None


async def unsilent(pieces: AsyncGenerator[T, None], call: Call) -> AsyncGenerator[T, None]:
    """Pass pieces on, and raise ProviderAway where the next one takes longer than `timeout_s`, however it trickles."""
    async with aclosing(pieces):
        while True:
            try:
                async with asyncio.timeout(call.timeout_s):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ProviderAway(
                    f"{call.what} was silent for {call.timeout_s:g} s: is it overloaded? timeout_s sets the limit"
                ) from None
            yield piece


def ask(client: httpx.Client, call: Call) -> Any:
    """Send a request and return the JSON that comes back, all of it within `timeout_s`. Raises ProviderError's three."""
    with _span(call) as here:
        status, headers, said = _asked(client, call, {**call.headers, **tracing.headers()})
        here.set(**{"http.response.status_code": status})
        if status != 200:
            raise failure(call, status, headers, said[:_MAX_SAID])
    return parsed(call, said)


def send(call: Call) -> int:
    """Send a request over a connection of its own; return the status. Raises ProviderAway, ProviderRefused."""
    with client(call.timeout_s) as own:
        return _asked(own, call, dict(call.headers))[0]


def _asked(client: httpx.Client, call: Call, headers: dict[str, str]) -> tuple[int, httpx.Headers, bytes]:
    until = time.monotonic() + call.timeout_s
    said = bytearray()
    try:
        with client.stream(call.method, call.url, content=call.body, headers=headers) as response:
            for chunk in response.iter_bytes():
                said += chunk
                if time.monotonic() > until:
                    raise ProviderAway(f"{call.what} took longer than {call.timeout_s:g} s to answer: is it overloaded?")
                if len(said) > _MAX_ANSWER:
                    raise ProviderRefused(f"{call.what} answers with more than {_MAX_ANSWER >> 20} MB: is it this model?")
    except httpx.TransportError as error:
        raise _away(call, error) from None
    except httpx.InvalidURL as error:
        raise ProviderRefused(f"{call.what}: {call.url} is no URL ({error})") from None
    return response.status_code, response.headers, bytes(said)


def _span(call: Call) -> tracing.Span:
    """The step of the trace that one request is; neither query nor body are told."""
    if not tracing.enabled():
        return tracing.span("")
    url = urlsplit(call.url)
    return tracing.span(
        call.method, "client",
        **{"http.request.method": call.method, "server.address": url.hostname or "", "peer.service": call.what},
        **({"server.port": port} if (port := url.port) else {}),
    )  # fmt: skip


def client(timeout_s: float) -> httpx.Client:
    """Open connections that are kept, for `ask`; safe to share between threads."""
    return httpx.Client(verify=_trust(), timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)))


def parsed(call: Call, data: bytes | str) -> Any:
    """Parse JSON. Raises ProviderRefused where it is none."""
    try:
        return orjson.loads(data)
    except ValueError:
        raise ProviderRefused(f"{call.what} answered with what is no JSON: check its url, {_host(call.url)}") from None


@contextmanager
def expecting(call: Call, what: str) -> Iterator[None]:
    """Turn what reading an answer of the wrong shape raises into ProviderRefused."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ProviderRefused(f"{call.what} answered with what is no {what}: check its url, {_host(call.url)}") from error


def failure(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Make the error for a status that is not 200."""
    said = _said(call, body)
    if status in _BUSY:
        wait = retry_after_s(headers)
        later = f"; it asks to wait {wait:g} s" if wait is not None else ""
        return ProviderBusy(f"{call.what} is too busy ({status}{said}){later}", wait)
    if status >= 500 or status == 408:
        return ProviderAway(f"{call.what} failed ({status}{said}): try again, or look at its log")
    advice = {
        401: "check its key, and the environment variable that key names",
        403: "check its key and what it may do",
        404: "check url and model",
        413: "lower answer.context_tokens",
    }.get(status, "check model and parameters")
    return ProviderRefused(f"{call.what} refused ({status}{said}): {advice}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from Retry-After in seconds or as a date; None where it says nothing of use."""
    said = headers.get("retry-after", "").strip()
    try:
        wait = float(said)
    except ValueError:
        try:
            at = parsedate_to_datetime(said)
        except ValueError:
            return None
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return max(wait, 0.0) if wait < 10**6 else None  # also not a number


def _said(call: Call, body: bytes) -> str:
    """What a provider said went wrong, in one short line without the key."""
    try:
        found = orjson.loads(body)
    except ValueError:
        found = {}
    found = found if isinstance(found, dict) else {}
    error = found.get("error")
    inner = error if isinstance(error, dict) else {}
    said = inner.get("message") or error or found.get("message") or found.get("Message") or found.get("detail") or ""
    line = " ".join(str(said).split())
    if call.secret:
        line = line.replace(call.secret, "(key)")
    return f": {line[:300]}" if line else ""


def _away(call: Call, error: httpx.TransportError) -> ProviderAway:
    why = {
        httpx.ConnectTimeout: "no connection in time",
        httpx.ConnectError: "no connection",
        httpx.RemoteProtocolError: "the answer was cut off",
        httpx.ReadError: "the connection broke",
        httpx.ReadTimeout: "no answer in time",
    }.get(type(error), "the connection failed")
    detail = " ".join(str(error).split())[:200]
    return ProviderAway(f"{call.what} at {_host(call.url)}: {why}{f' ({detail})' if detail else ''}: is it running?")


async def _head(response: httpx.Response) -> bytes:
    """Read the beginning of an error's body."""
    said = b""
    async for chunk in response.aiter_raw():
        said += chunk
        if len(said) > _MAX_SAID:
            break
    return said


def _host(url: str) -> str:
    return url.split("?", 1)[0]


@functools.cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
