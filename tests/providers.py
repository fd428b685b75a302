"""Stand-ins for models behind a network: a real server that speaks each wire format, and misbehaves when told to.

    with provider("bedrock") as there:
        generator = there.generator()
        there.faults = ["429", "ok"]

Bedrock and SageMaker check each request's signature and answer in frames with checksums, as Amazon does.
"""

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from ragkeep.backends import GENERATORS, load
from ragkeep.config import AnswerParams, GeneratorParams
from ragkeep.ports import Generator
from tests.stores.amazon import Amazon, Keys, Request, only

REPLY = "Pumps are serviced yearly by the vendor. [1]"
KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
REGION = "eu-central-1"
SECRET = "sk-not-to-be-shown"
SERVICES = {"bedrock": "bedrock", "sagemaker": "sagemaker"}
MODELS = {"bedrock": "anthropic.claude-3-5-sonnet-20240620-v1:0", "sagemaker": "llama-endpoint", "openai": "qwen3:8b"}
TARGETS = {
    "openai": "/chat/completions",
    "bedrock": "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse-stream",
    "sagemaker": "/endpoints/llama-endpoint/invocations-response-stream",
}
REMOTE = tuple(sorted(MODELS))
STATUSES = {
    "400": (400, {}, {"message": "no"}),
    "401": (401, {}, {"error": {"message": f"Incorrect API key provided: {SECRET}"}}),
    "429": (429, {"retry-after": "0.05"}, {"message": "Too many tokens, please wait"}),
    "429-long": (429, {"retry-after": "3600"}, {"message": "Too many tokens, please wait"}),
    "500": (500, {}, {"message": "an internal error"}),
    "503": (503, {}, {"message": "overloaded"}),
    "html": (200, {"content-type": "text/html"}, "<html>Welcome to nginx!</html>"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the words of no provider."""

    max_tokens: int
    stop: list[str]
    tools: list[str]
    answered: bool
    body: dict[str, Any]


@dataclass
class Provider:
    """A server of one wire format. `faults` are used up one a request; then, and for "ok", it answers."""

    kind: str
    url: str = ""
    reply: str = REPLY
    faults: list[str] = field(default_factory=list)
    pace_s: float = 0.0
    unknown: tuple[str, ...] = ()
    asked: list[Asked] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    sent: int = 0
    closed: list[float] = field(default_factory=list)
    counts: bool = True

    def generator(self, *, timeout_s: float = 5.0, url: str = "", key: str = "") -> Generator:
        """Make the generator that asks this server."""
        made: Generator = load(
            GENERATORS, self.kind, spec=self.spec(timeout_s, url or self.url, key), params=AnswerParams()
        )
        return made

    def spec(self, timeout_s: float = 5.0, url: str = "", key: str = "") -> GeneratorParams:
        return GeneratorParams(
            self.kind, model=MODELS[self.kind], url=url or self.url, region=REGION, key=key, timeout_s=timeout_s
        )

    def fault(self) -> str:
        return self.faults.pop(0) if self.faults else "ok"

    def answer(self, request: Request) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and either a body or, for 200, the events of an answer."""
        wrong = self._wrong(request)
        if wrong:
            self.refused.append(wrong)
            return 403, {}, {"message": wrong}
        asked = READERS[self.kind](json.loads(request.body))
        self.asked.append(asked)
        if named := [name for name in self.unknown if name in asked.body]:
            return 400, {}, {"error": {"message": f"Unrecognized request argument supplied: {named[0]}"}}
        kind = "text/event-stream" if self.kind == "openai" else "application/vnd.amazon.eventstream"
        return 200, {"content-type": kind}, WRITERS[self.kind](self, asked)

    def _wrong(self, request: Request) -> str:
        if request.target != TARGETS[self.kind]:
            return f"no {request.target} here"
        return (
            ""
            if self.kind == "openai"
            else Amazon(SERVICES[self.kind], REGION, only(KEYS), payload_header=False).wrong(request)
        )


def words(provider: Provider, asked: Asked) -> list[str]:
    """What is said, a token a word."""
    said = re.findall(r"\s*\S+", provider.reply)[: asked.max_tokens]
    text = "".join(said)
    cut = min((text.find(word) for word in asked.stop if word in text), default=len(text))
    return re.findall(r"\s*\S+", text[:cut])


def read_chat(body: dict[str, Any]) -> Asked:
    tools = [tool["function"]["name"] for tool in body.get("tools", [])]
    answered = any(m["role"] == "tool" for m in body["messages"])
    most = body.get("max_tokens") or body.get("max_completion_tokens")
    return Asked(int(most or 0), body.get("stop", []), tools, answered, body)


def read_converse(body: dict[str, Any]) -> Asked:
    limits = body["inferenceConfig"]
    tools = [tool["toolSpec"]["name"] for tool in body.get("toolConfig", {}).get("tools", [])]
    answered = any("toolResult" in block for turn in body["messages"] for block in turn["content"])
    return Asked(limits["maxTokens"], limits.get("stopSequences", []), tools, answered, body)


def chat_events(provider: Provider, asked: Asked) -> list[bytes]:
    """Server-sent events, with a comment and odd line ends between them as real servers have."""
    said, made = words(provider, asked), list[dict[str, Any]]()
    if asked.tools and not asked.answered:
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": asked.tools[0], "arguments": ""}}
        said = []
        made.append({"tool_calls": [call]})
        made += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in ('{"query"', ': "pumps"}')]
    made += [{"content": word} for word in said]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in made]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if provider.counts and "stream_options" in asked.body:
        chunks.append({"choices": [], "usage": {"prompt_tokens": 42, "completion_tokens": len(said)}})
    lines = [b": alive\n\n", *[b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks]]
    return [*lines, b"data: [DONE]\n\n"]


