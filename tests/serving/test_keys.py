"""API keys: shown once, kept as a hash, given by those who may, and over at once when revoked."""

import time
from pathlib import Path
from typing import Any

import pytest

from ragkeep.database import Database
from ragkeep.errors import ConfigError, Forbidden, NotFound, Unauthorized
from ragkeep.serving.keys import Keys, local_key
from ragkeep.serving.principal import LOCAL, SCOPES


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(Database(tmp_path / "serving.sqlite"))


def test_a_key_is_nowhere_in_the_file_and_only_its_owner_can_read_that(keys: Keys) -> None:
    key, secret = keys.create("app", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    keys.database.close()
    kept = b"".join(path.read_bytes() for path in keys.database.path.parent.iterdir())
    assert key.id.encode() in kept
    assert secret[16:].encode() not in kept
    assert keys.database.path.stat().st_mode & 0o077 == 0


def test_a_key_has_256_random_bits_and_is_recognised_by_its_beginning(keys: Keys) -> None:
    made = [keys.create("app", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL) for _ in range(50)]
    assert len({secret for _, secret in made}) == 50
    assert all(
        secret.startswith(f"{key.prefix}_") and len(secret.removeprefix(f"{key.prefix}_")) == 43 for key, secret in made
    )


def test_revocation_counts_at_once_in_every_process(keys: Keys) -> None:
    other = Keys(Database(keys.database.path))
    key, secret = keys.create("app", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    assert other.principal(secret).roles == {"docs": "reader"}
    keys.revoke(key.id, by=LOCAL)
    with pytest.raises(Unauthorized):
        other.principal(secret)
    assert other.listed(by=LOCAL)[0].revoked_at


@pytest.mark.parametrize(
    ("roles", "scopes"),
    [
        ({"notes": "reader"}, ["chat"]),
        ({"*": "reader"}, ["chat"]),
        ({"ops": "reader"}, ["chat"]),
        ({"docs": "reader"}, ["ops"]),
    ],
)
def test_nobody_gives_more_than_they_have(keys: Keys, roles: Any, scopes: list[str]) -> None:
    _, secret = keys.create("boss", roles={"docs": "admin"}, scopes=["chat", "admin"], by=LOCAL)
    with pytest.raises(Forbidden):
        keys.create("more", roles=roles, scopes=scopes, by=keys.principal(secret))


def test_an_admin_of_one_workspace_sees_and_revokes_its_keys_only(keys: Keys) -> None:
    _, secret = keys.create("boss", roles={"docs": "admin"}, scopes=SCOPES, by=LOCAL)
    other, _ = keys.create("other", roles={"docs": "reader", "notes": "reader"}, scopes=["chat"], by=LOCAL)
    boss = keys.principal(secret)
    mine, _ = keys.create("mine", roles={"docs": "writer"}, scopes=["chat"], by=boss)
    assert {key.name for key in keys.listed(by=boss)} == {"boss", "mine"}
    with pytest.raises(NotFound):
        keys.revoke(other.id, by=boss)
    keys.revoke(mine.id, by=boss)


@pytest.mark.parametrize(
    "wrong",
    [
        {"roles": {"D O": "reader"}},
        {"roles": {"docs": "boss"}},
        {"scopes": ["everything"]},
        {"scopes": []},
        {"name": " "},
        {"expires_at": 1.0},
    ],
)
def test_a_malformed_key_is_refused(keys: Keys, wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "app", "roles": {"docs": "reader"}, "scopes": ["chat"], "by": LOCAL, **wrong}
    with pytest.raises(ConfigError):
        keys.create(given.pop("name"), **given)


def test_a_role_can_be_given_later_and_goes_with_its_workspace(keys: Keys) -> None:
    key, secret = keys.create("app", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    keys.grant(f"key:{key.id}", "notes", "admin")
    assert keys.principal(secret).roles == {"docs": "reader", "notes": "admin"}
    keys.forget_workspace("notes")
    assert keys.principal(secret).roles == {"docs": "reader"}


def test_the_local_key_is_shown_only_when_it_is_made(keys: Keys) -> None:
    key, secret = local_key(keys)
    assert secret
    assert keys.principal(secret).may("admin", "anything")
    assert local_key(keys) == (key, None)
    keys.revoke(key.id, by=LOCAL)
    assert local_key(keys)[1]


def test_a_lookup_stretches_no_key(keys: Keys) -> None:
    _, secret = keys.create("app", roles={"docs": "reader"}, scopes=["chat"], by=LOCAL)
    begin = time.thread_time()
    for _ in range(1000):
        keys.principal(secret)
    assert time.thread_time() - begin < 5  # seconds, and no figure: a hash made for passwords takes more than ten
