"""OpenAI's own shapes, so that a client made for it works unchanged: chat completions, embeddings, models."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field

from ..errors import NotFound, RequestError
from ..types import Message
from .auth import GuardedRoute, needs
from .chat import ANY
from .principal import Principal
from .routes_chat import whole
from .runs import Run
from .schemas import ChatBody, Taken, Workspace, question
from .server import at
from .streams import EventStream, described

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
Reader = Annotated[Principal, Depends(needs("reader"))]
EMBED_MANY = 2048


class Part(Taken):
    """A part of a message; what is no text is not read."""

    model_config = ConfigDict(extra="ignore")
    type: str
    text: str = ""


class Turn(Taken):
    """One message; content may come in parts, of which text counts."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The message's text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class StreamOptions(Taken):
    """What a stream ends with."""

    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class Completion(Taken):
    """A chat completion, as OpenAI's clients send it; what is not listed is ignored, as other servers do."""

    model_config = ConfigDict(extra="ignore")
    model: str = ANY
    messages: Annotated[list[Turn], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, Field(ge=1)] = 1
    workspace: Workspace = "default"


class BadRequest(RequestError):
    """What OpenAI's API would take and this one does not."""

    status = 422
    code = "unsupported"


def body_of(asked: Completion) -> tuple[ChatBody, tuple[Message, ...]]:
    """The last question, and what was said before it. Raises BadRequest."""
    if asked.n != 1:
        raise BadRequest("n must be 1: there is one answer")
    turns = [turn for turn in asked.messages if turn.text.strip()]
    if not turns or turns[-1].role != "user":
        raise BadRequest("the last message must be the user's question")
    said = tuple(Message(turn.role, turn.text) for turn in turns[:-1] if turn.role in ("user", "assistant"))
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    sampling = {
        "temperature": asked.temperature, "top_p": asked.top_p, "stop": stop,
        "max_tokens": asked.max_completion_tokens or asked.max_tokens,
    }  # fmt: skip
    return question(message=turns[-1].text, workspace=asked.workspace, model=asked.model, sampling=sampling), said


@router.post("/chat/completions", responses=described())
async def completions(request: Request, asked: Completion, who: Reader) -> Any:
    """Answer the last question from the documents; `sources` and `citations` come beside OpenAI's fields."""
    server = at(request)
    body, said = body_of(asked)
    who.enter(body.workspace)
    await server.admit(who, body.workspace)
    run = await server.chat.start(body, who, history=said)
    if asked.stream:
        return EventStream(_chunks(run, asked))
    made = await whole(request, run)
    message = {"role": "assistant", "content": made["text"], "refusal": None}
    return {
        **_head(run, asked, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _usage(made), "sources": made["sources"], "citations": made["citations"], "answer_id": run.id,
    }  # fmt: skip


def _head(run: Run, asked: Completion, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{run.id}", "object": kind, "created": int(time.time()), "model": asked.model}


def _usage(made: dict[str, Any]) -> dict[str, int]:
    usage = made["usage"]
    return {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]}


async def _chunks(run: Run, asked: Completion) -> AsyncGenerator[bytes, None]:
    """Yield OpenAI's chunks; the words as they are made, then what the checked answer adds."""
    head = _head(run, asked, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        return b"data: %s\n\n" % orjson.dumps({**head, "choices": choices, **more})

    yield chunk({"role": "assistant", "content": ""})
    async with aclosing(run.read()) as events:
        async for event in events:
            if event.name == "token":
                yield chunk({"content": event.data["text"]})
            elif event.name == "error":
                error = {"message": event.data["message"], "type": "server_error", "code": event.data["code"]}
                yield b"data: %s\n\n" % orjson.dumps({"error": error})
                return
            elif event.name == "done":
                made = event.data
                yield chunk({}, "stop", sources=made["sources"], citations=made["citations"], answer_id=run.id)
                if asked.stream_options.include_usage:
                    yield b"data: %s\n\n" % orjson.dumps({**head, "choices": [], "usage": _usage(made)})
    yield b"data: [DONE]\n\n"


class Embeddings(Taken):
    """Texts to vectors, as OpenAI's clients ask for them. `input_type` "query" takes the model's question prefix."""

    model_config = ConfigDict(extra="ignore")
    model: str = ANY
    input: str | Annotated[list[str], Field(min_length=1, max_length=EMBED_MANY)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Literal["query", "passage"] = "passage"
    workspace: Workspace = "default"


@router.post("/embeddings")
async def embeddings(request: Request, asked: Embeddings, who: Reader) -> Any:
    """Embed texts with the release's embedder; vectors have unit length."""
    server = at(request)
    await server.admit(who, asked.workspace)
    embedder = server.champion.assistant.embedder
    if asked.dimensions not in (None, embedder.dim):
        raise BadRequest(f"this embedder's vectors have {embedder.dim} dimensions")
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    vectors = await asyncio.to_thread(embedder.embed, texts, role=asked.input_type)
    data = [
        {"object": "embedding", "index": n, "embedding": _encoded(vector, asked.encoding_format)}
        for n, vector in enumerate(vectors)
    ]
    tokens = sum(len(text) // 4 + 1 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    made = {"object": "list", "model": embedder.name, "data": data, "usage": usage}
    return Response(orjson.dumps(made), media_type="application/json")


def _encoded(vector: Any, how: str | None) -> Any:
    if how == "base64":
        return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()
    return [float(x) for x in vector]


@router.get("/models")
async def models(request: Request, who: Reader) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """List what may be asked for: `ragkeep`, the release's choice, and each generator by name."""
    return {"object": "list", "data": [_model(name) for name in at(request).models()]}


@router.get("/models/{name:path}")
async def model(request: Request, name: str, who: Reader) -> dict[str, Any]:  # noqa: ARG001 - declares who may
    """Describe one model."""
    if name not in at(request).models():
        raise NotFound(f"there is no model {name!r} here: GET /v1/models lists them")
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ragkeep"}
