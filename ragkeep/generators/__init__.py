"""Generators, one backend a file; ragkeep/backends.py names them."""

from __future__ import annotations

from ..backends import GENERATORS, load
from ..config import AnswerParams
from ..ports import Embedder, Generator


def open_generators(params: AnswerParams, embedder: Embedder | None) -> tuple[Generator, ...]:
    """Make the generators params.yaml names, in its order. Raises ConfigError, MissingExtra, ModelError."""
    return tuple(
        load(GENERATORS, spec.backend, spec=spec, params=params, embedder=embedder) for spec in params.generators
    )
