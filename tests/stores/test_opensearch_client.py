"""How the store speaks with a cluster that is busy, gone, or not the one it says: small real servers on this machine."""

import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from ragkeep.breaker import Breaker
from ragkeep.config import OpenSearchParams
from ragkeep.errors import MissingExtra, StoreError
from ragkeep.stores import opensearch, opensearch_client
from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.opensearch_client import Cluster, Refused
from ragkeep.stores.opensearch_index import flush_at
from ragkeep.types import Query
from tests.stores.building import DIM, chunk_batch
from tests.stores.wire import Answer, Authority, serving, tls_context

META = {"dim": DIM, "analysis": "1", "format": 1, "finished": False}
MAPPING = {"ragkeep-index.docs-1": {"mappings": {"_meta": META}}}


class Stub:
    """Answers each bulk request with what is next in its script, and remembers the ids it was sent."""

    def __init__(self, *script: Callable[[list[str]], Answer]) -> None:
        self.script, self.sent = list(script), list[list[str]]()

    def answer(self, path: str, body: bytes) -> Answer:
        if "/_bulk" not in path:
            return 200, MAPPING
        ids = [found.decode() for found in re.findall(rb"\x85create\xfa\x82_id\xe4([^\xfc]+)\xfc", body)]
        self.sent.append(ids)
        return self.script.pop(0)(ids)


def each(*statuses: int) -> Callable[[list[str]], Answer]:
    """A status for each item, in turn."""

    def answer(ids: list[str]) -> Answer:
        items = []
        for number, _ in enumerate(ids):
            status = statuses[number % len(statuses)]
            error = {"error": {"type": "made_up_exception", "reason": f"said {status}"}} if status >= 400 else {}
            items.append({"create": {"status": status, **error}})
        return 200, {"errors": any(s >= 400 for s in statuses), "items": items}

    return answer


def whole(status: int, kind: str = "made_up_exception", reason: str = "no") -> Callable[[list[str]], Answer]:
    return lambda _: (status, {"error": {"type": kind, "reason": reason}, "status": status})


@contextmanager
def store_at(url: str, **settings: Any) -> Iterator[OpenSearchStore]:
    store = OpenSearchStore(OpenSearchParams(**{"hosts": (url,), "timeout_s": 5.0, "patience_s": 10.0, **settings}))
    yield store
    store.close()


def test_items_the_cluster_was_too_busy_for_are_sent_again_alone() -> None:
    stub = Stub(each(201, 429, 503, 409), each(429, 201), each(201))
    batch = chunk_batch(8)
    with serving(stub.answer) as url, store_at(url) as store:
        assert store.write("docs-1", batch) == 6
    ids = [chunk.id for chunk in batch.chunks]
    again = [ids[1], ids[2], ids[5], ids[6]]
    assert stub.sent == [ids, again, [again[0], again[2]]]


def test_a_request_turned_away_whole_is_sent_again() -> None:
    stub = Stub(whole(429), whole(503), each(201))
    with serving(stub.answer) as url, store_at(url, max_retries=0) as store:
        assert store.write("docs-1", chunk_batch(4)) == 4
    assert [len(ids) for ids in stub.sent] == [4, 4, 4]


def test_a_chunk_that_cannot_be_written_is_named() -> None:
    stub = Stub(each(201, 400))
    batch = chunk_batch(2)
    with serving(stub.answer) as url, store_at(url) as store, pytest.raises(StoreError, match="said 400") as error:
        store.write("docs-1", batch)
    assert batch.chunks[1].id in str(error.value)


def test_a_cluster_that_stays_busy_is_an_error_and_nothing_is_taken_for_written() -> None:
    stub = Stub(*[each(201, 429)] + [each(429)] * 50)
    busy = pytest.raises(StoreError, match=r"too busy.*said 429")
    with serving(stub.answer) as url, store_at(url, patience_s=0.6) as store, busy:
        store.write("docs-1", chunk_batch(2))
    assert 2 <= len(stub.sent) < 6


