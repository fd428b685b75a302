"""A loader's version is a hash of what decides its texts, so that mending one parses its documents again."""

import subprocess
import sys
from pathlib import Path

import pytest

from ragkeep import loaders
from ragkeep.loaders import LOADERS, loader_for, version_of
from tests.loaders.reading import edited

EVERY = set(LOADERS)


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("loaders/html_text.py", {"html", "xml"}),
        ("loaders/charts.py", {"docx", "pptx", "xlsx"}),
        ("loaders/pdf_arabic.py", {"pdf"}),
        ("encoding.py", EVERY - {"docx", "odf", "pdf", "pptx", "xlsx"}),
        ("loaders/__init__.py", EVERY),
    ],
)
def test_an_edit_changes_the_versions_of_those_that_use_it(module: str, changed: set[str], tmp_path: Path) -> None:
    before = {name: version_of(name) for name in LOADERS}
    with edited(module, tmp_path / "package"):
        assert {name for name in LOADERS if version_of(name) != before[name]} == changed


def test_a_librarys_release_is_part_of_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: version_of(name) for name in LOADERS}
    monkeypatch.setattr(loaders, "_release", lambda library: "99" if library == "charset-normalizer" else "")
    version_of.cache_clear()
    changed = {name for name in LOADERS if version_of(name) != before[name]}
    version_of.cache_clear()
    assert {"prose", "html", "csv", "pdf"} <= changed
    assert "docx" not in changed


@pytest.mark.parametrize("name", ["html", "docx", "pdf", "json"])
def test_the_modules_of_a_loader_are_those_it_imports(name: str) -> None:
    code = f"import sys; from ragkeep.loaders import load; load({name!r}); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    loaded = {m.rpartition(".")[2] for m in said if m.startswith(("ragkeep.loaders.", "ragkeep.encoding"))}
    assert loaded == loaders._modules(LOADERS[name].partition(":")[0].rpartition(".")[2])


def test_a_version_imports_no_library() -> None:
    code = "import sys; from ragkeep.loaders import *; version_of('html'), version_of('pdf'); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"trafilatura", "pypdfium2", "charset_normalizer"} & set(said)
    assert loader_for(Path("a.pdf")) == ("pdf", version_of("pdf"))
