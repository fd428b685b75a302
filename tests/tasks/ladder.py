"""The ladder climbed on a small real night: what every test of it does before it looks."""

from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.files import read_json, write_json
from ragkeep.learned import INPUT
from ragkeep.tables import chunks_table, iter_chunks, read_table
from ragkeep.types import Chunk, content_id
from tasks.embed import run as embed
from tasks.index import run as index
from tasks.learn import run
from tasks.lessons import Lesson, write_set
from tasks.shards import shard_path, write_shard

FUSION = {"method": "convex", "weight": 0.6}


def night(paths: Paths, chunks: list[Chunk], params: Params) -> Paths:
    """Leave what a night of these chunks leaves: vectors, an index, a fusion weight, and nothing learned yet."""
    write_shard(paths.data / "chunks", 0, chunks_table(chunks), "k")
    embed(paths, params)
    index(paths, params)
    write_json(paths.data / "evaluation" / "fusion.json", FUSION)
    write_json(paths.data / INPUT, [])
    return paths


def taught(paths: Paths, made: list[Lesson], params: Params) -> dict[str, Any]:
    """Climb with these lessons, and return what was found."""
    chunks = iter_chunks(read_table(shard_path(paths.data / "chunks", 0)))
    texts = {chunk.id: chunk.embed_text for chunk in chunks}
    write_set(paths.data / "trainset", made, texts, {"sha": content_id(repr(made)), "simulated": True})
    run(paths, params)
    found: dict[str, Any] = read_json(paths.data / "learned.json")
    return found
