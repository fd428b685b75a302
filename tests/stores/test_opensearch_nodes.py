"""Three nodes, each killed (-9) in turn while a version is loaded and another is searched: figures by `-s`."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.opensearch.cluster import Cluster
from ragkeep.config import IndexParams
from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.types import IndexVersion, ids_digest
from tests.services import own_opensearch
from tests.sizes import sizes
from tests.stores.building import DIM, build, chunk_batch, say
from tests.stores.clusters import own_store
from tests.stores.reading import Tally, named_batch, reading, total
from tests.stores.swapping import reading_process, wait_until

BATCH = 20


class Load:
    """Chunks whose writing was acknowledged, how long the slowest write took, and what went wrong."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.slowest_s = 0.0
        self.failed: list[str] = []

    def go_on(self, store: OpenSearchStore, ended: threading.Event) -> None:
        for salt in itertools.count(1):
            if ended.wait(0.1):
                return
            batch, began = chunk_batch(BATCH, salt=salt), time.monotonic()
            try:
                store.write("v1", batch)
            except Exception as error:
                self.failed.append(str(error))
                return
            self.acknowledged |= {chunk.id for chunk in batch.chunks}
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


@contextmanager
def loading(store: OpenSearchStore) -> Iterator[Load]:
    """Let a thread write to v1 as long as the context lasts."""
    load, ended = Load(), threading.Event()
    store.create("v1", dim=DIM)
    writer = threading.Thread(target=load.go_on, args=(store, ended))
    writer.start()
    try:
        yield load
    finally:
        ended.set()
        writer.join()


def kill_and_bring_back(cluster: Cluster, store: OpenSearchStore, number: int, load: Load) -> None:
    """Kill a node in the middle of a load, leave it away for 5 s; what is there must be copied again before the next."""
    before = len(load.acknowledged)
    wait_until(lambda: len(load.acknowledged) >= before + 4 * BATCH or bool(load.failed), timeout_s=120)
    cluster.kill(number)
    time.sleep(5)
    cluster.start(number, timeout_s=240)
    live = store._version("v0")
    whole = f"/_cluster/health/{live},{store._version('v1')}?wait_for_status=green&timeout=120s"
    assert store._cluster.ask("GET", whole, timeout_s=150)["status"] == "green"


@sizes(1, 3)
def test_nodes_killed_in_turn_lose_nothing_and_fail_no_search(size: int, tmp_path: Path) -> None:
    began, everything = time.monotonic(), list[Tally]()
    with (
        own_opensearch(nodes=3) as cluster,
        own_store(hosts=cluster.access().urls, shards=3, replicas=1, patience_s=300.0) as store,
    ):
        build(store, "v0", named_batch("v0", 30))
        store.swap("docs", "v0")
        params = IndexParams(backend="opensearch", opensearch=store._params)
        with reading_process(tmp_path, params, everything), reading(store, 2) as threads, loading(store) as load:
            for number in range(1, size + 1):
                kill_and_bring_back(cluster, store, number, load)
        seen = total(everything + threads)
        store.finish("v1")
        ids = list(store.ids("v1"))
        store.seal(IndexVersion("v1", "docs", "any", "hash/1", DIM, len(ids), ids_digest(ids)))
    lost, doubles = load.acknowledged - set(ids), len(ids) - len(set(ids))
    said = f"{len(load.acknowledged)} chunks acknowledged, {len(lost)} lost, {doubles} doubles"
    say(f"{size} kills in {time.monotonic() - began:.0f} s: {said}, slowest write {load.slowest_s:.0f} s; {seen}")
    assert (load.failed, lost, doubles) == ([], set(), 0)
    assert (seen.failed, seen.empty, seen.mixed) == ([], 0, 0)
