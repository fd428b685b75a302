"""Stage outputs as shards: Parquet files named by a hash of the document's uri, the unit of incremental work.

A shard is a pure function of its inputs and carries their digest (`key`) in its metadata, so a stage leaves alone
every shard whose key has not changed, and what a killed run had finished is kept. Used by every stage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from ragkeep.files import replacing
from ragkeep.tables import iter_chunks, read_table
from ragkeep.types import content_id

_KEY = b"ragkeep.key"


def shard_of(uri: str, shards: int) -> int:
    """Say which of `shards` files a document lives in; the same on every machine."""
    return int.from_bytes(blake3(uri.encode("utf-8", "surrogatepass")).digest(4), "little") % shards


def shard_path(folder: Path, number: int) -> Path:
    """Name a shard's file."""
    return folder / f"{number:04d}.parquet"


def shard_key(path: Path) -> str | None:
    """Read the digest of what a shard was made from; None where it is absent or unreadable."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    value = metadata.get(_KEY)
    return value.decode() if value is not None else None


def write_shard(folder: Path, number: int, table: pa.Table, key: str) -> None:
    """Replace a shard durably; equal tables and keys give equal bytes."""
    metadata = {**(table.schema.metadata or {}), _KEY: key.encode()}
    with replacing(shard_path(folder, number)) as new:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            new,
            compression="zstd",
            row_group_size=4096,
            use_dictionary=True,
        )


def iter_shards(folder: Path) -> Iterator[Path]:
    """List the shards of a folder in order."""
    yield from sorted(folder.glob("[0-9]*.parquet"))


def chunk_texts(chunks: Path, ids: Collection[str]) -> dict[str, str]:
    """Read the texts of some chunks from data/chunks: chunk id -> `Chunk.embed_text`."""
    wanted, found = set(ids), dict[str, str]()
    for shard in iter_shards(chunks) if wanted else ():
        found |= {chunk.id: chunk.embed_text for chunk in iter_chunks(read_table(shard)) if chunk.id in wanted}
    return found


def prune_shards(folder: Path, shards: int) -> None:
    """Remove what does not belong: shards beyond the count, temporary files of killed runs."""
    for path in folder.glob("*"):
        if path.name not in {f"{n:04d}.parquet" for n in range(shards)}:
            path.unlink()


def digest(*parts: str) -> str:
    """Hash strings to 32 hex digits, in the order given."""
    return content_id(*parts)
