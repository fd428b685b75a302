"""What is not answered, and what no answer may contain, decided without a model.

Questions on a blocked topic are refused with its reason. Answers hold no HTML, no images and no links: a document may
have told the model to put one in. Code stays as it is, but for addresses that stand in no snippet; what could be read as
code here and as something else by CommonMark (a backquote that nothing ends in its line, a block of code inside a list)
is written so that both read the same.

guard = OutputGuard(sources)
for piece in pieces:
    send(guard.feed(piece))
send(guard.flush())
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .config import BlockedTopic
from .types import Hit

_SCHEME = (
    r"\b(?:https?|ftps?|wss?|javascript|vbscript):|\bfile:(?=/)|\bdata:(?=[\w-]+/)|\bmailto:(?=\S+@)|\btel:(?=\+?\d)"
)
_HOST = r"\bwww\.|(?<![\w:/])//(?=\w[\w-]*\.)"
ADDRESS = re.compile(rf"(?:{_SCHEME}|{_HOST})[^\s<>\"'`\[\]{{}}|^]*[^\s<>\"'`\[\]{{}}|^.,;:!?)]", re.IGNORECASE)
IMAGE = re.compile(r"!\[([^\[\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])?")
LINK = re.compile(r"(?<!\w)\[(?!\d*\])([^\[\]\n]+)\](?:\([^)\n]*\)|\[(?!\d{1,3}\])[^\]\n]*\]|:(?=[ \t]))")
AUTOLINK = re.compile(r"<((?:[a-z][a-z0-9+.-]{1,31}://)[^\s<>]*|[^\s<>@]+@[^\s<>@]+)>", re.IGNORECASE)
"""Markdown's links without brackets: <you@there.org>."""
ELEMENTS = """
    a abbr address animate applet area article aside audio b base bdi bdo big blink blockquote body br button canvas
    caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em embed
    fieldset figcaption figure font footer foreignobject form frame frameset g h1 h2 h3 h4 h5 h6 head header hr
    html i iframe image img input ins isindex kbd keygen label legend li link listing main map mark marquee math
    menu meta meter nav nobr noembed noframes noscript object ol optgroup option output p param path picture
    plaintext portal pre progress q rp rt ruby s samp script section select set slot small source span strike
    strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul
    use var video wbr xml xmp xss"""
_NAMES = "|".join(sorted(ELEMENTS.split(), key=len, reverse=True))
TAG = re.compile(
    rf"<(?:/?(?:{_NAMES})(?:[\s/][^<>]*)?|!--.*?--|![a-z][^<>]*|\?[^<>]*|/?[a-z][\w:-]*\s[^<>=]*=[^<>]*)/?>",
    re.IGNORECASE,
)
UNFINISHED = re.compile(rf"<(?=/?(?:{_NAMES})\b|!|\?)[^<>]*$", re.IGNORECASE)
BEGINS_TAG = re.compile(r"<(?=/?[a-z]|[!?]|[^\s<>]*@)", re.IGNORECASE)
"""What HTML and Markdown read as a tag of any name, which may go on in the next line; before a space it is a sign."""
MAKES_LINK = re.compile(r"\](?=[(:])")
"""Without it no link, image or definition of one is left, whatever stands in the brackets, in however many lines."""
INSIDE = re.compile(r"^((?:[ \t]*(?:(?:[-*+]|\d{1,9}[.)])(?=[ \t])|>))*[ \t]*)")
"""The marks of lists and quotations at the beginning of a line."""
QUOTED = re.compile(r"^ {0,3}> ?")
FENCE = re.compile(INSIDE.pattern + r"(`{3,}(?=[^`]*$)|~{3,})")
CLOSING = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*((?:\[\d{1,3}\][,;.]?[ \t]*)*)")
"""The end of a block of code, and the numbers of sources behind it, which CommonMark wants in a line of their own."""
OPENING = re.compile(rf"{INSIDE.pattern}~|[`\[]|<(?=[^\s=])|<$|!$")
"""Where something begins that is only understood when its end is seen."""
UNENDED = re.compile(r"<[^\s<>]*$")
REMOVED = "(link removed)"
LONGEST = 4000
"""Characters of a line; a longer one goes on in the next, which prose does not show."""
_PASSES = 3


def refusal(question: str, blocked: Sequence[BlockedTopic]) -> str | None:
    """Return why a question is not answered, None when it is."""
    for topic in blocked:
        if re.search(topic.pattern, question, re.IGNORECASE):
            return topic.reason or f"Questions about {topic.name} are not answered here."
    return None


def clean(text: str, sources: Sequence[Hit]) -> str:
    """Take HTML, images and links out of a whole text."""
    guard = OutputGuard(sources)
    return guard.feed(text) + guard.flush()


