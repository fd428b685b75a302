"""How a client reaches the cluster, and the one call that the starter itself and its tests make."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from ..errors import LocalError


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs; user, password and CA file are empty for a cluster without security."""

    urls: tuple[str, ...]
    user: str = ""
    password: str = ""
    ca: str = ""


class NoAnswer(LocalError):
    """A node cannot be reached, or does not say what it was asked."""


def call(access: Access, path: str, *, method: str = "GET", body: Any = None, node: int = 1, timeout_s: float = 5) -> Any:
    """Send one request to one node and return the JSON it answers; raises NoAnswer for all else than a 2xx."""
    url = access.urls[node - 1]
    connection = _connection(url, access, timeout_s)
    content = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, content, {"Content-Type": "application/json", **_login(access)})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status // 100 != 2:
            raise NoAnswer(f"{url}{path} answers {answer.status}: {text[:300].decode(errors='replace')}")
        return json.loads(text)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(f"{url}{path} does not answer: {error}") from error
    finally:
        connection.close()


def _connection(url: str, access: Access, timeout_s: float) -> http.client.HTTPConnection:
    address = url.rpartition("/")[2]
    if not access.ca:
        return http.client.HTTPConnection(address, timeout=timeout_s)
    context = ssl.create_default_context(cafile=access.ca)
    return http.client.HTTPSConnection(address, timeout=timeout_s, context=context)


def _login(access: Access) -> dict[str, str]:
    if not access.user:
        return {}
    token = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}
