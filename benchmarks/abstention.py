"""Does it know when it does not know? Balanced accuracy of abstention per set, and the fit of support.py's numbers.

uv run --group bench python -m benchmarks.abstention [--fit] [--json]      # needs the evaluation data

Per set: questions the passages answer, and questions they do not (labelled so by the set's authors, or the passage that
holds the answer is taken out of the hits). Half of each set, by the hash of the question's id, is for fitting
holds the answer is taken out of the hits). Half of each set, by the hash of the id, is for fitting
same, prints the coefficients for ragkeep/generators/support.py, and the same fit with each set left out in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ragkeep.backends import STORES, load
from ragkeep.config import AnswerParams, EmbedParams, GeneratorParams
from ragkeep.embedders import load_embedder
from ragkeep.generators.extractive import extractive
from ragkeep.generators.support import BY_WORDS, WITH_COSINE, Evidence, support
from ragkeep.ports import Embedder, VectorStore
from ragkeep.tables import iter_chunks
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, Hit, Kind, Query, Role, Vectors, content_id
from ragkeep.vector_cache import VectorCache, text_key

PER_SET = 120
DATA = Path(os.environ.get("RAGKEEP_EVAL_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data").resolve()
CODE = {"codebase", "cosqa-a"}


@dataclass(frozen=True, slots=True)
class Case:
    """A question to a set; `gone` are documents taken out of its hits."""

    id: str
    text: str
    answerable: bool
    gone: frozenset[str] = frozenset()
    split: str = ""

    @property
    def dev(self) -> bool:
        """Which half it is in: as its set says, or else by the hash of its id."""
        if self.split:
            return self.split == "dev"
        return int(content_id(self.id)[0], 16) % 2 == 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A case and what was found for it, with the embedder and by words alone."""

    case: Case
    found: Evidence
    words: Evidence
    hits: tuple[Hit, ...]


