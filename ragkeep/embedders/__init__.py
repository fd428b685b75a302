"""One embedder a runtime, all behind ports.Embedder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..backends import EMBEDDERS, load
from ..config import EmbedParams
from ..models import hub_snapshot
from ..ports import Embedder

MODELS = "{models}"


def load_embedder(params: EmbedParams, cache: Path) -> Embedder:
    """Make the embedder that `params` names; cheap, the model itself is loaded at the first text.

    Raises ConfigError, ModelError, MissingExtra.
    """
    params = replace(params, model=kept(params.model, cache), query_model=kept(params.query_model, cache))
    passages: Embedder = load(EMBEDDERS, params.backend, params=replace(params, query_model=""), cache=cache)
    if not params.query_model:
        return passages
    from .two_towers import TwoTowers

    return TwoTowers(passages, params, cache)


def query_fingerprint(embedder: Embedder) -> str:
    """Name what embeds questions: another model than for passages where one was learned for them."""
    return str(getattr(embedder, "query_fingerprint", embedder.fingerprint))


def model_folder(name: str, cache: Path) -> Path:
    """Find the folder of a model that params name: a folder, one of {models}, or a hub's that is in its cache."""
    folder = Path(kept(name, cache)).expanduser()
    return folder if folder.is_dir() else hub_snapshot(name)


def kept(name: str, cache: Path) -> str:
    """Put the folder of models beside the cache in place of {models} in a name."""
    return name.replace(MODELS, str(cache.parent / "models"))
