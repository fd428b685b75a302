"""Tell somebody: alerts as JSON to the webhooks and commands of params.yaml, each once, and its end once.

`<state>/alerts.json` holds what is the matter now and who knows of it, so that the same thing is not told again every
night. A hook that fails is asked once more, and then with the next look; it never fails a night. URLs come from the
environment and stand in no log and no alert; nor does what people asked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from ragkeep.config import AlertParams, Params, Paths
from ragkeep.errors import ProviderError
from ragkeep.files import write_json
from ragkeep.types import content_id
from ragkeep.watched import ALERTS, alerts
from ragkeep.wire import Call, bearer, send

log = logging.getLogger("prefect.ragkeep")
TRIES = 2
Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is the matter, in a sentence, and what to do; `about` are figures, never what people wrote.

    `case` tells two of a kind apart, such as two rollbacks: the second is told although the first is not over.
    """

    summary: str
    action: str
    severity: Severity = "warning"
    about: dict[str, Any] = field(default_factory=dict)
    case: str = ""


def tell(paths: Paths, params: Params, found: Mapping[str, Trouble | None]) -> None:
    """Take over what was found: a Trouble by name, None for what is well; names that are absent stay as they are.

    Hooks that do not know of a trouble yet are told, and of its end those that know of it. A hook that fails is logged
    and asked again the next time; never raises for one.
    """
    known = alerts(paths)
    after = dict(known)
    for name, trouble in found.items():
        before = after.pop(name, None)
        row = _begun(paths, params, name, trouble, before) if trouble else _ended(params, before) if before else None
        if row is not None:
            after[name] = row
    if after != known:
        with contextlib.suppress(OSError):  # a full disk: it is told again
            write_json(paths.state / ALERTS, after)


def _begun(paths: Paths, params: Params, name: str, trouble: Trouble, before: dict[str, Any] | None) -> dict[str, Any]:
    """Tell those who do not know of it; what grew worse, or is another case of the same, nobody knows."""
    fields = ("severity", "case")
    same = before is not None and all(before[field] == getattr(trouble, field) for field in fields)
    since, knows = (before["since"], before["knows"]) if before and same else (_now(), [])
    said = {"alert": name, "state": "firing", "project": paths.root.name, "since": since, **asdict(trouble)}
    return {**said, "knows": [_key(one) for one in params.alerts if _key(one) in knows or _told(one, said)]}


def _ended(params: Params, before: dict[str, Any]) -> dict[str, Any] | None:
    """Tell those who know of it that it is over; None once all are told."""
    said = {k: v for k, v in before.items() if k != "knows"} | {"state": "resolved"}
    untold = [_key(one) for one in params.alerts if _key(one) in before["knows"] and not _told(one, said)]
    return {**said, "knows": untold} if untold else None


def _key(hook: AlertParams) -> str:
    return content_id(hook.kind, hook.url, *hook.command)[:12]


def label(hook: AlertParams) -> str:
    """Name a hook as logs may: a webhook by its environment variable, a command by its program."""
    return f"webhook {hook.url}" if hook.kind == "webhook" else f"command {hook.command[0]}"


def _told(hook: AlertParams, said: dict[str, Any]) -> bool:
    """Tell one hook, twice if need be; whether it took it."""
    body = json.dumps({**said, "at": _now(), "text": _sentence(said)}, ensure_ascii=False).encode()
    why = ""
    for _ in range(TRIES):
        why = _post(hook, body) if hook.kind == "webhook" else _run(hook, body)
        if not why:
            return True
    log.warning("the alert %s could not be told to the %s: %s", said["alert"], label(hook), why)
    return False


def _sentence(said: dict[str, Any]) -> str:
    """One line for a chat; most of them show the key "text"."""
    head = "over" if said["state"] == "resolved" else said["severity"]
    return f"ragkeep {said['project']}: {head}: {said['summary']}" + (
        f" {said['action']}" if said["state"] == "firing" else ""
    )


def _post(hook: AlertParams, body: bytes) -> str:
    """Return why a webhook did not take it, "" where it did."""
    url = os.environ.get(hook.url, "").strip()
    if not url:
        return "the environment variable is not set"
    try:
        status = send(Call("the webhook", url, body, bearer(""), hook.timeout_s))
    except ProviderError as error:
        return type(error).__name__  # its words would show the URL
    return "" if 200 <= status < 300 else f"it answered {status}"


def _run(hook: AlertParams, body: bytes) -> str:
    """Return why a command did not take it, "" where it did; one that takes too long is killed with its children."""
    try:
        child = subprocess.Popen(
            hook.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"it could not be started ({type(error).__name__})"
    with child:
        try:
            child.communicate(body, timeout=hook.timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            return f"it took longer than {hook.timeout_s:g} s"
    return "" if child.returncode == 0 else f"it ended with exit code {child.returncode}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
