"""What every stage's `main` shares: find the project, run, report, turn errors into one line.

Run-dependent numbers (seconds, how much was reused) go to `<state>/stages/<name>.json`, never into an output: equal
inputs give equal outputs. DVC runs `python -m tasks.<name>`.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ragkeep.config import Params, Paths, find_project, load_params
from ragkeep.errors import RagkeepError, describe
from ragkeep.files import write_json, write_text
from tasks.alone import end_with, end_with_the_night, stage_lock

Stage = Callable[[Paths, Params], dict[str, Any]]
STOPPED = 130
"""Exit code of a stage that Ctrl-C stopped."""

if multiprocessing.parent_process() is not None:
    end_with(os.getppid())  # a worker of a stage, which must not go on writing when its stage was killed


def stage_main(name: str, run: Stage) -> None:
    """Run one stage as a process: exit 0, or print one line and exit with the error's code.

    Waits a minute for another stage that is running, and ends when the night that started it is gone.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    end_with_the_night()
    try:
        paths = find_project()
        with stage_lock(paths.state / "stage.lock", name):
            run_stage(name, run, paths)
    except KeyboardInterrupt:
        _fail(name, "stopped; what was finished is kept", STOPPED)
    except RagkeepError as error:
        _fail(name, str(error), error.exit_code)
    except OSError as error:
        _fail(name, describe(error), 1)
    except Exception as error:  # a defect, or a library's own exception: it says the same again, so no retry
        _fail(name, _unexpected(name, error), 1)


def _unexpected(name: str, error: Exception) -> str:
    """Say in one line what broke, and leave the traceback where it can be found."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    try:
        path = find_project().state / "stages" / f"{name}.traceback.txt"
        write_text(path, traceback.format_exc())
    except (OSError, RagkeepError):
        traceback.print_exc()
        return f"{said}; the traceback is above"
    return f"{said}; {path} holds the traceback"


def _fail(name: str, message: str, exit_code: int) -> None:
    """Print one line, leave it for the flow that started this process, and exit."""
    sys.stderr.write(f"{name}: {message}\n")
    with contextlib.suppress(OSError, RagkeepError):
        note = find_project().state / "stages" / f"{name}.error.json"
        write_json(note, {"error": message, "exit_code": exit_code})
    sys.exit(exit_code)


def run_stage(name: str, run: Stage, paths: Paths) -> dict[str, Any]:
    """Run a stage in this process and record its statistics and seconds."""
    began, cpu = time.monotonic(), time.process_time()
    stats = run(paths, load_params(paths.params))
    stats["seconds"] = round(time.monotonic() - began, 3)
    stats["cpu_seconds"] = round(time.process_time() - cpu, 3)
    write_json(paths.state / "stages" / f"{name}.json", stats)
    shown = ", ".join(f"{k} {v}" for k, v in stats.items() if isinstance(v, int | float | str))
    sys.stderr.write(f"{name}: {shown}\n")
    return stats


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress with rate and time left on a terminal, a plain line every ten seconds otherwise.

    Yields a function to call with how much more is done.
    """
    if sys.stderr.isatty():
        with _bar(label, total) as move:
            yield move
        return
    done, began, said = 0, time.monotonic(), time.monotonic()

    def advance(n: int) -> None:
        nonlocal done, said
        done += n
        now = time.monotonic()
        if now - said >= 10:
            said = now
            rate = done / (now - began)
            left = (total - done) / rate if rate else 0
            sys.stderr.write(f"{label}: {done:,} of {total:,}, {rate:,.0f}/s, about {left:,.0f} s left\n")

    yield advance


@contextmanager
def ticking(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress likewise; yields a function to call with how much is done, of how much."""
    with progress(label, 100) as advance:
        shown = 0

        def tick(done: int, total: int) -> None:
            nonlocal shown
            percent = 100 * done // max(total, 1)
            if percent > shown:
                advance(percent - shown)
                shown = percent

        yield tick


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class Rate(ProgressColumn):
        def render(self, task: Task) -> str:
            return f"{task.speed:,.0f}/s" if task.speed else ""

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)
