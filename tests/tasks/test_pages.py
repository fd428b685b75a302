"""Web pages as a source: brought once, asked for again by their validators, kept when they are away, lost when gone."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.unchanged import unchanged_result
from ragkeep.config import Params, Paths, SourceParams, load_params
from ragkeep.errors import ConfigError
from tasks.ingest import run as ingest
from tasks.pages import GIVEN_UP, RESTS_S, Fetched, fetch_pages, file_stems
from tasks.scan import _write, bring_pages, scan
from tests.tasks.websites import Web, site, to

A, B = "http://site.test/guide/a", "http://site.test/b.md"


@pytest.fixture
def web() -> Iterator[Web]:
    with site() as made:
        made.pages |= {"/guide/a": "<p>Pumps are serviced yearly.</p>", "/b.md": (200, {}, b"# Valves")}
        yield made


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    return Paths(tmp_path)


class Night:
    """Nights over the same project, an hour apart."""

    def __init__(self, paths: Paths, web: Web) -> None:
        self.paths, self.web, self.now = paths, web, 0.0

    def __call__(self, *urls: str, later_s: float = 3600.0) -> Fetched:
        self.now += later_s
        return fetch_pages(self.paths, of(*urls), fetcher=self.web.fetcher(), clock=lambda: self.now)

    @property
    def texts(self) -> list[str]:
        return sorted(
            path.read_text() for path in self.paths.pages.rglob("*") if path.is_file() and path.suffix != ".json"
        )


def of(*urls: str) -> Params:
    return Params(sources=(SourceParams("site", urls=urls),))


@pytest.fixture
def night(paths: Paths, web: Web) -> Night:
    return Night(paths, web)


def test_pages_are_scanned_and_read_like_files(night: Night) -> None:
    assert night(A, B) == Fetched(pages=2, changed=2)
    found = scan(night.paths, of(A, B))
    assert [row[0].rpartition("-")[0] for row in found.rows] == ["site/site.test/b", "site/site.test/guide/a"]
    assert [row[0].rpartition(".")[2] for row in found.rows] == ["md", "html"]
    _write(night.paths, found)
    assert ingest(night.paths, of(A, B))["documents"] == 2


def test_a_page_that_did_not_change_costs_a_request_without_a_body(night: Night) -> None:
    night(A)
    assert night(A) == Fetched(pages=1)
    assert night.web.asked[-1][1]["If-None-Match"]
    assert len(night.texts) == 1


def test_a_page_that_changed_takes_the_place_of_its_copy(night: Night) -> None:
    night(A, B)
    night.web.pages["/guide/a"] = "<p>Pumps are serviced daily.</p>"
    assert night(A, B) == Fetched(pages=2, changed=1)
    assert night.texts == ["# Valves", "<p>Pumps are serviced daily.</p>"]


@pytest.mark.parametrize("status", [403, 500, 304])
def test_a_page_that_is_away_keeps_its_copy_and_is_named(night: Night, status: int) -> None:
    night(A, B)
    night.web.pages["/b.md"] = status, {}, b""
    found = night(A, B)
    assert (found.pages, found.changed, found.gone) == (2, 0, 0)
    assert found.failed == ((B, f"the server answered {status}"),)
    assert found.as_stats()["failed"] == f"{B}: the server answered {status}"
    assert len(night.texts) == 2
    night.web.pages["/b.md"] = 200, {}, b"# Valves"
    assert night(A, B) == Fetched(pages=2)


def test_so_does_one_whose_server_refuses(night: Night) -> None:
    night(A)

    def refuse(_address: str, _port: int, _timeout_s: float) -> socket.socket:
        raise ConnectionRefusedError("Connection refused")

    found = fetch_pages(night.paths, of(A), fetcher=night.web.fetcher(dial=refuse), clock=lambda: 1e9)
    assert found == Fetched(pages=1, failed=((A, "Connection refused"),))


def test_a_page_that_became_something_else_keeps_its_copy(night: Night) -> None:
    night(B)
    for became in [(200, {"Content-Type": "image/png"}, b"x"), (200, {}, b" "), to("http://10.0.0.1/")]:
        night.web.pages["/b.md"] = became
        assert len(night(B).failed) == 1
        assert night.texts == ["# Valves"]


def test_what_a_page_is_says_the_server_and_its_name_where_that_says_little(night: Night) -> None:
    night.web.pages["/c.py"] = 200, {"Content-Type": "text/plain; charset=utf-8"}, b"x = 1"
    night.web.pages["/d.py"] = 200, {"Content-Type": "text/html"}, b"<p>The source of d</p>"
    assert night("http://site.test/c.py", "http://site.test/d.py").pages == 2
    assert sorted(path.suffix for path in night.paths.pages.rglob("*.*") if path.parent.name == "site.test") == [
        ".html",
        ".py",
    ]


@pytest.mark.parametrize("status", [404, 410])
def test_a_page_that_is_gone_is_a_file_less(night: Night, status: int) -> None:
    night(A, B)
    night.web.pages["/b.md"] = status, {}, b""
    assert night(A, B) == Fetched(pages=1, gone=1)
    assert len(scan(night.paths, of(A, B)).rows) == 1
    assert night(A, B).failed == ((B, f"the server answered {status}"),)


def test_so_is_one_that_no_source_names_any_more(night: Night) -> None:
    night(A, B)
    assert night(A) == Fetched(pages=1, gone=1)
    assert night.texts == ["<p>Pumps are serviced yearly.</p>"]


def test_a_damaged_copy_is_fetched_whole(night: Night) -> None:
    night(A)
    copy = next(path for path in night.paths.pages.rglob("*.html"))
    copy.write_text("half")
    night(A)
    assert night.texts == ["<p>Pumps are serviced yearly.</p>"]


def test_what_a_killed_run_left_is_swept(night: Night) -> None:
    night(A)
    (night.paths.pages / "site" / "orphan.md").write_text("never finished")
    night(A)
    assert len(night.texts) == 1


def test_a_night_looks_more_than_once_and_asks_once(night: Night) -> None:
    night(A)
    night(A, later_s=RESTS_S / 2)
    assert len(night.web.asked) == 1


def test_a_host_that_fails_again_and_again_is_left_alone(night: Night) -> None:
    urls = [f"http://site.test/{n}" for n in range(9)]
    night.web.pages |= {f"/{n}": (500, {}, b"") for n in range(9)}
    found = night(*urls, A.replace("site", "other"))
    assert (len(found.failed), len(night.web.asked)) == (9, GIVEN_UP + 1)
    assert found.pages == 1


def test_without_urls_nothing_is_asked_for(paths: Paths) -> None:
    assert bring_pages(paths, Params(sources=(SourceParams("docs", "."),))) == {}
    assert not paths.pages.exists()


def test_a_file_is_called_like_its_page_where_that_says_all() -> None:
    plain = ["https://docs.example.org/", "https://docs.example.org/guide/install", "https://docs.example.org/a.html"]
    assert list(file_stems(plain).values()) == [
        "docs.example.org/index", "docs.example.org/guide/install", "docs.example.org/a",
    ]  # fmt: skip


def test_no_two_pages_share_a_file_and_none_leaves_the_folder() -> None:
    urls = [
        "https://a.org/x", "https://a.org/x/", "https://a.org/x.html", "http://a.org/x", "https://a.org:8443/x",
        "https://a.org/x?y=1", "https://a.org/X", "https://a.org/../../etc/passwd", "https://a.org/%2e%2e/%2e%2e/etc/passwd",
        "https://a.org/.ssh/id", "https://a.org/a%2Fb", "https://a.org/a/b", f"https://a.org/{'y' * 300}", "https://a.org/ü",
    ]  # fmt: skip
    stems = list(file_stems(urls).values())
    assert len({stem.lower() for stem in stems}) == len(urls)
    assert not [stem for stem in stems if "/." in stem or ".." in stem or max(map(len, stem.split("/"))) > 100]


@pytest.mark.parametrize(
    "source",
    ["{name: a}", "{name: a, path: docs, urls: [https://a.org/]}", "{name: a, urls: [ftp://a.org/]}",
     "{name: a, urls: [https://me:secret@a.org/]}"],
)  # fmt: skip
def test_a_source_is_a_path_or_urls_without_credentials(tmp_path: Path, source: str) -> None:
    (tmp_path / "params.yaml").write_text(f"sources: [{source}]\n")
    with pytest.raises(ConfigError) as error:
        load_params(tmp_path / "params.yaml")
    assert "secret" not in str(error.value)


def test_an_unchanged_night_names_the_pages_that_could_not_be_had_tonight(night: Night) -> None:
    night(A, B)
    last = {"verdict": "pass", "documents": {}, "chunks": {}, "pages_failed": ["of another night"]}
    told = unchanged_result(night.paths, of(A, B), last, began=0.0)
    assert "pages_failed" not in told
    night.web.pages["/b.md"] = (500, {}, b"")
    night(A, B)
    [failed] = unchanged_result(night.paths, of(A, B), last, began=0.0)["pages_failed"]
    assert failed == f"{B}: the server answered 500"
