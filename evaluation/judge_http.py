"""One question to an OpenAI-compatible server, one checked JSON reply; kept, so that it is never asked twice.

RAGKEEP_JUDGE_URL=http://localhost:11434/v1 RAGKEEP_JUDGE_MODEL=qwen3 ragkeep nightly
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ragkeep.errors import ConfigError, RagkeepError
from ragkeep.files import write_text
from ragkeep.types import content_id

T = TypeVar("T")
TIMEOUT_S = 120.0
TRIES = 2


class JudgeError(RagkeepError):
    """The judge cannot be reached, refuses, or does not answer in the form asked for."""


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """Where the judge is. The key stays out of every repr and log."""

    url: str
    model: str
    key: str = field(default="", repr=False)


def judge_config() -> JudgeConfig | None:
    """Read RAGKEEP_JUDGE_URL, _MODEL, _KEY; None without a URL. Raises ConfigError on half a configuration."""
    url, model = os.environ.get("RAGKEEP_JUDGE_URL", ""), os.environ.get("RAGKEEP_JUDGE_MODEL", "")
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"RAGKEEP_JUDGE_URL must start with http:// or https://, not {url!r}")
    if not model:
        raise ConfigError("RAGKEEP_JUDGE_URL is set but RAGKEEP_JUDGE_MODEL is not: name the model that judges")
    return JudgeConfig(url.rstrip("/"), model, os.environ.get("RAGKEEP_JUDGE_KEY", ""))


def ask_json(config: JudgeConfig, prompt: str, schema: dict[str, Any], parse: Callable[[str], T], *, cache: Path) -> T:
    """Return the judge's reply to a prompt as `parse` makes it from JSON text.

    The reply is kept under `cache` by the hash of model, schema and prompt. A reply that does not parse is asked
    for once more. Raises JudgeError.
    """
    kept = cache / f"{content_id(config.model, json.dumps(schema, sort_keys=True), prompt)}.json"
    if kept.is_file():
        try:
            return parse(kept.read_text(encoding="utf-8"))
        except ValueError:
            kept.unlink()
    problem = ""
    for _ in range(TRIES):
        text = _json_in(_complete(config, prompt, schema))
        try:
            made = parse(text)
        except ValueError as error:
            problem = " ".join(str(error).split())
            continue
        write_text(kept, text)
        return made
    raise JudgeError(f"{config.model} does not answer in the form asked for ({problem[:200]}): try another judge model")


def _complete(config: JudgeConfig, prompt: str, schema: dict[str, Any]) -> str:
    body = {
        "model": config.model,
        "temperature": 0,
        "messages": [{"role": "user", "content": prompt}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}},
    }
    headers = {"Content-Type": "application/json"}
    if config.key:
        headers["Authorization"] = f"Bearer {config.key}"
    request = urllib.request.Request(  # noqa: S310 - judge_config lets only http and https through
        f"{config.url}/chat/completions", json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            return str(json.load(reply)["choices"][0]["message"]["content"])
    except urllib.error.HTTPError as error:
        with error:
            raise JudgeError(f"{config.url} answers {error.code}: check RAGKEEP_JUDGE_MODEL and _KEY") from None
    except OSError as error:
        raise JudgeError(f"{config.url} cannot be reached ({error}): check RAGKEEP_JUDGE_URL") from None
    except (ValueError, KeyError, IndexError, TypeError):
        raise JudgeError(f"{config.url} does not speak the chat completions protocol: check RAGKEEP_JUDGE_URL") from None


def _json_in(text: str) -> str:
    """Cut a reply down to its JSON object: models like to wrap it in a fence or a sentence."""
    found = re.search(r"\{.*\}", text, re.DOTALL)
    return found.group() if found else text
