"""Bytes to text: byte order marks, strict UTF-8, zero-byte patterns, declarations, then judgement by alphabet.

What is decoded is never altered: newlines stay as they are, only a byte order mark is dropped. Used by the
loaders, inside the sandbox.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter

from .loaders import Unreadable

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its prefix
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What a label means in practice: the superset that writers really used (WHATWG Encoding Standard, section 4.2).
SUPERSETS = {
    "ascii": "cp1252",
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
    "tis-620": "cp874",
}
ALIASES = {"windows-874": "cp874", "x-sjis": "cp932", "x-gbk": "gbk", "x-euc-jp": "euc_jp", "macintosh": "mac_roman"}
MULTIBYTE = ("cp932", "euc_jp", "gb18030", "big5hkscs", "cp949", "johab")
LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "iso8859_15", "mac_roman", "cp850", "cp852")
# Letters beyond ASCII of each language, most used first: a decoding is right when one language explains its letters.
ALPHABETS = (
    "éèàêçâîôùûëïœüÉÈÀÊÇÂÎÔÙÛËÏŒ",  # French
    "äüößÄÜÖé",  # German
    "óíáéñúü¿¡ÓÍÁÉÑÚÜªº",  # Spanish
    "ãçéáóíêõâàúôüÃÇÉÁÓÍÊÕÂÀÚÔ",  # Portuguese
    "àèìòùéÀÈÌÒÙÉ",  # Italian
    "äöåéÄÖÅÉ",  # Swedish, Finnish
    "øåæéØÅÆÉ",  # Danish, Norwegian
    "íáðéóöúæþýÍÁÐÉÓÖÚÆÞÝ",  # Icelandic
    "ëéïöüèóËÉÏÖÜÈÓ",  # Dutch
    "çàéèïíòóúüÇÀÉÈÏÍÒÓÚÜ·",  # Catalan
    "łąęóśćżźńŁĄĘÓŚĆŻŹŃ",  # Polish
    "íáéěřšžčýůúňťďóÍÁÉĚŘŠŽČÝŮÚŇŤĎÓ",  # Czech
    "áíéčšžýľťúňôďóäĺŕÁÍÉČŠŽÝĽŤÚŇÔĎÓÄĹŔ",  # Slovak
    "čšžćđČŠŽĆĐ",  # Slovene, Croatian, Bosnian, Serbian
    "áéöőóüíúűÁÉÖŐÓÜÍÚŰ",  # Hungarian
    "ăîâșțşţĂÎÂȘȚŞŢ",  # Romanian
    "ıüşöçğİâîÜŞÖÇĞÂÎ",  # Turkish
    "āīēšūņļžčķģĀĪĒŠŪŅĻŽČĶĢ",  # Latvian
    "ėšįųžąūčęĖŠĮŲŽĄŪČĘ",  # Lithuanian
    "äõüöšžÄÕÜÖŠŽ",  # Estonian
    "ëçËÇ",  # Albanian
)
PUNCTUATION = frozenset("«»“”„‘’‚–—…•°§©®™€£·×¿¡´\u00a0±½¼¾²³ºªµ¶")
_DECLARED = (
    re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']"""),
    re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9._:-]+)""", re.IGNORECASE),
    re.compile(rb"""^(?:[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)"""),
    re.compile(rb"""^\s*@charset\s+"([A-Za-z0-9._:-]+)\""""),
)
SAMPLE = 1 << 16


def decode(data: bytes) -> tuple[str, str]:
    """Decode a file's bytes; return the text and the encoding's name. Raises Unreadable("encoding")."""
    for bom, name in BOMS:
        if data.startswith(bom):
            return _tolerant(data[len(bom) :], name), name
    if b"\x1b" in data and (found := _escaped(data)):
        return found
    if b"\0" in data and (found := _wide(data)):
        return found
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        failed = error
    return _declared(data) or _mostly_utf8(data, failed) or _guessed(data)


def _tolerant(data: bytes, name: str) -> str:
    """Decode what a mark promised; a few broken sequences become U+FFFD, many are an error."""
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        text = data.decode(name, "replace")
    if text.count("\ufffd") > 1 + len(text) // 100:
        raise Unreadable("encoding", f"marked as {name}, but it does not decode as that")
    return text


def _strict(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeDecodeError, LookupError):
        return None


