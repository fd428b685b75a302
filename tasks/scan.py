"""Find the documents: walk every source, hash what is new, write the manifest. `python -m tasks.scan`

A night on which no file changed must cost only the look: one scandir and stat a file, condensed to one digest a
directory and held against the last scan's. Patterns, .gitignore and contents are touched only where that differs.

A file is told by size, mtime, ctime and inode, as in git. A change within the clock's granularity of a scan would
escape that, so what had been touched less than two seconds before a scan is read again by the next one.
"""

from __future__ import annotations

import os
import stat as st
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from blake3 import blake3

from ragkeep.config import Params, Paths, SourceParams
from ragkeep.errors import SourceError
from ragkeep.files import replacing, write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.scan_rules import Level, Rules

RACY_NS = 2_000_000_000
LISTED = 1000
"""How many skipped files of one reason are named; all are counted."""
COLUMNS = ("uri", "source", "workspace", "size", "sha")
Row = tuple[str, str, str, int, str]
"""uri, source, workspace, size in bytes, BLAKE3 of the bytes as 32 hex digits."""
Known = dict[str, dict[str, list[Any]]]
"""Directory -> file name -> [size, mtime_ns, ctime_ns, inode, hash, "binary" or ""]."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What the sources hold: rows sorted by uri, their digest, and how many files were skipped for which reason.

    `skipped` names up to LISTED files a reason as {uri, reason, detail}; `unreadable` ones are all named, for quarantine.
    `hashed` is how many files were read.
    """

    rows: tuple[Row, ...]
    digest: str
    counts: dict[str, int]
    skipped: tuple[dict[str, str], ...]
    hashed: int

    def table(self) -> pa.Table:
        """Build the manifest: columns uri, source, workspace, size (int64), sha."""
        import pyarrow as pa

        from ragkeep.tables import columns_table

        schema = pa.schema([(n, pa.int64() if n == "size" else pa.string()) for n in COLUMNS])
        columns = list(zip(*self.rows, strict=True)) or [()] * len(COLUMNS)
        return columns_table(dict(zip(COLUMNS, columns, strict=True)), schema)


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Write data/sources/{manifest.parquet,skipped.json} and data/inputs; leave alone what did not change.

    Raises SourceError, and ConfigError, ModelError, MissingExtra for what data/inputs describes.
    """
    from tasks.inputs import write_inputs

    write_inputs(paths, params)
    pages = bring_pages(paths, params)
    head = _unchanged(paths, params)
    if head is not None and head.get("written") == [head["digest"], *_stamp(paths)]:
        skipped = sum(head["counts"].values())
        return {"documents": head["rows"], "hashed": 0, "skipped": skipped, "unchanged": True, **pages}
    result = scan(paths, params)
    _write(paths, result)
    head = _read(paths.cache / "scan.json")
    head["written"] = [result.digest, *_stamp(paths)]
    _replace(paths.cache / "scan.json", head)
    return {"documents": len(result.rows), "hashed": result.hashed, "skipped": sum(result.counts.values()), **pages}


def bring_pages(paths: Paths, params: Params) -> dict[str, Any]:
    """Fetch the web pages that sources name, where any does; return what came of it, for people."""
    if not any(source.urls for source in params.sources):
        return {}
    from tasks.pages import fetch_pages

    return fetch_pages(paths, params).as_stats()


def quick_digest(paths: Paths, params: Params) -> str:
    """Digest the manifest that a scan would write now, at the cost of stats where nothing changed. Raises SourceError.

    Web pages are asked for first, at the cost of a request each.
    """
    bring_pages(paths, params)
    head = _unchanged(paths, params)
    return str(head["digest"]) if head is not None else scan(paths, params).digest


def scan(paths: Paths, params: Params, *, now_ns: int | None = None) -> ScanResult:
    """Walk all sources, reading only files whose stats are not known, and remember what was seen.

    `now_ns` is the start of the scan on the clock of the file system. Raises SourceError for a source that is not there.
    """
    now = time.time_ns() if now_ns is None else now_ns
    old = _read(paths.cache / "scan-files.json")
    walks = [_walk_source(s, paths, params, old.get(s.name, {}), now) for s in params.sources]
    rows = tuple(sorted(row for w in walks for row in w.rows))
    counts = Counter[str]()
    for w in walks:
        counts.update(w.counts)
    skipped = sorted((s for w in walks for s in w.skipped), key=lambda s: (s["reason"], s["uri"]))
    digest = _digest_rows(rows, skipped)
    result = ScanResult(rows, digest, dict(sorted(counts.items())), tuple(skipped), sum(w.hashed for w in walks))
    head = {
        "config": _config(paths, params),
        "digest": digest,
        "rows": len(rows),
        "counts": result.counts,
        "folders": {s.name: w.folders for s, w in zip(params.sources, walks, strict=True)},
        "written": _read(paths.cache / "scan.json").get("written"),
    }
    # files first: an old head with new files only costs a walk, a new head with old files would cost reading all
    _replace(paths.cache / "scan-files.json", {s.name: w.known for s, w in zip(params.sources, walks, strict=True)})
    _replace(paths.cache / "scan.json", head)
    return result


# The look


def _unchanged(paths: Paths, params: Params) -> dict[str, Any] | None:
    """Return what the last scan remembered when every directory still lists and stats the same, else None."""
    head = _read(paths.cache / "scan.json")
    if not head or head["config"] != _config(paths, params):
        return None
    for source in params.sources:
        root = str(root_of(source, paths))
        for folder, seen in head["folders"][source.name].items():
            path = f"{root}/{folder}" if folder else root
            try:
                if not seen or look(path) != seen:
                    return None
            except OSError:
                return None
    return head


def look(path: str) -> str:
    """Digest a directory's names and its files' stats (or one file's), without opening anything."""
    try:
        with os.scandir(path) as entries:
            parts = [_seen(e) for e in entries]
    except NotADirectoryError:
        parts = [_told(path, Path(path).stat())]
    return blake3("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest(16)


def _seen(e: os.DirEntry[str]) -> str:
    if e.is_dir(follow_symlinks=False):
        return e.name + "/"
    s = e.stat(follow_symlinks=False)
    told = f"{e.name}|{s.st_size}|{s.st_mtime_ns}|{s.st_ctime_ns}|{s.st_ino}"
    return told if not e.is_symlink() else f"{told}|{_target(e)}"


def _told(name: str, s: os.stat_result) -> str:
    return f"{name}|{s.st_size}|{s.st_mtime_ns}|{s.st_ctime_ns}|{s.st_ino}"


def _target(e: os.DirEntry[str]) -> str:
    try:
        return _told("", e.stat())
    except OSError:
        return "broken"


def _config(paths: Paths, params: Params) -> str:
    """Digest what decides, besides the files themselves, which of them are documents: parameters, rules, code."""
    import ragkeep

    code = [
        Path(ragkeep.__file__).parent / "loaders/__init__.py",
        Path(__file__),
        Path(__file__).with_name("scan_rules.py"),
    ]
    h = blake3(repr((params.ingest.max_file_bytes, [_stat_of(p) for p in code])).encode())
    for source in params.sources:
        root = root_of(source, paths)
        h.update(repr((source, str(root), [(str(p), _stat_of(p)) for p in _outer(root)])).encode())
    return h.hexdigest(16)


def _outer(root: Path) -> list[Path]:
    """Every place above a source where a repository or a .gitignore may stand."""
    return [folder / name for folder in root.parents for name in (".git", ".gitignore")]


def _stat_of(path: Path) -> tuple[int, ...]:
    try:
        s = path.stat()
    except OSError:
        return ()
    return (s.st_ino,) if st.S_ISDIR(s.st_mode) else (s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def root_of(source: SourceParams, paths: Paths) -> Path:
    """Resolve where a source lies. Raises SourceError when nothing is there."""
    if source.urls:
        return (paths.pages / source.name).resolve()
    root = (paths.root / source.root).resolve()
    if not root.exists():
        raise SourceError(f"source {source.name!r}: {root} does not exist; correct its path in {paths.params}")
    return root


# The walk


@dataclass(slots=True)
class _Walk:
    """One source's walk: where it is told what to do, and what it found."""

    source: SourceParams
    root: str
    limit: int
    old: Known
    fresh_ns: int
    own: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[dict[str, str]] = field(default_factory=list)
    known: Known = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    hashed: int = 0

    def skip(self, path: str, reason: str, detail: str = "") -> None:
        self.counts[reason] += 1
        if reason == "unreadable" or self.counts[reason] <= LISTED:
            uri = f"{self.source.name}/{path}".encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            self.skipped.append({"uri": uri, "source": self.source.name, "reason": reason, "detail": detail})


def _walk_source(source: SourceParams, paths: Paths, params: Params, old: Known, now_ns: int) -> _Walk:
    from tasks.scan_rules import outer_levels, rules_of

    root = root_of(source, paths)
    own = (str(paths.state.resolve()), str(paths.data.resolve()))
    walk = _Walk(source, str(root), params.ingest.max_file_bytes, old, now_ns - RACY_NS, own)
    if root.is_file():
        walk.root = str(root.parent)
        stats = root.stat()
        walk.folders[""] = "" if stats.st_ctime_ns >= walk.fresh_ns else look(str(root))
        _take(walk, "", root.name, stats)
        return walk
    rules, stack = rules_of(source), [("", outer_levels(root))]
    while stack:
        stack += _enter(walk, *stack.pop(), rules)
    return walk


def _enter(walk: _Walk, folder: str, levels: list[Level], rules: Rules) -> list[tuple[str, list[Level]]]:
    """Take a directory's files; return the directories to enter, each with the .gitignore files that rule there."""
    from tasks.scan_rules import read_level, refused_folder

    path, prefix = (f"{walk.root}/{folder}", f"{folder}/") if folder else (walk.root, "")
    try:
        entries = _list(walk, path, folder)
    except OSError as error:
        if not folder:
            raise SourceError(f"source {walk.source.name!r}: {path} cannot be read: {error.strerror}") from error
        walk.skip(prefix, "unreadable", str(error.strerror))
        return []
    if any(e.name == ".gitignore" for e in entries) and (level := read_level(path, prefix)):
        levels = [*levels, level]
    below = []
    for e in entries:
        if not e.is_dir(follow_symlinks=False):
            _consider(walk, e, folder, rules, levels)
        elif reason := "own" if e.path in walk.own else refused_folder(rules, levels, prefix + e.name):
            walk.counts[f"{reason} folder"] += 1
        else:
            below.append((prefix + e.name, levels))
    return below


def _list(walk: _Walk, path: str, folder: str) -> list[os.DirEntry[str]]:
    """List a directory and remember its digest, unless a file in it is too fresh to be trusted next time."""
    with os.scandir(path) as found:
        entries = [e for e in found if _still_there(e)]
    files = [e for e in entries if not e.is_dir(follow_symlinks=False)]
    fresh = any(e.stat(follow_symlinks=False).st_ctime_ns >= walk.fresh_ns for e in files)
    seen = "\0".join([_seen(e) for e in entries]).encode("utf-8", "surrogateescape")
    walk.folders[folder] = "" if fresh else blake3(seen).hexdigest(16)
    return entries


def _still_there(e: os.DirEntry[str]) -> bool:
    """Whether an entry can still be asked for its stats (which it then keeps): it may vanish while we look."""
    try:
        return e.is_dir(follow_symlinks=False) or bool(e.stat(follow_symlinks=False))
    except OSError:
        return False


def _consider(walk: _Walk, e: os.DirEntry[str], folder: str, rules: Rules, levels: list[Level]) -> None:
    """Take a file, or say why not."""
    from tasks.scan_rules import refused

    path = f"{folder}/{e.name}" if folder else e.name
    try:
        path.encode()
    except UnicodeEncodeError:
        return walk.skip(path, "unreadable", "its name is not UTF-8: rename it")
    if reason := refused(rules, levels, path):
        return walk.skip(path, reason)
    if e.is_symlink() and (reason := _link(walk, e)):
        return walk.skip(path, reason)
    stats = e.stat()
    if not st.S_ISREG(stats.st_mode):
        return walk.skip(path, "special")
    return _take(walk, folder, e.name, stats)


def _link(walk: _Walk, e: os.DirEntry[str]) -> str:
    """Say why a symbolic link is not followed: it leaves the source, leads nowhere or to a directory."""
    target = Path(os.path.realpath(e.path))  # resolve() raises on a loop
    if not target.is_relative_to(walk.root):
        return "link leaves the source"
    return "" if target.is_file() else "link to no file"


def _take(walk: _Walk, folder: str, name: str, stats: os.stat_result) -> None:
    """Add a file's row, hashing it where its stats are not the known ones."""
    path = f"{folder}/{name}" if folder else name
    if stats.st_size == 0:
        return walk.skip(path, "empty")
    if stats.st_size > walk.limit:
        return walk.skip(path, "oversize", f"{stats.st_size:,} bytes, the limit is {walk.limit:,}")
    told = [stats.st_size, stats.st_mtime_ns, stats.st_ctime_ns, stats.st_ino]
    entry = walk.old.get(folder, {}).get(name)
    if entry is None or entry[:4] != told:
        try:
            entry = [*told, *_hash(f"{walk.root}/{path}", path)]
        except OSError as error:
            walk.folders[folder] = ""  # so that the next night tries again
            return walk.skip(path, "unreadable", str(error.strerror))
        walk.hashed += 1
    if stats.st_ctime_ns < walk.fresh_ns:
        walk.known.setdefault(folder, {})[name] = entry
    if entry[5]:
        return walk.skip(path, entry[5])
    walk.rows.append((f"{walk.source.name}/{path}", walk.source.name, walk.source.workspace, entry[0], entry[4]))
    return None


def _hash(file: str, path: str) -> tuple[str, str]:
    from tasks.scan_rules import SNIFFED, is_binary

    with open(file, "rb", buffering=0) as f:  # noqa: PTH123 - a string, many of them
        data = f.readall()
    return blake3(data).hexdigest(16), "binary" if is_binary(path, data[:SNIFFED]) else ""


# What is kept


def _digest_rows(rows: tuple[Row, ...], skipped: list[dict[str, str]]) -> str:
    """Hash the manifest and what is to be quarantined: all that later stages read."""
    h = blake3()
    for row in rows:
        h.update("\0".join(map(str, row)).encode())
    for one in skipped:
        if one["reason"] == "unreadable":
            h.update(f"{one['uri']}\0{one['detail']}".encode())
    return h.hexdigest(16)


def _write(paths: Paths, result: ScanResult) -> None:
    import pyarrow.parquet as pq

    folder = paths.data / "sources"
    with replacing(folder / "manifest.parquet") as new:
        pq.write_table(result.table(), new, compression="zstd", row_group_size=65536)
    write_json(folder / "skipped.json", {"counts": result.counts, "files": list(result.skipped)})


def _stamp(paths: Paths) -> list[Any]:
    files = (paths.data / "sources" / name for name in ("manifest.parquet", "skipped.json"))
    return [list(_stat_of(p)[:2]) for p in files]


def _read(path: Path) -> dict[str, Any]:
    """Read a cache; one that is absent or damaged is an empty one."""
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _replace(path: Path, value: dict[str, Any]) -> None:
    with replacing(path) as new:
        new.write_bytes(orjson.dumps(value))


if __name__ == "__main__":
    from tasks.stage import stage_main

    stage_main("scan", run)
