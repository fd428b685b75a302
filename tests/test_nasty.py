"""Files that break parsers: each ends as a document or with a reason, within 20 s of CPU and 512 MB."""

from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from ragkeep.loaders import loader_for
from ragkeep.sandbox import File, Limits, Refused, Sandbox
from tests.evaldata import evaldata

REASONS = {"encrypted", "damaged", "encoding", "empty", "binary", "unsupported"}


def loader_of(path: Path) -> str | None:
    """PDFs that fuzzers made have a suffix of their own."""
    found = loader_for(PurePosixPath(path.name))
    return "pdf" if path.suffix == ".fuzz" else found[0] if found else None


def files() -> list[Path]:
    folder = evaldata("nasty-a")
    return sorted(p for p in folder.iterdir() if p.name not in ("README.md", "manifest.jsonl"))


def test_every_file_is_read_or_refused_within_the_limits() -> None:
    known = [File(p, name) for p in files() if (name := loader_of(p))]
    with Sandbox(Limits()) as sandbox:
        results = list(sandbox.read(known))
    assert len(results) == len(known)
    refused = Counter(one.reason for one in results if isinstance(one, Refused))
    assert set(refused) <= REASONS, refused
    assert sum(refused.values()) < len(known) / 2, refused
    assert sandbox.usage.children == 1, "a file killed its reader"
    assert sandbox.usage.cpu_s < 20, "all of them together took longer than one may"
    assert sandbox.usage.max_rss_mb < 512


def test_what_no_loader_knows_is_said_to_be_unsupported() -> None:
    unknown = {p.suffix for p in files() if loader_of(p) is None}
    assert unknown == {".doc", ".rtf", ".zip"}


@pytest.mark.parametrize("loader", ["pdf", "docx", "odf", "xlsx", "pptx", "html", "xml", "json", "csv", "metadata"])
def test_any_bytes_may_meet_any_loader(loader: str) -> None:
    with Sandbox(Limits(timeout_s=20)) as sandbox:
        results = list(sandbox.read([File(p, loader) for p in files()]))
    assert {one.reason for one in results if isinstance(one, Refused)} <= REASONS
    assert sandbox.usage.max_rss_mb < 512
