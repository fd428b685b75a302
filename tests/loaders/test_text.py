"""Text and code come through exactly as they are."""

from pathlib import PurePosixPath

import pytest

from ragkeep.loaders import LOADERS, SUPPORTED, Unreadable, load, loader_for, version_of
from tests.loaders.reading import read


def test_newlines_and_blanks_are_the_files_own() -> None:
    text = "# Title\r\n\r\n  body\t\r\n\x0c\nlast"
    assert read("a.md", text).text == text


@pytest.mark.parametrize(
    ("name", "kind", "language"),
    [
        ("a.py", "code", "python"),
        ("A.PY", "code", "python"),
        ("a.tsx", "code", "tsx"),
        ("a.h", "code", "c"),
        ("a.md", "prose", "markdown"),
        ("a.rst", "prose", "rst"),
        ("README", "prose", "text"),
    ],
)
def test_kind_and_language_follow_the_name(name: str, kind: str, language: str) -> None:
    extract = read(name, "text")
    assert (extract.kind, extract.language) == (kind, language)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b" \n", "empty"), (b"MZ\0\x01\0\0ab\0", "binary")])
def test_no_text_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as error:
        read("a.txt", data)
    assert error.value.reason == reason


def test_unknown_names_have_no_loader() -> None:
    assert loader_for(PurePosixPath("a.exe")) is None
    assert loader_for(PurePosixPath("METADATA")) is None
    assert loader_for(PurePosixPath("x.dist-info/METADATA")) == ("metadata", version_of("metadata"))


def test_every_loader_can_be_loaded_and_every_suffix_has_one() -> None:
    assert all(callable(load(name)) for name in LOADERS)
    assert all(loader_for(PurePosixPath(f"a{suffix}")) for suffix in SUPPORTED)


def test_metadata_is_the_readme_and_its_line_in_the_file() -> None:
    head = "Metadata-Version: 2.1\nName: demo\nVersion: 1.2\n"
    extract = read("demo-1.2.dist-info/METADATA", f"{head}\n# Demo\n\nHello\n")
    assert extract.text == "# Demo\n\nHello\n"
    assert extract.first_line == 5
    assert extract.meta == {"title": "demo", "version": "1.2"}


def test_metadata_without_a_readme_is_empty() -> None:
    with pytest.raises(Unreadable, match="empty"):
        read("demo-1.2.dist-info/METADATA", "Name: demo\nVersion: 1.2\n")
