"""What a weight of its own is worth to questions about code: tuned on dev questions, tried on others.

    uv run python -m benchmarks.code_route --project .
    uv run python -m benchmarks.code_route --set ../shared/data/cosqa-a --set ../shared/data/squad-a --json

A project must have had a night: its test questions of the code route are searched with the weight for all and with that
for code. Sets (BEIR-style, passages whole) are put into one index; half of their questions are for tuning.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.followups import chunk, rows
from evaluation.beir import read_folder
from evaluation.corpus import Corpus
from evaluation.labels import Resolver
from evaluation.sets import load_sets
from evaluation.tuning import Curves, Tuned, all_legs, chunk_places, golden_curves, tune
from ragkeep.config import EmbedParams, Paths, RetrieveParams, load_params
from ragkeep.embedders import load_embedder
from ragkeep.files import read_json
from ragkeep.fusion import WEIGHTS, fuse, ranking, weight_curve
from ragkeep.route import ROUTES, route
from ragkeep.stores import open_store
from ragkeep.stores.memory import MemoryStore
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Legs, Query, content_id

QUESTIONS = 1000
"""Of the sets' questions at most so many, drawn by the hash of their ids."""
RESAMPLES = 9999
Compared = dict[str, Any]


def main() -> None:
    """Print, for the project's test questions and for each set, both weights' figures and the difference's interval."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", type=Path)
    parser.add_argument("--set", type=Path, action="append", default=[])
    parser.add_argument("--cache", type=Path, default=Path(".ragkeep/cache"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = golden(Paths(args.project.resolve())) if args.project else pooled(args.set, args.cache)
    sys.stdout.write(json.dumps(result, indent=None if args.json else 1) + "\n")


def golden(paths: Paths) -> Compared:
    """Tune on a project's dev questions; compare on its test questions of the code route."""
    params = load_params(paths.params)
    embedder, resolver = load_embedder(params.embed, paths.cache), Resolver(Corpus(paths.data / "documents"))
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    asked = [resolver.resolve(q) for one in sets for q in one.questions if q.answerable]
    version, store = IndexVersion(**read_json(paths.data / "index.json")), open_store(params.index, paths)
    words = {r.question.id: r.question.text for r in asked}
    texts = {r.question.id: (r.question.text, r.question.workspace) for r in asked}
    legs = all_legs(store, embedder, version, texts, params.retrieve.candidates)
    places = chunk_places(paths.data / "chunks", asked)
    dev, test = ([r for r in asked if r.question.split == split] for split in ("dev", "test"))
    tuned = tune(golden_curves(legs, dev, words, places, params.retrieve.fusion), params.retrieve)
    return report(tuned, golden_curves(legs, test, words, places, params.retrieve.fusion))


def pooled(folders: list[Path], cache: Path) -> Compared:
    """Tune on half of the sets' questions, compare on the other half's of the code route."""
    embedder, store = load_embedder(EmbedParams(), cache), MemoryStore()
    chunks, texts, wanted = list[Chunk](), dict[str, str](), dict[str, dict[str, float]]()
    for folder in folders:
        own = [chunk(row) for row in rows(folder / "corpus.jsonl")]
        chunks += [replace(one, id=f"{folder.name}/{one.id}", uri=f"{folder.name}/{one.uri}") for one in own]
        relevant = read_folder(folder).test
        for row in rows(folder / "queries.jsonl"):
            if row["id"] in relevant:
                texts[f"{folder.name}/{row['id']}"] = str(row["text"])
                found = {f"{folder.name}/{id_}": float(gain) for id_, gain in relevant[row["id"]].items() if gain > 0}
                wanted[f"{folder.name}/{row['id']}"] = found
    asked = sorted(texts, key=content_id)[:QUESTIONS]
    store.create("docs", dim=embedder.dim)
    store.write("docs", EmbeddedBatch(tuple(chunks), embedder.embed([c.embed_text for c in chunks], role="passage")))
    store.finish("docs")
    vectors = embedder.embed([texts[q] for q in asked], role="query")
    legs = {q: store.legs("docs", Query(texts[q], v, k=10)) for q, v in zip(asked, vectors, strict=True)}
    halves: list[Curves] = [
        {
            name: np.asarray([weight_curve([legs[q]], [wanted[q]]) for q in half if route(texts[q]) == name])
            for name in ROUTES
        }
        for half in (asked[::2], asked[1::2])
    ]
    tuned = tune(halves[0], RetrieveParams())
    code = [q for q in asked[1::2] if route(texts[q]) == "code"]
    recalls = [
        [_recall(legs[q], wanted[q], mix) for q in code] for mix in (tuned.fusion.on("prose"), tuned.fusion.on("code"))
    ]
    return {**report(tuned, halves[1]), "recall_at_10": compared(*map(np.asarray, recalls))}


def _recall(legs: Legs, wanted: dict[str, float], mix: Fusion) -> float:
    top = {legs.ids[at] for at in ranking(fuse(legs, mix), 10)}
    return len(top & wanted.keys()) / len(wanted)


def report(tuned: Tuned, test: Curves) -> Compared:
    """Both weights on questions they were not tuned on, and each route's whole curve."""
    code = test["code"]
    common, own = (code[:, nearest(weight)] for weight in (tuned.fusion.weight, tuned.fusion.on("code").weight))
    by_weight = {
        name: dict(zip(map(str, WEIGHTS), rows.mean(axis=0).round(4).tolist(), strict=True))
        for name, rows in test.items()
    }
    return {"tuned": tuned.as_json(), "ndcg_at_10": compared(common, own), "by_weight": by_weight}


def nearest(weight: float) -> int:
    """The place of a weight among WEIGHTS."""
    return int(np.argmin([abs(w - weight) for w in WEIGHTS]))


def compared(common: NDArray[np.float64], own: NDArray[np.float64]) -> Compared:
    """Both means, and the interval (95 %, paired bootstrap) of the difference."""
    picks = np.random.default_rng(7).integers(0, len(own), (RESAMPLES, len(own)))
    low, high = np.quantile((own - common)[picks].mean(axis=1), (0.025, 0.975))
    return {
        "code_questions": len(own), "weight for all": round(float(common.mean()), 4),
        "weight for code": round(float(own.mean()), 4), "interval": [round(float(low), 4), round(float(high), 4)],
    }  # fmt: skip


if __name__ == "__main__":
    main()
