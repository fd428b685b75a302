"""Sentence encoders on the CPU with OpenVINO: the default embedder, without torch.

The graph is built once from the safetensors and kept as OpenVINO IR under `<cache>/models/`, named by what it was made
from; a later process only reads it back (about 0.2 CPU-s). Building an embedder reads configuration only: OpenVINO
is imported and the model compiled at the first text.

Rows of a batch have exactly equal lengths in tokens. So nothing is padded, no mask is computed, and a text's vector
has the same bits whatever it was embedded with: each output of a matrix product sums over its own row in one order,
whereas padding changes how the sums over tokens are split (measured: 1.5e-7 with padding, 0 without).
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import EmbedParams
from ..errors import ConfigError, ModelError
from ..files import fsync_dir, fsync_file
from ..models import (
    MINILM_SHA256,
    Encoder,
    packaged_minilm,
    read_encoder,
    remembered_sha256,
    verify,
)
from ..types import Role, Vectors, content_id

log = logging.getLogger(__name__)
WINDOW = 16384
"""Texts tokenized and sorted at a time: bounds memory, and groups equal lengths."""
_MAX_STREAMS = 64
_FEW_STREAMS = 4
_starting = threading.Lock()  # functools.cache alone would let two threads make one each
_GRAPH = 1  # raise it when bert.py or quantize.py builds another graph: every text is embedded again


def minilm(params: EmbedParams, cache: Path) -> OpenVINOEmbedder:
    """all-MiniLM-L6-v2 from its package; `params.model` must be empty. Raises ConfigError, ModelError."""
    if params.model:
        raise ConfigError(
            f"embed.backend minilm takes no embed.model (it is {params.model!r}): use backend openvino or torch"
        )
    if params.query_prefix or params.passage_prefix:
        raise ConfigError("all-MiniLM-L6-v2 was trained without prefixes: remove embed.query_prefix and passage_prefix")
    return OpenVINOEmbedder("minilm", read_encoder(packaged_minilm()), MINILM_SHA256, params, cache)


def folder(params: EmbedParams, cache: Path) -> OpenVINOEmbedder:
    """Any BERT-family sentence-transformers folder with safetensors. Raises ConfigError, ModelError."""
    if not params.model:
        raise ConfigError("embed.backend openvino needs embed.model: the path of a sentence-transformers folder")
    encoder = read_encoder(
        Path(params.model).expanduser(),
        query_prefix=params.query_prefix,
        passage_prefix=params.passage_prefix,
    )
    sha = remembered_sha256(encoder.weights, cache / "models" / "sha256.json")
    return OpenVINOEmbedder(encoder.folder.resolve().name, encoder, sha, params, cache)


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 (avx512_bf16 or amx_bf16)."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_cpu_flags())


def choose_precision(wanted: str, *, bf16: bool) -> str:
    """Turn "auto" into what the processor does best without loss. Raises ConfigError for bf16 where it has none."""
    if wanted == "auto":
        return "bf16" if bf16 else "fp32"
    if wanted == "bf16" and not bf16:
        raise ConfigError(
            "embed.precision bf16 needs a processor with avx512_bf16 or amx_bf16, and this one has neither: "
            "use auto or fp32"
        )
    return wanted


def compiled(graph: Any, precision: str, *, streams: int, threads: int) -> Any:
    """Compile a graph, or the path of one, for the CPU. Pinning would put two processes on one core."""
    options = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    return _runtime().compile_model(graph, "CPU", options)


def _runtime() -> Any:
    """OpenVINO's core, one for as long as the process lives.

    Each brings a signal stack for the thread that compiles first and unmaps it when its last model is freed, also where
    another has taken it for the one to go back to: the next signal to that thread would be a crash.
    """
    with _starting:
        return _core()


@functools.cache
def _core() -> Any:
    import openvino as ov

    return ov.Core()


class OpenVINOEmbedder:
    """An Embedder whose vectors do not depend on batching. Safe to share between threads; compiles at the first text.

    A batch of its own, such as a question, never waits behind another call's many.
    """

    def __init__(self, name: str, encoder: Encoder, sha: str, params: EmbedParams, cache: Path) -> None:
        self.name = name
        self.dim = encoder.hidden
        self.max_tokens = encoder.max_tokens
        self.precision = choose_precision(params.precision, bf16=has_bf16())
        self._encoder, self._sha, self._cache = encoder, sha, cache
        self._batch_tokens = params.batch_tokens
        self._tokenizer: Any = None
        self._bulk: Any = None
        self._single: Any = None
        self._idle: list[Any] = []
        self._loading = threading.RLock()  # calibrating int8 tokenizes while it is held
        runtime = ".".join(metadata.version("openvino").split(".")[:2])
        engine = f"openvino{runtime}.graph{_GRAPH}"
        self.fingerprint = f"{name}-{sha[:8]}-{engine}-{self._variant()}-{self.max_tokens}{self._prompt_tag()}"

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """Return float32 (n, dim) with unit rows, in the order given."""
        out = np.empty((len(texts), self.dim), np.float32)
        for begin in range(0, len(texts), WINDOW):
            self._window(texts[begin : begin + WINDOW], role, out[begin : begin + WINDOW])
        return out

    def _window(self, texts: Sequence[str], role: Role, out: Vectors) -> None:
        prompt = self._encoder.prompts.get(role, "")
        rows = self._tokenize([clean(prompt + text) for text in texts])
        batches = list(equal_lengths([len(row) for row in rows], self._batch_tokens))
        if len(batches) == 1:
            out[batches[0]] = self._infer(_stack(rows, batches[0]))
            return
        bulk, depth = self._bulk_model()
        under_way: deque[tuple[Any, list[int]]] = deque()
        for batch in batches:
            # no callback and so no AsyncInferQueue: its thread still waits for the interpreter when `wait_all` is back,
            # and whoever frees the model then holds the interpreter and waits for that thread, for ever
            request = _finished(under_way, out) if len(under_way) == depth else bulk.create_infer_request()
            request.start_async({"ids": _stack(rows, batch)})
            under_way.append((request, batch))
        while under_way:
            _finished(under_way, out)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        with self._loading:
            self._tokenizer = self._tokenizer or self._load_tokenizer()
        return [e.ids for e in self._tokenizer.encode_batch_fast(texts)]

    def _load_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        made = Tokenizer.from_file(str(self._encoder.folder / "tokenizer.json"))
        made.no_padding()
        made.enable_truncation(self.max_tokens)
        return made

    def _infer(self, ids: NDArray[np.int32]) -> Vectors:
        """Embed one batch, with a request that no other thread uses meanwhile."""
        with self._loading:
            self._single = self._single or self._compile(streams=min(_cores(), _FEW_STREAMS))
            request = self._idle.pop() if self._idle else self._single.create_infer_request()
        made: Vectors = request.infer({"ids": ids})[0].copy()
        self._idle.append(request)
        return made

    def _bulk_model(self) -> tuple[Any, int]:
        """The model compiled for many batches, and how many of them are under way at a time."""
        streams = min(_cores(), _MAX_STREAMS)
        with self._loading:
            self._bulk = self._bulk or self._compile(streams=streams)
        return self._bulk, streams + 1

    def _compile(self, *, streams: int) -> Any:
        # one thread a stream costs the fewest CPU-seconds a text
        return compiled(str(self._graph_file()), self.precision, streams=streams, threads=streams)

    def _graph_file(self) -> Path:
        """The IR of this model and precision, made at the first use."""
        runtime = metadata.version("openvino")
        kind = self._variant() if self.precision == "int8" else "float"
        home = self._cache / "models" / content_id(f"graph-{_GRAPH}", self._sha, kind, runtime)
        if not (home / "model.xml").is_file():
            verify(self._encoder.weights, self._sha)
            _save(self._graph(), home)
        return home / "model.xml"

    def _graph(self) -> Any:
        from .bert import bert_graph

        graph = bert_graph(self._encoder)
        if self.precision != "int8":
            return graph
        from .quantize import calibration_texts, quantize

        if {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(_cpu_flags()):
            log.warning(
                "int8 is no faster than fp32 on this processor (no VNNI, no AMX): embed.precision auto loses nothing"
            )
        return quantize(graph, self._tokenize(calibration_texts()))

    def _variant(self) -> str:
        if self.precision != "int8":
            return self.precision
        from .quantize import calibration_id

        return f"int8.{calibration_id()}"

    def _prompt_tag(self) -> str:
        prompts = self._encoder.prompts
        return "-p" + content_id(*(f"{k}={v}" for k, v in sorted(prompts.items())))[:8] if prompts else ""


def _finished(under_way: deque[tuple[Any, list[int]]], out: Vectors) -> Any:
    """Wait for the oldest request, store its rows, and return it to be used again."""
    request, where = under_way.popleft()
    request.wait()
    out[where] = request.get_output_tensor().data
    return request


def equal_lengths(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield row numbers in batches of one length each, longest first, of at most `batch_tokens` (or one row)."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batch: list[int] = []
    for i in order:
        if batch and (lengths[batch[0]] != lengths[i] or (len(batch) + 1) * lengths[i] > batch_tokens):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def clean(text: str) -> str:
    """Replace what UTF-8 cannot hold (lone surrogates), which the tokenizer refuses."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _stack(rows: list[list[int]], batch: list[int]) -> NDArray[np.int32]:
    return np.array([rows[i] for i in batch], np.int32)


