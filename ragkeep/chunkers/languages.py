"""What a definition looks like in each language: the node types of its tree-sitter grammar, and where names stand.

A language is a line in LANGUAGES and a grammar wheel. Grammars are imported when first used.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ragkeep.errors import MissingExtra

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@dataclass(frozen=True, slots=True)
class Language:
    """Node types by what they mean to a chunker.

    `containers` define a name and hold further definitions; `blocks` are statements that may hold definitions and
    add no name; `bodies` are what stands between their braces; `wrappers` stand around one definition (decorators,
    `export`); `leading` belongs to the definition after it.
    """

    grammar: str  # "module:function"
    functions: frozenset[str]
    containers: frozenset[str]
    bodies: frozenset[str]
    blocks: frozenset[str] = frozenset({"ERROR"})
    wrappers: frozenset[str] = frozenset()
    leading: frozenset[str] = frozenset({"comment"})
    imports: frozenset[str] = frozenset()


def _language(grammar: str, **types: str) -> Language:
    return Language(grammar, **{name: frozenset(value.split()) for name, value in types.items()})


_JAVASCRIPT = {
    "functions": "function_declaration generator_function_declaration method_definition function_signature "
    "lexical_declaration variable_declaration field_definition public_field_definition abstract_method_signature "
    "type_alias_declaration enum_declaration method_signature",
    "containers": "class_declaration abstract_class_declaration interface_declaration internal_module module",
    "bodies": "class_body statement_block interface_body object_type",
    "wrappers": "export_statement ambient_declaration expression_statement",
    "leading": "comment decorator",
    "imports": "import_statement",
}
_C = {
    "functions": "function_definition type_definition struct_specifier enum_specifier union_specifier "
    "preproc_function_def declaration",
    "containers": "",
    "bodies": "declaration_list compound_statement preproc_else preproc_elif",
    "blocks": "preproc_ifdef preproc_if linkage_specification ERROR",
    "leading": "comment",
    "imports": "preproc_include",
}
LANGUAGES = {
    "python": _language(
        "tree_sitter_python:language",
        functions="function_definition",
        containers="class_definition",
        bodies="block else_clause elif_clause except_clause finally_clause case_clause",
        blocks="if_statement try_statement with_statement for_statement while_statement match_statement ERROR",
        wrappers="decorated_definition",
        imports="import_statement import_from_statement future_import_statement",
    ),
    "javascript": _language("tree_sitter_javascript:language", **_JAVASCRIPT),
    "typescript": _language("tree_sitter_typescript:language_typescript", **_JAVASCRIPT),
    "tsx": _language("tree_sitter_typescript:language_tsx", **_JAVASCRIPT),
    "go": _language(
        "tree_sitter_go:language",
        functions="function_declaration method_declaration type_declaration",
        containers="",
        bodies="block statement_list",
        imports="import_declaration package_clause",
    ),
    "java": _language(
        "tree_sitter_java:language",
        functions="method_declaration constructor_declaration compact_constructor_declaration "
        "annotation_type_declaration",
        containers="class_declaration interface_declaration enum_declaration record_declaration",
        bodies="class_body interface_body enum_body enum_body_declarations block constructor_body",
        leading="line_comment block_comment",
        imports="import_declaration package_declaration",
    ),
    "rust": _language(
        "tree_sitter_rust:language",
        functions="function_item struct_item enum_item union_item macro_definition type_item function_signature_item",
        containers="impl_item trait_item mod_item",
        bodies="declaration_list block",
        leading="line_comment block_comment attribute_item",
        imports="use_declaration extern_crate_declaration",
    ),
    "c": _language("tree_sitter_c:language", **_C),
    "cpp": _language(
        "tree_sitter_cpp:language",
        **{
            **_C,
            "functions": _C["functions"].replace("struct_specifier ", "") + " alias_declaration field_declaration",
            "containers": "class_specifier struct_specifier namespace_definition",
            "bodies": _C["bodies"] + " field_declaration_list",
            "wrappers": "template_declaration",
        },
    ),
}
_NAMES = {
    "identifier", "type_identifier", "field_identifier", "qualified_identifier", "destructor_name", "operator_name",
}  # fmt: skip


GRAMMARS = tuple(sorted({each.grammar.partition(":")[0].replace("_", "-") for each in LANGUAGES.values()}))
"""The packages that carry the grammars."""


@cache
def parser(language: str) -> Parser:
    """Load a language's grammar. Raises MissingExtra where its wheel is not installed."""
    module, _, function = LANGUAGES[language].grammar.partition(":")
    try:
        import tree_sitter

        grammar = getattr(importlib.import_module(module), function)()
    except ImportError as error:
        raise MissingExtra(f"reading {language}", "code") from error
    return tree_sitter.Parser(tree_sitter.Language(grammar))


def unwrap(node: Node, language: Language) -> Node:
    """Find the definition inside decorators, `export`, `template<...>`; other nodes are returned as they are."""
    while node.type in language.wrappers:
        inner = [c for c in node.named_children if c.type in language.functions | language.containers | language.wrappers]
        if not inner:
            return node
        node = inner[-1]
    return node


def name_of(node: Node) -> str:
    """Read the name a definition binds, "" where it binds none that can be looked up (a local, a plain variable)."""
    if node.type in ("lexical_declaration", "variable_declaration"):
        return _assigned_function(node)
    if node.type == "method_declaration" and (receiver := node.child_by_field_name("receiver")):
        return f"{_receiver(receiver)}.{_text(node.child_by_field_name('name'))}"
    if node.type == "impl_item":
        return _plain(_text(node.child_by_field_name("type")))
    if node.type == "type_declaration":
        return ", ".join(_text(spec.child_by_field_name("name")) for spec in node.named_children[:1])
    if node.type in ("declaration", "field_declaration") and not _declares_function(node):
        return ""
    named = node.child_by_field_name("name")
    return _text(named) if named is not None else _declared(node)


def _declared(node: Node) -> str:
    """Follow the declarators of C and C++ to the name inside them."""
    inner: Node | None = node
    for _ in range(8):
        if inner is None or inner.type in _NAMES:
            break
        reference = inner.type == "reference_declarator"  # the one declarator whose content has no field name
        inner = inner.named_children[-1] if reference else inner.child_by_field_name("declarator")
    return _text(inner).replace("::", ".") if inner is not None and inner is not node else ""


def _declares_function(node: Node) -> bool:
    inner = node.child_by_field_name("declarator")
    while inner is not None and inner.type in ("pointer_declarator", "reference_declarator"):
        inner = inner.named_children[-1] if inner.named_children else None
    return inner is not None and inner.type == "function_declarator"


def _assigned_function(node: Node) -> str:
    """`const f = () => ...` defines f; other variables are not definitions."""
    for child in node.named_children:
        value = child.child_by_field_name("value")
        if value is not None and value.type in ("arrow_function", "function_expression", "function", "class"):
            return _text(child.child_by_field_name("name"))
    return ""


def _receiver(node: Node) -> str:
    return _plain(_text(node).strip("()").split()[-1].lstrip("*")) if _text(node).strip("() ") else ""


def _plain(name: str) -> str:
    """Drop type arguments: `Box<T>` is Box, `List[T]` is List."""
    return name.split("<")[0].split("[")[0].strip()


def _text(node: Node | None) -> str:
    raw = node.text if node is not None else None
    return " ".join(raw.decode("utf-8", "replace").split())[:120] if raw else ""
