"""What a night depends on besides sources, parameters and code, as files the stages can declare.

DVC re-runs a stage when a file it names has changed; it does not see a golden set somewhere else, or another version of
the embedder's runtime. The scan, which always runs, writes these down under data/inputs:

    sets.json      name -> digest of each golden set           for evaluate
    learned.json   the parts learned from interactions         for evaluate: the champion's, or those on trial
    embedder.json  the fingerprint that embeds passages today  for embed
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evaluation.sets import load_sets
from ragkeep.config import Params, Paths
from ragkeep.embedders import load_embedder
from ragkeep.files import read_json, write_json
from ragkeep.learned import INPUT, Part, apply, parts_of, rows_of
from ragkeep.releases import champion

TRIAL = "RAGKEEP_TRIAL"
"""Names a JSON file of parts that `ragkeep learn` tries instead of the champion's."""


def write_inputs(paths: Paths, params: Params) -> None:
    """Write the files above; one that says the same is left alone. Raises ConfigError, ModelError, MissingExtra."""
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    _write(paths.data / "inputs" / "sets.json", {s.name: s.digest for s in sets})
    params, kept = apply(params, _parts(paths), paths.cache)
    _write(paths.data / INPUT, rows_of(kept))
    fingerprint = load_embedder(params.embed, paths.cache).fingerprint
    _write(paths.data / "inputs" / "embedder.json", {"fingerprint": fingerprint})


def _parts(paths: Paths) -> list[Part]:
    trial = os.environ.get(TRIAL)
    if trial:
        return parts_of(read_json(Path(trial)) or [])
    live = champion(paths)
    return parts_of(live.serving.get("learned", [])) if live else []


def _write(path: Path, value: Any) -> None:
    if read_json(path) != value:
        write_json(path, value)
