"""Tokens as Cognito makes them: a real log-in at moto's server, checked against the keys it publishes."""

import uuid
from typing import Any

import boto3
import pytest

from ragkeep.database import Database
from ragkeep.errors import Unauthorized
from ragkeep.serving.auth import open_auth
from ragkeep.serving.params import AuthParams


@pytest.fixture(scope="module")
def cognito(moto: dict[str, str]) -> Any:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": moto["AWS_DEFAULT_REGION"]}
    return boto3.Session().client("cognito-idp", endpoint_url=moto["AWS_ENDPOINT_URL"], **keys)


@pytest.fixture(scope="module")
def pool(cognito: Any) -> tuple[str, str]:
    """A user pool and an app client of it, with one user in the group docs:writer."""
    pool: str = cognito.create_user_pool(PoolName=uuid.uuid4().hex)["UserPool"]["Id"]
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    made = cognito.create_user_pool_client(UserPoolId=pool, ClientName="ragkeep", ExplicitAuthFlows=flows)
    user = {"UserPoolId": pool, "Username": "ann"}
    cognito.admin_create_user(**user, TemporaryPassword="Temporary-1")
    cognito.admin_set_user_password(**user, Password="Permanent-1", Permanent=True)
    cognito.create_group(UserPoolId=pool, GroupName="docs:writer")
    cognito.admin_add_user_to_group(**user, GroupName="docs:writer")
    return pool, made["UserPoolClient"]["ClientId"]


def log_in(cognito: Any, pool: str, client: str) -> dict[str, str]:
    found: dict[str, str] = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ann", "PASSWORD": "Permanent-1"},
    )["AuthenticationResult"]
    return found


@pytest.mark.parametrize("kind", ["AccessToken", "IdToken"])
def test_a_token_of_cognito_carries_its_groups(
    cognito: Any, pool: tuple[str, str], moto: dict[str, str], tmp_path: Any, kind: str
) -> None:
    id_, client = pool
    token = log_in(cognito, id_, client)[kind]
    issuer = f"https://cognito-idp.us-east-1.amazonaws.com/{id_}"
    jwks = f"{moto['AWS_ENDPOINT_URL']}/{id_}/.well-known/jwks.json"
    accounts = open_auth(AuthParams(issuer, client, jwks, "cognito:groups"), Database(tmp_path / "a.sqlite"))
    assert accounts.tokens
    who = accounts.tokens.principal(token)
    assert who.user.startswith("user:")
    assert who.may("writer", "docs")
    other = open_auth(AuthParams(issuer, "another client", jwks, "cognito:groups"), Database(tmp_path / "b.sqlite"))
    assert other.tokens
    with pytest.raises(Unauthorized, match="another application"):
        other.tokens.principal(token)
