"""What the command line calls: decide before Prefect is imported whether there is anything to do, then start it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.errors import ReleaseError
from ragkeep.releases import pointer
from ragkeep.stores import open_store
from ragkeep.trials import trial_path
from ragkeep.types import Release

from . import watch
from .lease import hold
from .unchanged import fingerprint, last_result, note


def prefect_settings(paths: Paths, *, logging_level: str = "CRITICAL") -> None:
    """Keep Prefect's files in the project, its telemetry off, and give its server time on a slow machine.

    By default it logs nothing: a failed stage says why in one line, and Prefect would add the traceback twice.
    """
    defaults = {
        "PREFECT_HOME": str(paths.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": logging_level,
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # its server does not make the folders above


def start(paths: Paths, params: Params, *, force: bool = False) -> dict[str, Any]:
    """Run the night, or say that nothing changed. Raises Busy, and what the stages raise."""
    began = time.monotonic()
    with _stoppable(), hold(paths.state / "lease.sqlite") as lease:
        try:
            last = None if force or _decided(paths) else last_result(paths, params, fingerprint(paths, params))
            result = None if last is None else watch.unchanged(paths, params, last, began)
        except Exception as error:
            from .report import stopped

            stopped(paths, error, began=began)
            watch.failed(paths, params, error)
            raise
        if result is not None:
            note(paths, result)
            return result
        prefect_settings(paths)
        from .nightly import nightly

        made: dict[str, Any] = nightly(lease=lease, force=True)
        return made


def _decided(paths: Paths) -> bool:
    """Whether people have decided a trial, which the night then carries out."""
    if not trial_path(paths).exists():
        return False
    from .trials import due

    return due(paths) is not None


def learn(paths: Paths, params: Params, *, require_approval: bool = False) -> dict[str, Any]:  # noqa: ARG001 - as `start`
    """Learn from the interactions. Raises Busy, LearnError, and what the stages raise."""
    with _stoppable(), hold(paths.state / "lease.sqlite") as lease:
        prefect_settings(paths)
        from .learn import learn as flow

        made: dict[str, Any] = flow(lease=lease, require_approval=require_approval)
        return made


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM mean what Ctrl-C does, and either be told as that.

    Prefect's own server hears a signal of the process group too. Where it goes first its absence would be the error.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BaseException as error:
        if _was_stopped(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _was_stopped(error: BaseException | None) -> bool:
    """Whether an error came of a signal, which Prefect, where it was imported, raises as its own."""
    exceptions = sys.modules.get("prefect.exceptions")
    signals = (KeyboardInterrupt, *([exceptions.TerminationSignal] if exceptions else []))
    while error is not None and not isinstance(error, signals):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error is not None


def move(paths: Paths, params: Params, action: str, *, expect: int | None = None, **options: Any) -> Release:
    """Promote a release or roll back, under the lease. Raises ReleaseError where `expect` is not the champion."""
    from .publish import promote, recover, rollback

    with hold(paths.state / "lease.sqlite") as lease:
        now = pointer(paths)
        if expect is not None and (now is None or now.number != expect):
            raise ReleaseError(f"the champion is {now.number if now else 'none'} and not {expect}: look again")
        store = open_store(params.index, paths)
        recover(paths, lambda: store, lease=lease)
        made = (rollback if action == "rollback" else promote)(paths, store, lease=lease, **options)
        watch.moved(paths, params)
        return made
