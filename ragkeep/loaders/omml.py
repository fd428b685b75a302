"""Office formulas as LaTeX-like text, so that letters, digits and names of a formula can be searched."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from xml.etree import ElementTree as ET

from . import names
from .archive import attribute, child, local

# ECMA-376 part 1, section 22.1: the n-ary operators whose character is not given are integrals.
NARY = {"∑": "\\sum", "∏": "\\prod", "∫": "\\int", "⋃": "\\bigcup", "⋂": "\\bigcap", "": "\\int"}
SIGNS = {
    "×": "times",
    "·": "cdot",
    "±": "pm",
    "∞": "infty",
    "≤": "leq",
    "≥": "geq",
    "≠": "neq",
    "≈": "approx",
    "→": "to",
    "∂": "partial",
    "∇": "nabla",
    "∈": "in",
    "√": "sqrt",
    "÷": "div",
    "∀": "forall",
    "∃": "exists",
}
PROPERTIES = names("rPr fPr naryPr radPr dPr sSupPr sSubPr sSubSupPr ctrlPr funcPr accPr mPr eqArrPr")


def formula(element: ET.Element) -> str:
    """Write a formula between dollar signs; a paragraph of formulas has one a line."""
    if local(element) == "oMathPara":
        return "\n".join(f"$${_all(one)}$$" for one in element if local(one) == "oMath")
    return f"${_all(element)}$"


def _all(element: ET.Element | None) -> str:
    return "" if element is None else "".join(_one(part) for part in element)


def _part(element: ET.Element, name: str) -> str:
    return _all(child(element, name))


def _one(element: ET.Element) -> str:
    name = local(element)
    if name in PROPERTIES:
        return ""
    if name == "t":
        return "".join(map(_letter, element.text or ""))
    return SHAPES[name](element) if name in SHAPES else _all(element)


def _letter(char: str) -> str:
    """Spell Greek letters and the usual signs as LaTeX does: `\\pi`, `\\times`."""
    if char < "\x80":
        return char
    words = unicodedata.name(char, "").split()
    greek = [w for w in words if w in ("GREEK", "MATHEMATICAL")] and words[-1].isalpha() and "LETTER" in words
    if greek or (words[:1] == ["MATHEMATICAL"] and len(words[-1]) > 1 and words[-1].isalpha()):
        return f" \\{words[-1].title() if 'CAPITAL' in words else words[-1].lower()} "
    return f" \\{SIGNS[char]} " if char in SIGNS else unicodedata.normalize("NFKC", char)


def _nary(element: ET.Element) -> str:
    mark = child(element, "naryPr", "chr")
    char = attribute(mark, "val") if mark is not None else ""
    low, high = _part(element, "sub"), _part(element, "sup")
    limits = (f"_{{{low}}}" if low else "") + (f"^{{{high}}}" if high else "")
    return f"{NARY.get(char, char)}{limits}{{{_part(element, 'e')}}}"


def _delimited(element: ET.Element) -> str:
    properties = child(element, "dPr")
    marks = []
    for which, usual in (("begChr", "("), ("endChr", ")")):
        mark = child(properties, which)
        marks.append(attribute(mark, "val") if mark is not None else usual)
    inner = ", ".join(_all(e) for e in element if local(e) == "e")
    return f"{marks[0]}{inner}{marks[1]}"


def _radical(element: ET.Element) -> str:
    degree = _part(element, "deg")
    return f"\\sqrt[{degree}]{{{_part(element, 'e')}}}" if degree else f"\\sqrt{{{_part(element, 'e')}}}"


def _matrix(element: ET.Element) -> str:
    rows = (row for row in element if local(row) == "mr")
    return " \\\\ ".join(" & ".join(_all(e) for e in row if local(e) == "e") for row in rows)


SHAPES: dict[str, Callable[[ET.Element], str]] = {
    "f": lambda e: f"\\frac{{{_part(e, 'num')}}}{{{_part(e, 'den')}}}",
    "sSup": lambda e: f"{_part(e, 'e')}^{{{_part(e, 'sup')}}}",
    "sSub": lambda e: f"{_part(e, 'e')}_{{{_part(e, 'sub')}}}",
    "sSubSup": lambda e: f"{_part(e, 'e')}_{{{_part(e, 'sub')}}}^{{{_part(e, 'sup')}}}",
    "func": lambda e: f"\\{_part(e, 'fName').strip()}{{{_part(e, 'e')}}}",
    "eqArr": lambda e: " \\\\ ".join(_all(one) for one in e if local(one) == "e"),
    "nary": _nary,
    "d": _delimited,
    "rad": _radical,
    "m": _matrix,
}
