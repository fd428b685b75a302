"""Personal data and secrets in free text, found by their form and checksum, and masked in linear time.

    mask("write to ann@example.com")  ->  ("write to <EMAIL>", {"EMAIL": 1})

Every pattern is bounded or possessive, so that a hostile text costs no more than a long one. What only looks alike in
questions about code (versions, ISBNs, line numbers, hashes) stays: a card passes Luhn and has a scheme's prefix, an IBAN
passes mod 97 and has its country's length, a dotted quad after a word such as "version" is a version.
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator

from .checksums import IBAN_LENGTH, is_card, luhn, mod97

Spans = Iterator[tuple[int, int]]


def mask(text: str) -> tuple[str, dict[str, int]]:
    """Replace what is recognized by `<EMAIL>`, `<PHONE>`, `<CARD>`, `<IBAN>`, `<IP>`, `<SECRET>`; count it by name."""
    counts: Counter[str] = Counter()
    for name, rule in _rules(text):
        spans = list(rule(text))
        if spans:
            counts[name] += len(spans)
            text = _replaced(text, spans, f"<{name}>")
    return text, dict(counts)


def find(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, what was found), rule by rule: for looking at what `mask` takes."""
    for name, rule in _rules(text):
        yield from ((name, text[start:end]) for start, end in rule(text))


def _replaced(text: str, spans: list[tuple[int, int]], name: str) -> str:
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], name]
        at = end
    return "".join([*parts, text[at:]])


def _rules(text: str) -> Iterator[tuple[str, Callable[[str], Spans]]]:
    """Yield those rules that the text may hold something for; secrets first, they contain what looks like the rest."""
    for name, needles, rule in _WITH_NEEDLES:
        if any(needle in text for needle in needles):
            yield name, rule
    if _ZONE.search(text):
        yield from _WITH_DIGITS


def _by(
    pattern: re.Pattern[str], judge: Callable[[re.Match[str]], bool] = bool, *, group: int = 0
) -> Callable[[str], Spans]:
    return lambda text: (match.span(group) for match in pattern.finditer(text) if judge(match))


_ZONE = re.compile(r"[+(\d][\d .()/-]{5,}+")


def _in_zones(pattern: re.Pattern[str], judge: Callable[[re.Match[str]], bool]) -> Callable[[str], Spans]:
    """Look only where digits are, for patterns of digits, spaces and `.()/-`; two more characters say what follows."""

    def rule(text: str) -> Spans:
        for zone in _ZONE.finditer(text):
            yield from (m.span() for m in pattern.finditer(text, zone.start(), zone.end() + 2) if judge(m))

    return rule


# Keys and tokens

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:\s|\\n)*+(?:Proc-Type|DEK-Info|Version|Comment): [^\n]{0,200}+)*+"
    r"(?:(?:\s|\\n)*+=?[A-Za-z0-9+/]{4,}+={0,2})*+"
    r"(?:(?:\s|\\n)*+-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_JWT = re.compile(r"(?<![\w.-])eyJ[\w-]{5,}+\.[\w-]{5,}+\.[\w-]*+")
_KNOWN = re.compile(
    r"(?<![\w-])(?:(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{36,255}+|github_pat_[A-Za-z0-9_]{22,255}+|glpat-[\w-]{20,255}+"
    r"|sk-[\w-]{20,255}+|[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}+|xox[abeoprs]-[\w-]{10,255}+"
    r"|AIza[\w-]{35}(?![\w-])|hf_[A-Za-z0-9]{30,255}+|npm_[A-Za-z0-9]{36}(?!\w)|pypi-[\w-]{50,255}+"
    r"|SG\.[\w-]{16,64}+\.[\w-]{16,64}+)"
)
_URL_LOGIN = re.compile(r"://([^\s/:@<>\"']{0,64}+:[^\s/@<>\"']{1,128}+)@")
_BEARER = re.compile(r"earer ([A-Za-z0-9._~+/=-]{16,512}+)")


def _known_secret(match: re.Match[str]) -> bool:
    text = match.group()
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text[3:])


