"""What can go wrong, as one tree; every message names the thing and the next step.

RagkeepError
├── ConfigError          params.yaml or the environment is wrong; nothing was started
├── MissingExtra         a backend needs a package that is not installed
├── SourceError          a source cannot be read at all (a single bad file is quarantined instead)
├── ModelError           weights are missing, altered, or in a format that can run code
├── StoreError
│   ├── IndexExists      create() of a name that is taken
│   ├── IndexMissing     the version or alias does not exist
│   ├── IndexLive        drop() of a version that readers may be using
│   ├── DimensionMismatch  vectors of another length than the index was made for
│   └── ReceiptMismatch  the store does not hold what the receipt says was written
├── ValidationFailed     a critical expectation failed; the live index was left alone
├── CanaryFailed         a published release did not answer, and was taken back
├── EmbedderMoved        an embedder makes other vectors than those its index holds, under the same fingerprint
├── LearnError           there is nothing sound to learn on, or what was learned does not fit any more
├── CannotJudge          scores are missing, not numbers, or of another index: exit code 2
├── Busy                 another process holds what only one may hold: the night's lease, the interaction log
├── LeaseLost            somebody took the lease over; nothing of this run may be published
├── ProviderError        a model behind a network did not answer
│   ├── ProviderBusy     it has too much to do (429, 503); `retry_after_s` where it said so
│   ├── ProviderAway     refused, reset, cut or too slow
│   └── ProviderRefused  it will not answer this (4xx), or answered with what is no answer: asking again does not help
├── LogUnavailable       the interaction log cannot write now; it recovers by itself
├── LogDamaged           a segment of the interaction log is not what was written
├── RequestError         a caller asked for what is not given; `status` and `code` are the API's words for it
│   ├── Unauthorized     no key or token, or one that does not count
│   ├── Forbidden        a role or a scope is missing; says nothing of what exists
│   ├── NotFound         no such document, workspace, key or job
│   ├── AlreadyExists    the name is taken
│   ├── TooMany          over the rate limit or the budget; `retry_after_s` says when it may go on
│   └── ServiceAway      a service that this request needs does not answer: AWS, the issuer of tokens
└── ReleaseError         no such release, or none to go back to
"""

from __future__ import annotations

import math
import os


class RagkeepError(Exception):
    """Base of every error a user can cause or mend; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(RagkeepError):
    """params.yaml or the environment is wrong."""


class MissingExtra(RagkeepError):
    """A backend needs a package that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'ragkeep[{extra}]'")


class SourceError(RagkeepError):
    """A source cannot be read at all."""


class ModelError(RagkeepError):
    """Weights are missing, altered, or in a format that can run code."""


class StoreError(RagkeepError):
    """The index store refused or failed."""


class IndexExists(StoreError):
    """The name is taken."""


class IndexMissing(StoreError):
    """The version or alias does not exist."""


class IndexLive(StoreError):
    """Readers may be using this version."""


class DimensionMismatch(StoreError):
    """Vectors of another length than the index was made for."""


class ReceiptMismatch(StoreError):
    """The store does not hold what the receipt says was written."""


class ValidationFailed(RagkeepError):
    """A critical expectation failed."""


class CanaryFailed(RagkeepError):
    """A published release did not answer, and was taken back."""


class EmbedderMoved(RagkeepError):
    """An embedder makes other vectors than those its index holds, under the same fingerprint."""


class LearnError(RagkeepError):
    """There is nothing sound to learn on, or what was learned does not fit any more."""


class CannotJudge(RagkeepError):
    """The evidence for a verdict is missing or unusable."""

    exit_code = 2


class Busy(RagkeepError):
    """Another process holds what only one may hold."""


class LeaseLost(RagkeepError):
    """The lease was taken over by a later run."""


class ProviderError(RagkeepError):
    """A model behind a network did not answer."""


class ProviderBusy(ProviderError):
    """It has too much to do; `retry_after_s` is how long it asked to be left alone."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProviderAway(ProviderError):
    """Refused, reset, cut or too slow."""


class ProviderRefused(ProviderError):
    """It will not answer this; asking again does not help."""


class LogUnavailable(RagkeepError):
    """Nothing can be written to the interaction log at the moment: the record was not kept."""


class LogDamaged(RagkeepError):
    """A segment of the interaction log lost records that were once written."""


class RequestError(RagkeepError):
    """A caller asked for what is not given; `headers` go with the answer."""

    status = 400
    code = "bad_request"

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers that belong to the refusal."""
        return {}


class Unauthorized(RequestError):
    """No key or token, or one that does not count."""

    status = 401
    code = "unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        """How to authenticate."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(RequestError):
    """A role or a scope is missing."""

    status = 403
    code = "forbidden"


class NotFound(RequestError):
    """No such document, workspace, key or job."""

    status = 404
    code = "not_found"


class AlreadyExists(RequestError):
    """The name is taken."""

    status = 409
    code = "already_exists"


class TooMany(RequestError):
    """Over the rate limit or the budget."""

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """When to come back, in whole seconds."""
        return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}


class ServiceAway(RequestError):
    """A service that this request needs does not answer."""

    status = 503
    code = "unavailable"


class ReleaseError(RagkeepError):
    """No such release, or none to go back to."""


def describe(error: OSError) -> str:
    """Say what the operating system refused, on which file, and what to do about the usual causes."""
    where = f" ({error.filename})" if error.filename else ""
    advice = {
        28: "free some space and run again: nothing live was touched",
        13: "check the permissions",
        30: "the file system is read-only",
    }.get(error.errno or 0, "nothing live was touched")
    return f"{os.strerror(error.errno) if error.errno else error}{where}; {advice}"
