"""What is remembered of an index version to watch it by, made once while data/ holds what the version was built from.

Some vectors to look for and the cosines an exact search finds (so that recall can be asked of the store alone, any
night), a sample of the chunks' vectors, and counts of their lengths, sources, languages and kinds. No text is kept.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkeep.files import read_arrays, read_json, write_arrays
from ragkeep.types import EmbeddedBatch, Vectors
from tasks.index import batches_of
from tasks.recall import QUESTIONS, Probe, nearest, probes

SAMPLE = 400
"""Chunks whose vectors are kept; those of the smallest ids, which are hashes, so that an unchanged chunk stays in."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """`asked` with the exact `best` cosines, (n, DEPTH); `sample` (m, dim); `counts`: what -> value -> chunks."""

    embedder: str
    asked: tuple[Probe, ...]
    best: Vectors
    sample: Vectors
    counts: dict[str, dict[str, int]]


def portrait_of(index: str, embedder: str, data: Path | None, folder: Path) -> Portrait | None:
    """Read the portrait of a version, or make and keep it while data/ is of that version; None where it is not.

    Making it reads all vectors twice, a batch at a time. Without `data` none is made: only who holds the night's lease
    knows that it stays as it is.
    """
    path = folder / f"{index}.npz"
    kept = read_portrait(path)
    if kept is None and data is not None and (read_json(data / "index.json") or {}).get("name") == index:
        kept = draw(embedder, data)
        _write(path, kept)
    return kept


def draw(embedder: str, data: Path) -> Portrait:
    """Look at all a version holds."""
    taken, counts = _sampled(batches_of(data))
    asked = probes([probe for _, probe in taken[: 2 * QUESTIONS]])
    best = nearest(asked, batches_of(data)) if asked else np.empty((0, 0), np.float32)
    sample = np.stack([probe.vector for _, probe in taken]) if taken else np.empty((0, 0), np.float32)
    return Portrait(embedder, tuple(asked), best, sample, counts)


def _sampled(batches: Iterable[EmbeddedBatch]) -> tuple[list[tuple[str, Probe]], dict[str, dict[str, int]]]:
    counts: dict[str, Counter[str]] = {what: Counter() for what in ("length", "source", "language", "kind")}
    taken: list[tuple[str, Probe]] = []
    for batch in batches:
        for chunk in batch.chunks:
            counts["length"][length_bin(chunk.text)] += 1
            counts["source"][chunk.source] += 1
            counts["language"][chunk.language] += 1
            counts["kind"][chunk.kind] += 1
        rows = zip(batch.chunks, batch.vectors, strict=True)
        new = [(chunk.id, Probe(chunk.workspace, vector.copy())) for chunk, vector in rows]
        taken = heapq.nsmallest(SAMPLE, [*taken, *new], key=lambda pair: pair[0])
    return taken, {what: dict(sorted(found.items())) for what, found in counts.items()}


def length_bin(text: str) -> str:
    """Name the bin of a text's length: bins grow by half their size, so that each holds texts of about one length."""
    return str(round(np.log(max(1, len(text))) / np.log(1.5)))


def read_portrait(path: Path) -> Portrait | None:
    """Read a portrait; None where there is none, or one that is damaged: it is made again."""
    return read_arrays(path, _unpacked)


def _unpacked(kept: Mapping[str, Any]) -> Portrait:
    facts = json.loads(str(kept["facts"]))
    asked = [Probe(w, v) for w, v in zip(facts["workspaces"], kept["asked"], strict=True)]
    return Portrait(facts["embedder"], tuple(asked), kept["best"], kept["sample"], facts["counts"])


def _write(path: Path, made: Portrait) -> None:
    workspaces = [probe.workspace for probe in made.asked]
    facts = json.dumps({"embedder": made.embedder, "workspaces": workspaces, "counts": made.counts}, sort_keys=True)
    asked = np.stack([p.vector for p in made.asked]) if made.asked else np.empty((0, 0), np.float32)
    write_arrays(path, asked=asked, best=made.best, sample=made.sample, facts=np.array(facts))
