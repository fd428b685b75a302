"""Generators, one backend a file; ragkeep/backends.py names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..backends import GENERATORS, load
from ..config import AnswerParams, GeneratorParams
from ..embedders import kept
from ..ports import Embedder, Generator


def open_generators(
    params: AnswerParams, embedder: Embedder | None, *, cache: Path | None = None
) -> tuple[Generator, ...]:
    """Make the generators params.yaml names, in its order; a model in {models} lies beside `cache`.

    Raises ConfigError, MissingExtra, ModelError.
    """
    return tuple(
        load(GENERATORS, spec.backend, spec=_placed(spec, cache), params=params, embedder=embedder)
        for spec in params.generators
    )


def _placed(spec: GeneratorParams, cache: Path | None) -> GeneratorParams:
    return spec if cache is None else replace(spec, model=kept(spec.model, cache))
