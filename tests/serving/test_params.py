"""The section serve of params.yaml: bounds, no way for strangers to make tokens, no password in the file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ragkeep.config import load_params
from ragkeep.errors import ConfigError
from ragkeep.serving.params import ServeParams, numbers, problems


def load(folder: Path, serve: dict[str, Any]) -> ServeParams:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({"sources": [{"name": "docs", "path": "docs"}], "serve": serve}))
    return load_params(path).serve


def test_the_defaults_are_right() -> None:
    assert all(value is None or low <= value <= high for _, value, low, high in numbers(ServeParams()))
    assert list(problems(ServeParams())) == []
    assert not ServeParams().auth.configured


def test_cognito_needs_two_lines(tmp_path: Path) -> None:
    issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc"
    auth = load(tmp_path, {"auth": {"issuer": issuer, "audience": "client"}}).auth
    assert auth.jwks_url == f"{issuer}/.well-known/jwks.json"


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        ({"port": 70_000}, "serve.port must be between 0 and 65,535"),
        ({"limits": {"key_per_minute": -1}}, "serve.limits.key_per_minute must be between 0"),
        ({"budgets": {"key": {"day_usd": -1.0}}}, "serve.budgets.key.day_usd must be between 0"),
        ({"budgets": {"workspaces": {"docs": {"day_tokens": -1}}}}, "serve.budgets.workspaces.docs.day_tokens must be"),
        ({"budgets": {"workspaces": {"docs": {"day": 1}}}}, "unknown key 'day'"),
        ({"auth": {"issuer": "https://a"}}, "serve.auth.audience is empty"),
        ({"auth": {"audience": "a"}}, "serve.auth.issuer is empty"),
        ({"auth": {"issuer": "http://a", "audience": "b"}}, "must begin with https://"),
        (
            {"auth": {"issuer": "https://a", "audience": "b", "jwks": "http://a/k"}},
            "serve.auth.jwks must begin with https",
        ),
        ({"limits": {"redis": "redis://:hunter2@host"}}, "must not hold a password"),
        ({"limits": {"redis": "host:6379"}}, "must begin with redis://"),
        ({"memory": {"tiers": ["redis"], "redis": "redis://:hunter2@host"}}, "must not hold a password"),
        ({"memory": {"tiers": ["redis", "sqlite"]}}, "serve.memory.redis is empty"),
        ({"memory": {"tiers": []}}, "serve.memory.tiers must name one to three"),
        ({"memory": {"tiers": ["s3", "s3"]}}, "serve.memory.tiers must name one to three"),
        ({"memory": {"tiers": ["sqlite", "s3"]}}, "serve.memory.bucket must name"),
        ({"memory": {"tiers": ["dynamodb"], "table": "a b"}}, "serve.memory.table must be"),
        ({"memory": {"hours": 0.0}}, "serve.memory.hours must be between"),
        ({"catalog": {"prefix": "a b"}}, "serve.catalog.prefix"),
        ({"queue": {"tries": 0}}, "serve.queue.tries must be between 1"),
    ],
)
def test_what_is_wrong_is_named_and_no_password_shown(tmp_path: Path, serve: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, serve)
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)
