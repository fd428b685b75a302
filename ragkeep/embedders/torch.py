"""Any sentence-transformers model with torch: bfloat16 on a GPU, for models or sizes OpenVINO's path does not take.

Weights come from safetensors only and no code of the model's repository is run. Texts are sorted by their length in
tokens and batched by a budget of tokens, so little is padded; batching and transfers are ours, the layers theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EmbedParams
from ..errors import ConfigError, MissingExtra
from ..models import hub_snapshot, read_prompts, remembered_sha256, require_safetensors
from ..types import Role, Vectors, content_id
from .openvino import clean

_WINDOW = 16384


def sentence_transformer(params: EmbedParams, cache: Path) -> TorchEmbedder:
    """A local folder, or the name of a model already in the Hugging Face cache.

    Precision auto is bf16 on a GPU that has it and fp32 elsewhere; int8 is refused (use backend openvino).
    Raises ConfigError, ModelError, MissingExtra.
    """
    if not params.model:
        raise ConfigError("embed.backend torch needs embed.model: a sentence-transformers folder or hub name")
    try:
        import sentence_transformers
        import torch
    except ImportError:
        raise MissingExtra("embed.backend torch", "torch") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = _precision(params.precision, gpu=device == "cuda" and torch.cuda.is_bf16_supported())
    folder, sha = _locate(params.model, cache)
    dtype = torch.bfloat16 if precision == "bf16" and device == "cuda" else torch.float32
    model = sentence_transformers.SentenceTransformer(
        str(folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": dtype},
    )
    return TorchEmbedder(folder, sha, model.eval(), precision, params)


class TorchEmbedder:
    """An Embedder over a loaded SentenceTransformer; one thread at a time."""

    def __init__(self, folder: Path, sha: str, model: Any, precision: str, params: EmbedParams) -> None:
        self.name = folder.name
        self.dim = int(model.get_embedding_dimension())
        self.max_tokens = int(model.max_seq_length or 512)
        self.precision = precision
        self._model, self._batch_tokens = model, params.batch_tokens
        # a prompt is given with the text, so that pooling sees it as the model's own encode() would
        self._prompts = read_prompts(folder, query=params.query_prefix, passage=params.passage_prefix)
        runtime = "torch" + ".".join(metadata.version("torch").split(".")[:2])
        tag = "-p" + content_id(*(f"{k}={v}" for k, v in sorted(self._prompts.items())))[:8] if self._prompts else ""
        self.fingerprint = f"{self.name}-{sha[:8]}-{runtime}-{precision}-{self.max_tokens}{tag}"

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """Return float32 (n, dim) with unit rows, in the order given."""
        out = np.empty((len(texts), self.dim), np.float32)
        prompt = self._prompts.get(role, "")
        for begin in range(0, len(texts), _WINDOW):
            rows = self._tokenize([clean(prompt + text) for text in texts[begin : begin + _WINDOW]])
            for batch in budgeted([len(row) for row in rows], self._batch_tokens):
                out[[begin + i for i in batch]] = self._forward([rows[i] for i in batch])
        return out

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self._model.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids

    def _forward(self, rows: list[list[int]]) -> Vectors:
        import torch

        device = self._model.device
        padded = self._model.tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        features = {k: v.to(device, non_blocking=True) for k, v in padded.items()}
        cpu_bf16 = self.precision == "bf16" and device.type == "cpu"
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=cpu_bf16):
            made = self._model(features)["sentence_embedding"]
        vectors: Vectors = torch.nn.functional.normalize(made.float(), dim=1).cpu().numpy()
        return vectors


def budgeted(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield row numbers, longest first, so that rows times the longest is at most `batch_tokens` (or one row)."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _precision(wanted: str, *, gpu: bool) -> str:
    if wanted == "int8":
        raise ConfigError("embed.backend torch has no int8: use embed.backend openvino, or precision bf16")
    return wanted if wanted != "auto" else ("bf16" if gpu else "fp32")


def _locate(model: str, cache: Path) -> tuple[Path, str]:
    """The model's folder and the hash of its weights."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = hub_snapshot(model)
    weights = require_safetensors(folder)
    return folder.resolve(), remembered_sha256(weights, cache / "models" / "sha256.json")
