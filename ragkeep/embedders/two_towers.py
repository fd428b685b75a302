"""Questions by one model, passages by another: what was learned of questions, over an index that stays as it is.

Karpukhin et al. 2020, "Dense Passage Retrieval", section 3.1, has two encoders; here the passages' one is frozen, as in
arXiv 2601.04646, so that learning from a night's questions embeds no document again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..config import EmbedParams
from ..errors import ModelError
from ..files import read_json
from ..ports import Embedder
from ..types import Role, Vectors
from . import openvino

CARD = "card.json"
"""Beside the weights; its `passages` is the fingerprint of the embedder whose passages the model was learned for."""


class TwoTowers:
    """An Embedder made of two. Its fingerprint is the passages', which is what an index is built with."""

    def __init__(self, passages: Embedder, params: EmbedParams, cache: Path) -> None:
        folder = Path(params.query_model).expanduser()
        made_for = (read_json(folder / CARD) or {}).get("passages")
        if made_for != passages.fingerprint:
            raise ModelError(
                f"the query model {folder} was learned for passages of {made_for}, not {passages.fingerprint}: "
                "take embed.query_model out, and run `ragkeep learn` again"
            )
        own = replace(params, backend="openvino", model=str(folder), query_model="")
        self._passages, self._questions = passages, openvino.folder(own, cache)
        if self._questions.dim != passages.dim:
            raise ModelError(f"{folder} makes vectors of {self._questions.dim} numbers, the passages have {passages.dim}")
        self.name, self.fingerprint, self.dim = passages.name, passages.fingerprint, passages.dim
        self.max_tokens = passages.max_tokens
        self.query_fingerprint = f"{self._questions.fingerprint} for {passages.fingerprint}"

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `ports.Embedder.embed`."""
        one = self._questions if role == "query" else self._passages
        return one.embed(texts, role=role)
