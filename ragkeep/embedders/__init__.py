"""One embedder a runtime, all behind ports.Embedder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..backends import EMBEDDERS, load
from ..config import EmbedParams
from ..ports import Embedder

MODELS = "{models}"


def load_embedder(params: EmbedParams, cache: Path) -> Embedder:
    """Make the embedder that `params` names; cheap, the model itself is loaded at the first text.

    Raises ConfigError, ModelError, MissingExtra.
    """
    kept = str(cache.parent / "models")
    model, query_model = (name.replace(MODELS, kept) for name in (params.model, params.query_model))
    params = replace(params, model=model, query_model=query_model)
    passages: Embedder = load(EMBEDDERS, params.backend, params=replace(params, query_model=""), cache=cache)
    if not params.query_model:
        return passages
    from .two_towers import TwoTowers

    return TwoTowers(passages, params, cache)


def query_fingerprint(embedder: Embedder) -> str:
    """Name what embeds questions: another model than for passages where one was learned for them."""
    return str(getattr(embedder, "query_fingerprint", embedder.fingerprint))
