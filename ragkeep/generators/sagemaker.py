"""A SageMaker endpoint that takes chat messages, as the containers of vLLM and text-generation-inference do; extra [aws].

    answer: {generators: [{backend: sagemaker, model: my-endpoint, region: eu-central-1}]}

`model` is the endpoint's name. The answer is the server's own event stream, in Amazon's frames.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

import orjson

from .. import aws, wire
from ..config import AnswerParams, GeneratorParams
from ..errors import ConfigError
from ..ports import Delta, Embedder, Request
from ..types import Sampling
from .amazon import MEDIA, frames, signed, signer
from .chat import deltas, events, payload
from .pieces import until


def sagemaker(spec: GeneratorParams, *, params: AnswerParams, embedder: Embedder | None = None) -> SageMaker:  # noqa: ARG001
    """Make the generator; nothing is asked yet. Raises ConfigError without an endpoint or credentials."""
    if not spec.model:
        raise ConfigError("backend sagemaker needs a model: the name of the endpoint")
    if spec.key:
        raise ConfigError("backend sagemaker takes no key: it signs with the AWS credentials of this machine")
    return SageMaker(spec, signer("Amazon SageMaker", "sagemaker", spec.region))


class SageMaker:
    """See `ports.Generator`."""

    def __init__(self, spec: GeneratorParams, signing: aws.Signer) -> None:
        self.name = spec.label
        self._spec, self._signer = spec, signing
        base = spec.url.rstrip("/") or f"https://runtime.sagemaker.{signing.region}.amazonaws.com"
        self._url = f"{base}/endpoints/{quote(spec.model, safe='')}/invocations-response-stream"

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Yield the answer's pieces as the endpoint sends them."""
        body = orjson.dumps(payload(self._spec.model, request, sampling))
        call = await signed(self._signer, wire.Call(self.name, self._url, body, {}, self._spec.timeout_s))
        said = wire.unsilent(events(_parts(call), call), call)
        async with aclosing(until(deltas(said, call, request), sampling.stop, request)) as pieces:
            async for piece in pieces:
                yield piece


async def _parts(call: wire.Call) -> AsyncGenerator[bytes, None]:
    """Take the server's own bytes out of Amazon's frames."""
    async with aclosing(frames(wire.stream(call, MEDIA), call)) as found:
        async for frame in found:
            yield frame.payload
