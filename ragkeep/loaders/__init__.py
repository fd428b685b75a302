"""Files to text: one table from suffix to loader, loaded when a file of that kind is first met.

A loader is a function `(name, data) -> Iterator[Extract]` (see ports.Loader) that runs in the sandbox's child
process. Adding a format is one function and one line here; a change to a loader's code parses its documents again.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ..types import content_id

if TYPE_CHECKING:
    from ..ports import Loader

TRANSIENT = frozenset({"changed", "stalled", "unreadable"})
"""Reasons that belong to the moment, not to the bytes: such a file is tried again every night."""


class Unreadable(Exception):
    """A document that gives no text: `reason` is a short code that is counted, `detail` a sentence for people.

    Codes: encrypted, damaged, encoding, empty, binary, unsupported, too_large_output, memory, timeout (too much CPU),
    stalled (no answer in time: a busy machine, a slow disk), crash, changed, unreadable.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def names(text: str) -> frozenset[str]:
    """Set of the words of a text: tables of element names stay readable this way."""
    return frozenset(text.split())


LOADERS = {
    "code": "ragkeep.loaders.text:code",
    "csv": "ragkeep.loaders.tabular:csv_rows",
    "docx": "ragkeep.loaders.docx:docx",
    "html": "ragkeep.loaders.markup:html",
    "json": "ragkeep.loaders.tabular:json_records",
    "jsonl": "ragkeep.loaders.tabular:json_lines",
    "metadata": "ragkeep.loaders.metadata:metadata",
    "notebook": "ragkeep.loaders.tabular:notebook",
    "odf": "ragkeep.loaders.odf:odf",
    "pdf": "ragkeep.loaders.pdf:pdf",
    "pptx": "ragkeep.loaders.pptx:pptx",
    "prose": "ragkeep.loaders.text:prose",
    "xlsx": "ragkeep.loaders.xlsx:xlsx",
    "xml": "ragkeep.loaders.markup:xml",
}

LIBRARIES = {"encoding": "charset-normalizer", "markup": "trafilatura", "pdf": "pypdfium2"}
"""Libraries that decide what a module of ours reads: their release is part of a loader's version."""
_PACKAGE = Path(__file__).parent.parent
_IMPORT = re.compile(r"^ *from \.(?:\.(?=encoding))?(\w+) import", re.MULTILINE)

LANGUAGES = {
    "c": ".c .h",
    "cpp": ".cc .cpp .cxx .hh .hpp .hxx",
    "csharp": ".cs",
    "css": ".css .scss .less",
    "dart": ".dart",
    "elixir": ".ex .exs",
    "erlang": ".erl",
    "go": ".go",
    "haskell": ".hs",
    "java": ".java",
    "javascript": ".js .mjs .cjs .jsx",
    "julia": ".jl",
    "kotlin": ".kt .kts",
    "lua": ".lua",
    "objc": ".m .mm",
    "perl": ".pl .pm",
    "php": ".php",
    "protobuf": ".proto",
    "python": ".py .pyi .pyw",
    "r": ".r",
    "ruby": ".rb",
    "rust": ".rs",
    "scala": ".scala",
    "shell": ".sh .bash .zsh",
    "sql": ".sql",
    "swift": ".swift",
    "terraform": ".tf",
    "toml": ".toml",
    "tsx": ".tsx",
    "typescript": ".ts .mts .cts",
    "yaml": ".yaml .yml",
}
PROSE = {
    "asciidoc": ".adoc .asciidoc",
    "latex": ".tex",
    "markdown": ".md .markdown .mdx",
    "rst": ".rst",
    "text": ".txt .text .log .vtt .srt",
}
FORMATS = {
    "csv": ".csv .tsv",
    "docx": ".docx .docm .dotx",
    "html": ".html .htm .xhtml",
    "json": ".json .geojson",
    "jsonl": ".jsonl .ndjson",
    "notebook": ".ipynb",
    "odf": ".odt .ods .odp .ott",
    "pdf": ".pdf",
    "pptx": ".pptx .pptm .ppsx",
    "xlsx": ".xlsx .xlsm",
    "xml": ".xml .nxml .jats .rss .atom .dita",
}


def _by_suffix(table: dict[str, str]) -> dict[str, str]:
    return {suffix: name for name, suffixes in table.items() for suffix in suffixes.split()}


LANGUAGE_OF = _by_suffix(LANGUAGES) | _by_suffix(PROSE)
"""Suffix to language tag, of what is read as it stands."""
SUFFIXES = dict.fromkeys(_by_suffix(LANGUAGES), "code") | dict.fromkeys(_by_suffix(PROSE), "prose") | _by_suffix(FORMATS)
"""Suffix to a name in LOADERS."""
SUPPORTED = frozenset(SUFFIXES)
"""Suffixes, lower case, with a loader; besides them `*.dist-info/METADATA` and README, LICENSE without one."""
PLAIN_NAMES = frozenset({"readme", "license", "licence", "copying", "notice", "authors", "changelog", "changes", "news"})


def loader_for(path: PurePath) -> tuple[str, str] | None:
    """Name the loader of a file and its version, from the file's name alone; None where there is none."""
    suffix = path.suffix.lower()
    name = SUFFIXES.get(suffix)
    if name is None and path.name == "METADATA" and path.parent.suffix == ".dist-info":
        name = "metadata"
    if name is None and not suffix and path.name.lower() in PLAIN_NAMES:
        name = "prose"
    return None if name is None else (name, version_of(name))


@lru_cache
def version_of(name: str) -> str:
    """Hash what decides what a loader makes of a file: its source, what that imports of ours, and their libraries.

    An edit of any of them parses the loader's files again; nothing is imported to find out.
    """
    modules = _modules(LOADERS[name].partition(":")[0].rpartition(".")[2])
    releases = [_release(LIBRARIES[module]) for module in sorted(modules) if module in LIBRARIES]
    shared = [_PACKAGE / "loaders" / "__init__.py", _PACKAGE / "reader.py"]
    sources = [path.read_text(encoding="utf-8") for path in (*map(_source, sorted(modules)), *shared)]
    return content_id(*sources, *releases)


def _source(module: str) -> Path:
    return (_PACKAGE if module == "encoding" else _PACKAGE / "loaders") / f"{module}.py"


def _modules(module: str) -> set[str]:
    """A module of this folder and all it imports of this folder, and `encoding`."""
    found, todo = {module}, [module]
    while todo:
        imported = set(_IMPORT.findall(_source(todo.pop()).read_text(encoding="utf-8"))) - {"loaders"}
        todo += imported - found
        found |= imported
    return found


def _release(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


@lru_cache
def load(name: str) -> Loader:
    """Import a loader by its name in LOADERS, or by its own "module:function"."""
    module, _, function = LOADERS.get(name, name).partition(":")
    loader: Loader = getattr(importlib.import_module(module), function)
    return loader
