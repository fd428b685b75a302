"""What a night depends on besides sources, parameters and code, as files the stages can declare.

DVC re-runs a stage when a file it names has changed; it does not see a golden set somewhere else, or another version of
the embedder's runtime. The scan, which always runs, writes these down under data/inputs:

    sets.json          name -> digest of each golden set           for evaluate, trainset
    embedder.json      the fingerprint params.embed has today      for embed
    interactions.json  the digests of the log's sealed segments    for trainset
"""

from __future__ import annotations

import json
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
from ragkeep.types import content_id


def write_inputs(paths: Paths, params: Params) -> None:
    """Write the files above; one that says the same is left alone. Raises ConfigError, ModelError, MissingExtra."""
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    _write(paths, "sets", {s.name: s.digest for s in sets})
    _write(paths, "embedder", {"fingerprint": load_embedder(params.embed, paths.cache).fingerprint})
    write_interactions(paths, params)


def write_interactions(paths: Paths, params: Params) -> None:
    """Write interactions.json. An erasure writes segments anew, and one that is not finished yet is named."""
    digests = {path.stem: _digest(path) for path in sealed_paths(paths.interactions)}
    held_back = {name: sorted(_tests(paths, name)) for name in params.learn.exclude}
    shas = {name: content_id(*texts) for name, texts in held_back.items()}
    erasing = read_json(paths.interactions / NOTE)
    unfinished = content_id(json.dumps(erasing, sort_keys=True)) if erasing else ""
    _write(paths, "interactions", {"segments": digests, "erasing": unfinished, "held_back": shas})


def _digest(path: Path) -> str:
    try:
        return footer(path).digest
    except LogDamaged:  # learning reads past what is damaged; the night does not stop for it
        stat = path.stat()
        return f"damaged:{stat.st_size}:{stat.st_mtime_ns}"


def _tests(paths: Paths, name: str) -> list[str]:
    folder = read_folder(paths.root / name)
    return [folder.queries[query] for query in folder.test]


def _write(paths: Paths, name: str, value: dict[str, Any]) -> None:
    path = paths.data / "inputs" / f"{name}.json"
    if read_json(path) != value:
        write_json(path, value)
