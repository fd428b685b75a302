"""How many of the words that a good parser finds does ours find, format by format? Run with -s to see the table."""

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

import pytest

from ragkeep.loaders import loader_for
from ragkeep.sandbox import File, Limits, Refused, Sandbox
from tests.evaldata import evaldata

# A little under what is reached, so that a change for the worse is seen.
FLOORS = {
    "asciidoc": 0.98,
    "csv": 0.98,
    "docx": 0.92,
    "html": 0.87,
    "jats": 0.95,
    "md": 0.96,
    "odf": 0.94,
    "pdf": 0.93,
    "pptx": 0.88,
    "webvtt": 0.98,
    "xlsx": 0.88,
}


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


@pytest.fixture(scope="module")
def recall() -> dict[str, list[float]]:
    """Share of the expected words found, a number a file, by format."""
    folder = evaldata("parse-a")
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    listed = [File(folder / row["file"], loader_name(row["file"])) for row in rows]
    shares: dict[str, list[float]] = defaultdict(list)
    with Sandbox(Limits()) as sandbox:
        for row, result in zip(rows, sandbox.read(listed), strict=True):
            assert not isinstance(result, Refused), f"{row['file']}: {result}"
            shares[row["file"].partition("/")[0]].append(found(folder / row["expected"], result.text))
    return shares


def loader_name(file: str) -> str:
    known = loader_for(PurePosixPath(file))
    assert known is not None, file
    return known[0]


def found(expected: Path, text: str) -> float:
    wanted = words(expected.read_text(encoding="utf-8"))
    return (wanted & words(text)).total() / max(1, wanted.total())


def test_the_table(recall: dict[str, list[float]], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for name, shares in sorted(recall.items()):
            sys.stdout.write(f"\n{name:9} {len(shares):3} files  words found {sum(shares) / len(shares):.3f}")
    assert set(recall) == set(FLOORS)


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_words_are_found(recall: dict[str, list[float]], name: str, floor: float) -> None:
    assert sum(recall[name]) / len(recall[name]) >= floor


def test_reports_of_companies_are_read_page_by_page() -> None:
    files = sorted((evaldata("sec10q") / "pdf").glob("*.pdf"))
    with Sandbox(Limits()) as sandbox:
        reports = [one for one in sandbox.read([File(p, "pdf") for p in files]) if not isinstance(one, Refused)]
    assert len(reports) == len(files)
    assert sum(len((one.meta or {})["pages"]) for one in reports) == 536  # type: ignore[arg-type]
    assert all("Net income" in one.text or "NET INCOME" in one.text.upper() for one in reports)
