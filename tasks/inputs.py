"""What a night depends on besides sources, parameters and code, as files the stages can declare.

DVC re-runs a stage when a file it names has changed; it does not see a golden set somewhere else, or another version of
the embedder's runtime. The scan, which always runs, writes these down under data/inputs:

    sets.json          name -> digest of each golden set           for evaluate, trainset
    learned.json       the parts learned from interactions         for evaluate: the champion's, or those of a tryout
    embedder.json      the fingerprint that embeds passages today  for embed
    interactions.json  the digests of the log's sealed segments    for trainset, generator
    generator.json     the digest of learn.generator's recipe      for generator
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from evaluation.beir import read_folder
from evaluation.sets import load_sets
from ragkeep.config import Params, Paths
from ragkeep.embedders import load_embedder
from ragkeep.errors import LogDamaged
from ragkeep.files import read_json, write_json
from ragkeep.interactions.erasure import NOTE
from ragkeep.interactions.segments import footer, sealed_paths
from ragkeep.learned import INPUT, Part, apply, parts_of, rows_of
from ragkeep.releases import champion
from ragkeep.types import content_id

TRYOUT = "RAGKEEP_TRYOUT"
"""Names a JSON file of parts that `ragkeep learn` tries instead of the champion's."""


def write_inputs(paths: Paths, params: Params) -> None:
    """Write the files above; one that says the same is left alone. Raises ConfigError, ModelError, MissingExtra."""
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    _write(paths.data / "inputs" / "sets.json", {s.name: s.digest for s in sets})
    params, kept = apply(params, _parts(paths), paths.cache)
    _write(paths.data / INPUT, rows_of(kept))
    fingerprint = load_embedder(params.embed, paths.cache).fingerprint
    _write(paths.data / "inputs" / "embedder.json", {"fingerprint": fingerprint})
    _write(paths.data / "inputs" / "generator.json", {"recipe": _recipe(paths, params)})
    write_interactions(paths, params)


def _recipe(paths: Paths, params: Params) -> str:
    """Digest the finetune.yaml that learn.generator names; "" for none."""
    path = paths.root / params.learn.generator
    path = path / "finetune.yaml" if params.learn.generator and path.is_dir() else path
    return content_id(path.read_text("utf-8", errors="replace")) if path.is_file() else ""


def write_interactions(paths: Paths, params: Params) -> None:
    """Write interactions.json."""
    _write(paths.data / "inputs" / "interactions.json", interactions(paths, params))


def interactions(paths: Paths, params: Params) -> dict[str, Any]:
    """What is learned from, as it is now. An erasure writes segments anew, and one that is not finished yet is named."""
    digests = {path.stem: _digest(path) for path in sealed_paths(paths.interactions)}
    folders = {name: read_folder(paths.root / name) for name in params.learn.exclude}
    shas = {name: content_id(*sorted(folder.measured())) for name, folder in folders.items()}
    erasing = read_json(paths.interactions / NOTE)
    unfinished = content_id(json.dumps(erasing, sort_keys=True)) if erasing else ""
    return {"segments": digests, "erasing": unfinished, "held_back": shas}


def _digest(path: Path) -> str:
    try:
        return footer(path).digest
    except LogDamaged:  # learning reads past what is damaged; the night does not stop for it
        stat = path.stat()
        return f"damaged:{stat.st_size}:{stat.st_mtime_ns}"


def _parts(paths: Paths) -> list[Part]:
    tryout = os.environ.get(TRYOUT)
    if tryout:
        return parts_of(read_json(Path(tryout)) or [])
    live = champion(paths)
    return parts_of(live.serving.get("learned", [])) if live else []


def _write(path: Path, value: Any) -> None:
    if read_json(path) != value:
        write_json(path, value)
