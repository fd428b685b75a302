"""The issuer's public keys: they change, they are not asked for too often, and the issuer may be away."""

import json
import time
from pathlib import Path

import pytest

from ragkeep.errors import ConfigError, ServiceAway, Unauthorized
from ragkeep.serving import jwks as module
from ragkeep.serving.jwks import Jwks, parse_jwks
from tests.serving.tokens import KEY, OTHER_KEY, jwks, publishing

ONE, BOTH, TWO = (text.encode() for text in (jwks(one=KEY), jwks(one=KEY, two=OTHER_KEY), jwks(two=OTHER_KEY)))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_new_key_counts_at_once_and_strangers_do_not_make_us_ask_again() -> None:
    clock = Clock()
    with publishing([ONE, BOTH]) as (url, asked):
        keys = Jwks(url, clock=clock)
        keys.key("one")
        clock.now += module.REFETCH_S + 1
        keys.key("two")
        for _ in range(50):
            with pytest.raises(Unauthorized):
                keys.key("stranger")
        assert len(asked) == 2


def test_a_key_taken_back_stops_counting() -> None:
    clock = Clock()
    with publishing([ONE, TWO]) as (url, _):
        keys = Jwks(url, clock=clock)
        keys.key("one")
        clock.now += module.KEEP_S + 1
        with pytest.raises(Unauthorized):
            keys.key("one")


def test_an_issuer_that_is_away_leaves_its_last_keys_for_a_day(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "jwks.json"
    path.write_bytes(ONE)
    keys = Jwks(str(path), clock=clock)
    keys.key("one")
    path.unlink()
    clock.now += module.KEEP_S + 1
    assert keys.key("one").key_type == "RSA"
    clock.now += module.STALE_S
    with pytest.raises(ServiceAway, match="try again"):
        keys.key("one")


def test_an_issuer_that_hangs_costs_the_time_out_and_one_caller_only() -> None:
    with publishing([ONE], delay_s=30) as (url, _):
        keys = Jwks(url, timeout_s=0.2)
        begin = time.monotonic()
        for _ in range(3):
            with pytest.raises(ServiceAway):
                keys.key("one")
        assert time.monotonic() - begin < 20


def test_keys_come_from_nowhere_else() -> None:
    with publishing([b""]) as (url, asked), pytest.raises(ServiceAway):
        Jwks(url).key("one")
    assert asked == ["/jwks.json"]


def test_a_secret_key_or_one_for_encryption_is_not_taken() -> None:
    (good,) = json.loads(ONE)["keys"]
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"}
    rows = [
        good,
        secret,
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "", "use": "sig"},
        {"kty": "XX", "kid": "x"},
    ]
    assert list(parse_jwks(json.dumps({"keys": rows}).encode())) == ["one"]


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"keys": 7}', b'{"keys": [7]}', b'{"keys": []}', b"\xff"])
def test_what_is_no_jwks_is_refused(raw: bytes) -> None:
    with pytest.raises(ConfigError, match="JWKS"):
        parse_jwks(raw)
