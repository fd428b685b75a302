"""Whether a question is about code, by signs that anybody can check: no model is asked.

route("How do I call json.dumps with a default?")  ->  "code"

A release may weigh the legs of a hybrid search otherwise for such questions (`Fusion.code_weight`).
"""

from __future__ import annotations

import re
from typing import get_args

from .types import Fusion, Route

ROUTES: tuple[Route, ...] = get_args(Route)
ENOUGH = 2
"""From so many points on a question takes the code route: a sign or a word of programmers alone, or two shared words."""
SIGNS = re.compile(
    r"""
    `[^`\s][^`]*`                                             # quoted as code
    | [A-Za-z0-9]_+[A-Za-z] | \b_+[a-z]                       # snake_case, _private, __dunder__
    | \b[a-z]{2,}[A-Z][a-z]                                   # camelCase
    | \b[A-Z]\w*[a-z](?:Error|Exception|Warning)\b            # ValueError
    | \b[A-Za-z]\w{2,}\((?!e?s\)|\d)                          # a call; not "item(s)", not "Smith(2010)"
    | \b[a-z_]\w+\.(?!(?:com|org|net|edu|gov|info|pdf|docx?|xlsx?|pptx?|odt|txt|md|html?)\b)[a-z_]\w+\b  # os.path
    | [=!<>]= | [-=]> | :: | && | \|\| | [-+*]= | \w\[\w*\] | \{\} | \[\] | </?[a-z]+>
    | (?<!\S)--?[a-z][\w-]*(?!\S)                             # an option of a command
    | \bC(?:\+\+|\#)(?!\w)
    """,
    re.VERBOSE,
)
OWN = frozenset(
    """api argparse args async asyncio bool boolean bytecode callable callback cli codec compiler coroutine csv
    ctypes dataclass dataframe datetime debugger deque dict django docstring enum filename flask git golang html
    http int iterable iterator java javascript json kotlin kwargs lambda linux matplotlib metaclass mutex
    namespace nonetype numpy opencv pandas php pip plt programmatically pytest python python2 python3 readline
    regex rust scala scipy sdk sql sqlite stderr stdin stdout struct structs subclass subclasses subprocess
    substring tensorflow traceback tuple tuples typescript unicode unittest url urllib utf8 variable variables
    xml yaml""".split()  # noqa: SIM905
)
"""Words that hardly anybody but a programmer uses."""
SHARED = frozenset(
    """argument arguments array arrays attribute attributes buffer byte bytes cache call called calling class
    classes code column command constructor decorator decorators default descriptor dictionaries dictionary
    directory element elements encode encoding error errors exception exceptions execute file files float format
    function functions generator handler hash header import imported index inherit instance instances integer
    integers interface key keys library line lines list lists lock log logger logging loop loops matrix memory
    method methods module modules object objects operator override package packages parameter parameters parse
    parser path pointer print process processes program query queue raise random read recursion return returns
    row run running script server signature socket source stack statement string strings syntax terminal test
    tests text thread threads timestamp token type types value values wrapper write""".split()  # noqa: SIM905
)
"""Words that are other people's as well: two different ones are needed."""
HUMPS = re.compile(r"\b(?:[A-Z][a-z]+){2,}\b")
"""A class, or a brand: counts like one of SHARED."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")


def route(question: str) -> Route:
    """Say how a question is searched for: "code" where it has signs of code, "prose" otherwise."""
    if SIGNS.search(question):
        return "code"
    words = set(_WORD.findall(question.lower()))
    points = ENOUGH * len(words & OWN) + len(words & SHARED) + len(set(HUMPS.findall(question)))
    return "code" if points >= ENOUGH else "prose"


def fusion_for(question: str, fusion: Fusion) -> Fusion:
    """Return the fusion a question is searched with; without a weight for code it is the same for all."""
    return fusion.on(route(question))