_VALUE = re.compile(r"""["']?\s{0,3}(?:[:=]|is\s)\s{0,3}["']?(?![Bb]earer\s)([^\s"'`,;<>()\[\]{}]{6,512}+)(?![(\[])""")
_NAMES = ("password", "passwd", "passphrase", "pwd", "secret", "token", "key")
_KEYS = ("api", "access", "secret", "private", "auth", "account", "encryption", "signing")
_FORMS = tuple(form for name in _NAMES for form in (name, name.upper(), name.capitalize()))


def _assigned(text: str) -> Spans:
    """Find what is given to a name such as `password`: after `=`, `:` or "is"."""
    done = 0
    for end in sorted(end for form in _FORMS for end in _ends(text, form)):
        if end < done or (text[end - 3 : end].lower() == "key" and not _names_a_secret(text, end - 3)):
            continue
        value = _VALUE.match(text, end)
        if value:
            done = value.end()
            if _random_looking(value[1]):
                yield value.span(1)


def _ends(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at + len(word)
        at = text.find(word, at + len(word))


def _names_a_secret(text: str, key: int) -> bool:
    return text[max(0, key - 12) : key].rstrip("_- ").lower().endswith(_KEYS)


_REFERENCE = re.compile(r"\$|%[sd(]|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|https?://|/|\*+$|[-=]+$|\d{1,4}[.,]?$")


def _random_looking(value: str) -> bool:
    """Whether an assigned value is more than a word or a name: letters with digits or signs, or a long mixture."""
    if _REFERENCE.match(value):
        return False
    letters = sum(c.isalpha() for c in value)
    digits = sum(c.isdigit() for c in value)
    signs = len(value) - letters - digits - sum(value.count(c) for c in "_-.:=\\")
    varied = len(set(value)) >= min(6, len(value) - 1)
    capitals = sum(c.isupper() for c in value)
    if letters >= 20 and 0.3 <= capitals / letters <= 0.7:
        return True
    return varied and (digits > 0 or signs > 0) and letters > 0 and not re.fullmatch(r"[A-Za-z]+_?\d{1,2}", value)


# People

_LOCAL = re.compile(r"(?<![\w.+%-])\w[\w.+%'-]{0,63}+\Z")
_DOMAIN = re.compile(r"@((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,126}([^\W\d_]{2,24}))(?![\w-]|\()")
_ATTRIBUTES = {
    "shape", "dtype", "weight", "weights", "bias", "size", "data", "values", "mean", "real", "imag", "ndim", "grad",
    "matrix",
}  # fmt: skip


def _emails(text: str) -> Spans:
    for domain in _DOMAIN.finditer(text):
        start = max(0, domain.start() - 64)
        local = _LOCAL.search(text[start : domain.start()])
        code = domain[2].lower() in _ATTRIBUTES or domain[1].startswith("self.")
        if local and not code and local.group() != "git":
            yield start + local.start(), domain.end()


_PHONE = re.compile(
    r"""(?x) (?<![\w+.,/=:-]) (?:
      \+ [1-9] (?: \d | [ .()/-]{1,2} \d\d ){4,13}+                          # international
    | 00 [1-9] \d (?: [ ./-] \d{2,8} ){2,5}+                                 # the same, dialled
    | (?: 1 [ .-] )? (?: \( [2-9]\d\d \) [ ]? | [2-9]\d\d [.-] ) [2-9]\d\d [ .-] \d{4}     # North America
    | (?<!\d[ ]) 0[1-9] (?: [ .] \d\d ){4} (?! [ ]\d )                         # France
    | (?: \(0[1-9]\d{1,4}\) | 0[1-9]\d{1,4} ) (?: [ /-]{1,3} \d{2,8} ){1,4}+    # with a word before it only
    | 0[1-9]\d{8,9}
    ) (?![\w]|[.,:/-]\d|\()"""
)
_PHONE_WORD = re.compile(
    r"(?i)(?:\b(?<!<)(?:tele)?(?:phone|fon|fax)|\btel\b|\bcall|\bmobile|\bcell|\bwhatsapp|\bsms|\bhandy|\bruf|t[ée]l[ée]phone"
    r"|\bhotline|☎|📞)"
)


def _phone(match: re.Match[str]) -> bool:
    found = match.group()
    if not 8 <= sum(c.isdigit() for c in found) <= 15:
        return False
    national = re.match(r"\(?0[1-9]", found) and not re.fullmatch(r"0[1-9](?:[ .]\d\d){4}", found)
    before = match.string[max(0, match.start() - 32) : match.start()]
    return not national or _PHONE_WORD.search(before) is not None


# Money

_CARD = re.compile(
    r"(?<![\w.,/=+-])[2-6](?:\d{12,18}|\d{3}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{3}([ -])\d{6}\2\d{4,5})"
    r"(?!\w|[.,-]\d)"
)


def _card(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match.group())
    return is_card(digits) and luhn(digits)


_REST = {n: re.compile(rf"(?:[ -]?[A-Za-z0-9]){{{n - 4}}}(?!\w)") for n in set(IBAN_LENGTH.values())}
_IBAN = re.compile(r"\d\d(?<=(?<!\w)[A-Za-z]{2}\d\d)")


def _iban(text: str) -> Spans:
    for digits in _IBAN.finditer(text):
        start = digits.start() - 2
        length = IBAN_LENGTH.get(text[start : start + 2].upper())
        rest = _REST[length].match(text, digits.end()) if length else None
        if rest and mod97(re.sub(r"[ -]", "", text[start : rest.end()])):
            yield start, rest.end()


# Addresses of machines

_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_VERSION_WORD = re.compile(
    r"(?i)(?:\bv|\bversions?|\brelease|[=<>~!^]=?|\bsection|\bchapter|§|\bsince|\bpython|\bupgrad\w*"
    r"|\boid|\brev\.?)[ :]{0,2}$"
)
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:|::)[0-9A-Fa-f:]{2,37}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")


