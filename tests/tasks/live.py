"""A live release over a few hundred one-line documents, and a sealed log of what was asked of it, made in a moment."""

import io
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ragkeep import canary
from ragkeep.config import EmbedParams, Params, Paths
from ragkeep.files import read_json
from ragkeep.interactions.records import encode_record
from ragkeep.interactions.segments import ActiveSegment, answer_key, last_seq, sealed_paths
from ragkeep.releases import append_history, point, pointer, save_release
from ragkeep.testing import HashEmbedder
from ragkeep.types import Fusion, IndexVersion, Interaction, Release, content_id
from tasks import embed, index
from tests.interaction_cases import an_answer
from tests.tasks.nights import PARAMS, project, put_chunks

PUMPS = "pump valve gasket rotor filter motor casing handle gauge seal shaft bearing pipe flange impeller oil"
CAKES = "cake flour sugar butter oven cream egg dough yeast icing vanilla cocoa salt milk bowl whisk"
HASHED: Params = replace(PARAMS, embed=EmbedParams(backend="hash"))


def sentences(words: str, count: int, seed: int = 1) -> list[str]:
    """Sentences of four of the words each, and a number of its own."""
    rng = random.Random(seed)
    return [f"{' '.join(rng.sample(words.split(), 4))} {rng.randrange(10**6)}" for _ in range(count)]


def publish(root: Path, texts: Sequence[str], number: int = 1) -> Paths:
    """Let the stages index the texts, and make that the champion."""
    paths = project(root)
    shutil.rmtree(
        paths.data / "vectors", ignore_errors=True
    )  # the stages before, which would key what changed, did not run
    put_chunks(paths, {f"d{n:04}.md": text for n, text in enumerate(texts)})
    embed.run(paths, HASHED)
    index.run(paths, HASHED)
    serving = {name: asdict(getattr(HASHED, name)) for name in ("embed", "retrieve", "answer")}
    version = IndexVersion(**read_json(paths.data / "index.json"))
    save_release(paths, Release(number, str(number), version, Fusion(), "extractive", serving, "", "", {}, "", "pass"))
    at = pointer(paths)
    point(paths, number, previous=at.number if at else None, token=number)
    moved(paths, at.number if at else None, number)
    return paths


def moved(paths: Paths, before: int | None, to: int) -> None:
    """Let the history say that a release took the place of another."""
    event = {"id": f"{before}-publish-{to}", "at": "2026-11-21T02:00:00Z", "action": "publish", "who": "night"}
    append_history(paths, event | {"from": before, "to": to, "reason": "pass"})


def move_embedder(paths: Paths, distance: float) -> None:
    """Let what is kept of the embedder be of another one."""
    path = canary.kept_at(HashEmbedder(), paths.monitor)
    with np.load(io.BytesIO(path.read_bytes())) as kept:
        found = dict(kept)
    aside = np.roll(found["query"], 1, axis=1)
    found["query"] = (1 - distance) * found["query"] + np.sqrt(1 - (1 - distance) ** 2) * aside
    np.savez(path, **found)


def log(paths: Paths, records: Iterable[Interaction]) -> None:
    """Add a sealed segment to the interaction log: one fsync for all."""
    paths.interactions.mkdir(parents=True, exist_ok=True)
    sealed = sealed_paths(paths.interactions)
    segment = ActiveSegment.create(paths.interactions, last_seq(sealed[-1]) + 1 if sealed else 1)
    segment.add([(answer_key(one.answer), encode_record(one)) for one in records])
    segment.seal()


def asked(texts: Sequence[str], release: str = "1", **more: str) -> list[Interaction]:
    """An answer to each question; ids are of the release and the question."""
    return [
        replace(an_answer(f"{release}-{content_id(text)}", text, workspace="default", **more), release=release)
        for text in texts
    ]
