"""Scanning: what is taken, what is skipped and why, and that an unchanged tree is only looked at."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ragkeep.config import IngestParams, Params, Paths, SourceParams
from ragkeep.errors import SourceError
from tasks.scan import ScanResult, quick_digest, run, scan

LATER = 10_000_000_000  # ns: as if the files had been written well before the scan


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "docs").mkdir()
    return Paths(tmp_path)


def params(*, name: str = "docs", path: str = "docs", limit: int = 1000, **patterns: tuple[str, ...]) -> Params:
    return Params(sources=(SourceParams(name, path, **patterns),), ingest=IngestParams(max_file_bytes=limit))


def put(paths: Paths, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        file = paths.root / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


def settled(paths: Paths, what: Params) -> ScanResult:
    return scan(paths, what, now_ns=time.time_ns() + LATER)


def uris(result: ScanResult) -> list[str]:
    return [row[0] for row in result.rows]


def test_every_supported_file_has_a_row_sorted_by_uri(paths: Paths) -> None:
    put(paths, {"b.md": "two", "a/z.py": "one", "a.txt": "three"})
    result = scan(paths, params())
    assert uris(result) == ["docs/a.txt", "docs/a/z.py", "docs/b.md"]
    assert result.table().column_names == ["uri", "source", "workspace", "size", "sha"]
    assert result.rows[0][1:4] == ("docs", "default", 5)


def test_what_is_skipped_is_counted_by_reason(paths: Paths) -> None:
    put(paths, {"x.exe": "a", "big.md": "a" * 2000, "nul.txt": b"a\0b", "empty.py": "", "fine.md": "a"})
    (paths.root / "docs" / "out.md").symlink_to("/etc/hostname")
    (paths.root / "docs" / "loop.md").symlink_to("loop.md")
    os.mkfifo(paths.root / "docs" / "pipe.md")
    counts = scan(paths, params()).counts
    assert counts == {
        "unsupported": 1, "oversize": 1, "binary": 1, "empty": 1, "special": 1, "link leaves the source": 1,
        "link to no file": 1,
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_text_is_not_binary(paths: Paths, encoding: str) -> None:
    put(paths, {"wide.txt": "Zero bytes are half of this.".encode(encoding)})
    assert uris(scan(paths, params())) == ["docs/wide.txt"]


def test_a_pdf_may_hold_zero_bytes(paths: Paths) -> None:
    put(paths, {"a.pdf": b"%PDF-1.7\n\0\0\0"})
    assert uris(scan(paths, params())) == ["docs/a.pdf"]


def test_gitignore_is_respected_at_every_level(paths: Paths) -> None:
    put(paths, {".gitignore": "*.log\nbuild/\n/top.md\n", "a.log": "x", "build/b.md": "x", "top.md": "x"})
    put(paths, {"in/.gitignore": "!keep.log\nsecret.md\n", "in/keep.log": "x", "in/secret.md": "x", "in/top.md": "x"})
    put(paths, {".git/HEAD.md": "x", "in/deep/secret.md": "x"})
    assert uris(scan(paths, params())) == ["docs/in/keep.log", "docs/in/top.md"]


def test_a_source_inside_a_repository_obeys_the_files_above_it(paths: Paths) -> None:
    put(paths, {"a.md": "x", "b.tmp.md": "x"})
    (paths.root / ".git").mkdir()
    (paths.root / ".gitignore").write_text("*.tmp.md\n")
    assert uris(scan(paths, params())) == ["docs/a.md"]


def test_a_source_that_the_repository_ignores_was_named_on_purpose(paths: Paths) -> None:
    put(paths, {"sub/a.md": "x"})
    (paths.root / ".git").mkdir()
    (paths.root / ".gitignore").write_text("/docs/\n")
    assert uris(scan(paths, params(path="docs/sub"))) == ["docs/a.md"]


def test_include_and_exclude_are_gitignore_patterns(paths: Paths) -> None:
    put(paths, {"a.py": "x", "a.md": "x", "test/b.py": "x", "lib/test/c.py": "x", "lib/d.py": "x"})
    result = scan(paths, params(include=("*.py",), exclude=("test/",)))
    assert uris(result) == ["docs/a.py", "docs/lib/d.py"]
    assert result.counts == {"excluded": 1, "excluded folder": 2}


def test_an_anchored_include_does_not_walk_the_rest(paths: Paths) -> None:
    put(paths, {"x-1.dist-info/METADATA": "x", "x-1.dist-info/RECORD": "x", "x/deep/METADATA": "x"})
    result = scan(paths, params(include=("*.dist-info/METADATA",)))
    assert uris(result) == ["docs/x-1.dist-info/METADATA"]
    assert result.counts["excluded folder"] == 1


def test_a_single_file_is_a_source(paths: Paths) -> None:
    put(paths, {"only.md": "x", "other.md": "x"})
    assert uris(settled(paths, params(path="docs/only.md"))) == ["docs/only.md"]
    assert run(paths, params(path="docs/only.md"))["hashed"] == 0


def test_a_source_that_is_missing_is_named(paths: Paths) -> None:
    with pytest.raises(SourceError, match=r"source 'docs': .*/nowhere does not exist; correct its path"):
        scan(paths, params(path="nowhere"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_does_not_stop_the_scan(paths: Paths) -> None:
    put(paths, {"a.md": "x", "b.md": "y"})
    (paths.root / "docs/a.md").chmod(0)
    result = scan(paths, params())
    assert (uris(result), result.counts) == (["docs/b.md"], {"unreadable": 1})


def test_a_name_that_is_not_utf8_is_quarantined_not_fatal(paths: Paths) -> None:
    put(paths, {os.fsdecode(b"caf\xe9.md"): "x", "b.md": "y"})
    result = scan(paths, params())
    assert uris(result) == ["docs/b.md"]
    assert result.skipped[0] == {
        "uri": "docs/caf\\xe9.md", "source": "docs", "reason": "unreadable",
        "detail": "its name is not UTF-8: rename it",
    }  # fmt: skip


def test_an_unchanged_tree_is_not_read_again(paths: Paths) -> None:
    put(paths, {"a.md": "x", "in/b.md": "y"})
    first = settled(paths, params())
    assert (first.hashed, settled(paths, params()).hashed) == (2, 0)
    assert quick_digest(paths, params()) == first.digest


def test_only_the_changed_file_is_read(paths: Paths) -> None:
    put(paths, {f"{i}.md": f"text {i}" for i in range(20)})
    first = settled(paths, params())
    put(paths, {"7.md": "text x"})
    second = settled(paths, params())
    assert second.hashed == 1
    assert [a[0] for a, b in zip(first.rows, second.rows, strict=True) if a != b] == ["docs/7.md"]


@pytest.mark.parametrize("change", ["edit", "add", "delete", "rename", "ignore", "params", "target"])
def test_the_quick_digest_is_that_of_a_full_scan(paths: Paths, change: str) -> None:
    put(paths, {"a.md": "x", "in/b.md": "y", "in/c.py": "z", ".hidden/t.md": "t"})
    (paths.root / "docs/link.md").symlink_to(".hidden/t.md")
    what = params(exclude=(".hidden/",))
    before = settled(paths, what).digest
    if change == "edit":
        stats = (paths.root / "docs/a.md").stat()
        put(paths, {"a.md": "X"})  # same size, and made to look untouched
        os.utime(paths.root / "docs/a.md", ns=(stats.st_atime_ns, stats.st_mtime_ns))
    put(
        paths,
        {"add": {"new.md": "n"}, "ignore": {"in/.gitignore": "b.md"}, "target": {".hidden/t.md": "T"}}.get(change, {}),
    )
    if change == "delete":
        (paths.root / "docs/in/b.md").unlink()
    if change == "rename":
        (paths.root / "docs/in/b.md").rename(paths.root / "docs/in/d.md")
    if change == "params":
        what = params(exclude=(".hidden/", "*.py"))
    quick = quick_digest(paths, what)
    (paths.cache / "scan.json").unlink()
    (paths.cache / "scan-files.json").unlink()
    assert quick == scan(paths, what).digest != before


def test_a_file_touched_during_the_last_scan_is_read_again(paths: Paths) -> None:
    put(paths, {"a.md": "x"})
    assert scan(paths, params()).hashed == 1
    assert scan(paths, params()).hashed == 1, "written less than two seconds before the scan: stats prove nothing"


def test_a_damaged_cache_only_costs_time(paths: Paths) -> None:
    put(paths, {"a.md": "x"})
    digest = settled(paths, params()).digest
    for name in ("scan.json", "scan-files.json"):
        (paths.cache / name).write_text('{"half')
    assert quick_digest(paths, params()) == digest


def test_the_stage_writes_the_same_bytes_twice(paths: Paths) -> None:
    put(paths, {"a.md": "x", "b.bin": "y"})
    run(paths, params())
    files = [paths.data / "sources" / name for name in ("manifest.parquet", "skipped.json")]
    before = [f.read_bytes() for f in files]
    for file in files:
        file.unlink()
    run(paths, params())
    assert [f.read_bytes() for f in files] == before
    assert pq.read_table(files[0])["uri"].to_pylist() == ["docs/a.md"]
    assert json.loads(files[1].read_text())["counts"] == {"unsupported": 1}


def test_the_projects_own_state_is_never_a_document(paths: Paths) -> None:
    put(paths, {"a.md": "x"})
    run(paths, params(path="."))
    (paths.state / "note.md").write_text("x")
    assert uris(scan(paths, params(path="."))) == ["docs/docs/a.md"]


def test_looking_imports_nothing_heavy(paths: Paths) -> None:
    put(paths, {"a.md": "x"})
    settled(paths, params())
    code = (
        "import sys, pathlib; from ragkeep.config import *; from tasks.scan import quick_digest;"
        f"quick_digest(Paths(pathlib.Path({str(paths.root)!r})), Params(sources=(SourceParams('docs', 'docs'),),"
        "ingest=IngestParams(max_file_bytes=1000)));"
        "print([m for m in ('pyarrow', 'numpy', 'pathspec', 'pandas') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
