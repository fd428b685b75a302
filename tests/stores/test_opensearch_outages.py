"""What goes wrong on a real server while the next version is built: one clear error, live as it was, then it goes on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.opensearch.client import Access
from infra.local.opensearch.cluster import Cluster
from ragkeep.errors import StoreError
from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.types import Query
from tests.services import own_opensearch
from tests.stores.building import DIM, build, build_as_a_night, chunk_batch
from tests.stores.clusters import own_store, running
from tests.stores.swapping import wait_until
from tests.stores.wire import Authority, relaying, tls_context

_DISK = "cluster.routing.allocation.disk"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of our own: its settings are changed, and it is killed."""
    with own_opensearch(nodes=1) as made:
        yield made


@contextmanager
def live_store(url: str = "", **settings: object) -> Iterator[OpenSearchStore]:
    """A store whose version docs-1 of 30 chunks is live."""
    with own_store(hosts=(url or running(),), **{"patience_s": 1.0, **settings}) as store:
        build(store, "docs-1", chunk_batch(30))
        store.swap("docs", "docs-1")
        yield store


@contextmanager
def one_clear_error(said: str) -> Iterator[None]:
    """One line that says what it is, and what to do."""
    with pytest.raises(StoreError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(said, message), message


def check_live(store: OpenSearchStore, index: str, chunks: int) -> None:
    assert store.live("docs") == index
    assert len(store.search("docs", Query("shared", mode="keyword", k=99))) == chunks


def next_night(store: OpenSearchStore) -> None:
    """Build the next version as the next night would, in a process of its own, and swap to it."""
    other = OpenSearchStore(store._params)
    build_as_a_night(other, "docs-2", chunk_batch(33))
    assert other.swap("docs", "docs-2") == "docs-1"
    check_live(other, "docs-2", 33)
    other.close()


def set_watermarks(store: OpenSearchStore, free: str | None) -> None:
    """Call any disk full that has less than so much room; None: never, as the servers of tests are started."""
    marks = {f"watermark.{stage}": free for stage in ("low", "high", "flood_stage")}
    settings = {f"{_DISK}.{name}": value for name, value in marks.items()}
    more = {f"{_DISK}.threshold_enabled": free and "true", "cluster.info.update.interval": free and "10s"}
    more[f"{_DISK}.reroute_interval"] = free and "1s"
    store._cluster.ask("PUT", "/_cluster/settings", {"persistent": settings | more})


def read_only(store: OpenSearchStore, index: str) -> bool:
    name = store._version(index)
    said = store._cluster.ask("GET", f"/{name}/_settings?flat_settings=true")[name]["settings"]
    return "index.blocks.read_only_allow_delete" in said


def takes_indexes(store: OpenSearchStore) -> bool:
    return "create_index" not in str(store._cluster.ask("GET", "/_cluster/settings?flat_settings=true"))


@contextmanager
def full_disk(store: OpenSearchStore, index: str) -> Iterator[None]:
    """Have the server find its disk over the flood stage, so that it makes an index read-only; then find room again."""
    set_watermarks(store, "900tb")
    try:
        wait_until(lambda: read_only(store, index) and not takes_indexes(store), timeout_s=90)
        yield
    finally:
        set_watermarks(store, "1b")
        wait_until(lambda: not read_only(store, index) and takes_indexes(store), timeout_s=90)
        set_watermarks(store, None)


@pytest.mark.soak
def test_a_disk_over_the_flood_stage(cluster: Cluster) -> None:
    with live_store(cluster.access().urls[0]) as store:
        store.create("docs-2", dim=DIM)
        with full_disk(store, "docs-2"):
            for action in (
                lambda: store.write("docs-2", chunk_batch(33)),
                lambda: store.finish("docs-2"),
                lambda: store.create("docs-3", dim=DIM),
            ):
                with one_clear_error("disks? .* nearly full: free some space, then run again; live is as it was"):
                    action()
                check_live(store, "docs-1", 30)
            assert store.swap("docs", None) == "docs-1"
            assert store.swap("docs", "docs-1") is None
        next_night(store)


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back(cluster: Cluster) -> None:
    with live_store(cluster.access().urls[0]) as store:
        store.create("docs-2", dim=DIM)
        cluster.kill(1)
        try:
            for action in (lambda: store.write("docs-2", chunk_batch(33)), lambda: store.finish("docs-2")):
                with one_clear_error(r"cannot be reached \(connection refused\): is it running"):
                    action()
        finally:
            cluster.start(1, timeout_s=240)
        check_live(store, "docs-1", 30)
        next_night(store)


def test_a_certificate_that_ran_out(tmp_path: Path) -> None:
    authority, tls = Authority(tmp_path), tls_context()
    authority.sign(tls, days=9)
    with relaying(running(), tls=tls) as url, live_store(url, ca=authority.ca) as store:
        authority.sign(tls, days=-1)
        other = OpenSearchStore(store._params)
        with one_clear_error("certificate has expired: renew it on the cluster; nothing live was touched"):
            build_as_a_night(other, "docs-2", chunk_batch(33))
        other.close()
        authority.sign(tls, days=9)
        check_live(store, "docs-1", 30)
        next_night(store)


@pytest.mark.slow
def test_a_password_that_was_changed(secure_opensearch: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    access = secure_opensearch
    monkeypatch.setenv("RAGKEEP_OPENSEARCH_PASSWORD", access.password)
    with live_store(access.urls[0], user=access.user, ca=access.ca) as store:
        monkeypatch.setenv("RAGKEEP_OPENSEARCH_PASSWORD", "old")
        with one_clear_error("does not know user 'admin' or the password: set .*RAGKEEP_OPENSEARCH_PASSWORD"):
            build_as_a_night(OpenSearchStore(store._params), "docs-2", chunk_batch(33))
        monkeypatch.setenv("RAGKEEP_OPENSEARCH_PASSWORD", access.password)
        check_live(store, "docs-1", 30)
        next_night(store)


@contextmanager
def losing_once(path: str) -> Iterator[str]:
    """Stand before the server and lose its answer to the first request for such a path."""
    lost = [path]

    def loses(asked: str) -> bool:
        return bool(lost) and bool(re.search(lost[0], asked)) and bool(lost.pop())

    with relaying(running(), lost=loses) as url:
        yield url
    assert not lost, "nothing was lost"


def test_an_answer_that_is_lost_leaves_no_doubles_and_counts_too_few() -> None:
    with losing_once("/_bulk") as url, own_store(hosts=(url,)) as store:
        store.create("docs-1", dim=DIM)
        assert store.write("docs-1", chunk_batch(30)) == 0, "the first try wrote them, and nobody was told"
        assert store.write("docs-1", chunk_batch(33)) == 3
        assert sorted(store.ids("docs-1")) == sorted(chunk.id for chunk in chunk_batch(33).chunks)


STEPS = [r"-index\.docs-1$", "/_clone/", "/_bulk", "/_mapping$", "/_settings$", "/_forcemerge", "/_aliases$", "/_tasks"]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_night_goes_on_when_an_answer_is_lost(step: str) -> None:
    with losing_once(step) as url, own_store(hosts=(url,)) as store:
        for night, chunks in ((1, 30), (2, 31)):
            build_as_a_night(store, f"docs-{night}", chunk_batch(chunks))
            before = store.swap("docs", f"docs-{night}")
            check_live(store, f"docs-{night}", chunks)
        assert before == "docs-1"