class OutputGuard:
    """Cleans a text that comes in pieces: what was let through joins up to the cleaned whole.

    Lines are read as CommonMark reads them, and written so that there is only one way to. Words are let through before
    their line ends as long as nothing in it can become markup, whatever follows.
    """

    def __init__(self, sources: Sequence[Hit]) -> None:
        self._sources = [hit.chunk.text for hit in sources]
        self._held = ""
        self._column = 0  # how much of the line at hand was let through
        self._fence = ""  # the marks that opened the block of code we are in
        self._indent = 0  # how far it was moved to the left
        self._quotes = 0  # how many quotations it was taken out of

    def feed(self, piece: str) -> str:
        """Take a piece in; return what may be shown by now."""
        self._held += piece.replace("\r", "")  # which ends a line as well
        done = ""
        while (cut := self._end()) >= 0:
            done += self._line(self._held[:cut]) + "\n"
            self._held = self._held[cut:].removeprefix("\n")
            self._column = 0
        cut = self._safe(self._held)
        if cut:
            done += self._line(self._held[:cut])
            self._held, self._column = self._held[cut:], self._column + cut
        return done

    def flush(self) -> str:
        """Return the rest: the text has ended."""
        rest, self._held = self._held, ""
        return self._line(rest)

    def _end(self) -> int:
        """Where the line at hand ends, -1 where that is not known yet: at its end, or behind the last word that fits."""
        end, room = self._held.find("\n"), LONGEST - self._column
        if (len(self._held) if end < 0 else end) <= room:
            return end
        fits = self._held.rfind(" ", 0, room) + 1
        return fits if fits or self._column else room

    def _safe(self, line: str) -> int:
        """How much of an unfinished line can no longer become a tag, a link or code, whatever follows: whole words."""
        start = OPENING.search(line)
        cut = line.rfind(" ", 0, start.start() if start else len(line)) + 1
        return cut if self._column or INSIDE.sub("", line[:cut], count=1) else 0

    def _line(self, line: str) -> str:
        """Clean a line, or what is let through of one at a time."""
        if self._fence:
            return self._code(line) if self._column else self._in_block(line)
        if self._column:
            return self._prose(line)
        margin = _margin(line, self._indent)
        if line.strip(" \t"):  # behind a block that was moved: what belonged to the same list
            self._indent = margin
        line = line[margin:]
        if mark := FENCE.match(line):
            within = mark[1].strip(" \t")
            self._fence, self._indent, self._quotes = mark[2], margin + mark.end(1), within.count(">")
            return (f"{within}\n" if within and not self._quotes else "") + self._code(line[mark.end(1) :])
        made = self._prose(line)
        mark = FENCE.match(made)  # where a tag was taken out
        return f"{mark[1]}{_quoted(mark[2])}{made[mark.end() :]}" if mark else made

    def _in_block(self, line: str) -> str:
        """Move blocks of code to the left margin: inside a list or a quotation they would end with that."""
        if self._quotes and not QUOTED.match(line):  # the quotation has ended, and the block in it
            fence, self._fence, self._indent = self._fence, "", 0
            return f"{fence}\n{self._line(line)}"
        for _ in range(self._quotes):
            line = QUOTED.sub("", line, count=1)
        end = CLOSING.fullmatch(line)
        if end and end[1].startswith(self._fence):
            self._fence = ""
            return end[1] + (f"\n{end[2].rstrip()}" if end[2] else "")
        return self._code(line if self._quotes else line[_margin(line, self._indent) :])

    def _prose(self, line: str) -> str:
        """Clean a line; what stands between backquotes, as many on both sides, is code. Others become quotes."""
        made, plain, at = "", "", 0
        runs = list(re.finditer("`+", line))
        while runs:
            begin = runs.pop(0)
            plain += line[at : begin.start()]
            at = begin.end()
            end = next((n for n, run in enumerate(runs) if run.group() == begin.group()), None)
            end = None if _escapes(plain) else end
            if end is None:
                plain += _quoted(begin.group())
                continue
            plain = _plain(plain)
            made += plain
            # what stood between a backslash, or other code, and this code may be gone; an address may hold a backquote
            if _escapes(plain) or UNENDED.search(plain) or made.endswith("`"):
                made += " "
            made += self._code(line[begin.start() : runs[end].end()])
            plain, at = "", runs[end].end()
            del runs[: end + 1]
        return made + _plain(plain + line[at:])

    def _code(self, line: str) -> str:
        """Leave code as it is, but for addresses that no snippet holds."""
        return ADDRESS.sub(lambda m: m.group() if any(m.group() in text for text in self._sources) else REMOVED, line)


def _quoted(marks: str) -> str:
    """What stands for marks of code that begin none."""
    return "'" * len(marks)


def _margin(line: str, most: int) -> int:
    """How many blanks a line begins with, `most` of them at most."""
    return min(len(line) - len(line.lstrip(" \t")), most)


def _escapes(text: str) -> int:
    """Whether a backslash at the end takes its meaning from the mark that follows."""
    return (len(text) - len(text.rstrip("\\"))) % 2


def _plain(text: str) -> str:
    if not re.search(r"[<[\]:/]|www\.", text, re.IGNORECASE):
        return text
    for _ in range(_PASSES):  # what is taken out may join what stood around it into another tag
        text = UNFINISHED.sub("", TAG.sub("", text))
    text = LINK.sub(r"\1", IMAGE.sub(r"\1", AUTOLINK.sub(r"\1", text)))
    return MAKES_LINK.sub("] ", BEGINS_TAG.sub("< ", ADDRESS.sub(REMOVED, text)))
