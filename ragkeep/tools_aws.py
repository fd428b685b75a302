"""A tool that asks named services of Amazon what they are set up like, for `ragkeep.tools`: reading only, no secrets.

Only operations that begin with Describe, List or Get are done, of services that were named, with the credentials of this
machine; give those the rights to read and no more. Operations that hand out secrets or the content of objects are
refused, and what looks like a secret in an answer is hidden. Needs the extra [aws].
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

import orjson

from . import aws
from .errors import ConfigError
from .ports import Tool
from .tools import Ability, ToolError

_READS = re.compile(r"(Describe|List|Get)[A-Z]\w*")
_NEVER_SERVICES = frozenset({"secretsmanager", "sts", "sso", "sso-oidc", "cognito-identity", "signin"})
_NEVER = re.compile(
    r"Secret|Password|Credential|Token|ApiKey|AccessKey|PrivateKey|^GetParameter|Certificate|^GetObject|^GetItem|"
    r"^GetRecords|^GetLogEvents|Presign|ConsoleOutput|Screenshot|UserData|^GetFunction$|^GetLayerVersion|Signing|DataKey"
)
_HIDDEN_KEYS = re.compile(
    r"password|secret|(?<!next)token|credential|private_?key|access_?key|api_?key|user_?data|authorization|environment|"
    r"variables|connection_?string|connection_?properties",
    re.IGNORECASE,
)
_HIDDEN_TEXT = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----|"
    r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|X-Amz-Signature=\w+|X-Amz-Security-Token=[^&\s]+",
    re.DOTALL,
)
HIDDEN = "(hidden)"


def aws_reader(services: Sequence[str], *, region: str = "", url: str | None = None) -> Ability:
    """Let a model describe what there is in the services named. Raises MissingExtra, ConfigError without credentials."""
    if refused := sorted(_NEVER_SERVICES & {*services}):
        raise ConfigError(f"{', '.join(refused)} hands out secrets and is no service for a model: leave it out")
    session = aws.session("the tool aws", region)
    tool = Tool(
        "aws",
        "Ask a service of Amazon Web Services what there is: an operation beginning with Describe, List or Get.",
        {
            "type": "object",
            "properties": {
                "service": {"type": "string", "enum": list(services)},
                "operation": {"type": "string", "description": "as in DescribeInstances", "maxLength": 100},
                "parameters": {"type": "object", "description": "as the API's reference names them"},
            },
            "required": ["service", "operation"],
        },
    )
    return Ability(tool, lambda asked: ask(session, asked, url))


def ask(session: Any, asked: dict[str, Any], url: str | None = None) -> str:
    """Do one operation and return its answer as JSON, without what looks like a secret. Raises ToolError."""
    service, operation = asked["service"], asked["operation"]
    if not _READS.fullmatch(operation) or _NEVER.search(operation):
        raise ToolError(f"{operation} is not allowed: name one that begins with Describe, List or Get, and no secrets")
    raised = importlib.import_module("botocore.exceptions")
    config = importlib.import_module("botocore.config").Config(
        connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
    )
    try:
        client = session.client(service, config=config, endpoint_url=url)
        methods = {name: method for method, name in client.meta.method_to_api_mapping.items()}
        if operation not in methods:
            raise ToolError(f"{service} has no operation {operation}")
        answer = getattr(client, methods[operation])(**asked.get("parameters", {}))
    except (raised.ClientError, raised.BotoCoreError) as error:
        raise ToolError(hide(aws.one_line(error))) from None
    answer.pop("ResponseMetadata", None)
    return orjson.dumps(hide(answer), default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def hide(value: Any) -> Any:
    """Put "(hidden)" in the place of what looks like a secret."""
    if isinstance(value, dict):
        return {key: HIDDEN if _HIDDEN_KEYS.search(str(key)) else hide(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hide(inner) for inner in value]
    return _HIDDEN_TEXT.sub(HIDDEN, value) if isinstance(value, str) else value


def _plain(value: Any) -> str:
    """Bytes and streams are content, which is not for a model."""
    return HIDDEN if isinstance(value, bytes) or hasattr(value, "read") else str(value)
