"""What is not answered, and what no answer may contain, decided without a model.

Questions on a blocked topic are refused with its reason. Answers hold no HTML, no images and no links: a document may
have told the model to put one in. Code blocks stay as they are, but for addresses that stand in no snippet.

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
IMAGE = re.compile(r"!\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])?")
LINK = re.compile(r"(?<!\w)\[([^\]\n]*[^\]\d\n][^\]\n]*)\](?:\([^)\n]*\)|\[(?!\d{1,3}\])[^\]\n]*\]|:(?=[ \t]))")
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
    rf"<(?:/?(?:{_NAMES})(?:[\s/][^<>]*)?|!--.*?--|![a-z][^<>]*|\?[^<>]*|/?[a-z][\w:-]*\s[^<>]*=[^<>]*)/?>", re.IGNORECASE
)
UNFINISHED = re.compile(rf"<(?=/?(?:{_NAMES})\b|!|\?)[^<>]*$", re.IGNORECASE)
INLINE = re.compile(r"(`+)(?!`).*?[^`]\1(?!`)")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
OPENING = re.compile(r"^ {0,3}[`~]|[`\[]|<(?=[^\s=])|<$|!$")
"""Where something begins that is only understood when its end is seen."""
MARKERS = re.compile(r"(?:\s*\[\d{1,3}\][,;.]?)+\s*$")
REMOVED = "(link removed)"
LONGEST = 4000
"""Characters of one line that are held back at most while a tag or a code span in it has not ended."""


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
    """Cleans a text that comes in pieces: what was let through joins up to the cleaned whole."""

    def __init__(self, sources: Sequence[Hit]) -> None:
        self._sources = [hit.chunk.text for hit in sources]
        self._held = ""
        self._begun = False  # whether the beginning of the line at hand was let through
        self._fence = ""  # the marks that opened the block of code we are in

    def feed(self, piece: str) -> str:
        """Take a piece in; return what may be shown by now."""
        self._held += piece
        lines = self._held.split("\n")
        done = ""
        for line in lines[:-1]:
            done += self._line(line) + "\n"
            self._begun = False
        cut = self._safe(lines[-1])
        done += self._line(lines[-1][:cut]) if cut else ""
        self._begun = self._begun or cut > 0
        self._held = lines[-1][cut:]
        return done

    def flush(self) -> str:
        """Return the rest: the text has ended."""
        rest, self._held = self._held, ""
        return self._line(rest)

    def _safe(self, line: str) -> int:
        """How much of an unfinished line can no longer become a tag, a link or code, whatever follows: whole words."""
        if len(line) > LONGEST:
            return line.rfind(" ", 0, LONGEST) + 1
        start = OPENING.search(line)
        return line.rfind(" ", 0, start.start() if start else len(line)) + 1

    def _line(self, line: str) -> str:
        mark = None if self._begun else FENCE.match(line)
        if self._fence:
            if mark and mark[1].startswith(self._fence) and not MARKERS.sub("", line).strip(" `~"):
                self._fence = ""
            return self._code(line)
        if mark:
            self._fence = mark[1]
            return self._code(line)
        return self._prose(line)

    def _prose(self, line: str) -> str:
        """Clean a line; what stands between backquotes is code."""
        made, at = "", 0
        for span in INLINE.finditer(line):
            made += _plain(line[at : span.start()]) + self._code(span.group())
            at = span.end()
        return made + _plain(line[at:])

    def _code(self, line: str) -> str:
        """Leave code as it is, but for addresses that no snippet holds."""
        return ADDRESS.sub(lambda m: m.group() if any(m.group() in text for text in self._sources) else REMOVED, line)


def _plain(text: str) -> str:
    if not re.search(r"[<\[:/]|www\.", text, re.IGNORECASE):
        return text
    before = None
    while before != text:  # what is taken out may join what stood around it into another tag
        before = text
        text = UNFINISHED.sub("", TAG.sub("", text))
    text = LINK.sub(r"\1", IMAGE.sub(r"\1", text))
    return ADDRESS.sub(REMOVED, text)
