"""Kendra as a searcher: boto3's own stubber, which checks what is asked against the service's model; a real server."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkeep.backends import SEARCHERS, STORES, load
from ragkeep.errors import ConfigError, IndexMissing, MissingExtra, StoreError
from ragkeep.ports import Searcher
from ragkeep.stores.kendra import CONFIDENCE, KendraSearcher
from ragkeep.types import Query
from tests.stores.amazon import Amazon, Keys, Request, forget_aws, log_in, only, serving

pytest.importorskip("boto3", reason="Kendra needs the extra [aws]")
from botocore.stub import ANY, Stubber

INDEX = "01234567-89ab-cdef-0123-456789abcdef"
KEYS = Keys("AKIDEXAMPLE", "s3cret")


@pytest.fixture
def logged_in(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, KEYS)


@pytest.fixture(scope="module")
def kendra(tmp_path_factory: pytest.TempPathFactory) -> KendraSearcher:
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_aws(monkeypatch, tmp_path_factory.mktemp("aws"))
        log_in(monkeypatch, KEYS)
        made: KendraSearcher = load(SEARCHERS, "kendra", region="eu-west-1")
    return made


@pytest.fixture
def stub(kendra: KendraSearcher) -> Iterator[Stubber]:
    with Stubber(kendra._client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def passage(text: str, confidence: str = "HIGH", **attributes: str | int) -> dict[str, Any]:
    values = {
        "workspace": "default",
        "source": "docs",
        "uri": "docs/a.md",
        "language": "en",
        "kind": "prose",
    } | attributes
    told = [{"Key": key, "Value": {"LongValue" if isinstance(value, int) else "StringValue": value}}
            for key, value in values.items() if value != ""]  # fmt: skip
    return {
        "Id": "changes-with-each-question", "DocumentId": "d1", "DocumentTitle": "Guide", "Content": text,
        "DocumentURI": "https://example.org/a", "DocumentAttributes": told,
        "ScoreAttributes": {"ScoreConfidence": confidence},
    }  # fmt: skip


def answers(stub: Stubber, *items: dict[str, Any], **asked: Any) -> None:
    expected = {"IndexId": INDEX, "QueryText": ANY, "AttributeFilter": ANY, "PageNumber": 1, "PageSize": 10} | asked
    stub.add_response("retrieve", {"QueryId": "q", "ResultItems": list(items)}, expected)


def equal(**values: str) -> dict[str, Any]:
    return {"AndAllFilters": [{"EqualsTo": {"Key": k, "Value": {"StringValue": v}}} for k, v in values.items()]}


def test_it_is_a_searcher_and_no_store(kendra: KendraSearcher) -> None:
    asked: Searcher = kendra
    assert callable(asked.search)
    assert "kendra" not in STORES


def test_a_passage_comes_back_as_a_chunk(kendra: KendraSearcher, stub: Stubber) -> None:
    answers(stub, passage("two\nlines", span_start=100, span_end=109, first_line=7, last_line=8, kind="code"))
    (hit,) = kendra.search(INDEX, Query("lines"))
    chunk = hit.chunk
    assert (chunk.uri, chunk.source, chunk.workspace, chunk.language) == ("docs/a.md", "docs", "default", "en")
    assert (chunk.document_id, chunk.text, chunk.context, chunk.kind) == ("d1", "two\nlines", "Guide", "code")
    assert (chunk.span, chunk.lines, hit.score) == ((100, 109), (7, 8), 0.75)


def test_without_attributes_of_ours_a_passage_stands_for_itself(kendra: KendraSearcher, stub: Stubber) -> None:
    bare = passage("two\nlines", uri="", source="", language="", kind="", span_start=5, span_end=900)
    answers(stub, bare)
    chunk = kendra.search(INDEX, Query("lines"))[0].chunk
    assert (chunk.uri, chunk.source, chunk.language, chunk.kind) == ("https://example.org/a", "", "", "prose")
    assert (chunk.span, chunk.lines) == ((0, 9), (1, 2))


def test_the_same_passage_has_the_same_id_whatever_is_asked(kendra: KendraSearcher, stub: Stubber) -> None:
    answers(stub, passage("same"), {**passage("same"), "Id": "another"})
    answers(stub, passage("same"))
    first, second = kendra.search(INDEX, Query("one")), kendra.search(INDEX, Query("two"))
    assert [hit.chunk.id for hit in first] == [hit.chunk.id for hit in second]


def test_workspace_and_filters_are_asked_for(kendra: KendraSearcher, stub: Stubber) -> None:
    filters = {"source": "docs", "uri": "docs/a.md", "language": "en", "kind": "prose"}
    asked = equal(workspace="blue", **filters, _document_id="d1")
    answers(stub, passage("x", workspace="blue"), AttributeFilter=asked)
    assert len(kendra.search(INDEX, Query("x", workspace="blue", filters={**filters, "document_id": "d1"}))) == 1


def test_what_the_index_lets_through_all_the_same_is_left_out(kendra: KendraSearcher, stub: Stubber) -> None:
    rows = [passage("a", workspace="red"), passage("b", workspace=""), passage("c", source="other"), passage("d")]
    answers(stub, *rows)
    hits = kendra.search(INDEX, Query("x", filters={"source": "docs"}))
    assert [hit.chunk.text for hit in hits] == ["d"]


def test_scores_are_buckets_in_order(kendra: KendraSearcher, stub: Stubber) -> None:
    names = ["MEDIUM", "NOT_AVAILABLE", "VERY_HIGH", "LOW", "HIGH", "MEDIUM"]
    answers(stub, *(passage(f"{i} {name}", name) for i, name in enumerate(names)))
    hits = kendra.search(INDEX, Query("x"))
    told = [hit.chunk.text for hit in hits]
    assert told == ["2 VERY_HIGH", "4 HIGH", "0 MEDIUM", "5 MEDIUM", "3 LOW", "1 NOT_AVAILABLE"]
    assert [hit.score for hit in hits] == [CONFIDENCE[text.split()[1]] for text in told]


def test_pages_are_turned_until_there_are_k(kendra: KendraSearcher, stub: Stubber) -> None:
    foreign = [passage(f"red {i}", workspace="red") for i in range(2)]
    answers(stub, *foreign, *(passage(f"{i}") for i in range(2)), PageSize=4)
    answers(stub, *(passage(f"{i}") for i in range(1, 5)), PageSize=4, PageNumber=2)
    assert [hit.chunk.text for hit in kendra.search(INDEX, Query("x", k=4))] == ["0", "1", "2", "3"]


def test_a_short_page_is_the_last_and_there_are_at_most_a_hundred(kendra: KendraSearcher, stub: Stubber) -> None:
    answers(stub, passage("only"))
    assert len(kendra.search(INDEX, Query("x"))) == 1
    answers(stub, *(passage(f"{i}") for i in range(100)), PageSize=100)
    assert len(kendra.search(INDEX, Query("x", k=250))) == 100


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('workspace:red AND (x OR "y z")', "workspace red and x or y z"),
        ("json.decoder NOT par*se?", "json.decoder not par se"),
        ("C++ über 语言 read_lines don't\x00\ud800", "C++ über 语言 read_lines don't"),
        ("a " * 900, ("a " * 500)[:1000]),
    ],
)
def test_a_question_is_never_query_syntax(kendra: KendraSearcher, stub: Stubber, text: str, asked: str) -> None:
    answers(stub, QueryText=asked)
    assert kendra.search(INDEX, Query(text)) == []


@pytest.mark.parametrize("bad", ["x' OR '1'='1", "", "*", "DEFAULT", "\x00", "\ud800"])
def test_a_hostile_workspace_asks_nobody(kendra: KendraSearcher, stub: Stubber, bad: str) -> None:
    assert kendra.search(INDEX, Query("x", workspace=bad)) == []


@pytest.mark.parametrize("bad", ["", "\ud800", "x" * 2049])
def test_a_value_no_attribute_can_have_asks_nobody(kendra: KendraSearcher, stub: Stubber, bad: str) -> None:
    assert kendra.search(INDEX, Query("x", filters={"uri": bad})) == []
    assert kendra.search(INDEX, Query(" ?! ")) == []


def test_what_kendra_cannot_do_is_refused(kendra: KendraSearcher, stub: Stubber) -> None:
    with pytest.raises(ValueError, match="takes no vectors"):
        kendra.search(INDEX, Query("x", mode="vector"))
    with pytest.raises(ValueError, match="unknown filter 'text'"):
        kendra.search(INDEX, Query("x", filters={"text": "x"}))
    with pytest.raises(IndexMissing, match="36 characters"):
        kendra.search("docs", Query("x"))


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("ResourceNotFoundException", IndexMissing, "check its id and the region"),
        ("ThrottlingException", StoreError, "too busy after 4 tries: wait"),
        ("ValidationException", StoreError, "does the index have workspace"),
        ("AccessDeniedException", StoreError, "allow kendra:Retrieve"),
        ("ExpiredTokenException", StoreError, "renew the credentials"),
    ],
)
def test_each_error_is_one_line_with_the_next_step(
    kendra: KendraSearcher, stub: Stubber, code: str, kind: type[StoreError], said: str
) -> None:
    stub.add_client_error("retrieve", code, "made\nup")
    with pytest.raises(StoreError, match=said) as error:
        kendra.search(INDEX, Query("x"))
    assert type(error.value) is kind
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("busy", "ends_well"), [(2, True), (9, False)])
def test_a_busy_service_is_asked_again_with_signed_requests(
    logged_in: None, monkeypatch: pytest.MonkeyPatch, busy: int, ends_well: bool
) -> None:
    amazon, asked = Amazon("kendra", "eu-west-1", only(KEYS), payload_header=False), list[Request]()

    def answer(request: Request) -> tuple[int, Any]:
        asked.append(request)
        status, said = amazon.answer(request)
        throttled = (400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
        return throttled if status == 200 and len(asked) <= busy else (status, said or {"ResultItems": [passage("x")]})

    with serving(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KENDRA", url)
        kendra = load(SEARCHERS, "kendra", region="eu-west-1")
        if ends_well:
            assert len(kendra.search(INDEX, Query("x"))) == 1
        else:
            with pytest.raises(StoreError, match="too busy after 4 tries"):
                kendra.search(INDEX, Query("x"))
    assert len(asked) == min(busy + 1, 4)


def test_nobody_there_is_said(logged_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KENDRA", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"cannot be asked \(Could not connect"):
        load(SEARCHERS, "kendra", region="eu-west-1").search(INDEX, Query("x"))


def test_no_credentials_and_no_boto3_are_said(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Amazon Kendra needs AWS credentials"):
        load(SEARCHERS, "kendra")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"ragkeep\[aws\]"):
        load(SEARCHERS, "kendra")
