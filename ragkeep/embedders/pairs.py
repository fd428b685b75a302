"""Two texts read as one by an encoder on OpenVINO: what a cross-encoder scores from. No torch.

The graph is the embedder's own (bert.py), so rows of a batch have equal lengths and nothing is padded. It is built from
the safetensors when the first pair comes, and kept in memory alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..models import Encoder
from ..types import Vectors
from .openvino import _cores, choose_precision, clean, compiled, equal_lengths, has_bf16

_BATCH_TOKENS, _THREADS = 1024, 4


def joined(first: list[int], second: list[int], limit: int) -> list[int]:
    """Join two rows of token ids, each between its markers, to one of at most `limit`: the second is cut, marker kept."""
    room = max(limit - len(first), 1)
    tail = second[1:]
    return first + (tail if len(tail) <= room else [*tail[: room - 1], second[-1]])


class PairEncoder:
    """Unit vectors of pairs. Safe to share between threads, which take turns."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._tokenizer: Any = None
        self._request: Any = None
        self._lock = threading.Lock()

    def embed(self, first: str, seconds: Sequence[str], *, first_tokens: int, max_tokens: int) -> Vectors:
        """Return float32 (n, hidden): the first text beside each of the others, cut to so many tokens."""
        limit = min(max_tokens, self._encoder.max_tokens)
        out = np.empty((len(seconds), self._encoder.hidden), np.float32)
        with self._lock:
            self._load()
            head = self._tokens([first], min(first_tokens, limit - 1))[0]
            rows = [joined(head, row, limit) for row in self._tokens(seconds, limit)]
            for batch in equal_lengths([len(row) for row in rows], _BATCH_TOKENS):
                ids = np.array([rows[n] for n in batch], np.int32)
                out[batch] = self._request.infer({"ids": ids})[0]
        return out

    def _tokens(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        self._tokenizer.enable_truncation(limit)
        return [e.ids for e in self._tokenizer.encode_batch_fast([clean(text) for text in texts])]

    def _load(self) -> None:
        if self._request is not None:
            return
        from tokenizers import Tokenizer

        from .bert import bert_graph

        self._tokenizer = Tokenizer.from_file(str(self._encoder.folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        precision = choose_precision("auto", bf16=has_bf16())
        model = compiled(bert_graph(self._encoder), precision, streams=1, threads=min(_cores(), _THREADS))
        self._request = model.create_infer_request()
