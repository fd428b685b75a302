"""Refusals as HTTP says them: `app.add_exception_handler(RequestError, refuse)`, for WebSockets too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from ..errors import RequestError
from ..tracing import trace_id

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


async def refuse(connection: HTTPConnection, error: Exception) -> Response:
    """Answer `{"error": {code, message, request_id}}` with the error's status and headers."""
    if not isinstance(error, RequestError):
        raise error
    said = {"code": error.code, "message": str(error), **ids(connection)}
    return JSONResponse({"error": said}, status_code=error.status, headers=error.headers)


def ids(connection: HTTPConnection) -> dict[str, str]:
    """What finds a request again, in the server's log and in its traces."""
    return {"request_id": getattr(connection.state, "request_id", ""), "trace_id": trace_id()}
