"""One embedder a runtime, all behind ports.Embedder."""

from __future__ import annotations

from pathlib import Path

from ..backends import EMBEDDERS, load
from ..config import EmbedParams
from ..ports import Embedder


def load_embedder(params: EmbedParams, cache: Path) -> Embedder:
    """Make the embedder that `params` names; cheap, the model itself is loaded at the first text.

    Raises ConfigError, ModelError, MissingExtra.
    """
    made: Embedder = load(EMBEDDERS, params.backend, params=params, cache=cache)
    return made
