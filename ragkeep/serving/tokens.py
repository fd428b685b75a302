"""JSON web tokens of Cognito or any OpenID Connect issuer, checked against its published keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config import is_id
from ..errors import Unauthorized
from .jwks import ALGORITHMS, Jwks
from .keys import Keys
from .params import AuthParams
from .principal import ALL, ROLES, SCOPES, Principal, WorkspaceRole

MAX_CHARS = 8192
LEEWAY_S = 30
"""How far the issuer's clock may be from ours."""
PREFIX = "ragkeep/"
REASONS = {
    "ExpiredSignatureError": "has expired",
    "ImmatureSignatureError": "is not valid yet",
    "InvalidIssuedAtError": "is not valid yet",
    "InvalidIssuerError": "is from another issuer",
    "MissingRequiredClaimError": "lacks exp, iss or sub",
    "InvalidSignatureError": "has a wrong signature",
    "InvalidAlgorithmError": "is signed in a way that is not accepted",
}


class Tokens:
    """Checks tokens of one issuer for one audience."""

    def __init__(self, params: AuthParams, keys: Keys, *, jwks: Jwks | None = None) -> None:
        self.params, self.keys = params, keys
        self.jwks = jwks or Jwks(params.jwks_url)

    def principal(self, token: str) -> Principal:
        """Tell who bears a token; may ask the issuer for its keys.

        Raises Unauthorized, ServiceAway; no message quotes the token.
        """
        claims = self._claims(token)
        user = f"user:{claims['sub']}"
        named, kept = _roles(claims.get(self.params.roles_claim)), self.keys.grants(user)
        roles = {
            room: max(named.get(room, ROLES[0]), kept.get(room, ROLES[0]), key=ROLES.index) for room in {*named, *kept}
        }
        return Principal(user, roles, _scopes(claims))

    def _claims(self, token: str) -> Mapping[str, Any]:
        import jwt

        if len(token) > MAX_CHARS or not token.isascii():
            raise Unauthorized(f"this is no token: one is at most {MAX_CHARS:,} ASCII characters")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError
            claims = jwt.decode(
                token,
                self.jwks.key(str(header.get("kid", ""))),
                algorithms=list(ALGORITHMS),
                issuer=self.params.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "sub"], "verify_aud": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            reason = REASONS.get(type(error).__name__, "is malformed")
            raise Unauthorized(f"this token {reason}: log in again") from None
        self._check_audience(claims)
        if not claims["sub"] or len(claims["sub"]) > 256:
            raise Unauthorized("this token does not say whose it is: log in again")
        return claims

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        """Cognito's access tokens have no `aud`; the client they are for is in `client_id`."""
        named = claims.get("aud", claims.get("client_id"))
        if self.params.audience not in (named if isinstance(named, list) else [named]):
            raise Unauthorized("this token is for another application: log in to this one")


def _roles(claim: object) -> dict[str, WorkspaceRole]:
    """Read workspace roles: {"docs": "reader"}, ["docs:reader"] or "docs:reader notes:admin"; the rest says nothing."""
    if isinstance(claim, str):
        claim = claim.split()
    if isinstance(claim, dict):
        claim = [f"{workspace}:{role}" for workspace, role in claim.items()]
    found: dict[str, WorkspaceRole] = {}
    for entry in claim if isinstance(claim, list) else []:
        workspace, _, role = entry.rpartition(":") if isinstance(entry, str) else ("", "", "")
        if role in ROLES and (workspace == ALL or is_id(workspace)):
            found[workspace] = max(found.get(workspace, ROLES[0]), role, key=ROLES.index)
    return found


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Scopes named `ragkeep/<scope>` narrow a token down; one that names none of them is good for all its roles allow."""
    text = claims.get("scope")
    words = text.split() if isinstance(text, str) else []
    named = frozenset(word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX))
    return named & frozenset(SCOPES) if named else frozenset(SCOPES)
