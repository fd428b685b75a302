"""Labelled sets for the experiments: BEIR-style folders, the same with jargon, and code of the running interpreter.

Sets are made the same everywhere the same texts lie: every choice is by a hash, none by the order of files on a disk.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.beir import Qrels, read_folder
from evaluation.jargon import WORDS, renamed
from ragkeep.types import content_id

HOME = ("squad", "code", "cosqa")
"""Sets whose kind the base, all-MiniLM-L6-v2, was trained on as its model card says: gains there are a lower bound."""
FUNCTIONS, TRAIN, TEST = 2500, 1500, 600
_A_FILE, _LINES = 6, (4, 60)
_WORD = re.compile(r"[A-Za-z]{3,}")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and judgments; `train` may be learned from, `test` is what is reported."""

    name: str
    corpus: dict[str, str]
    queries: dict[str, str]
    train: Qrels
    test: Qrels

    @property
    def home(self) -> bool:
        """Whether the base was trained on this kind of set (with invented words it was not)."""
        return self.name.startswith(HOME) and "jargon" not in self.name

    @property
    def unseen(self) -> set[str]:
        """The test questions none of whose answers is an answer to a training question."""
        known = {doc for grades in self.train.values() for doc, grade in grades.items() if grade > 0}
        return {q for q, grades in self.test.items() if not known & {d for d, g in grades.items() if g > 0}}


def folder_set(folder: Path) -> Labelled:
    """Read a BEIR-style folder; one without qrels_train.tsv gets half of its questions, by their hash, to learn from."""
    read = read_folder(folder)
    return Labelled(read.name, read.corpus, read.queries, *read.parts())


def with_jargon(given: Labelled, words: int = WORDS) -> Labelled:
    """Rename the commonest content words of the questions as a company would; the passages keep the usual words."""
    return replace(given, name=f"{given.name}-jargon", queries=renamed(given.queries, words))


def code_set() -> Labelled:
    """First sentences of docstrings, and the functions without their docstrings, of the running interpreter.

    Files for training and for testing are disjoint; the functions that are in neither only stand in the way.
    """
    paths = sysconfig.get_paths()
    corpus: dict[str, str] = {}
    queries: dict[str, str] = {}
    train: Qrels = {}
    test: Qrels = {}
    seen: set[str] = set()
    for path in _files([Path(paths["stdlib"]), Path(paths["purelib"])]):
        split = train if len(train) < TRAIN else test if len(test) < TEST else None
        for question, body in _functions(path):
            if question in seen or body in seen or len(corpus) >= FUNCTIONS:
                continue
            seen.update((question, body))
            name = content_id(question, body)[:16]
            corpus[name] = body
            if split is not None and len(split) < (TRAIN if split is train else TEST):
                queries[f"q{name}"], split[f"q{name}"] = question, {name: 1}
        if len(corpus) >= FUNCTIONS:
            break
    return Labelled("code", corpus, queries, train, test)


def _files(roots: list[Path]) -> list[Path]:
    """Source files in the order of a hash of their name below the root."""
    found = {p: p.relative_to(root).as_posix() for root in reversed(roots) for p in root.rglob("*.py")}
    found = {p: n for p, n in found.items() if not {"test", "tests", "__pycache__", "idlelib"} & set(Path(n).parts)}
    return sorted(found, key=lambda p: content_id("learning", found[p]))


def _functions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (first sentence of the docstring, source without it), at most `_A_FILE` a file."""
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's escapes
            tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError):
        return
    lines, given = source.split("\n"), 0
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or given >= _A_FILE:
            continue
        question = _first_sentence(ast.get_docstring(node) or "")
        if len(_WORD.findall(question)) < 4 or len(node.body) < 2:
            continue
        quoted = node.body[0]
        kept = lines[node.lineno - 1 : quoted.lineno - 1] + lines[quoted.end_lineno or 0 : node.end_lineno]
        if _LINES[0] <= len(kept) <= _LINES[1] and question.isascii():
            given += 1
            yield question, textwrap.dedent("\n".join(kept))


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0][:300]
