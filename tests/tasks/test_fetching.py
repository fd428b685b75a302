"""Fetching a page: what is refused before a byte is sent, on every hop, and what a bad server cannot do."""

import contextlib
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.fetching import HOPS, FetchError, PageGone, is_public
from tests.tasks.websites import PUBLIC, Web, site, to

METADATA = "http://169.254.169.254/latest/meta-data/"


@pytest.fixture
def web() -> Iterator[Web]:
    with site() as made:
        yield made


def refusal(web: Web, url: str) -> str:
    with pytest.raises(FetchError) as error:
        web.fetcher().fetch(url)
    return str(error.value)


def test_a_page_comes_with_its_kind_and_validators(web: Web) -> None:
    web.pages["/a?b=%C3%BC"] = "<p>Pumps</p>"
    page = web.fetcher().fetch("http://site.test/a?b=ü#top")
    assert (page.body, page.media_type, page.url) == (b"<p>Pumps</p>", "text/html", "http://site.test/a?b=ü")
    assert web.asked[0][1]["Host"] == "site.test"
    assert web.fetcher().fetch("http://site.test/a?b=ü", page).body is None


NOT_PUBLIC = """
    127.0.0.1 127.8.8.8 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 0.1.2.3 255.255.255.255
    224.0.0.251 239.255.255.250 240.0.0.1 192.0.0.170 192.0.2.1 198.18.0.1 ::1 :: fe80::1 fe80::1%lo fc00::1
    fd00:ec2::254 ff02::1 fec0::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:7f00:1 ::127.0.0.1 64:ff9b::127.0.0.1
    64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2001:0:1::1 2001:db8::1 no-address"""


def test_only_public_addresses_are_connected_to(web: Web) -> None:
    for address in NOT_PUBLIC.split():
        for found in ([address], [PUBLIC, address]):
            web.names["inner.test"] = [found]
            assert "not public" in refusal(web, "http://inner.test/"), found
    assert not web.dialled


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_ones_are(address: str) -> None:
    assert is_public(address)


@given(
    st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fc00::/7") | st.ip_addresses(network="127.0.0.0/8")
)
def test_no_private_address_is_public(address: object) -> None:
    assert not is_public(str(address))


SPELLINGS = """
    127.0.0.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 127.1 0 [::1] [::] [::ffff:127.0.0.1]
    [::ffff:7f00:1] ①②⑦.⓪.⓪.① 169.254.169.254 0xa9fea9fe 2852039166 [::ffff:169.254.169.254]"""


def test_however_an_address_is_spelled(web: Web) -> None:
    for host in SPELLINGS.split():
        assert "not public" in refusal(web, f"http://{host}/"), host
    assert not web.dialled


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://site.test/", "gopher://site.test/", "//site.test/", "http:///a", "",
        "http://site.test:0/", "http://site.test:99999/", "http://me:secret@site.test/", "http://site.test@127.0.0.1/",
        "http://site.test\\@a/",
        "http://site.test/a b", "http://site.test/\r\nX: y", "http://[::1/", "http://a..b.test/", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_refused(web: Web, url: str) -> None:
    assert "secret" not in refusal(web, url)
    assert not web.dialled


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_the_last_url_named(web: Web, status: int) -> None:
    web.pages |= {"/old": to("new", status), "/new": to("http://other.test/newest"), "/newest": "<p>Here</p>"}
    assert web.fetcher().fetch("http://site.test/old").url == "http://other.test/newest"
    assert web.resolved == ["site.test", "site.test", "other.test"]


@pytest.mark.parametrize(
    "target", [METADATA, "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://inner.test/"]
)
def test_a_redirect_does_not_lead_inside(web: Web, target: str) -> None:
    web.names["inner.test"] = [["10.0.0.7"]]
    web.pages |= {"/a": to("/b"), "/b": to(target)}
    assert "not public" in refusal(web, "http://site.test/a")
    assert web.dialled == [PUBLIC, PUBLIC]


def test_a_name_that_answers_otherwise_a_moment_later_changes_nothing(web: Web) -> None:
    web.names["rebinding.test"] = [[PUBLIC], ["127.0.0.1"]]
    web.pages["/"] = "<p>Outside</p>"
    assert web.fetcher().fetch("http://rebinding.test/").body == b"<p>Outside</p>"
    assert (web.resolved, web.dialled) == (["rebinding.test"], [PUBLIC])
    web.names["rebinding.test"] = [[PUBLIC], ["127.0.0.1"]]
    web.pages["/"] = to("/again")
    assert "not public" in refusal(web, "http://rebinding.test/")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://me:secret@site.test/", "ftp://site.test/"])
def test_nor_to_what_is_no_web_address(web: Web, target: str) -> None:
    web.pages["/a"] = to(target)
    assert "secret" not in refusal(web, "http://site.test/a")


def test_redirects_end(web: Web) -> None:
    web.pages |= {f"/{n}": to(f"/{n + 1}") for n in range(99)}
    assert "more than 5 times" in refusal(web, "http://site.test/0")
    assert len(web.asked) == HOPS + 1
    web.pages[f"/{HOPS}"] = "<p>Just in time</p>"
    assert web.fetcher().fetch("http://site.test/0").body == b"<p>Just in time</p>"


def test_validators_are_not_shown_to_another_url(web: Web) -> None:
    web.pages["/a"] = "<p>Pumps</p>"
    page = web.fetcher().fetch("http://site.test/a")
    web.pages |= {"/a": to("/b"), "/b": "<p>Pumps</p>"}
    assert web.fetcher().fetch("http://site.test/a", page).body == b"<p>Pumps</p>"
    assert "If-None-Match" not in web.asked[-1][1]


@pytest.mark.parametrize("status", [404, 410])
def test_a_page_may_be_gone(web: Web, status: int) -> None:
    web.pages["/a"] = status, {}, b"sorry"
    with pytest.raises(PageGone):
        web.fetcher().fetch("http://site.test/a")


@pytest.mark.parametrize("status", [204, 304, 403, 429, 500, 503])
def test_any_other_answer_is_no_page(web: Web, status: int) -> None:
    web.pages["/a"] = status, {}, b""
    assert str(status) in refusal(web, "http://site.test/a")


def test_a_page_may_not_be_large_nor_compressed_nor_cut(web: Web) -> None:
    web.pages["/large"] = 200, {}, b"x" * 10_001
    web.pages["/zip"] = 200, {"Content-Encoding": "gzip"}, b"x"
    web.pages["/cut"] = 200, {"Content-Length": "9", "Connection": "close"}, b"x"
    assert "larger than 10,000 bytes" in refusal(web, "http://site.test/large")
    assert "compressed" in refusal(web, "http://site.test/zip")
    assert refusal(web, "http://site.test/cut")


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for longer than anybody waits."""
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1200):
            handler.wfile.write(b"x")
            time.sleep(0.05)


def test_a_byte_now_and_then_does_not_keep_it_waiting(web: Web) -> None:
    web.pages["/a"] = drip
    began = time.monotonic()
    with pytest.raises(FetchError, match="too long"):
        web.fetcher(timeout_s=0.5).fetch("http://site.test/a")
    assert time.monotonic() - began < 30
