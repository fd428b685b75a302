"""`ragkeep schedule`: the nightly on a cron, from this process and a Prefect server of its own beside it.

The server that Prefect starts by itself for a single run has no scheduler: served from it, no night would ever begin.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from ragkeep.config import Paths
from ragkeep.errors import ConfigError, RagkeepError

from .start import prefect_settings

STARTUP_S = 120.0


def cron_schedule(paths: Paths, cron: str, timezone: str) -> Any:
    """Make a schedule of Prefect's. Raises ConfigError where it is none."""
    prefect_settings(paths, logging_level="INFO")  # nobody waits for a result: the log tells how each night ended
    from prefect.client.schemas.schedules import CronSchedule

    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValueError as error:
        raise ConfigError(
            f"--cron {cron!r} with --timezone {timezone!r} is no schedule: write e.g. --cron '0 2 * * *' --timezone UTC"
        ) from error


def serve(schedule: Any) -> None:
    """Serve the nightly on a schedule until this process is stopped; its log is on stderr."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from .nightly import nightly

    with contextlib.ExitStack() as stack:
        if not PREFECT_API_URL.value():
            url = stack.enter_context(server())
            stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        nightly.serve(name="nightly", schedules=[schedule], limit=1, print_starting_message=False)


@contextmanager
def server() -> Iterator[str]:
    """Run a Prefect server on this machine for as long as a block runs; yield its address. Raises RagkeepError."""
    _require_scheduler()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    process = subprocess.Popen([*command, "--log-level", "ERROR"], stdout=subprocess.DEVNULL)
    try:
        _await(process, f"http://127.0.0.1:{port}/api/health")
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        process.wait()


def _require_scheduler() -> None:
    version = metadata.version("sqlalchemy")
    if not version.startswith("2.0."):  # "Can't evaluate bulk DML statement", every time a run is to be planned
        raise ConfigError(
            f"prefect's scheduler fails with sqlalchemy {version} and would never begin a night: install "
            "'sqlalchemy<2.1', or name a Prefect server that runs elsewhere in PREFECT_API_URL"
        )


def _await(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + STARTUP_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
            return
        time.sleep(0.5)
    raise RagkeepError(
        f"Prefect's server did not start within {STARTUP_S:.0f} s: `{sys.executable} -m prefect server start` shows why, "
        f"or name a running one in PREFECT_API_URL (PREFECT_HOME is {os.environ['PREFECT_HOME']})"
    )
