"""Is there anything to do tonight? Decided from file stats and hashes alone, before anything heavy is imported.

The fingerprint covers the sources, params.yaml, the code and golden sets, the locked environment and what was released
from quarantine. A night that ended well leaves its fingerprint; the same one again means the same bytes all the way.
"""

from __future__ import annotations

import contextlib
import platform
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from blake3 import blake3

from ragkeep.config import Params, Paths
from ragkeep.files import append_row, read_json, write_json
from ragkeep.releases import champion

from .graph import refused_for_the_moment

ROOMS = ("ragkeep", "evaluation", "tasks", "flows")
RUNTIMES = ("openvino", "tokenizers", "torch", "transformers", "sentence-transformers")
TRYOUT = "tryout.json"
FILES = ("params.yaml", "dvc.yaml", "uv.lock", "data/released.jsonl")


def fingerprint(paths: Paths, params: Params) -> dict[str, str]:
    """Hash everything a night depends on, by part. Costs microseconds a source file."""
    from tasks.scan import quick_digest

    return {
        "sources": quick_digest(paths, params),
        "code": _tree_digest(Path(__file__).resolve().parent.parent),
        "sets": _files_digest([paths.root / s for s in params.evaluate.sets]),
        "inputs": _files_digest([paths.root / name for name in FILES]),
        "machine": _machine_digest(params),
    }


def _machine_digest(params: Params) -> str:
    """Hash what decides the embedder's fingerprint outside the project, without importing a runtime to ask it."""
    h = blake3(platform.python_version().encode())
    for name in RUNTIMES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            h.update(f"{name}={metadata.version(name)}".encode())
    with contextlib.suppress(OSError):
        flags = next((line for line in Path("/proc/cpuinfo").read_bytes().splitlines() if line.startswith(b"flags")), b"")
        h.update(flags)
    model = Path(params.embed.model).expanduser() if params.embed.model else None
    for path in sorted(model.rglob("*")) if model and model.is_dir() else ():
        stat = path.stat()
        h.update(f"{path}:{stat.st_size}:{stat.st_mtime_ns}".encode())
    return h.hexdigest(16)


def _tree_digest(root: Path) -> str:
    return _files_digest(sorted(p for room in ROOMS for p in (root / room).rglob("*.py")))


def _files_digest(files: list[Path]) -> str:
    h = blake3()
    for path in files:
        data = path.read_bytes() if path.is_file() else b"(absent)"
        h.update(f"{path.name}:{len(data)}:".encode())
        h.update(data)
    return h.hexdigest(16)


def remember(paths: Paths, marks: dict[str, str], result: dict[str, Any]) -> None:
    """Leave a finished night's fingerprint and result for the next one."""
    write_json(paths.state / "night.json", {"fingerprint": marks, "result": result})


def note(paths: Paths, result: dict[str, Any]) -> None:
    """Record that a night was, whatever came of it: one line in `<state>/nights.jsonl`. A full disk does not stop it."""
    kept = {name: value for name, value in result.items() if name != "scores"}
    with contextlib.suppress(OSError):
        append_row(paths.state / "nights.jsonl", {"at": datetime.now(UTC).isoformat(timespec="seconds"), **kept})


def last_result(paths: Paths, params: Params, marks: dict[str, str]) -> dict[str, Any] | None:
    """Return the last night's result when nothing has changed since and its release is still whole; else None."""
    row = read_json(paths.state / "night.json")
    if row is None or row["fingerprint"] != marks or (paths.releases / "publish.json").exists():
        return None
    if (paths.state / TRYOUT).exists():  # a killed tryout of what was learned: data/ is not the champion's
        return None
    release = champion(paths)
    if release is None or str(release.number) != row["result"].get("release"):
        return None
    if not index_present(paths, params, release.index.name) or refused_for_the_moment(paths.data):
        return None
    result: dict[str, Any] = row["result"]
    return result


def index_present(paths: Paths, params: Params, name: str) -> bool:
    """Whether the store holds a sealed version of that name; the receipt is checked, not believed."""
    from ragkeep.stores import open_store

    store = open_store(params.index, paths)
    return any(version.name == name for version in store.versions(params.index.alias))


def pages_failed(paths: Paths, params: Params) -> dict[str, list[str]]:
    """Name what a source on the web did not give tonight; nothing where all came."""
    if not any(source.urls for source in params.sources):
        return {}
    from tasks.pages import away

    failed = away(paths, params)
    return {"pages_failed": failed} if failed else {}


def unchanged_result(paths: Paths, params: Params, last: dict[str, Any], began: float) -> dict[str, Any]:
    """Say again what the last night said, as the night in which nothing happened; of pages, what tonight says."""
    documents = {**last["documents"], "changed": 0, "deleted": 0}
    return {
        **{name: value for name, value in last.items() if name != "pages_failed"},
        **pages_failed(paths, params),
        "published": False,
        "verdict": "unchanged",
        "documents": documents,
        "chunks": {**last["chunks"], "embedded": 0},
        "seconds": round(time.monotonic() - began, 3),
    }
