"""Amazon Bedrock's Converse stream, for every model that has it; needs the extra [aws].

    answer: {generators: [{backend: bedrock, model: anthropic.claude-3-5-sonnet-20240620-v1:0, region: eu-central-1}]}

Asked over httpx and signed by botocore, not through boto3's blocking client: so a stream that is closed here is closed
there. Credentials are found as boto3 finds them; `key` names the environment variable of a Bedrock API key instead.
`top_k` goes to the families that have one (Claude, Nova, Mistral, Cohere) and is left out for others.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import orjson

from .. import aws, wire
from ..config import AnswerParams, GeneratorParams
from ..errors import ConfigError, ProviderAway
from ..ports import Delta, Embedder, Request, Tool
from ..types import Message, Sampling, Usage
from .amazon import MEDIA, Frame, frames, signed, signer
from .pieces import Calls, counted, until

_MAX_STOPS = 4


def bedrock(spec: GeneratorParams, *, params: AnswerParams, embedder: Embedder | None = None) -> Bedrock:  # noqa: ARG001
    """Make the generator; nothing is asked yet. Raises ConfigError without a model or credentials, MissingExtra."""
    if not spec.model:
        raise ConfigError("backend bedrock needs a model: the id of a model or inference profile, or its ARN")
    key = wire.secret(spec.key, f"generator {spec.label}")
    if key and not (spec.region or spec.url):
        raise ConfigError(f"generator {spec.label} needs a region, as in {{region: eu-central-1}}")
    return Bedrock(spec, signer("Amazon Bedrock", "bedrock", spec.region, key), key)


class Bedrock:
    """See `ports.Generator`."""

    def __init__(self, spec: GeneratorParams, signing: aws.Signer, key: str) -> None:
        self.name = spec.label
        self._spec, self._signer, self._key = spec, signing, key
        base = spec.url.rstrip("/") or f"https://bedrock-runtime.{signing.region}.amazonaws.com"
        self._url = f"{base}/model/{quote(spec.model, safe='')}/converse-stream"

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Yield the answer's pieces as Bedrock sends them."""
        body = orjson.dumps(payload(self._spec.model, request, sampling))
        call = wire.Call(self.name, self._url, body, {}, self._spec.timeout_s, self._key)
        call = await signed(self._signer, call)
        events = wire.unsilent(frames(wire.stream(call, MEDIA), call), call)
        async with aclosing(until(deltas(events, call, request), sampling.stop, request)) as pieces:
            async for piece in pieces:
                yield piece


async def deltas(events: AsyncGenerator[Frame, None], call: wire.Call, request: Request) -> AsyncGenerator[Delta, None]:
    """Read the events of Converse. Raises ProviderAway where they are cut."""
    calls, made, usage, stopped = Calls(), 0, None, False
    async with aclosing(events):
        with wire.expecting(call, "answer of Converse"):
            async for event in events:
                said = wire.parsed(call, event.payload or b"{}")
                place = said.get("contentBlockIndex", 0)
                if event.kind == "contentBlockStart" and (asked := said.get("start", {}).get("toolUse")):
                    calls.add(place, call_id=asked["toolUseId"], name=asked["name"])
                elif event.kind == "contentBlockDelta" and "toolUse" in said["delta"]:
                    calls.add(place, arguments=said["delta"]["toolUse"].get("input", ""))
                elif event.kind == "contentBlockDelta" and (text := said["delta"].get("text")):
                    made += 1
                    yield Delta(text)
                elif event.kind == "messageStop":
                    stopped = True
                elif event.kind == "metadata":
                    usage = Usage(said["usage"]["inputTokens"], said["usage"]["outputTokens"])
    if not stopped:
        raise ProviderAway(f"{call.what} cut its answer off: try again")
    for one in calls.whole():
        yield Delta(call=one)
    yield Delta(usage=usage or counted(request, made))


def payload(model: str, request: Request, sampling: Sampling) -> dict[str, Any]:
    """Return the body of a Converse request."""
    drawn = {"temperature": sampling.temperature, "topP": sampling.top_p}
    limits = {"maxTokens": sampling.max_tokens, **{k: v for k, v in drawn.items() if v is not None}}
    stop = [word for word in sampling.stop if word.strip()][:_MAX_STOPS]  # blank ones are refused, and looked for here
    system = [{"text": m.content} for m in request.messages if m.role == "system" and m.content]
    extra = _top_k(model, sampling.top_k)
    return {
        "messages": _turns(m for m in request.messages if m.role != "system"),
        "inferenceConfig": limits | ({"stopSequences": stop} if stop else {}),
        **({"system": system} if system else {}),
        **({"toolConfig": {"tools": [_tool(t) for t in request.tools]}} if request.tools else {}),
        **({"additionalModelRequestFields": extra} if extra else {}),
    }


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as turns: two of one speaker in a row are one, and what tools said is the user's."""
    made: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if not made or made[-1]["role"] != role:
            made.append({"role": role, "content": []})
        made[-1]["content"] += _blocks(message)
    return [turn for turn in made if turn["content"]]


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        said = [{"text": message.content or "(nothing)"}]
        return [{"toolResult": {"toolUseId": message.call_id, "content": said}}]
    text = [{"text": message.content}] if message.content.strip() else []
    uses = [{"toolUse": {"toolUseId": c.id, "name": c.name, "input": c.arguments}} for c in message.calls]
    return [*text, *uses]


def _tool(tool: Tool) -> dict[str, Any]:
    schema = {"json": tool.parameters}
    return {"toolSpec": {"name": tool.name, "description": tool.description, "inputSchema": schema}}


def _top_k(model: str, top_k: int | None) -> dict[str, Any]:
    """How a family of models is told `top_k`, which Converse itself does not know."""
    if top_k is None:
        return {}
    if "amazon.nova" in model:
        return {"inferenceConfig": {"topK": top_k}}
    if "cohere." in model:
        return {"k": top_k}
    return {"top_k": top_k} if "anthropic." in model or "mistral." in model else {}
