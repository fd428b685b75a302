"""A second night: what it costs to find that nothing changed, and that 1 % did, beside LangChain's index().

    uv run --group bench python -m benchmarks.rerun [--files 20000] [--rounds 5] [--json]

Small documents, one a file. The peer is langchain_core.indexing.index with a SQLRecordManager on SQLite, incremental
clean-up, an in-memory vector store and an embedder that returns a constant; its documents are in memory before its
clock starts, while ours begins at the folder. `ratio` > 1: ours is that much cheaper. In the 1 % part our real
stages run with the hash embedder: what is embedded must be exactly the chunks that changed.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate, cpu_seconds, finish
from ragkeep.config import ChunkParams, ChunkSection, EmbedParams, Params, Paths, SourceParams

WORDS = ("index", "chunk", "vector", "night", "gate", "release", "source", "answer", "query", "model", "score", "file")
FOLDER = 100
"""Files a folder."""


def main() -> None:
    """Measure both parts and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths, params = _project(Path(folder), args.files)
        result = unchanged(paths, params, args.files, rounds=args.rounds)
        result |= changed(paths, params, max(1, args.files // 100))
    if not args.json:
        sys.stderr.write(
            f"{args.files:,} files, nothing changed: LangChain {result['peer_us_per_file']} us a file, "
            f"ragkeep {result['ours_us_per_file']}: {result['ratio']}x\n"
        )
    finish(result)


def _project(root: Path, files: int) -> tuple[Paths, Params]:
    for n in range(files):
        file = root / "docs" / f"{n // FOLDER:04d}" / f"{n:06d}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_text(n), encoding="utf-8")
    sizes = ChunkSection(prose=ChunkParams(), code=ChunkParams())
    sources = (SourceParams("docs", "docs"),)
    return Paths(root), Params(sources=sources, chunk=sizes, embed=EmbedParams(backend="hash"))


def _text(n: int, *, edition: int = 0) -> str:
    draw = random.Random(n * 1000 + edition)
    return f"# Note {n}, edition {edition}\n\n" + " ".join(draw.choice(WORDS) for _ in range(80)) + ".\n"


# Nothing changed


def unchanged(paths: Paths, params: Params, files: int, *, rounds: int) -> dict[str, Any]:
    """CPU of a run that finds nothing to do, per file."""
    from tasks.scan import quick_digest, run

    time.sleep(2.1)  # files younger than two seconds are read again, on purpose
    run(paths, params)
    before = quick_digest(paths, params)
    peer = _langchain(paths)
    first = cpu_seconds(peer)

    def ours() -> None:
        assert quick_digest(paths, params) == before

    compared = alternate(peer, ours, rounds=rounds)
    floor = [cpu_seconds(lambda: _look(paths.root / "docs")) for _ in range(3)]
    stage = [cpu_seconds(lambda: run(paths, params)) for _ in range(3)]
    micro = 1e6 / files
    return {
        **compared.as_json(),
        "files": files,
        "peer_us_per_file": round(statistics.median(compared.peer) * micro, 1),
        "peer_first_us_per_file": round(first * micro, 1),
        "ours_us_per_file": round(statistics.median(compared.ours) * micro, 2),
        "scan_stage_us_per_file": round(statistics.median(stage) * micro, 2),
        "floor_us_per_file": round(statistics.median(floor) * micro, 2),
    }


def _look(root: Path) -> None:
    """The least a look can cost: scandir and stat."""
    for folder in os.scandir(root):
        for entry in os.scandir(folder.path):
            entry.stat(follow_symlinks=False)


def _langchain(paths: Paths) -> Callable[[], Any]:
    """The peer, ready to be run again and again over the same documents."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.indexes._sql_record_manager import SQLRecordManager
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings
        from langchain_core.indexing import index
        from langchain_core.vectorstores import InMemoryVectorStore

    class Constant(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[1.0, 0.0] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    documents = [
        Document(page_content=file.read_text(encoding="utf-8"), metadata={"source": str(file)})
        for file in sorted((paths.root / "docs").rglob("*.md"))
    ]
    records = SQLRecordManager("bench", db_url=f"sqlite:///{paths.root}/records.db")
    records.create_schema()
    options = {"cleanup": "incremental", "source_id_key": "source", "batch_size": 1000, "key_encoder": "blake2b"}
    return partial(index, documents, records, InMemoryVectorStore(Constant()), **options)


# One per cent changed


def changed(paths: Paths, params: Params, files: int) -> dict[str, Any]:
    """Edit some files and run the stages again: chunks that are new against chunks that were embedded."""
    _night(paths, params)
    before = set(_chunk_ids(paths))
    for n in random.Random(7).sample(range(len(list((paths.root / "docs").rglob("*.md")))), files):
        file = paths.root / "docs" / f"{n // FOLDER:04d}" / f"{n:06d}.md"
        file.write_text(_text(n, edition=1), encoding="utf-8")
    spent: dict[str, float] = {}
    stats = _night(paths, params, spent)
    new = len(set(_chunk_ids(paths)) - before)
    return {
        "changed_files": files,
        "changed_chunks": new,
        "embedded_chunks": stats["embed"]["embedded"],
        "parsed_files": stats["ingest"]["parsed"],
        "counts_equal": new == stats["embed"]["embedded"],
        "changed_cpu_s": {name: round(value, 2) for name, value in spent.items()},
    }


def _night(paths: Paths, params: Params, spent: dict[str, float] | None = None) -> dict[str, Any]:
    from tasks import chunk, embed, ingest, scan

    stats: dict[str, Any] = {}
    for name, stage in (("scan", scan), ("ingest", ingest), ("chunk", chunk), ("embed", embed)):

        def work(name: str = name, stage: Any = stage) -> None:
            stats[name] = stage.run(paths, params)

        seconds = cpu_seconds(work)
        if spent is not None:
            spent[name] = seconds
    return stats


def _chunk_ids(paths: Paths) -> Iterator[str]:
    from ragkeep.tables import read_table
    from tasks.shards import iter_shards

    for path in iter_shards(paths.data / "chunks"):
        yield from read_table(path)["id"].to_pylist()


if __name__ == "__main__":
    main()
