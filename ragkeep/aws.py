"""The AWS credentials of this machine, for whoever asks a service of Amazon; needs the extra [aws].

Found as boto3 finds them: environment, AWS_PROFILE, login, the role of the machine. No key is in a message or a log.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import tracing
from .errors import ConfigError, MissingExtra, ServiceAway

log = logging.getLogger(__name__)

_LOG_IN = "log in (`aws sso login`), set AWS_PROFILE, or give this machine a role; nothing live was touched"


def session(what: str, region: str = "") -> Any:
    """Return a boto3 session that has credentials and a region; `what` names in errors what needs them.

    Raises MissingExtra without boto3, ConfigError without credentials or region.
    """
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError:
        raise MissingExtra(what, "aws") from None
    # a failed renewal is ours to report; without a handler Python would print it with its traceback
    logging.getLogger("botocore").addHandler(logging.NullHandler())
    try:
        made = boto3.Session(region_name=region or None)
        found = made.get_credentials()
    except _boto_errors() as error:
        raise ConfigError(f"{what} needs AWS credentials, and {one_line(error)}: {_LOG_IN}") from None
    if found is None:
        raise ConfigError(f"{what} needs AWS credentials and there are none: {_LOG_IN}")
    if not made.region_name:
        raise ConfigError(f"{what} needs to know the AWS region: name it in the settings or in AWS_DEFAULT_REGION")
    tracing.follow_boto(made)
    return made


def client(what: str, service: str, *, region: str = "", read_timeout_s: float = 30, tries: int = 3) -> Any:
    """Return a client with time-outs and few retries. Raises MissingExtra, ConfigError."""
    made = session(what, region)
    config = importlib.import_module("botocore.config").Config
    settings = config(
        connect_timeout=3, read_timeout=read_timeout_s, retries={"mode": "standard", "total_max_attempts": tries}
    )
    if service == "dynamodb":  # the resource's client takes and gives plain Python values
        return made.resource(service, config=settings).meta.client
    return made.client(service, config=settings)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Raise ServiceAway, in one line, for whatever AWS or the way to it does not do."""
    try:
        yield
    except _boto_errors() as error:
        log.warning("%s: %s", what, one_line(error))
        raise ServiceAway(f"{what} does not answer: try again in a minute") from error


def keys(credentials: Any) -> Any:
    """Return the access key, secret and token as they are now; temporary ones are renewed before they run out.

    Raises ConfigError when they cannot be renewed.
    """
    try:
        return credentials.get_frozen_credentials()
    except _boto_errors() as error:
        raise ConfigError(f"the AWS credentials ran out and cannot be renewed ({one_line(error)}): {_LOG_IN}") from None


def one_line(error: Exception) -> str:
    """Say what went wrong, shortly."""
    return " ".join(str(error).split())[:300].rstrip(".")


def _boto_errors() -> tuple[type[Exception], ...]:
    raised = importlib.import_module("botocore.exceptions")
    # RuntimeError: what came back from a renewal had run out already
    return raised.BotoCoreError, raised.ClientError, RuntimeError


class Signer:
    """Signs JSON requests to one service of one region, or sends the key given instead. Safe to share between threads."""

    def __init__(self, what: str, service: str, region: str = "", *, key: str = "") -> None:
        self.what, self._service, self._key = what, service, key
        self._credentials = None
        if key:
            self.region = region
            return
        made = session(what, region)
        self.region, self._credentials = made.region_name, made.get_credentials()
        for name in ("auth", "awsrequest"):  # now, and not while a first answer is waited for
            importlib.import_module(f"botocore.{name}")

    def headers(self, url: str, body: bytes) -> dict[str, str]:
        """Return the headers of a POST; may wait for renewed credentials. Raises ConfigError without any."""
        json = {"content-type": "application/json"}
        if self._key:
            return json | {"authorization": f"Bearer {self._key}"}
        asked = importlib.import_module("botocore.awsrequest").AWSRequest("POST", url, data=body, headers=json)
        auth = importlib.import_module("botocore.auth")
        auth.SigV4Auth(keys(self._credentials), self._service, self.region).add_auth(asked)
        return dict(asked.headers.items())
