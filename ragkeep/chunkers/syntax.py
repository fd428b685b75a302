"""The outline of a source file: which rows belong to which definition, read from its syntax tree.

Rows are 0-based lines ended by a line feed, as tree-sitter counts them. Items of one level cover their parent's rows:
what stands between two (blank lines, a closing brace) belongs to the first, comments right above to the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .languages import LANGUAGES, Language, name_of, parser, unwrap

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["function", "container", "block", "import", "text", "statement"]
_DEPTH = 40  # containers and blocks nested deeper are not looked into
_LARGEST = 4_000_000  # characters; beyond, a file is data or generated, and is cut by lines


@dataclass(slots=True)
class Item:
    """A definition or statement from row `first` on; `name` is qualified, "" for a statement.

    Of kind "text" are docstrings and comments, of kind "block" statements that hold other statements.
    """

    first: int
    last: int  # the row after its last
    kind: Kind
    name: str = ""
    children: list[Item] = field(default_factory=list)
    node: Node | None = None


@dataclass(slots=True)
class Outline:
    """The items of a module, and (row, qualified name) of everything it defines at module or class level."""

    items: list[Item]
    names: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class _Reader:
    language: Language
    python: bool
    names: list[tuple[int, str]]


def outline(text: str, language: str, module: str) -> Outline:
    """Parse a file and outline it; no items for a language without a grammar. Broken syntax is read around."""
    if language not in LANGUAGES or len(text) > _LARGEST:
        return Outline([], [])
    root = parser(language).parse(text.encode("utf-8", "replace")).root_node
    reader = _Reader(LANGUAGES[language], language == "python", [])
    scope = module if language == "python" else f"{module}:"
    items = _items(reader, root.named_children, scope, 0)
    return Outline(_sound(items, root) if root.type == "ERROR" else items, sorted(reader.names))


def inside(item: Item, language: str) -> list[Item]:
    """Outline a function that is too large to be one chunk: its statements and local functions."""
    if item.node is None:
        return []
    reader = _Reader(LANGUAGES[language], False, [])
    return _items(reader, _members(reader, item.node), item.name, 0)


def _members(reader: _Reader, node: Node, depth: int = 0) -> Iterator[Node]:
    for child in node.named_children:
        if child.type in reader.language.bodies and depth < _DEPTH:
            yield from _members(reader, child, depth + 1)
        else:
            yield child


def _items(reader: _Reader, nodes: Iterable[Node], scope: str, depth: int) -> list[Item]:
    """Outline neighbours: each row to one item, comments to the definition right below them."""
    found: list[Item] = []
    comment: Item | None = None
    column = 0  # where the statement above begins: a comment further in belongs to it
    for node in nodes:
        item = _item(reader, node, scope, depth)
        leading = node.type in reader.language.leading
        if leading and found and comment is None and node.start_point[1] > column:
            found[-1].last = max(found[-1].last, item.last)
            continue
        if leading and not (found and item.first < found[-1].last):
            above = comment is not None and comment.last == item.first
            comment = Item(comment.first if above and comment else item.first, item.last, "text")
            if above:
                found[-1] = comment
            else:
                found.append(comment)
            continue
        if comment is not None and comment.last == item.first and item.kind in ("function", "container"):
            item.first = comment.first
            found.pop()
        comment, column = None, node.start_point[1]
        if found and item.first < found[-1].last:
            _join(found[-1], item)
        else:
            found.append(item)
    return found


def _join(above: Item, item: Item) -> None:
    """Two statements on one row are one item; it keeps the larger one's kind and name."""
    if item.last - item.first > above.last - above.first:
        above.kind, above.name, above.children, above.node = item.kind, item.name, item.children, item.node
    above.last = max(above.last, item.last)


def _item(reader: _Reader, node: Node, scope: str, depth: int) -> Item:
    language = reader.language
    row, end = node.start_point[0], node.end_point
    item = Item(row, max(end[0] + (end[1] > 0), row + 1), "statement")
    inner = unwrap(node, language)
    name = name_of(inner) if inner.type in language.functions or inner.type in language.containers else ""
    if name:
        item.name, item.node = _qualify(scope, name), inner
        item.kind = "container" if inner.type in language.containers else "function"
        reader.names.append((row, item.name))
    elif node.type in language.imports:
        item.kind = "import"
    elif node.type in language.blocks:
        item.kind, item.node, item.name = "block", node, scope
    elif node.type == "expression_statement":
        _statement(reader, item, node, scope)
    if item.kind in ("container", "block") and depth < _DEPTH:
        item.children = _items(reader, _members(reader, inner), item.name, depth + 1)
    if node.type == "ERROR":
        item.children = _sound(item.children, node)
        item.kind = "block" if item.children else "text"
    return item


def _sound(items: list[Item], node: Node) -> list[Item]:
    """Keep the definitions found in what could not be parsed; the rows between them are text, to be cut by lines."""
    made: list[Item] = []
    done, end = node.start_point[0], node.end_point[0] + 1
    for item in (i for i in items if i.kind in ("function", "container")):
        if item.first > done:
            made.append(Item(done, item.first, "text"))
        made.append(item)
        done = item.last
    if made and done < end:
        made.append(Item(done, end, "text"))
    return made


def _statement(reader: _Reader, item: Item, node: Node, scope: str) -> None:
    """A docstring is text; an assignment to a name defines it."""
    if not reader.python or node.named_child_count == 0:
        return
    first = node.named_children[0]
    if first.type == "string":
        item.kind = "text"
    left = first.child_by_field_name("left") if first.type == "assignment" else None
    if left is not None and left.type == "identifier" and left.text:
        reader.names.append((item.first, _qualify(scope, left.text.decode())))


def _qualify(scope: str, name: str) -> str:
    return f"{scope} {name}" if scope.endswith(":") else f"{scope}.{name}" if scope else name
