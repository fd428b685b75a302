"""Find where a qualified name is defined, by parsing the documents themselves: no chunker is asked.

`json.load` is looked up in `<source>/json/__init__.py` or `<source>/json.py`. Names a module re-exports are followed
(`from .decoder import JSONDecoder`, `import posixpath as path`, `from x import *`), so are inherited methods, and names
bound to another name or to a method of an instance (`randint = _inst.randint`).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Span = tuple[str, int, int]
"""(uri, start, end): characters of a document's text."""
_DEPTH = 12
_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed Python document; `names` maps what it binds to the statements that bind it."""

    name: str
    uri: str
    length: int
    lines: tuple[int, ...]
    package: bool
    names: dict[str, list[ast.AST]] = field(repr=False)
    stars: tuple[str, ...] = ()

    def span(self, node: ast.AST) -> Span:
        """Return the whole lines of a definition, decorators included."""
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])  # type: ignore[attr-defined]
        last = node.end_lineno  # type: ignore[attr-defined]
        end = self.lines[last] if last < len(self.lines) else self.length
        return self.uri, self.lines[first - 1], end


class Names:
    """Resolves names of one source; keeps the modules it has parsed."""

    def __init__(self, text: Callable[[str], str | None], source: str = "stdlib") -> None:
        self._text, self._source = text, source
        self._modules: dict[str, Module | None] = {}

    def find(self, name: str) -> list[Span]:
        """Return every definition of a qualified name, [] where there is none; a module is its whole document."""
        parts = name.split(".")
        for cut in range(len(parts), 0, -1):
            module = self._module(".".join(parts[:cut]))
            found = self._lookup(module, parts[cut:], 0) if module else []
            if found:
                return list(dict.fromkeys(found))
        return []

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            base = f"{self._source}/{name.replace('.', '/')}"
            tried = ((uri, self._text(uri)) for uri in (f"{base}/__init__.py", f"{base}.py"))
            self._modules[name] = next((_parse(name, uri, text) for uri, text in tried if text is not None), None)
        return self._modules[name]

    def _lookup(self, module: Module, rest: list[str], depth: int) -> list[Span]:
        if not rest:
            return [(module.uri, 0, module.length)]
        if depth > _DEPTH:
            return []
        found: list[Span] = []
        for node in module.names.get(rest[0], []):
            found += self._follow(module, node, rest, depth + 1)
        for star in () if found else module.stars:
            target = self._module(star)
            found += self._lookup(target, rest, depth + 1) if target else []
        return found

    def _follow(self, module: Module, node: ast.AST, rest: list[str], depth: int) -> list[Span]:
        """Find `rest`, whose first part `node` binds in `module`."""
        if isinstance(node, ast.ClassDef):
            return self._in_class(module, node, rest, depth)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._in_body(module, node.body, rest, depth) if rest[1:] else [module.span(node)]
        if isinstance(node, ast.ImportFrom | ast.Import):
            return self._imported(module, node, rest, depth)
        return self._assigned(module, node, rest, depth)

    def _in_class(self, module: Module, node: ast.ClassDef, rest: list[str], depth: int) -> list[Span]:
        if not rest[1:]:
            return [module.span(node)]
        found = self._in_body(module, node.body, rest, depth)
        for base in () if found else node.bases:
            found = found or self._lookup(module, [*_dotted(base), *rest[1:]] if _dotted(base) else ["?"], depth)
        return found

    def _in_body(self, module: Module, body: list[ast.stmt], rest: list[str], depth: int) -> list[Span]:
        nodes = _bindings(body).get(rest[1], [])
        return [span for node in nodes for span in self._follow(module, node, rest[1:], depth + 1)]

    def _imported(self, module: Module, node: ast.Import | ast.ImportFrom, rest: list[str], depth: int) -> list[Span]:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom) and (alias.asname or alias.name) == rest[0]:
                origin = _origin(module, node)
                source = self._module(origin)
                inner = self._module(f"{origin}.{alias.name}")
                found = self._lookup(source, [alias.name, *rest[1:]], depth) if source else []
                return found or (self._lookup(inner, rest[1:], depth) if inner else [])
            if isinstance(node, ast.Import) and alias.asname == rest[0]:
                target = self._module(alias.name)
                return self._lookup(target, rest[1:], depth) if target else []
        return []

    def _assigned(self, module: Module, node: ast.AST, rest: list[str], depth: int) -> list[Span]:
        """`x = y` is followed to y, `x = Y()` to Y's attributes; what leads nowhere is the statement itself."""
        value = getattr(node, "value", None)
        called = value.func if isinstance(value, ast.Call) and rest[1:] else value
        target = _dotted(called)
        if target and target[0] != rest[0]:
            found = self._lookup(module, [*target, *rest[1:]], depth)
            if found:
                return found
        return [] if rest[1:] else [module.span(node)]


def _parse(name: str, uri: str, text: str) -> Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    lines = (0, *(m.end() for m in _NEWLINE.finditer(text)))
    bare = Module(name, uri, len(text), lines, uri.endswith("/__init__.py"), {})
    stars = tuple(
        _origin(bare, node)
        for node in _statements(tree.body)
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    )
    return Module(name, uri, len(text), lines, bare.package, _bindings(tree.body), stars)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a scope, those under if, try, with and loops too."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)


def _bindings(body: list[ast.stmt]) -> dict[str, list[ast.AST]]:
    found: dict[str, list[ast.AST]] = {}
    for node in _statements(body):
        for name in _bound(node):
            found.setdefault(name, []).append(node)
    return found


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    if isinstance(node, ast.Assign):
        return [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


def _origin(module: Module, node: ast.ImportFrom) -> str:
    """Name the module an import reads from, relative ones included."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - node.level + module.package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _dotted(node: ast.AST | None) -> list[str]:
    """`a.b.c` as its parts, [] for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return [*inner, node.attr] if inner else []
    return []
