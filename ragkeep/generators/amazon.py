"""What Bedrock and SageMaker share: signed requests, and the frames an answer comes in, each with its checksums."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from .. import aws, wire
from ..errors import ConfigError, MissingExtra, ProviderAway, ProviderBusy, ProviderError, ProviderRefused

MEDIA = "application/vnd.amazon.eventstream"
_BUSY = ("throttlingException", "serviceUnavailableException")
_AWAY = ("internalServerException", "modelStreamErrorException", "modelTimeoutException", "InternalStreamFailure",
         "ModelStreamError")  # fmt: skip


def signer(what: str, service: str, region: str, key: str = "") -> aws.Signer:
    """Make what signs requests, and import what reads answers. Raises MissingExtra, ConfigError without credentials."""
    try:
        importlib.import_module("botocore.eventstream")
    except ImportError:
        raise MissingExtra(what, "aws") from None
    return aws.Signer(what, service, region, key=key)


@dataclass(frozen=True, slots=True)
class Frame:
    """One event: what kind it is, and its bytes."""

    kind: str
    payload: bytes


async def signed(signer: aws.Signer, call: wire.Call) -> wire.Call:
    """Sign a call. Raises ProviderRefused where the credentials ran out."""
    try:
        headers = await asyncio.to_thread(signer.headers, call.url, call.body)  # new credentials come over a network
    except ConfigError as error:
        raise ProviderRefused(str(error)) from None
    return wire.Call(call.what, call.url, call.body, headers, call.timeout_s, call.secret)


async def frames(chunks: AsyncGenerator[bytes, None], call: wire.Call) -> AsyncGenerator[Frame, None]:
    """Yield the events of a stream. Raises what Amazon reports in it, ProviderRefused where a checksum is wrong."""
    stream = importlib.import_module("botocore.eventstream")
    buffer = stream.EventStreamBuffer()
    async with aclosing(chunks):
        async for chunk in chunks:
            buffer.add_data(chunk)
            try:
                for event in buffer:
                    yield _read(event, call)
            except stream.ParserError as error:
                raise ProviderRefused(f"{call.what} sent a broken event stream ({error}): check its url") from None


def _read(event: object, call: wire.Call) -> Frame:
    headers, payload = event.headers, event.payload  # type: ignore[attr-defined]
    if headers.get(":message-type") in ("exception", "error"):
        raise _reported(headers.get(":exception-type") or headers.get(":error-code") or "", payload, call)
    return Frame(headers.get(":event-type", ""), payload)


def _reported(kind: str, payload: bytes, call: wire.Call) -> ProviderError:
    """The error for what was reported after the answer had begun."""
    if kind in _BUSY:
        return ProviderBusy(f"{call.what} is too busy ({kind}): try again later")
    said = payload.decode("utf-8", "replace")[:300]
    if kind in _AWAY:
        return ProviderAway(f"{call.what} failed while it answered ({kind}: {said}): try again")
    return ProviderRefused(f"{call.what} refused ({kind}: {said}): check model and parameters")