def test_a_load_whose_segments_shall_grow_waits_for_a_busy_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def ask(self: Cluster, method: str, path: str, body: object = None, **_: object) -> object:
        asked.append(path)
        if len(asked) < 3:
            raise Refused("too busy", 429)
        return {}

    monkeypatch.setattr(Cluster, "ask", ask)
    flush_at(Cluster(OpenSearchParams(patience_s=30)), "docs-1", 32)
    assert asked == ["/docs-1/_settings"] * 3


def test_large_batches_are_cut_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkeep.stores.opensearch_index.BATCH_BYTES", 2000)
    stub = Stub(*[each(201)] * 50)
    batch = chunk_batch(40)
    with serving(stub.answer) as url, store_at(url) as store:
        assert store.write("docs-1", batch) == 40
    assert len(stub.sent) > 5
    assert list(chain.from_iterable(stub.sent)) == [chunk.id for chunk in batch.chunks]


ERRORS = [
    (whole(401), "does not know user 'me' or the password: set .*RAGKEEP_OPENSEARCH_PASSWORD"),
    (whole(403, "security_exception", "no permissions"), "does not let user 'me' do this .*role"),
    (whole(403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];"), "sealed"),
    (whole(429, "cluster_block_exception", "[disk usage exceeded flood-stage watermark]"), "disk is nearly full"),
    (
        whole(403, "index_create_block_exception", "cluster create-index blocked (api)"),
        "disks are nearly full: free some",
    ),
    (whole(500, "boom", "it fell over"), "answered 500: boom: it fell over"),
]


@pytest.mark.parametrize(("answer", "said"), ERRORS)
def test_each_refusal_is_one_line_with_the_next_step(
    answer: Callable[[list[str]], Answer], said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAGKEEP_OPENSEARCH_PASSWORD", "s3cret")
    stub = Stub(*[answer] * 9)
    with (
        caplog.at_level(logging.DEBUG),
        serving(stub.answer) as url,
        store_at(url, user="me", patience_s=0) as store,
        pytest.raises(StoreError, match=said) as error,
    ):
        store.write("docs-1", chunk_batch(2))
    assert "\n" not in str(error.value)
    assert "s3cret" not in str(error.value) + caplog.text


@pytest.mark.parametrize(
    ("segments", "status", "said"),
    [
        (1, 200, None),
        (5, 429, "disk is nearly full"),
        (5, 200, r"could not be merged \(the server forgot the task 3 times, look at its log\)"),
    ],
)
def test_a_merge_that_the_server_forgot_is_seen_to(segments: int, status: int, said: str | None) -> None:
    shards = {"0": [{"num_search_segments": segments}]}
    answers = {
        "_tasks": (404, {"error": {"type": "resource_not_found_exception", "reason": "task isn't running"}}),
        "_forcemerge": (200, {"task": "node:1"}),
        "_segments": (200, {"indices": {"ragkeep-index.docs-1": {"shards": shards}}}),
        "_count": (200, {"count": 2}),
        "_settings": (status, {"error": {"type": "cluster_block_exception", "reason": "flood-stage watermark"}}),
    }

    def answer(path: str, _: bytes) -> Answer:
        return next((said for part, said in answers.items() if part in path), (200, MAPPING))

    refused = pytest.raises(StoreError, match=said) if said else nullcontext()
    with serving(answer) as url, store_at(url, patience_s=0) as store, refused:
        store.finish("docs-1")


def test_a_swap_is_tried_until_the_alias_is_there_and_then_done() -> None:
    behind, tries = ["ragkeep-index.docs-1"], list[str]()

    def answer(path: str, _: bytes) -> Answer:
        if path != "/_aliases":
            return (200, {name: {} for name in behind}) if behind else (404, {})
        tries.append(path)
        if len(tries) == 1:
            return 503, {"error": {"type": "boom", "reason": "no cluster manager"}}
        behind.clear()  # done, but of a second try after a lost answer one is told that there is nothing to remove
        return 404, {"error": {"type": "aliases_not_found_exception", "reason": "aliases missing"}}

    with serving(answer) as url, store_at(url, max_retries=0) as store:
        assert store.swap("docs", None) == "docs-1"
        assert (len(tries), store.live("docs")) == (2, None)


def test_nobody_there_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with store_at(url, patience_s=0) as store:
        with pytest.raises(StoreError, match=r"cannot be reached \(connection refused\): is it running"):
            store.create("docs-1", dim=DIM)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.search("docs", Query("x", mode="keyword"))


def test_a_reader_fails_at_once_while_the_cluster_is_away_and_asks_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "_SEARCH_PATIENCE_S", 0.3)
    now = [0.0]
    monkeypatch.setattr(opensearch_client, "Breaker", partial(Breaker, clock=lambda: now[0]))
    answers, asked = [(503, {"error": {"type": "boom", "reason": "no shards"}})], list[str]()
    with serving(lambda path, _: asked.append(path) or answers[-1]) as url, store_at(url, max_retries=0) as store:
        for _ in range(3):
            with pytest.raises(StoreError, match=r"not whole \(503.*nothing live was touched$"):
                store.search("docs", Query("x", mode="keyword"))
        before = len(asked)
        for _ in range(50):
            with pytest.raises(StoreError, match=r"not whole .*; searches fail at once for \d\.\d s more$"):
                store.search("docs", Query("x", mode="keyword"))
        assert len(asked) == before
        now[0] = 5.0
        answers.append((200, {"hits": {"hits": []}}))
        assert store.search("docs", Query("x", mode="keyword")) == []


def test_a_night_waits_where_a_reader_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "_SEARCH_PATIENCE_S", 0.0)
    stub = Stub(whole(503), whole(503), each(201))
    bulk = stub.answer
    with serving(lambda path, body: (503, {}) if "_search" in path else bulk(path, body)) as url, store_at(url) as store:
        for _ in range(4):
            with pytest.raises(StoreError):
                store.search("docs", Query("x", mode="keyword"))
        assert store.write("docs-1", chunk_batch(4)) == 4