def _escaped(data: bytes) -> tuple[str, str] | None:
    """ISO-2022: seven-bit text that switches alphabets with escape sequences, so also valid ASCII."""
    if max(data) > 127:
        return None
    marks = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext"), (b"\x1b(", "iso2022_jp_ext"))
    for mark, name in marks:
        if mark in data and (text := _strict(data, name)) is not None:
            return text, name
    return None


def _wide(data: bytes) -> tuple[str, str] | None:
    """UTF-16 and UTF-32 without a mark, by where the zero bytes stand in the common ASCII range."""
    sample = data[: SAMPLE & ~3]
    zeros = [sample[i::4].count(0) / (len(sample[i::4]) or 1) for i in range(4)]
    if len(data) % 4 == 0 and min(sum(zeros[2:]), sum(zeros[:2])) > 0.9:
        for name in ("utf-32-le", "utf-32-be"):
            if text := _strict(data, name):
                return text, name
    little, big = (zeros[1] + zeros[3]) / 2, (zeros[0] + zeros[2]) / 2
    if len(data) % 2 == 0 and max(little, big) > 0.02 and max(little, big) > 4 * min(little, big):
        name = "utf-16-le" if little > big else "utf-16-be"
        text = _strict(data, name)
        if text and _textual(text) > 0.9:
            return text, name
    return None


def _textual(text: str) -> float:
    """Share of letters, digits, blanks and punctuation of one script in a sample: noise decoded as UTF-16 has little."""
    sample = text[:4000]
    blocks = Counter(ord(c) >> 8 for c in sample if c.isalpha())
    top = sum(n for _, n in blocks.most_common(3)) if len(blocks) > 64 else sum(blocks.values())
    return (top + sum(1 for c in sample if not c.isalpha() and (c.isprintable() or c.isspace()))) / len(sample)


def _declared(data: bytes) -> tuple[str, str] | None:
    """The encoding the file says it has, where the bytes agree."""
    head = data[:4096]
    for pattern in _DECLARED:
        if match := pattern.search(head):
            label = match[1].decode("ascii").lower()
            try:
                name = codecs.lookup(ALIASES.get(label, label)).name
            except LookupError:
                continue
            for candidate in dict.fromkeys((name, SUPERSETS.get(name, name))):
                text = None if candidate.startswith("utf") else _strict(data, candidate)
                if text is not None and not _c1(text):
                    return text, candidate
            if not name.startswith("utf") and (found := _few_broken(data, SUPERSETS.get(name, name))):
                return found
    return None


def _c1(text: str) -> bool:
    """C1 control characters are never written: they show a wrong single-byte table."""
    return any("\x80" <= c <= "\x9f" and c != "\x85" for c in text[:SAMPLE])


def _few_broken(data: bytes, name: str) -> tuple[str, str] | None:
    text = data.decode(name, "replace")
    return (text, name) if text.count("\ufffd") <= len(text) // 100 else None


def _mostly_utf8(data: bytes, first: UnicodeDecodeError) -> tuple[str, str] | None:
    """UTF-8 with a few broken places: cut in the middle of a letter, or stray bytes among many good sequences."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    good = sum(1 for c in text if c > "\x7f") - broken
    if good > 10 * broken or (first.reason == "unexpected end of data" and good >= 1):
        return text, "utf-8"
    return None


def _guessed(data: bytes) -> tuple[str, str]:
    """No mark, no declaration: compare every candidate's text with how languages are written."""
    sample = data[:SAMPLE]
    name = _by_statistics(sample)
    if name is None or name in _LATIN_NAMES or name.startswith(("iso8859", "cp125", "mac", "cp4", "cp8", "hp")):
        best, score = _best_latin(sample)
        if score > 0.9 or (score > 0.6 and (name is None or name in _LATIN_NAMES)):
            name = best
    name = name or _best_multibyte(sample)
    if name is None:
        raise Unreadable("encoding", "no encoding gives readable text: convert the file to UTF-8")
    found = _strict(data, SUPERSETS.get(name, name))
    if found is not None:
        return found, name
    text = data.decode(SUPERSETS.get(name, name), "replace")
    if text.count("\ufffd") > 1 + len(text) // 100:
        raise Unreadable("encoding", f"looks like {name}, but does not decode as that: convert the file to UTF-8")
    return text, name


_LATIN_NAMES = frozenset((*LATIN, "iso8859_1", "iso8859_9", "iso8859_10", "iso8859_13", "iso8859_16", "cp437", "latin_1"))


def _by_statistics(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return None if best is None else best.encoding


def _best_latin(sample: bytes) -> tuple[str, float]:
    """Best single-byte Latin table and its score in 0..1; the earlier, more common one wins a tie."""
    scored = [(name, _latin_score(sample.decode(name, "replace"))) for name in LATIN]
    return max(scored, key=lambda pair: pair[1])


def _latin_score(text: str) -> float:
    """Share of the characters beyond ASCII that one language's alphabet, or punctuation in its place, explains."""
    seen = Counter(c for c in text if c > "\x7f")
    total = sum(seen.values())
    if not total:
        return 0.0
    marks = {c: n for c, n in seen.items() if c in PUNCTUATION}
    # Punctuation between two letters of one word is a letter of another table.
    inside = sum(1 for m in re.finditer(r"(?<=[^\W\d_])[^\w\s](?=[^\W\d_])", text) if m[0] > "\x7f" and m[0] != "’")
    inside = min(inside, sum(marks.values()))
    best = max(_explained(seen, alphabet) for alphabet in ALPHABETS)
    return (best + sum(marks.values()) - 2 * inside) / total


def _explained(seen: Counter[str], alphabet: str) -> float:
    """Occurrences of the alphabet's letters; a letter in a rare place of the alphabet counts slightly less."""
    size = len(alphabet)
    return sum(seen[c] * (1 - 0.02 * rank / size) for rank, c in enumerate(alphabet))


def _best_multibyte(sample: bytes) -> str | None:
    """The East Asian encoding under which the sample is mostly common ideographs, kana or hangul."""
    scored = []
    for name in MULTIBYTE:
        text = sample.decode(name, "replace")
        wide = [c for c in text if c > "\x7f"]
        if wide:
            clean = "\ufffd" not in text[:-1]  # the sample may end inside a letter
            scored.append((clean, sum(map(_common_wide, wide)) / len(wide), name))
    clean, score, name = max(scored, default=(False, 0.0, ""))
    return name if score > (0.6 if clean else 0.8) else None


def _common_wide(c: str) -> float:
    if "\u3000" <= c <= "\u30ff" or "\uac00" <= c <= "\ud7a3" or "\uff00" <= c <= "\uff60":
        return 1.0
    return 0.9 if "\u4e00" <= c <= "\u9fff" else 0.0
