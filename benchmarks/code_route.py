"""What a weight of its own is worth to questions about code: tuned on a project's dev questions, tried on others.

    uv run python -m benchmarks.code_route --project . --set ../shared/data/cosqa-a --json

The project must have had a night. Its test questions, and those of the sets (BEIR-style, passages whole) that take the
code route, are searched with the weight for all and with the weight for code.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.followups import chunk, rows
from evaluation.beir import read_folder
from evaluation.corpus import Corpus
from evaluation.labels import Resolver
from evaluation.sets import load_sets
from evaluation.tuning import all_legs, chunk_places, golden_curves, tune
from ragkeep.config import Params, Paths, load_params
from ragkeep.embedders import load_embedder
from ragkeep.files import read_json
from ragkeep.fusion import WEIGHTS, fuse, ranking, weight_curve
from ragkeep.ports import Embedder
from ragkeep.route import fusion_for, route
from ragkeep.stores import open_store
from ragkeep.stores.memory import MemoryStore
from ragkeep.types import EmbeddedBatch, Fusion, IndexVersion, Query

RESAMPLES = 9999
Compared = dict[str, Any]


def main() -> None:
    """Print, for the project's test questions and for each set, both weights' figures and the difference's interval."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--set", type=Path, action="append", default=[])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    paths = Paths(args.project.resolve())
    params = load_params(paths.params)
    embedder = load_embedder(params.embed, paths.cache)
    fusion, result = golden(paths, params, embedder)
    for folder in args.set:
        result[folder.name] = foreign(folder, embedder, fusion)
    sys.stdout.write(json.dumps(result, indent=None if args.json else 1) + "\n")


def golden(paths: Paths, params: Params, embedder: Embedder) -> tuple[Fusion, Compared]:
    """Tune on the dev questions; compare on the test questions of the code route."""
    resolver = Resolver(Corpus(paths.data / "documents"))
    sets = load_sets([paths.root / name for name in params.evaluate.sets])
    asked = [resolver.resolve(q) for one in sets for q in one.questions if q.answerable]
    version, store = IndexVersion(**read_json(paths.data / "index.json")), open_store(params.index, paths)
    texts = {r.question.id: (r.question.text, r.question.workspace) for r in asked}
    legs = all_legs(store, embedder, version, texts, params.retrieve.candidates)
    places = chunk_places(paths.data / "chunks", asked)
    dev, test = ([r for r in asked if r.question.split == split] for split in ("dev", "test"))
    tuned = tune(golden_curves(legs, dev, places, params.retrieve.fusion), params.retrieve)
    curves = golden_curves(legs, test, places, params.retrieve.fusion)
    common, own = (curves["code"][:, nearest(w)] for w in (tuned.fusion.weight, tuned.fusion.on("code").weight))
    found = {"tuned": tuned.as_json(), "golden test": {**compared(common, own, "ndcg_at_10"), "of": len(test)}}
    return tuned.fusion, found


def foreign(folder: Path, embedder: Embedder, fusion: Fusion) -> Compared:
    """Search a foreign set's questions with the weights tuned above."""
    store, chunks = MemoryStore(), tuple(chunk(row) for row in rows(folder / "corpus.jsonl"))
    store.create("docs", dim=embedder.dim)
    store.write("docs", EmbeddedBatch(chunks, embedder.embed([c.embed_text for c in chunks], role="passage")))
    store.finish("docs")
    relevant = read_folder(folder).test
    asked = [row for row in rows(folder / "queries.jsonl") if row["id"] in relevant]
    code = [row for row in asked if route(row["text"]) == "code"]
    vectors = embedder.embed([row["text"] for row in code], role="query")
    legs = [store.legs("docs", Query(r["text"], v, k=10)) for r, v in zip(code, vectors, strict=True)]
    wanted = [{id_: float(gain) for id_, gain in relevant[row["id"]].items() if gain > 0} for row in code]
    recall = []
    for one, gains, row in zip(legs, wanted, code, strict=True):
        mixes = (Fusion(fusion.method, fusion.weight), fusion_for(row["text"], fusion))
        tops = [{one.ids[at] for at in ranking(fuse(one, mix), 10)} for mix in mixes]
        recall.append([len(top & gains.keys()) / len(gains) for top in tops])
    table = np.asarray(recall)
    curve = weight_curve(legs, wanted, method=fusion.method)
    best = {str(weight): round(float(value), 4) for weight, value in zip(WEIGHTS, curve, strict=True)}
    return {**compared(table[:, 0], table[:, 1], "recall_at_10"), "of": len(asked), "ndcg_at_10 by weight": best}


def nearest(weight: float) -> int:
    """The place of a weight among WEIGHTS."""
    return int(np.argmin([abs(w - weight) for w in WEIGHTS]))


def compared(common: NDArray[np.float64], own: NDArray[np.float64], measure: str) -> Compared:
    """Both means, and the interval (95 %, paired bootstrap) of the difference."""
    picks = np.random.default_rng(7).integers(0, len(own), (RESAMPLES, len(own)))
    low, high = np.quantile((own - common)[picks].mean(axis=1), (0.025, 0.975))
    return {
        "measure": measure, "code_questions": len(own), "weight for all": round(float(common.mean()), 4),
        "weight for code": round(float(own.mean()), 4), "difference": round(float((own - common).mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }  # fmt: skip


if __name__ == "__main__":
    main()
