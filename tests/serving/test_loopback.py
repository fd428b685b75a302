"""A laptop's server: a link that opens the page once, a cookie no other page can use, and no secret in a log."""

import logging
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from ragkeep.errors import ConfigError, Unauthorized
from ragkeep.serving.auth import COOKIE, Auth, public
from ragkeep.serving.loopback import LoopbackOnly, check_bind, mask, mask_logs, sign_in, sign_out, welcome
from ragkeep.serving.principal import LOCAL
from tests.serving.tokens import app, auth, token

OWN = "http://127.0.0.1:8080"


@pytest.fixture
def accounts(tmp_path: Path) -> Auth:
    return auth(tmp_path)


@pytest.fixture
def caller(accounts: Auth) -> TestClient:
    return TestClient(page(accounts), base_url=OWN, follow_redirects=False)


def page(accounts: Auth) -> FastAPI:
    made = app(accounts)
    made.add_middleware(LoopbackOnly)

    @made.get("/", dependencies=[Depends(public)])
    def index(request: Request) -> Response:
        return sign_in(accounts, request) or Response("the page")

    @made.post("/sign-out", dependencies=[Depends(public)])
    def leave(request: Request) -> Response:
        return sign_out(accounts, request)

    return made


def link(accounts: Auth) -> str:
    return welcome(accounts, url=OWN)[0].split()[1].removeprefix(OWN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_a_server_nobody_configured_does_not_let_others_in(host: str) -> None:
    with pytest.raises(ConfigError, match="no auth is configured"):
        check_bind(host, configured=False)
    check_bind(host, configured=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_configuration(host: str) -> None:
    check_bind(host, configured=False)


def test_the_printed_link_opens_the_page_once(accounts: Auth, caller: TestClient) -> None:
    path = link(accounts)
    answer = caller.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in (COOKIE, "HttpOnly", "SameSite=strict", "Path=/"))
    assert caller.get("/read").json()["roles"] == {"*": "admin"}
    caller.cookies.clear()
    assert caller.get(path).status_code == 401


def test_the_cookie_holds_no_key_and_ends_with_it(accounts: Auth, caller: TestClient) -> None:
    key, secret = accounts.keys.create("mine", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    answer = caller.get("/", params={"key": secret})
    assert secret[16:] not in str(answer.headers)
    assert caller.get("/read").status_code == 200
    accounts.keys.revoke(key.id, by=LOCAL)
    assert caller.get("/read").status_code == 401


def test_signing_out_ends_the_session(accounts: Auth, caller: TestClient) -> None:
    caller.get(link(accounts))
    kept = dict(caller.cookies)
    assert caller.post("/sign-out").status_code == 204
    assert caller.get("/read", cookies=kept).status_code == 401


def test_a_session_and_a_code_run_out(accounts: Auth) -> None:
    key, secret = accounts.keys.create("mine", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    session, code = accounts.sessions.open(secret), accounts.sessions.code(key.id)
    now = accounts.sessions.clock()
    accounts.sessions.clock = lambda: now + 31 * 86_400
    for late in (accounts.sessions.principal, accounts.sessions.open):
        with pytest.raises(Unauthorized):
            late(session if late == accounts.sessions.principal else code)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Ragkeep": "1"}, 200),
        ({"X-Ragkeep": "1", "Origin": OWN}, 200),
        ({}, 403),
        ({"Origin": OWN}, 403),
        ({"X-Ragkeep": "1", "Origin": "http://127.0.0.1:3000"}, 403),
        ({"X-Ragkeep": "1", "Origin": "null"}, 403),
    ],
)
def test_another_page_cannot_use_the_cookie(
    accounts: Auth, caller: TestClient, headers: dict[str, str], status: int
) -> None:
    caller.get(link(accounts))
    assert caller.post("/write", headers=headers).status_code == status


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://localhost:3000"])
def test_another_page_cannot_open_a_websocket(accounts: Auth, caller: TestClient, origin: str | None) -> None:
    caller.get(link(accounts))
    socket = caller.websocket_connect("ws://127.0.0.1:8080/chat", headers={"Origin": origin} if origin else {})
    with pytest.raises(WebSocketDenialResponse) as refused:
        socket.__enter__()
    assert refused.value.status_code == 403


def test_the_own_page_opens_a_websocket(accounts: Auth, caller: TestClient) -> None:
    caller.get(link(accounts))
    with caller.websocket_connect("ws://127.0.0.1:8080/chat", headers={"Origin": OWN}) as socket:
        assert socket.receive_text().startswith("key:")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "", "evil.example:80"])
def test_a_name_of_the_web_that_points_here_is_refused(caller: TestClient, host: str) -> None:
    assert caller.get("/health", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080"])
def test_the_own_names_are_served(caller: TestClient, host: str) -> None:
    assert caller.get("/health", headers={"Host": host}).status_code == 200


def test_secrets_are_masked_in_what_is_logged(accounts: Auth, capsys: pytest.CaptureFixture[str]) -> None:
    _, secret = accounts.keys.create("mine", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    logger, handler = logging.getLogger("uvicorn.access"), logging.StreamHandler()
    logger.addHandler(handler)
    mask_logs()
    logger.warning('%s - "GET %s"', "127.0.0.1", f"/?key={secret}&a=1")
    logger.warning("%s", ValueError(f"Bearer {token()}"))
    logger.removeHandler(handler)
    said = capsys.readouterr().err
    assert secret[4:] not in said
    assert "eyJ***" in said
    assert 'GET /?key=***&a=1"' in said


def test_masking_leaves_other_text_alone() -> None:
    assert mask("a key of rk_words and monkey tricks") == "a key of rk_words and monkey tricks"
