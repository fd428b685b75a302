"""What a night depends on besides sources, parameters and code, as files the stages can declare.

DVC re-runs a stage when a file it names has changed; it does not see a golden set somewhere else, or another version of
the embedder's runtime. The scan, which always runs, writes these down under data/inputs:

    sets.json      name -> digest of each golden set           for evaluate
    embedder.json  the fingerprint params.embed has today      for embed
"""

from __future__ import annotations

from typing import Any

from evaluation.sets import load_sets
from ragkeep.config import Params, Paths
from ragkeep.embedders import load_embedder
from ragkeep.files import read_json, write_json


def write_inputs(paths: Paths, params: Params) -> None:
    """Write the files above; one that says the same is left alone. Raises ConfigError, ModelError, MissingExtra."""
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    _write(paths, "sets", {s.name: s.digest for s in sets})
    _write(paths, "embedder", {"fingerprint": load_embedder(params.embed, paths.cache).fingerprint})


def _write(paths: Paths, name: str, value: dict[str, Any]) -> None:
    path = paths.data / "inputs" / f"{name}.json"
    if read_json(path) != value:
        write_json(path, value)
