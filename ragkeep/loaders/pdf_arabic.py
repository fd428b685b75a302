"""Arabic script in PDF: pdfium reverses right-to-left runs glyph by glyph, which turns a lam-alef ligature around.

One glyph that stands for two letters has one box: where an alef comes right before a lam of the same box, the two
are swapped back. Found on every Arabic page that a browser or an office program wrote.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any

ARABIC = re.compile(r"[\u0600-\u06ff]")
_PAIR = re.compile("[اأإآ]ل")
_TOUCHING = re.compile(r"(?<=[A-Za-z])(?=[\u0620-\u064a\u0671-\u06d3])|(?<=[\u0620-\u064a\u0671-\u06d3])(?=[A-Za-z]{2})")


def mend(textpage: Any, text: str) -> str:
    """Swap turned ligatures back and part Latin from Arabic words that lost the blank between them."""
    turned = _turned(textpage)
    pairs = list(_PAIR.finditer(text))
    if len(turned) == len(pairs):  # the same letters, pair by pair; otherwise there is no telling which is which
        out, last = [], 0
        for match, swap in zip(pairs, turned, strict=True):
            if swap:
                out += [text[last : match.start()], match[0][::-1]]
                last = match.end()
        text = "".join(out) + text[last:]
    return _TOUCHING.sub(" ", text)


def _turned(textpage: Any) -> list[bool]:
    """For every alef-lam pair of a page, in order: whether one box holds both."""
    from pypdfium2 import raw

    letters = [chr(raw.FPDFText_GetUnicode(textpage, i)) for i in range(textpage.count_chars())]
    starts = [m.start() for m in _PAIR.finditer("".join(letters))]
    return [_box(raw, textpage, i) == _box(raw, textpage, i + 1) for i in starts]


def _box(raw: Any, textpage: Any, index: int) -> tuple[float, ...]:
    sides = [ctypes.c_double() for _ in range(4)]
    raw.FPDFText_GetCharBox(textpage, index, *sides)
    return tuple(side.value for side in sides)
