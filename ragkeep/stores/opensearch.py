"""The store for a cluster: one OpenSearch index a version, one alias a name, searched from any number of processes.

    <prefix>-index.<name>   a version; `_meta` of its mapping holds dimension, text analysis, format, whether it is
                            finished and, once sealed, its receipt; from then on the server refuses writes to it
    <prefix>-live.<alias>   an alias: which version is live
    <prefix>-lost.<name>    a closed, empty index that keeps an alias whose version was lost, until it is built again

`index.opensearch` in params.yaml says where the cluster is. How it is asked: opensearch_client.py; what a version looks
like: opensearch_index.py; how it is searched: opensearch_search.py. Why so, and the figures: docs/adr/0005-opensearch.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..analysis import VERSION
from ..config import IndexParams, OpenSearchParams, is_id
from ..errors import DimensionMismatch, IndexExists, IndexLive, IndexMissing, ReceiptMismatch, StoreError
from ..types import EmbeddedBatch, Hit, IndexVersion, Legs, Query, ids_digest
from . import opensearch_search as searching
from .opensearch_client import Cluster, Refused
from .opensearch_index import (
    FORMAT,
    definition,
    delete_chunks,
    flush_at,
    flush_mb,
    scan_ids,
    scan_rows,
    settle,
    write_chunks,
)
from .reading import check_batch, check_query

_SEARCH_PATIENCE_S = 2.0
"""A reader does not wait as long as a night for a cluster that is busy."""
_STALE_S = 7 * 86_400
"""A build this old without a receipt has no builder any more."""

CHANGED_SHARE = 0.2
"""Up to this share of chunks that differ, a version is made from a clone of the one before."""
_CLONE_S = 60

Meta = dict[str, Any]


@dataclasses.dataclass
class _Load:
    """A version that this process may write to: the length of its vectors, and of one it created what it was sent.

    None stands for a version that others began, or a clone: how it is flushed is left alone.
    """

    dim: int
    sent_bytes: int | None = None


def open_store(path: Path, params: IndexParams | None = None) -> OpenSearchStore:  # noqa: ARG001 - every store's factory
    """Open the store that `index.opensearch` names; nothing is asked before it is needed."""
    return OpenSearchStore((params or IndexParams()).opensearch)


class OpenSearchStore:
    """See `ports.VectorStore`. Safe from any thread and process; one process builds a version."""

    def __init__(self, params: OpenSearchParams) -> None:
        self._params = params
        self._cluster = Cluster(params)
        self._building: dict[str, _Load] = {}  # versions this process may write to
        self._known: set[str] = set()  # versions that can be searched, so that a search need not ask
        self._checked: dict[str, int] = {}  # versions this analysis reads, with how many neighbours a search explores
        self._explored: dict[str, int] = {}  # the same by the name that was asked, where that was too few at first

    # --- building -----------------------------------------------------------------------------

    def create(self, index: str, *, dim: int) -> None:
        """See `ports.VectorStore.create`; sweeps away builds that were given up a week ago."""
        self._cluster.refuse_serverless()
        self._sweep()
        made, token = definition(dim, shards=self._params.shards), uuid4().hex
        made["mappings"]["_meta"] |= {"made_by": token, "shards": self._params.shards}
        self._start("PUT", f"/{self._version(index)}", made, index, ours=lambda meta: meta.get("made_by") == token)
        self._building[index] = _Load(dim, sent_bytes=0)

    def carry(self, index: str, *, base: str, rows: Mapping[str, str]) -> set[str]:
        """See `ports.VectorStore.carry`: a clone (hard links on the servers' disks) in which what is gone is deleted.

        Where more than a fifth would differ an empty version is started instead, which is then merged whole.
        """
        meta, source = self._meta(base), self._version(base)
        if _receipt(base, meta) is None:
            raise IndexMissing(f"no sealed index {base} in OpenSearch: carry from one that was sealed")
        held = dict(scan_rows(self._cluster, source))
        gone = [chunk_id for chunk_id, digest in held.items() if rows.get(chunk_id) != digest]
        kept = held.keys() - gone
        if len(gone) + len(rows) - len(kept) > CHANGED_SHARE * len(rows):
            self.create(index, dim=meta["dim"])
            return set()
        self._clone(source, index)
        self._put_meta(index, {**_unsealed(meta), "finished": False, "carried": True})
        self._building[index] = _Load(meta["dim"])
        delete_chunks(self._cluster, self._version(index), gone)
        return kept

    def write(self, index: str, batch: EmbeddedBatch) -> int:
        """See `ports.VectorStore.write`; after a time-out and a second try, what the first wrote counts as not new."""
        if index not in self._building:
            meta = self._meta(index)
            if _receipt(index, meta):
                raise StoreError(f"index {index} is sealed: build a new version instead of writing to it")
            if meta["finished"]:
                alone = {"index": {"auto_expand_replicas": False, "number_of_replicas": 0}}
                self._cluster.ask("PUT", f"/{self._version(index)}/_settings", alone)
                self._put_meta(index, {**meta, "finished": False})
                self._known.discard(index)
            self._building[index] = _Load(meta["dim"])
        load = self._building[index]
        check_batch(batch, index, load.dim)
        new, size = write_chunks(self._cluster, self._version(index), batch)
        if load.sent_bytes is not None:
            before, load.sent_bytes = load.sent_bytes, load.sent_bytes + size
            wanted = flush_mb(load.sent_bytes // self._params.shards)
            if wanted != flush_mb(before // self._params.shards):
                flush_at(self._cluster, self._version(index), wanted)
        return new

    def finish(self, index: str) -> None:
        """See `ports.VectorStore.finish`."""
        meta, name = self._meta(index), self._version(index)
        if meta["finished"]:
            return
        settle(self._cluster, name, dim=meta["dim"], replicas=self._params.replicas, merge="carried" not in meta)
        chunks = self._cluster.ask("GET", f"/{name}/_count")["count"]
        self._put_meta(index, {**meta, "finished": True, "chunks": chunks})
        self._building.pop(index, None)
        self._known.add(index)

    def ids(self, index: str) -> Iterable[str]:
        """See `ports.VectorStore.ids`."""
        if _receipt(index, self._meta(index)) is None:
            self._cluster.ask("POST", f"/{self._version(index)}/_refresh")
        return scan_ids(self._cluster, self._version(index))

    def seal(self, version: IndexVersion) -> None:
        """See `ports.VectorStore.seal`; the server takes no more writes from before the ids are compared."""
        meta, name = self._meta(version.name), self._version(version.name)
        if not meta["finished"]:
            raise StoreError(f"index {version.name} cannot be sealed before finish(): it could not be searched")
        block = f"/{name}/_settings"
        self._cluster.ask("PUT", block, {"index.blocks.write": True})
        ids = list(scan_ids(self._cluster, name))
        if len(ids) != version.chunks or ids_digest(ids) != version.digest:
            self._cluster.ask("PUT", block, {"index.blocks.write": None})
            raise ReceiptMismatch(
                f"index {version.name} holds {len(ids)} chunks with digest {ids_digest(ids)}, its receipt says "
                f"{version.chunks} with {version.digest}: drop it and build again"
            )
        self._put_meta(version.name, {**meta, "embedder": version.embedder, "receipt": dataclasses.asdict(version)})
        self._building.pop(version.name, None)
        self._take_back(version.name)

    def close(self) -> None:
        """Close the connections."""
        self._cluster.close()

    # --- aliases and versions -----------------------------------------------------------------

    def swap(self, alias: str, index: str | None) -> str | None:
        """See `ports.VectorStore.swap`: one call to the cluster, which takes the alias from wherever it is."""
        if index is not None and _receipt(index, self._meta(index)) is None:
            raise IndexMissing(f"no sealed index {index} in OpenSearch: build and seal it before it goes live")
        before, wanted = self._behind(alias), [] if index is None else [self._version(index)]
        self._cluster.patiently(lambda: self._point(alias, wanted))
        for one in before:
            if one.startswith(self._lost("")):
                self._delete(one)
        return _name(before[0]) if before else None

    def _point(self, alias: str, wanted: list[str]) -> None:
        """Take an alias from where it is to where it shall be; an earlier try that did it is enough."""
        name, now = self._alias(alias), self._behind(alias)
        if now == wanted:
            return
        steps = [{"remove": {"index": one, "alias": name}} for one in now]
        steps += [{"add": {"index": one, "alias": name}} for one in wanted]
        try:
            self._cluster.ask("POST", "/_aliases", {"actions": steps})
        except Refused:
            if self._behind(alias) != wanted:
                raise

    def live(self, alias: str) -> str | None:
        """See `ports.VectorStore.live`."""
        before = self._behind(alias) if is_id(alias) else []
        return _name(before[0]) if before else None

    def versions(self, alias: str) -> list[IndexVersion]:
        """See `ports.VectorStore.versions`."""
        receipts = itertools.starmap(_receipt, self._metas(f"{self._params.prefix}-index.*").items())
        found = [receipt for receipt in receipts if receipt and receipt.alias == alias]
        live = self.live(alias)
        found.sort(key=lambda version: (version.built_at, version.name), reverse=True)
        return sorted(found, key=lambda version: version.name != live)

    def drop(self, index: str) -> None:
        """See `ports.VectorStore.drop`."""
        self._building.pop(index, None)
        self._known.discard(index)
        self._checked.pop(index, None)
        name = self._version(index)
        found = self._cluster.ask("GET", f"/{name}/_alias", absent=None)
        if found is None:
            return
        aliases = sorted(found[name]["aliases"])
        if aliases and _receipt(index, self._metas(name).get(index, {})):
            raise IndexLive(f"index {index} is live as {', '.join(map(_name, aliases))}: swap the alias first")
        if aliases:
            self._keep_aliases(index, aliases)
        self._delete(name)

    # --- searching ----------------------------------------------------------------------------

    def search(self, index: str, query: Query) -> list[Hit]:
        """See `ports.Searcher.search`; one request, whatever the mode."""
        check_query(query, needs_vector=query.mode != "keyword")
        found = self._ask(index, query, rows=True)
        return searching.fused(found, query) if query.mode == "hybrid" else searching.hits(found, query.mode)

    def legs(self, index: str, query: Query) -> Legs:
        """See `ports.VectorStore.legs`."""
        check_query(query, needs_vector=True)
        found = self._ask(index, dataclasses.replace(query, mode="hybrid"), rows=False)
        return searching.legs(found, query.candidates)[0]

    def _ask(self, index: str, query: Query, *, rows: bool) -> list[searching.Found]:
        """Search behind the alias of that name, or else the version of that name; one request where it is known."""
        if not is_id(index):
            raise IndexMissing(f"no index {index!r}: names are 1-64 of a-z, 0-9 and '-'")
        for target in self._targets(index):
            explored = self._explored.get(index, searching.EXPLORED)
            try:
                found = self._searched(target, query, rows=rows, explored=explored)
                wanted = self._check_made(_name(found[0]["_index"])) if found else explored
                if wanted > explored:  # the first search of a large version
                    self._explored[index] = wanted
                    found = self._searched(target, query, rows=rows, explored=wanted)
            except Refused as error:
                if error.kind not in ("index_not_found_exception", "index_closed_exception"):
                    raise
                self._known.discard(index)
                continue
            return found
        raise IndexMissing(f"no finished index or alias {index}: run `ragkeep nightly` to build one")

    def _targets(self, index: str) -> Iterator[str]:
        if index not in self._known:
            yield self._alias(index)
            if not self._meta(index)["finished"]:
                return
        yield self._version(index)

    def _searched(self, target: str, query: Query, *, rows: bool, explored: int) -> list[searching.Found]:
        path = searching.path(target, rows=rows, shards=self._params.shards)
        body = searching.body(query, rows=rows, shards=self._params.shards, explored=explored)
        try:
            answer = self._cluster.promptly(lambda: self._cluster.ask("POST", path, body), patience_s=_SEARCH_PATIENCE_S)
        except Refused as error:
            if "invalid dimension" not in str(error):
                raise
            raise DimensionMismatch(f"{error}: use the embedder the index was built with") from None
        found: list[searching.Found] = answer.get("hits", {}).get("hits", [])
        return found

    def _check_made(self, index: str) -> int:
        """Refuse to read an index of another analysis or mapping; asked once a version. Returns how much is explored."""
        if index in self._checked:
            return self._checked[index]
        meta = self._metas(self._version(index)).get(index)
        if meta is not None and (meta["analysis"], meta["format"]) != (VERSION, FORMAT):
            raise StoreError(
                f"index {index} was built with text analysis {meta['analysis']} and mapping {meta['format']}, "
                f"this ragkeep has {VERSION} and {FORMAT}: run `ragkeep nightly` to build it anew"
            )
        meta = meta or {}
        chunks = meta.get("chunks", meta.get("receipt", {}).get("chunks", 0))
        found = self._checked[index] = searching.explored(chunks, meta.get("shards", self._params.shards))
        return found

    # --- names and what is known of them ------------------------------------------------------

    def _version(self, index: str) -> str:
        if not is_id(index):
            raise IndexMissing(f"no index {index!r}: names are 1-64 of a-z, 0-9 and '-'")
        return f"{self._params.prefix}-index.{index}"

    def _lost(self, index: str) -> str:
        return f"{self._params.prefix}-lost.{index}"

    def _alias(self, alias: str) -> str:
        if not is_id(alias):
            raise StoreError(f"alias {alias!r} must be 1-64 of a-z, 0-9 and '-'")
        return f"{self._params.prefix}-live.{alias}"

    def _behind(self, alias: str) -> list[str]:
        return sorted(self._cluster.ask("GET", f"/_alias/{self._alias(alias)}", absent={}))

    def _metas(self, pattern: str) -> dict[str, Meta]:
        """Return what the mappings of versions say, by version."""
        found = self._cluster.ask("GET", f"/{pattern}/_mapping?filter_path=*.mappings._meta", absent={})
        metas = {_name(name): index["mappings"]["_meta"] for name, index in found.items()}
        return {index: meta for index, meta in metas.items() if "dim" in meta}

    def _meta(self, index: str) -> Meta:
        meta = self._metas(self._version(index)).get(index)
        if meta is None:
            raise IndexMissing(f"no index {index} in OpenSearch: create it first")
        if _receipt(index, meta):
            self._known.add(index)
        return meta

    def _put_meta(self, index: str, meta: Meta) -> None:
        self._cluster.ask("PUT", f"/{self._version(index)}/_mapping", {"_meta": meta})

    def _clone(self, source: str, index: str) -> None:
        alone = {"index.number_of_replicas": 0, "index.auto_expand_replicas": False, "index.refresh_interval": "-1"}
        settings = {"settings": {**alone, "index.blocks.write": None}}
        path, base = f"/{source}/_clone/{self._version(index)}?timeout={_CLONE_S}s", _name(source)
        # nothing was deleted from a clone that still has its base's receipt
        self._start("POST", path, settings, index, ours=lambda meta: index != base == meta.get("receipt", {}).get("name"))

    def _start(self, method: str, path: str, body: Any, index: str, *, ours: Callable[[Meta], bool]) -> None:
        """Make an index; one whose mapping is `ours` was made by this call, whose answer got lost. Raises IndexExists."""
        try:
            self._cluster.ask(method, path, body)
        except Refused as error:
            if "resource_already_exists_exception" not in (error.kind, *str(error).split(": ")):
                raise
            if ours(self._metas(self._version(index)).get(index, {})):
                return
            raise IndexExists(f"index {index} exists in OpenSearch: choose another name, or drop it first") from None

    def _delete(self, name: str) -> None:
        self._cluster.ask("DELETE", f"/{name}", absent=None)

    # --- what is left behind ------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove builds that were given up long ago."""
        pattern = f"{self._params.prefix}-index.*"
        made = self._cluster.ask("GET", f"/{pattern}/_settings?filter_path=*.settings.index.creation_date", absent={})
        before = (time.time() - _STALE_S) * 1000
        old = {_name(n) for n, one in made.items() if int(one["settings"]["index"]["creation_date"]) < before}
        sealed = {index for index, meta in self._metas(pattern).items() if _receipt(index, meta)} if old else set()
        for index in old - sealed - self._building.keys():
            self.drop(index)

    def _keep_aliases(self, index: str, aliases: list[str]) -> None:
        """Let aliases of a lost version stand until it is built again: deleting an index deletes its aliases."""
        lost = self._lost(index)
        if self._cluster.ask("GET", f"/{lost}/_alias", absent=None) is None:
            self._cluster.ask("PUT", f"/{lost}", {"settings": {"number_of_shards": 1, "number_of_replicas": 0}})
        self._cluster.ask("POST", f"/{lost}/_close")
        self._move(aliases, self._version(index), lost)

    def _take_back(self, index: str) -> None:
        """Point the aliases of a lost version at it again."""
        lost = self._lost(index)
        found = self._cluster.ask("GET", f"/{lost}/_alias", absent=None)
        if found is not None:
            self._move(sorted(found[lost]["aliases"]), lost, self._version(index))
            self._delete(lost)

    def _move(self, aliases: list[str], source: str, target: str) -> None:
        pairs = (("remove", source), ("add", target))
        steps = [{action: {"index": name, "alias": alias}} for alias in aliases for action, name in pairs]
        if steps:
            self._cluster.ask("POST", "/_aliases", {"actions": steps})


def _receipt(index: str, meta: Meta) -> IndexVersion | None:
    """Return the receipt of a version that this ragkeep can search; a fresh clone still has that of another."""
    receipt = meta.get("receipt")
    if receipt is None or receipt["name"] != index or (meta["analysis"], meta["format"]) != (VERSION, FORMAT):
        return None
    return IndexVersion(**receipt)


def _unsealed(meta: Meta) -> Meta:
    return {name: value for name, value in meta.items() if name not in ("receipt", "embedder")}


def _name(physical: str) -> str:
    """Name the version or alias behind a name in the cluster."""
    return physical.partition(".")[2]
