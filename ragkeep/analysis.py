"""Texts to search terms, and what a term weighs: shared by every store, so that all rank alike.

A term is a stemmed word; of an identifier also its parts (`readLines`, `read_lines`, `os.path`) and the
whole of it. Text without spaces (Chinese, Japanese) gives pairs of characters. What was tried, and on which data, is
in docs/adr/0002-store.md.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .stem import porter

Weight = TypeVar("Weight", float, NDArray[np.float64])

VERSION = "1"
"""Part of an index version's name: change it whenever terms or weights change."""

K1 = 1.2
B = 0.75

_STOP = frozenset(
    """a an and are as at be but by for if in into is it no not of on or such that the their then there these they
    this to was will with what which who whom whose how when where why do does did can could should would i you your my
    me we our from have has had he she his her its were been being am also than so""".split()  # noqa: SIM905
)
_WORD = re.compile(r"\w+(?:\.\w+)*")
# readLines -> read Lines, HTTPServer -> HTTP Server; digits stay with their word: utf8, p53, base64
_PART = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"[{_CJK}]+|[^{_CJK}._]+")


def terms(text: str) -> list[str]:
    """List the search terms of a text in order, repeats included."""
    found: list[str] = []
    for word in _WORD.findall(text):
        found += _terms_of(word)
    return found


@lru_cache(maxsize=200_000)
def _terms_of(word: str) -> tuple[str, ...]:
    parts = [part for run in _RUN.findall(word) for part in _parts(run)]
    found = [_normal(part) for part in parts if part not in _STOP]
    if len(parts) > 1 and word.isascii():
        found.append(word.casefold())
    return tuple(found)


def _parts(run: str) -> list[str]:
    if "\u3040" <= run[0] <= "\ufaff":
        return [run[i : i + 2] for i in range(max(1, len(run) - 1))]
    return [part.casefold() for part in (_PART.findall(run) if run.isascii() else [run])]


@lru_cache(maxsize=50_000)  # words of code are made of the same parts
def _normal(part: str) -> str:
    if not part.isascii():
        decomposed = unicodedata.normalize("NFKD", part)
        part = "".join(c for c in decomposed if not unicodedata.combining(c))
    return porter(part)


def idf(documents: int, containing: int) -> float:
    """Weigh a term by how rare it is (Robertson's, kept positive by the 1 as in Lucene)."""
    return math.log(1 + (documents - containing + 0.5) / (containing + 0.5))


def saturation(count: Weight, length: Weight, mean_length: float) -> Weight:
    """Weigh how often a term stands in a text of `length` terms: BM25, Robertson and Zaragoza 2009, section 3.3."""
    return count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean_length))
