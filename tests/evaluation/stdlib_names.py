"""Find where a dotted name is defined in the standard library's own sources, with nothing but ast.

Runs under any Python from 3.11 on, so that a set can be held against versions the tests do not run on:

    python3.13 tests/evaluation/stdlib_names.py evaluation/sets/stdlib.jsonl

prints every name that has no definition there and every quote that is gone, and exits 1 when there is one.
"""

from __future__ import annotations

import ast
import functools
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

STDLIB = Path(sysconfig.get_path("stdlib"))
EXCLUDED = {"test", "tests", "idlelib", "site-packages"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_file(module: str) -> Path | None:
    """Path of a module's source in the corpus, None for modules in C and those left out."""
    parts = module.split(".")
    base = STDLIB.joinpath(*parts)
    found = [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]
    return found[0] if found and not EXCLUDED & set(parts) else None


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a scope, looking into if, try and with, not into functions and classes."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for field in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def imported(node: ast.ImportFrom, module: str, path: Path) -> str:
    """Absolute name of the module that `from ... import` reads."""
    if not node.level:
        return node.module or ""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def in_module(module: str, name: str, seen: frozenset[str] = frozenset()) -> tuple[Path, Definition] | None:
    """Definition of a top-level name of a module: its own, else one it re-exports from another module."""
    path = module_file(module)
    if path is None or module in seen:
        return None
    nodes = list(statements(parsed(path).body))
    for node in nodes:
        if isinstance(node, Definition) and node.name == name:
            return path, node
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                exported = alias.name == "*" and not name.startswith("_")
                if exported or (alias.asname or alias.name) == name:
                    wanted = name if alias.name == "*" else alias.name
                    found = in_module(imported(node, module, path), wanted, seen | {module})
                    if found:
                        return found
    return None


def find(name: str) -> tuple[Path, Definition] | None:
    """Find the definition of `module.qualname`; None where the sources hold none."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        found = in_module(".".join(parts[:cut]), parts[cut])
        for part in parts[cut + 1 :]:
            inside = statements(found[1].body) if found else ()
            inner = [n for n in inside if isinstance(n, Definition) and n.name == part]
            found = (found[0], inner[0]) if found and inner else None
        if found:
            return found
    return None


def labels(path: Path) -> list[dict[str, str]]:
    """All labels of a set."""
    return [label for line in path.read_text(encoding="utf-8").splitlines() for label in json.loads(line)["labels"]]


def names(path: Path) -> list[str]:
    """All names that the labels of a set give."""
    return sorted({label["name"] for label in labels(path) if "name" in label})


def lost_quotes(path: Path) -> list[str]:
    """Quotes from the standard library that do not stand exactly once in their file."""
    found = [
        (STDLIB / label["document"].removeprefix("stdlib/"), label["quote"]) for label in labels(path) if "quote" in label
    ]
    return [quote for file, quote in found if file.read_text(encoding="utf-8").count(quote) != 1]


if __name__ == "__main__":
    golden = Path(sys.argv[1])
    missing = [name for name in names(golden) if find(name) is None] + lost_quotes(golden)
    sys.stdout.write("".join(f"{name}\n" for name in missing))
    sys.exit(bool(missing))
