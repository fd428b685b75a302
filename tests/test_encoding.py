"""Bytes become the text that was meant."""

import json

import pytest

from ragkeep.encoding import decode
from ragkeep.loaders import Unreadable
from tests.evaldata import evaldata

GERMAN = "Die Größe der Straße überrascht: schöne Äpfel, süße Möhren und fünf Gänse für Österreich. " * 4
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний. " * 4
JAPANESE = "これは日本語の文章です。文字コードを調べるために、ひらがなとカタカナと漢字を使います。" * 4
POLISH = "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. " * 4


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8-sig"),
        (GERMAN, "cp1252"),
        (GERMAN, "cp850"),
        (GERMAN, "mac_roman"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-32-be"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN, "utf-16"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859_2"),
    ],
)
def test_text_survives_its_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


def test_a_declaration_is_believed_where_the_bytes_agree() -> None:
    page = '<meta charset="windows-1253">Καλή μέρα'
    assert decode(page.encode("cp1253"))[0] == page
    assert decode('<meta charset="latin-1">Größe'.encode())[0].endswith("Größe")


def test_newlines_are_not_touched() -> None:
    assert decode(b"a\r\nb\rc\n")[0] == "a\r\nb\rc\n"


def test_noise_is_refused() -> None:
    with pytest.raises(Unreadable, match="encoding"):
        decode(bytes(range(128, 256)) * 20 + b"\x80\xff" * 300)


def test_share_of_real_files_decoded_as_they_were_written() -> None:
    folder, right, total = evaldata("nasty-a"), 0, 0
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if truth := true_text(row["why"], data := (folder / row["file"]).read_bytes()):
            total += 1
            right += outcome(data) == truth
    assert total >= 40
    assert right / total >= 0.95, f"{right} of {total}"


def true_text(why: str, data: bytes) -> str | None:
    kind, _, label = why.partition(": ")
    for name in (label, label.rpartition("-")[0], label.lower().replace("mac", "mac_")) if kind == "encoding" else ():
        try:
            return data.decode(name).removeprefix("\ufeff")
        except (LookupError, UnicodeDecodeError):
            continue
    return None


def outcome(data: bytes) -> str:
    try:
        return decode(data)[0]
    except Unreadable as error:
        return error.reason
