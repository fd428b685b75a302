"""Embed on Ray: `embed.runner: ray`. Texts go to a pool of actors, each with an embedder; vectors come back.

Ray Data moves the pieces, holds back what the actors cannot take yet, and does again what was lost with a worker. Actors
get what would be embedded in one call here, so a vector is the same to the bit on the same kind of processor. They never
touch the vector cache: the stage that asked is its only writer.

The cluster is the one RAY_ADDRESS names, whose nodes need ragkeep and the packages of the embedder; without it Ray runs
on this machine for as long as the stage does.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ragkeep.config import EmbedParams
from ragkeep.errors import ConfigError, MissingExtra, ModelError, RagkeepError
from ragkeep.ports import Embedder
from ragkeep.types import Vectors

ROUND = 4096
"""Pieces handed to Ray at a time, about a million texts: they wait in its object store, which spills to disk."""
_MOST_CORES = 8  # of an actor; with more, too many would wait at the end of each piece
_ON_CPU = ("hash", "minilm", "openvino")  # leave a GPU idle
_SENT = pa.schema([("keys", pa.list_(pa.binary())), ("texts", pa.list_(pa.string()))])
_MADE = pa.schema([("keys", pa.list_(pa.binary())), ("vectors", pa.binary()), ("error", pa.string())])
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # or under `uv run` the whole project would be copied to the workers
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
_LOCAL = {
    "RAY_AUTH_MODE": "token",  # who reaches Ray's ports may run code
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too, this keeps them to the loopback address
}


class Actor:
    """Embeds a piece a call. Its model is loaded at the first, so that what is wrong with it comes back as a row."""

    def __init__(self, params: EmbedParams, cache: Path, fingerprint: str, cores: int) -> None:
        self.params, self.cache, self.fingerprint = params, cache, fingerprint
        os.environ["OMP_NUM_THREADS"] = str(cores)  # read by the runtimes when a model is loaded
        self.embedder: Embedder | None = None

    def __call__(self, piece: pa.Table) -> pa.Table:
        """Turn one row of keys and texts into one of keys and vectors, float32 (n, dim) in C order, or an error."""
        (row,) = piece.to_pylist()
        vectors, said = b"", ""
        try:
            self.embedder = self.embedder or self._load()
            vectors = self.embedder.embed(row["texts"], role="passage").astype("<f4").tobytes()
        except RagkeepError as error:
            said = str(error)
        return pa.Table.from_pylist([{"keys": row["keys"], "vectors": vectors, "error": said}], _MADE)

    def _load(self) -> Embedder:
        from ragkeep.embedders import load_embedder

        on_this_machine = self.cache.is_dir()
        cache = self.cache if on_this_machine else Path(tempfile.gettempdir()) / "ragkeep-cache"
        made = load_embedder(self.params, cache)
        if made.fingerprint != self.fingerprint:
            raise ModelError(
                f"node {os.uname().nodename} would embed with {made.fingerprint} and not with {self.fingerprint}: "
                "give every node the same packages, and set embed.precision to what all of them can do"
            )
        return made


def embed_pieces(
    pieces: Iterator[tuple[list[bytes], list[str]]], embedder: Embedder, params: EmbedParams, cache: Path
) -> Iterator[tuple[list[bytes], Vectors]]:
    """Yield the keys of each piece with its vectors, float32 (n, dim), in any order. Without a piece no Ray is started.

    Raises MissingExtra, ConfigError where the cluster cannot be used, ModelError, RagkeepError when Ray gives up.
    """
    piece = next(pieces, None)
    if piece is None:
        return
    arguments = (params, cache, embedder.fingerprint)
    with _cluster() as ray:
        while piece is not None:
            tables = [ray.put(_table(*piece)), *(ray.put(_table(*more)) for more in islice(pieces, ROUND - 1))]
            for row in _run(ray, tables, arguments):
                yield row["keys"], np.frombuffer(row["vectors"], "<f4").reshape(-1, embedder.dim)
            piece = next(pieces, None)


def _table(keys: list[bytes], texts: list[str]) -> pa.Table:
    """One row, which Ray can neither split nor merge with others."""
    return pa.Table.from_pylist([{"keys": keys, "texts": texts}], _SENT)


def _run(ray: Any, tables: list[Any], arguments: tuple[EmbedParams, Path, str]) -> Iterator[dict[str, Any]]:
    share, actors = room([node["Resources"] for node in ray.nodes() if node["Alive"]], arguments[0].backend)
    made = ray.data.from_arrow_refs(tables).map_batches(
        Actor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_args=(*arguments, share["num_cpus"]),
        compute=ray.data.ActorPoolStrategy(size=actors),
        **share,
    )
    try:
        for batch in made.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.to_pylist():
                if row["error"]:
                    raise ModelError(row["error"])
                yield row
    except ray.exceptions.RayError as error:
        raise RagkeepError(f"Ray: {_last_line(error)}; what was embedded is kept: run again") from error


def room(nodes: Sequence[Mapping[str, float]], backend: str) -> tuple[dict[str, int], int]:
    """Say what an actor gets, a GPU or cores, and how many actors nodes with these resources have room for.

    Raises ConfigError where there is none.
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if gpus and backend not in _ON_CPU:
        return {"num_cpus": 1, "num_gpus": 1}, gpus
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise ConfigError("the Ray cluster has no cores to embed with: add nodes, or set embed.runner: local")
    share = min(_MOST_CORES, *cores)
    return {"num_cpus": share}, sum(n // share for n in cores)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Connect to the cluster of RAY_ADDRESS; without it start one that only this machine reaches, and end it.

    Raises MissingExtra, ConfigError.
    """
    address = os.environ.get("RAY_ADDRESS")
    for name, value in (_QUIET if address else {**_QUIET, **_LOCAL, "RAY_AUTH_TOKEN": secrets.token_hex(32)}).items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("embed.runner: ray", "ray") from None
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # nodes have ragkeep, and not the stages
    # a socket's path has room for 107 bytes, which a TMPDIR may have used up
    with tempfile.TemporaryDirectory(prefix="ragkeep-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        here = {"_temp_dir": folder, "include_dashboard": False}
        try:
            _connect(ray, address or "local", {} if address else here)
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str, options: dict[str, Any], *, tries: int = 3) -> None:
    """Start or reach the cluster; Ray gives its own processes 30 s to start, which a busy machine may not do at once."""
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:
        if address != "local" or tries == 1:
            raise ConfigError(f"Ray cannot be used ({address}): {_last_line(error)}") from error
        ray.shutdown()
        _connect(ray, address, options, tries=tries - 1)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
