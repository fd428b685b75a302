"""A language model on this machine, through transformers and without gradients: extra [torch], CPU or GPU.

    answer: {generators: [{backend: local, model: /models/qwen3-0.6b}]}

`model` is a folder, or the name of a model in the Hugging Face cache; nothing is fetched. Weights come from safetensors
only and no code of the model's repository is run. It is loaded at the first request and answers one at a time; a stream
that is closed stops before its next token. Tools are offered and read as Qwen, Hermes and their kin write them:
`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

from ..config import AnswerParams, GeneratorParams
from ..errors import ConfigError, MissingExtra, ProviderAway, ProviderError, ProviderRefused
from ..models import hub_snapshot, require_safetensors
from ..ports import Delta, Embedder, Request
from ..types import Message, Sampling, Usage
from .pieces import tool_calls, until

Put = Callable[[Delta | ProviderError | None], None]


def local(spec: GeneratorParams, *, params: AnswerParams, embedder: Embedder | None = None) -> Local:  # noqa: ARG001
    """Make the generator; the model is loaded at the first request. Raises ConfigError, MissingExtra, ModelError."""
    if not spec.model:
        raise ConfigError("backend local needs a model: a folder with safetensors, or a name in the Hugging Face cache")
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        raise MissingExtra("backend local", "torch")
    folder = Path(spec.model).expanduser()
    folder = folder if folder.is_dir() else hub_snapshot(spec.model)
    if not any(folder.glob("model-*-of-*.safetensors")):
        require_safetensors(folder)
    return Local(spec, folder)


class Local:
    """See `ports.Generator`."""

    def __init__(self, spec: GeneratorParams, folder: Path) -> None:
        self.name = spec.label
        self._folder, self._timeout_s = folder, spec.timeout_s
        self._model: Any = None
        self._tokenizer: Any = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"ragkeep-{self.name}")

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Yield the answer's pieces, whole words at a time."""
        made = tool_calls(self._pieces(request, sampling)) if request.tools else self._pieces(request, sampling)
        async with aclosing(until(made, sampling.stop, request)) as pieces:
            async for piece in pieces:
                yield piece

    async def _pieces(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Hand over what the worker makes; raises ProviderAway where it makes nothing for `timeout_s` once it began."""
        loop, stopped = asyncio.get_running_loop(), threading.Event()
        queue = asyncio.Queue[Delta | ProviderError | None]()

        def put(piece: Delta | ProviderError | None) -> None:
            if not stopped.is_set():
                loop.call_soon_threadsafe(queue.put_nowait, piece)

        work = self._worker.submit(self._work, request, sampling, stopped, put)
        begun = False
        try:
            while True:
                try:
                    piece = await asyncio.wait_for(queue.get(), self._timeout_s if begun else None)
                except TimeoutError:
                    raise ProviderAway(f"{self.name} made nothing for {self._timeout_s:g} s: is it too large?") from None
                if isinstance(piece, ProviderError):
                    raise piece
                if piece is not None:  # None: it has begun, after others and after it was loaded
                    yield piece
                    if piece.usage:
                        return
                begun = True
        finally:
            stopped.set()
            work.cancel()

    def _work(self, request: Request, sampling: Sampling, stopped: threading.Event, put: Put) -> None:
        """Load the model if need be and generate; every error becomes a ProviderError."""
        try:
            if stopped.is_set():
                return
            self._load()
            put(None)
            put(Delta(usage=self._generate(request, sampling, stopped, put)))
        except ProviderError as error:
            put(error)
        except Exception as error:  # torch and transformers raise anything
            put(ProviderRefused(f"{self.name} failed on this machine: {' '.join(str(error).split())[:300]}"))

    def _load(self) -> None:
        if self._model is not None:
            return
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        gpu = torch.cuda.is_available()
        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self._folder, **safe)
            model, loaded = AutoModelForCausalLM.from_pretrained(
                self._folder,
                use_safetensors=True,
                dtype=torch.bfloat16 if gpu else torch.float32,
                output_loading_info=True,
                **safe,
            )
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            raise ProviderRefused(f"{self._folder} holds no language model ({said}): fetch it again") from None
        if missing := sorted(loaded["missing_keys"]):  # they would be random numbers
            raise ProviderRefused(f"{self._folder} lacks the weights {', '.join(missing[:3])}: is it a language model?")
        self._model = model.to("cuda" if gpu else "cpu").eval().requires_grad_(False)

    def _generate(self, request: Request, sampling: Sampling, stopped: threading.Event, put: Put) -> Usage:
        """Generate; runs in the worker's thread."""
        import torch
        from transformers import StoppingCriteriaList, TextStreamer

        class Streamer(TextStreamer):  # type: ignore[misc]
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
                if text:
                    put(Delta(text))

        def stop(ids: Any, _scores: Any, **_: Any) -> Any:
            return torch.full((ids.shape[0],), stopped.is_set(), device=ids.device, dtype=torch.bool)

        asked = self._prompt(request)
        read = int(asked["input_ids"].shape[1])
        room = getattr(self._model.config, "max_position_embeddings", None) or 10**9
        if read >= room:
            raise ProviderRefused(
                f"{self.name} reads {room:,} tokens and was given {read:,}: lower answer.context_tokens"
            )
        with torch.inference_mode():
            made = self._model.generate(
                **asked,
                **_drawing(sampling),
                max_new_tokens=min(sampling.max_tokens, room - read),
                streamer=Streamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True),
                stopping_criteria=StoppingCriteriaList([stop]),
            )
        return Usage(read, int(made.shape[1]) - read)

    def _prompt(self, request: Request) -> Any:
        """Write the messages as the model's own template does, or plainly where it has none; tensors on its device."""
        from jinja2.exceptions import TemplateError

        turns = [_turn(message) for message in request.messages]
        if self._tokenizer.chat_template is None:
            text = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns) + "\n\nassistant:"
            asked = self._tokenizer(text, return_tensors="pt")
        else:
            try:
                asked = self._templated(turns, request)
            except TemplateError:  # some know no system role
                asked = self._templated(_without_system(turns), request)
        return {name: asked[name].to(self._model.device) for name in ("input_ids", "attention_mask")}

    def _templated(self, turns: list[dict[str, Any]], request: Request) -> Any:
        functions = ({"name": t.name, "description": t.description, "parameters": t.parameters} for t in request.tools)
        tools = [{"type": "function", "function": one} for one in functions] or None
        return self._tokenizer.apply_chat_template(
            turns, tools=tools, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )


def _without_system(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what the system says before the first words of the user."""
    said = [turn["content"] for turn in turns if turn["role"] == "system"]
    first, *others = [turn for turn in turns if turn["role"] != "system"]
    return [{**first, "content": "\n\n".join([*said, first["content"]])}, *others]


def _turn(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        asked = ({"name": call.name, "arguments": call.arguments} for call in message.calls)
        made["tool_calls"] = [{"type": "function", "function": one} for one in asked]
    return made


def _drawing(sampling: Sampling) -> dict[str, Any]:
    """How words are drawn; a parameter that is not given is the model's own."""
    if sampling.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    given = {"top_p": sampling.top_p, "top_k": sampling.top_k}
    return {"do_sample": True, "temperature": sampling.temperature, **{k: v for k, v in given.items() if v is not None}}