_EXAMPLES = {(192, 0, 2), (198, 51, 100), (203, 0, 113)}  # set aside for documentation, as is 2001:db8::/32


def _ipv4(match: re.Match[str]) -> bool:
    parts = [int(part) for part in match.group().split(".")]
    before = match.string[max(0, match.start() - 24) : match.start()]
    version = max(parts[:3]) < 10 or _VERSION_WORD.search(before) is not None
    return max(parts) <= 255 and parts[0] not in (0, 127, 255) and tuple(parts[:3]) not in _EXAMPLES and not version


def _ipv6(text: str) -> Spans:
    done = 0
    for colons in _COLONS.finditer(text):
        start = colons.start()
        while start > max(done, colons.start() - 4) and text[start - 1] in string.hexdigits:
            start -= 1
        match = _IPV6.match(text, start) if start >= done else None
        if match and _is_somebodys(match.group()):
            done = match.end()
            yield match.span()


def _is_somebodys(text: str) -> bool:
    """Whether an IPv6 address is global, local or link-local; `ab::cd` of a program is in none of these ranges."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    top, documentation = int(address) >> 112, int(address) >> 96 == 0x2001_0DB8
    known = 0x2000 <= top <= 0x3FFF or 0xFC00 <= top <= 0xFDFF or 0xFE80 <= top <= 0xFEBF
    return known and not documentation


_TOKENS = ("AKIA", "ASIA", "AROA", "AIDA", "gh", "glpat-", "k-", "k_", "xox", "AIza", "hf_", "npm_", "pypi-", "SG.")
_WITH_NEEDLES: tuple[tuple[str, tuple[str, ...], Callable[[str], Spans]], ...] = (
    ("SECRET", ("PRIVATE KEY",), _by(_PEM)),
    ("SECRET", ("eyJ",), _by(_JWT)),
    ("SECRET", _TOKENS, _by(_KNOWN, _known_secret)),
    ("SECRET", ("://",), _by(_URL_LOGIN, group=1)),
    ("SECRET", ("",), _assigned),
    ("SECRET", ("earer ",), _by(_BEARER, group=1)),
    ("EMAIL", ("@",), _emails),
    ("IP", (":",), _ipv6),
)
_WITH_DIGITS = (
    ("IBAN", _iban),
    ("CARD", _in_zones(_CARD, _card)),
    ("IP", _in_zones(_IPV4, _ipv4)),
    ("PHONE", _in_zones(_PHONE, _phone)),
)