class Cached:
    """An Embedder that remembers on disk, so that a second fit costs seconds."""

    def __init__(self, inner: Embedder, folder: Path) -> None:
        self.inner = inner
        self.name, self.fingerprint, self.dim, self.max_tokens = (
            inner.name, inner.fingerprint, inner.dim, inner.max_tokens,
        )  # fmt: skip
        self.cache = VectorCache(folder, inner.fingerprint, inner.dim)

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See ports.Embedder.embed."""
        keys = [text_key(text) for text in texts]
        vectors, found = self.cache.get_many(keys)
        missing = np.flatnonzero(~found)
        for part in np.split(missing, range(256, len(missing), 256)) if len(missing) else []:
            vectors[part] = self.inner.embed([texts[i] for i in part], role=role)
            self.cache.put_many([keys[i] for i in part], vectors[part])
        return vectors


def cases(name: str) -> list[Case]:
    """Read a set's questions as cases, as many with an answer as without where the set allows it."""
    rows = read(name, "queries.jsonl")
    if name == "clapnq-a":
        return sample([Case(r["id"], r["text"], r["answerable"]) for r in rows])
    if name == "mtrag-a":  # a last turn of a few words is about the turns before it
        rows = [r for r in rows if len(r["text"].split()) > 4]
        kinds = {"ANSWERABLE": True, "UNANSWERABLE": False}
        return sample([Case(r["id"], r["text"], kinds[r["answerability"]]) for r in rows if r["answerability"] in kinds])
    gold: dict[str, set[str]] = {}
    for line in (DATA / name / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, _ = line.split("\t")
        gold.setdefault(query, set()).add(document)
    made = []
    for row in (r for r in rows if r["id"] in gold):
        here = int(content_id("half", row["id"])[0], 16) % 2 == 0
        made.append(Case(row["id"], row["text"], here, frozenset() if here else frozenset(gold[row["id"]])))
    return sample(made)


def sample(made: Sequence[Case], *, each: int = PER_SET // 2) -> list[Case]:
    """Draw up to `each` of either kind."""
    drawn = []
    for answerable in (True, False):
        kind = [case for case in made if case.answerable is answerable]
        drawn += random.Random(7).sample(kind, min(len(kind), each))
    return drawn


def foreign(name: str, other: str) -> list[Case]:
    """Cases of `name` without an answer: questions on something else altogether."""
    rows = [case for case in cases(other) if case.answerable]
    return [case for case in cases(name) if case.answerable] + [Case(c.id, c.text, False) for c in rows]


def read(name: str, file: str) -> list[dict[str, Any]]:
    """Read a JSONL file of the evaluation data."""
    return [json.loads(line) for line in (DATA / name / file).read_text(encoding="utf-8").splitlines()]


def chunks(name: str) -> list[Chunk]:
    """Take every passage of a set as one chunk."""
    kind: Kind = "code" if name in CODE else "prose"
    made = []
    for row in read(name, "corpus.jsonl"):
        text, lines = row["text"], (1, 1 + row["text"].count("\n"))
        key = content_id(name, row["id"])
        made.append(
            Chunk(key, key, row["id"], name, "default", text, (0, len(text)), lines, kind, "en", row.get("title") or "")
        )
    return made


def build(name: str, store: VectorStore, embedder: Embedder) -> None:
    """Index a set under its name."""
    rows = chunks(name)
    store.create(name, dim=embedder.dim)
    store.write(name, EmbeddedBatch(tuple(rows), embedder.embed([c.embed_text for c in rows], role="passage")))
    store.finish(name)


def ask(name: str, asked: Sequence[Case], store: VectorStore, embedder: Embedder) -> Iterator[Asked]:
    """Retrieve and weigh each case."""
    with_cosine, by_words = (extractive(GeneratorParams(), params=AnswerParams(), embedder=e) for e in (embedder, None))
    vectors = embedder.embed([case.text for case in asked], role="query")
    for case, vector in zip(asked, vectors, strict=True):
        query = Query(case.text, vector=vector, k=10 + len(case.gone), fusion=Fusion(weight=0.6))
        hits = [hit for hit in store.search(name, query) if hit.chunk.uri not in case.gone][:10]
        found = (generator.weigh(case.text, hits)[1] for generator in (with_cosine, by_words))
        yield Asked(case, *found, tuple(hits))


def golden() -> list[Case]:
    """Read this project's own questions."""
    made = []
    for file in ("stdlib", "readmes", "unanswerable"):
        for line in (
            (Path(__file__).parents[1] / "evaluation" / "sets" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
        ):
            row = json.loads(line)
            made.append(Case(row["id"], row["text"], row["answerable"], split=row["split"]))
    return sample(made, each=PER_SET)


def build_golden(name: str, data: Path, store: VectorStore, embedder: Embedder) -> None:
    """Index what a night left in data/chunks and data/vectors."""
    store.create(name, dim=embedder.dim)
    for shard in sorted((data / "chunks").glob("[0-9]*.parquet")):
        rows = tuple(iter_chunks(pq.read_table(shard)))
        column = pq.read_table(data / "vectors" / shard.name)["vector"].combine_chunks()
        store.write(name, EmbeddedBatch(rows, column.flatten().to_numpy().reshape(-1, embedder.dim)))
    store.finish(name)


SETS = {
    "clapnq-a": lambda: ("clapnq-a", cases("clapnq-a")),
    "mtrag-a": lambda: ("mtrag-a", cases("mtrag-a")),
    "squad-a, passage gone": lambda: ("squad-a", cases("squad-a")),
    "product-docs, sections gone": lambda: ("product-docs", cases("product-docs")),
    "codebase, chunks gone": lambda: ("codebase", cases("codebase")),
    "product-docs, others' questions": lambda: ("product-docs", foreign("product-docs", "mtrag-a")),
    "squad-a, others' questions": lambda: ("squad-a", foreign("squad-a", "clapnq-a")),
    "codebase, others' questions": lambda: ("codebase", foreign("codebase", "cosqa-a")),
}


def collect(cache: Path, project: Path) -> dict[str, list[Asked]]:
    """Ask every set's cases."""
    embedder = Cached(load_embedder(EmbedParams(), cache), cache)
    found: dict[str, list[Asked]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store, built = load(STORES, "lancedb", path=Path(folder)), set()
        for label, make in SETS.items():
            name, asked = make()
            if name not in built:
                build(name, store, embedder)
                built.add(name)
            found[label] = list(ask(name, asked, store, embedder))
        if (project / "data" / "vectors").is_dir():
            build_golden("golden", project / "data", store, embedder)
            found["our own golden sets"] = list(ask("golden", golden(), store, embedder))
        else:
            print(f"our own golden sets left out: {project} holds no night's vectors, run `ragkeep nightly` first")
    return found


def balanced(answered: np.ndarray, answerable: np.ndarray) -> float:
    """Mean of the two rates: answered where there is an answer, abstained where there is none."""
    return float((answered[answerable].mean() + (~answered)[~answerable].mean()) / 2)


def fit(features: np.ndarray, wanted: np.ndarray, weight: np.ndarray, *, ridge: float = 1e-4) -> np.ndarray:
    """Fit a weighted logistic regression by Newton's method; the last coefficient is the bias."""
    x = np.column_stack([features, np.ones(len(features))])
    penalty = np.diag([ridge] * features.shape[1] + [0.0])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (weight * (p - wanted)) + penalty @ w
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + penalty
        w -= np.linalg.solve(hessian, gradient)
    return w


def table(rows: Sequence[Asked], names: Sequence[str], *, words: bool) -> np.ndarray:
    """Lay out the evidence, shape (n, features)."""
    return np.array([[getattr(a.words if words else a.found, name) for name in names] for a in rows])


def weights(groups: Sequence[Sequence[Asked]]) -> np.ndarray:
    """Give every set, and both kinds in it, the same weight; they sum to 1."""
    parts = []
    for rows in groups:
        kind = np.array([a.case.answerable for a in rows])
        parts.append(np.where(kind, 0.5 / max(1, kind.sum()), 0.5 / max(1, (~kind).sum())))
    return np.concatenate(parts) / len(groups)


def fitted(groups: Sequence[Sequence[Asked]], names: Sequence[str], *, words: bool) -> np.ndarray:
    """Fit on groups of asked cases."""
    rows = [a for group in groups for a in group]
    wanted = np.array([a.case.answerable for a in rows], float)
    return fit(table(rows, names, words=words), wanted, weights(groups))


def judge(rows: Sequence[Asked], *, words: bool) -> float:
    """Balanced accuracy of support.py as it is, at 0.5."""
    answered = np.array([support(a.words if words else a.found) >= 0.5 for a in rows])
    return balanced(answered, np.array([a.case.answerable for a in rows]))


def left_out(dev: dict[str, list[Asked]], label: str, test: Sequence[Asked], names: Sequence[str]) -> float:
    """Balanced accuracy on a set by a fit that has not seen it."""
    w = fitted([rows for other, rows in dev.items() if other != label], names, words=False)
    answered = table(test, names, words=False) @ w[:-1] + w[-1] >= 0
    return balanced(answered, np.array([a.case.answerable for a in test]))


def main() -> None:
    """Print the table; with --fit also coefficients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "ragkeep-abstention")
    parser.add_argument("--project", type=Path, default=Path(__file__).parents[1])
    options = parser.parse_args()
    found = collect(options.cache, options.project)
    dev = {label: [a for a in rows if a.case.dev] for label, rows in found.items()}
    test = {label: [a for a in rows if not a.case.dev] for label, rows in found.items()}
    scores = {label: [judge(rows, words=False), judge(rows, words=True)] for label, rows in test.items()}
    print(f"{'test half of':36} {'n':>5} {'ours':>6} {'words':>6}" + ("  set left out of the fit" if options.fit else ""))
    names = [name for name in WITH_COSINE if name != "bias"]
    for label, (ours, by_words) in scores.items():
        unseen = f"  {left_out(dev, label, test[label], names):.3f}" if options.fit else ""
        print(f"{label:36} {len(test[label]):5} {ours:6.3f} {by_words:6.3f}{unseen}")
    if options.fit:
        for title, weighed, words in (("WITH_COSINE", WITH_COSINE, False), ("BY_WORDS", BY_WORDS, True)):
            names = [name for name in weighed if name != "bias"]
            w = fitted(list(dev.values()), names, words=words)
            print(title, dict(zip([*names, "bias"], (round(float(v), 2) for v in w), strict=True)))
    if options.json:
        means = np.mean(list(scores.values()), axis=0)
        print(json.dumps({"balanced_accuracy": {k: v[0] for k, v in scores.items()}, "mean": float(means[0])}))


if __name__ == "__main__":
    main()
