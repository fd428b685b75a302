"""What every command shares: results on stdout, everything else on stderr, one line for an error, a last line "Next:"."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .config import find_project, load_params
from .errors import ConfigError

if TYPE_CHECKING:
    from .config import Params, Paths

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]


def project() -> tuple[Paths, Params]:
    """Find the project and read its params.yaml. Raises ConfigError."""
    paths = find_project()
    return paths, load_params(paths.params)


def room(name: str) -> Any:
    """Import a module of the checkout by name, late. Raises ConfigError where there is no checkout."""
    root = str(find_project().root)
    if root not in sys.path:
        sys.path.append(root)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] not in ("flows", "tasks", "evaluation"):
            raise ConfigError(f"this command needs {error.name}: run it in the project with `uv run ragkeep`") from error
        raise ConfigError(
            "this command needs the project's checkout (flows/, tasks/, evaluation/): run it there with `uv run ragkeep`"
        ) from error


@contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Send what libraries and child processes print to stdout to stderr, so that stdout holds results only."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def fail(message: str, code: int) -> NoReturn:
    """Say on one line of stderr what is wrong, and again as JSON where that was asked for; exit."""
    sys.stderr.write(f"ragkeep: {' '.join(message.split())}\n")
    end(message, code)


def end(message: str, code: int) -> NoReturn:
    """Exit for a reason that was told already, other than in JSON."""
    if "--json" in sys.argv:
        emit_json({"error": message, "exit_code": code})
    sys.exit(code)


def emit_json(value: Any) -> None:
    """Print one JSON object as the last line of stdout; numbers that are not finite become null."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Print a line for a person, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: drawn on a terminal, tab-separated elsewhere."""
    if not sys.stdout.isatty():
        say("\t".join(columns))
        for row in rows:
            say("\t".join(_cell(c) for c in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left")
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*(Text(_cell(c)) for c in row))
    Console().print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def next_step(text: str) -> None:
    """Say what a person would do next."""
    say(f"Next: {text}")
