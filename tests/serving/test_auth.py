"""Who gets in: keys and tokens of every kind, roles and scopes, and a declaration on every route."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import WebSocketDenialResponse

from ragkeep.database import Database
from ragkeep.errors import ConfigError, Unauthorized
from ragkeep.serving.auth import Auth, check_routes, open_auth
from ragkeep.serving.params import AuthParams
from ragkeep.serving.principal import LOCAL, SCOPES
from tests.serving.tokens import OTHER_KEY, PEM, auth, bearer, by_hand, claims, client, jwks, token


@pytest.fixture
def accounts(tmp_path: Path) -> Auth:
    return auth(tmp_path)


@pytest.fixture(scope="module")
def nonsense(tmp_path_factory: pytest.TempPathFactory) -> Auth:
    return auth(tmp_path_factory.mktemp("nonsense"))


def make_key(accounts: Auth, *, scopes: Any = SCOPES, expires_at: float | None = None, **roles: Any) -> tuple[str, str]:
    key, secret = accounts.keys.create("test", roles=roles, scopes=scopes, by=LOCAL, expires_at=expires_at)
    return key.id, secret


def revoked(accounts: Auth) -> str:
    id_, secret = make_key(accounts, docs="reader")
    accounts.keys.revoke(id_, by=LOCAL)
    return f"Bearer {secret}"


def expired(accounts: Auth) -> str:
    _, secret = make_key(accounts, docs="reader", expires_at=time.time() + 0.01)
    time.sleep(0.02)
    return f"Bearer {secret}"


def signed_with_the_public_key(_: Auth) -> str:
    unsigned = by_hand({"alg": "HS256", "kid": "one", "typ": "JWT"}, claims(), b"").rpartition(".")[0]
    mac = hmac.new(PEM, unsigned.encode(), hashlib.sha256).digest()
    return f"Bearer {unsigned}.{by_hand({}, {}, mac).rpartition('.')[2]}"


def own_key_in_the_header(_: Auth) -> str:
    own = json.loads(jwks(mine=OTHER_KEY))["keys"][0]
    header = {"kid": "mine", "jwk": own, "jku": "https://evil.example"}
    return f"Bearer {jwt.encode(claims(), OTHER_KEY, algorithm='RS256', headers=header)}"


Bad = Callable[[Auth], str]

BAD: dict[str, Bad] = {
    "expired": lambda _: f"Bearer {token(exp=int(time.time()) - 60)}",
    "not yet valid": lambda _: f"Bearer {token(nbf=int(time.time()) + 600)}",
    "issued in the future": lambda _: f"Bearer {token(iat=int(time.time()) + 600)}",
    "without an end": lambda _: f"Bearer {token(exp=None)}",
    "wrong audience": lambda _: f"Bearer {token(aud='other')}",
    "no audience": lambda _: f"Bearer {token(aud=None)}",
    "wrong issuer": lambda _: f"Bearer {token(iss='https://evil.example')}",
    "alg none": lambda _: f"Bearer {by_hand({'alg': 'none', 'kid': 'one'}, claims(), b'')}",
    "signed with the public key": signed_with_the_public_key,
    "own key in the header": own_key_in_the_header,
    "unknown kid": lambda _: f"Bearer {token(OTHER_KEY, kid='two')}",
    "no kid": lambda _: f"Bearer {token(kid=None)}",
    "truncated": lambda _: f"Bearer {token()[:-20]}",
    "two parts": lambda _: f"Bearer {token().rpartition('.')[0]}",
    "bad signature": lambda _: f"Bearer {token(OTHER_KEY)}",
    "huge": lambda _: f"Bearer {token(filler='x' * 20_000)}",
    "non-ASCII": lambda _: "Bearer \u00fcmlaut.\u00e9.\u00df",
    "deep": lambda _: f"Bearer {'W1tb' * 1800}.e30.e30",
    "nobody's": lambda _: f"Bearer {token(sub='')}",
    "a number for a subject": lambda _: f"Bearer {by_hand({'alg': 'RS256', 'kid': 'one'}, claims(sub=7), b'x' * 256)}",
    "revoked key": revoked,
    "expired key": expired,
    "unknown key": lambda _: f"Bearer rk_{'0' * 12}_{'A' * 43}",
    "malformed key": lambda _: "Bearer rk_",
    "a key of the right id": lambda a: f"Bearer {make_key(a, docs='reader')[1][:-43]}{'A' * 43}",
    "empty": lambda _: "Bearer ",
    "no words": lambda _: "",
    "wrong scheme": lambda a: f"Basic {make_key(a, docs='reader')[1]}",
    "bare": lambda a: make_key(a, docs="reader")[1],
}
HEADERS = st.builds(
    lambda alg, kid: json.dumps({"alg": alg, "kid": kid}).encode(),
    st.sampled_from(["RS256", "ES256", "none", "HS256", None, 7, ["RS256"], {}]),
    st.one_of(st.none(), st.just("one"), st.text(max_size=5), st.integers(), st.lists(st.none(), max_size=2)),
)
ROUTES = [("GET", "/read"), ("POST", "/write"), ("POST", "/ask"), ("GET", "/ops")]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_opens_no_route_and_is_not_quoted(
    accounts: Auth, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    shown = BAD[kind](accounts)
    caplog.set_level(logging.DEBUG, "ragkeep")
    caller = client(accounts)
    for method, path in ROUTES:
        answer = caller.request(
            method, path, headers=[(b"authorization", shown.encode("latin-1"))], json={"workspace": "docs"}
        )
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        secret = shown.rpartition(" ")[2]
        assert len(secret) < 5 or secret not in answer.text + caplog.text


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_opens_no_websocket(accounts: Auth, kind: str) -> None:
    shown: Any = {"Authorization": BAD[kind](accounts).encode("latin-1")}
    socket = client(accounts).websocket_connect("/chat", headers=shown)
    with pytest.raises(WebSocketDenialResponse) as refused:
        socket.__enter__()
    assert refused.value.status_code == 401


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(st.one_of(st.binary(max_size=60), HEADERS), min_size=1, max_size=4))
def test_nonsense_is_refused_and_nothing_breaks(nonsense: Auth, parts: list[bytes]) -> None:
    token = ".".join(base64.urlsafe_b64encode(part).decode() for part in parts)
    for secret in (token, f"rk_{token}", b"".join(parts).decode("latin-1")):
        with pytest.raises(Unauthorized):
            asyncio.run(nonsense.of_token(secret))


def test_no_header_or_two_of_them_is_nobody(accounts: Auth) -> None:
    _, secret = make_key(accounts, docs="reader")
    one = (b"authorization", f"Bearer {secret}".encode())
    assert client(accounts).get("/read").status_code == 401
    assert client(accounts).get("/read", headers=[one, one]).status_code == 401


def test_a_good_token_has_the_roles_its_claim_names(accounts: Auth) -> None:
    shown = bearer(token(roles=["docs:writer", "docs:reader", "notes:boss", "UP:reader", 7]))
    assert client(accounts).get("/read", headers=shown).json() == {"user": "user:ann", "roles": {"docs": "writer"}}
    assert client(accounts).post("/write", headers=shown).status_code == 200


@pytest.mark.parametrize(
    "claim", ["docs:reader notes:admin", ["docs:reader", "notes:admin"], {"docs": "reader", "notes": "admin"}]
)
def test_roles_are_read_however_an_issuer_writes_them(accounts: Auth, claim: object) -> None:
    answer = client(accounts).get("/read", headers=bearer(token(roles=claim)))
    assert answer.json()["roles"] == {"docs": "reader", "notes": "admin"}


def test_an_access_token_of_cognito_names_its_client(accounts: Auth) -> None:
    good, bad = token(aud=None, client_id="ragkeep"), token(aud=None, client_id="other")
    assert client(accounts).get("/read", headers=bearer(good)).status_code == 200
    assert client(accounts).get("/read", headers=bearer(bad)).status_code == 401


def test_scopes_of_a_token_narrow_it_down(accounts: Auth) -> None:
    narrow = bearer(token(scope="openid ragkeep/chat"))
    assert client(accounts).get("/read", headers=narrow).status_code == 200
    assert client(accounts).post("/write", headers=narrow).status_code == 403


def test_another_workspace_is_forbidden_in_the_same_words_as_none(accounts: Auth) -> None:
    _, secret = make_key(accounts, docs="reader")
    caller = client(accounts)
    answers = [
        caller.get(f"/read?workspace={name}", headers=bearer(secret)) for name in ("notes", "nowhere", "*", "DOCS", "a'b")
    ]
    answers += [caller.post("/ask", json={"workspace": "notes"}, headers=bearer(secret))]
    answers += [caller.get("/read?workspace=notes&workspace=docs", headers=bearer(secret))]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1
    assert caller.get("/read?workspace=docs", headers=bearer(secret)).status_code == 200


def test_a_reader_does_not_write_and_a_scope_does_not_stretch(accounts: Auth) -> None:
    _, reader = make_key(accounts, docs="reader")
    _, chatter = make_key(accounts, docs="admin", scopes=["chat"])
    _, nobody = make_key(accounts)
    assert client(accounts).post("/write", headers=bearer(reader)).status_code == 403
    assert client(accounts).post("/write", headers=bearer(chatter)).status_code == 403
    assert client(accounts).get("/read", headers=bearer(nobody)).status_code == 403


def test_operations_are_for_their_readers_and_for_admins_of_everything(accounts: Auth) -> None:
    _, admin_of_docs = make_key(accounts, docs="admin")
    _, reader = make_key(accounts, ops="reader")
    _, admin = make_key(accounts, **{"*": "admin"})
    seen = [client(accounts).get("/ops", headers=bearer(key)).status_code for key in (admin_of_docs, reader, admin)]
    assert seen == [403, 200, 200]


def test_a_websocket_tells_who_asks(accounts: Auth) -> None:
    _, secret = make_key(accounts, docs="reader")
    with client(accounts).websocket_connect("/chat", headers=bearer(secret)) as socket:
        assert socket.receive_text().startswith("key:")


def test_a_route_that_says_nothing_fails_the_build(accounts: Auth) -> None:
    app, router = FastAPI(), APIRouter()

    @router.get("/open")
    async def forgotten() -> None: ...

    @router.websocket("/socket")
    async def forgotten_too(socket: WebSocket) -> None: ...

    app.include_router(router, prefix="/v1")
    app.mount("/files", FastAPI())
    with pytest.raises(ConfigError) as error:
        check_routes(app)
    assert all(path in str(error.value) for path in ("GET /v1/open", "/v1/socket", "/files"))
    assert "/docs" not in str(error.value)


def test_the_openapi_description_says_what_needs_a_token(accounts: Auth) -> None:
    described = client(accounts).get("/openapi.json").json()
    assert described["components"]["securitySchemes"]["bearer"]["type"] == "http"
    assert described["paths"]["/read"]["get"]["security"] == [{"bearer": []}]
    assert "security" not in described["paths"]["/health"]["get"]


def test_tokens_count_for_nothing_where_no_issuer_is_configured(tmp_path: Path) -> None:
    caller = client(open_auth(AuthParams(), Database(tmp_path / "other.sqlite")))
    assert caller.get("/read", headers=bearer(token())).status_code == 401
    assert caller.get("/health").status_code == 200