def converse_events(provider: Provider, asked: Asked) -> list[bytes]:
    made: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    said = words(provider, asked)
    if asked.tools and not asked.answered:
        said = []
        start = {"toolUse": {"toolUseId": "c1", "name": asked.tools[0]}}
        made.append(("contentBlockStart", {"start": start, "contentBlockIndex": 0}))
        made += [("contentBlockDelta", {"delta": {"toolUse": {"input": part}}, "contentBlockIndex": 0})
                 for part in ('{"query"', ': "pumps"}')]  # fmt: skip
    made += [("contentBlockDelta", {"delta": {"text": word}, "contentBlockIndex": 0}) for word in said]
    made += [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "end_turn"})]
    made.append(("metadata", {"usage": {"inputTokens": 42, "outputTokens": len(said), "totalTokens": 42 + len(said)},
                              "metrics": {"latencyMs": 1}}))  # fmt: skip
    return [frame(kind, json.dumps(payload).encode()) for kind, payload in made]


def part_events(provider: Provider, asked: Asked) -> list[bytes]:
    """A server's own events, cut anywhere, in frames."""
    data = b"".join(chat_events(provider, asked))
    return [frame("PayloadPart", data[at : at + 37], "application/octet-stream") for at in range(0, len(data), 37)]


def frame(kind: str, payload: bytes, content: str = "application/json", *, message: str = "event") -> bytes:
    """One message of Amazon's event stream."""
    about = {f":{message}-type": kind, ":content-type": content, ":message-type": message}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in about.items()
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", crc32(prelude))
    whole = prelude + headers + payload
    return whole + struct.pack("!I", crc32(whole))


READERS: dict[str, Callable[[dict[str, Any]], Asked]] = {
    "openai": read_chat, "bedrock": read_converse, "sagemaker": read_chat,
}  # fmt: skip
WRITERS: dict[str, Callable[[Provider, Asked], list[bytes]]] = {
    "openai": chat_events, "bedrock": converse_events, "sagemaker": part_events,
}  # fmt: skip


class Connection:
    """One connection to a stand-in: read a request, then answer it or fail as planned."""

    def __init__(self, provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.provider, self.reader, self.writer = provider, reader, writer

    async def serve(self) -> None:
        try:
            while (request := await self._request()) is not None:
                await self._respond(request)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writer.close()

    async def _request(self) -> Request | None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body)

    async def _respond(self, request: Request) -> None:
        fault = self.provider.fault()
        gone = asyncio.create_task(self.reader.read(1))
        gone.add_done_callback(lambda _: self.provider.closed.append(time.monotonic()))
        if fault == "reset":
            self.writer.transport.abort()
            raise ConnectionError
        if fault in STATUSES:
            self.provider.asked.append(Asked(0, [], [], False, {}))
            return await self._whole(*STATUSES[fault])
        status, headers, said = self.provider.answer(request)
        if status != 200:
            return await self._whole(status, headers, said)
        if fault == "hang":
            await gone
            raise ConnectionError
        return await self._stream(headers, said, fault, gone)

    async def _whole(self, status: int, headers: dict[str, str], said: Any) -> None:
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        about = {"content-type": "application/json", "content-length": str(len(data)), "connection": "close", **headers}
        await self._send(head(status, about) + data)
        raise ConnectionError

    async def _stream(
        self, headers: dict[str, str], events: list[bytes], fault: str, gone: "asyncio.Task[bytes]"
    ) -> None:
        await self._send(head(200, {**headers, "transfer-encoding": "chunked", "connection": "close"}))
        if fault == "silent":
            await gone
            raise ConnectionError
        if fault == "bad-json":
            events = [broken(self.provider.kind)]
        for n, event in enumerate(events):
            if fault.startswith("cut") and n >= len(events) // 2:
                await self._send(b"0\r\n\r\n" if fault == "cut-cleanly" else b"")
                raise ConnectionError
            for piece in [bytes([byte]) for byte in event] if fault == "trickle" else [event]:
                await self._send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                await asyncio.wait([gone], timeout=1.0 if fault == "trickle" else self.provider.pace_s)
                if gone.done():
                    raise ConnectionError
            self.provider.sent += 1
        await self._send(b"0\r\n\r\n")
        raise ConnectionError

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


def broken(kind: str) -> bytes:
    """An event that holds no JSON."""
    if kind == "bedrock":
        return frame("contentBlockDelta", b'{"delta": {"te')
    data = b'data: {"choices": [{"del\n\n'
    return data if kind == "openai" else frame("PayloadPart", data)


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *[f"{name}: {value}" for name, value in headers.items()], "", ""]
    return "\r\n".join(lines).encode()


@contextmanager
def provider(kind: str, **options: Any) -> Iterator[Provider]:
    """Run a stand-in in a thread of its own."""
    made = Provider(kind, **options)
    with serving(lambda reader, writer: Connection(made, reader, writer).serve()) as url:
        made.url = url
        yield made


@contextmanager
def serving(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> Iterator[str]:
    """Run an asyncio server in a thread; yields its URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(handle, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


def nobody() -> str:
    """A URL where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