def _cpu_flags() -> list[str]:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return next((line.split() for line in info.splitlines() if line.startswith("flags")), [])


def _cores() -> int:
    """Cores this process may use: its affinity, its container's quota, and OMP_NUM_THREADS where that is less."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(here, _quota(), int(wanted) if wanted.isdecimal() else 1024))


def _quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPU time a control group may use, in whole cores; 1024 where it sets no limit."""
    try:
        share, period = path.read_text(encoding="ascii").split()
        return 1024 if share == "max" else -(-int(share) // int(period))
    except (OSError, ValueError):
        return 1024


def _save(graph: Any, home: Path) -> None:
    """Write the IR beside its place and rename it there: a reader sees all of it or none."""
    import openvino as ov

    home.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=home.parent))
    try:
        try:
            ov.save_model(graph, str(new / "model.xml"), compress_to_fp16=False)
        except RuntimeError as error:  # it does not say which error of the system it met
            free = shutil.disk_usage(home.parent).free >> 20
            raise ModelError(
                f"the model cannot be written under {home.parent}, where {free} MB are free: free some space (it takes "
                "about 100 MB) and run again; nothing live was touched"
            ) from error
        for file in new.iterdir():
            fsync_file(file)
        try:
            new.rename(home)
        except OSError as error:
            if not (home / "model.xml").is_file():  # else another process was first, with the same bytes
                raise ModelError(f"{home} cannot be written ({error}): delete {home.parent} and run again") from error
        fsync_dir(home.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