def test_a_server_that_does_not_answer_is_not_waited_for_forever() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(20)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        late = pytest.raises(StoreError, match=r"did not answer within 0\.2 s")
        with store_at(url, timeout_s=0.2, max_retries=0, patience_s=0) as store, late:
            store.versions("docs")


def test_the_next_node_is_asked_when_one_is_gone() -> None:
    with serving(lambda *_: (200, MAPPING)) as url, store_at(url, hosts=("http://127.0.0.1:9", url)) as store:
        for _ in range(4):
            assert store._meta("docs-1") == META


@pytest.mark.parametrize(
    ("days", "known", "said"),
    [
        (9, True, None),
        (9, False, "signed by nobody in the system's certificates: set index.opensearch.ca"),
        (-1, True, "has expired: renew it on the cluster"),
    ],
)
def test_a_certificate_is_checked(tmp_path: Path, days: int, known: bool, said: str | None) -> None:
    authority, tls = Authority(tmp_path), tls_context()
    authority.sign(tls, days=days)
    ca = authority.ca if known else ""
    with serving(lambda *_: (200, MAPPING), tls=tls) as url, store_at(url, ca=ca) as store:
        if said is None:
            assert store._meta("docs-1") == META
        else:
            with pytest.raises(StoreError, match=said):
                store.versions("docs")


def test_without_the_client_library_the_extra_is_named() -> None:
    code = """if True:
        import sys
        sys.modules["opensearchpy"] = None
        from ragkeep.config import OpenSearchParams
        from ragkeep.errors import MissingExtra
        from ragkeep.stores.opensearch import OpenSearchStore
        try:
            OpenSearchStore(OpenSearchParams()).versions("docs")
        except MissingExtra as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ragkeep[opensearch]" in done.stdout


def test_opening_a_store_does_not_import_the_client_library() -> None:
    code = """if True:
        import sys
        from ragkeep.config import OpenSearchParams
        from ragkeep.stores.opensearch import OpenSearchStore
        OpenSearchStore(OpenSearchParams())
        print("opensearchpy" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_signing_without_boto3_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with store_at("http://127.0.0.1:9", aws_service="es") as store, pytest.raises(MissingExtra, match="aws"):
        store.versions("docs")
