"""What leaves the project: a GGUF file, rows for other tools, a job at Amazon Bedrock; and a look at what comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ragkeep.errors import ModelError
from ragkeep.files import write_rows

from . import weights
from .augment import read
from .config import Place
from .gguf_file import Precision
from .gguf_file import inspect as inspect_gguf

Target = Literal["gguf", "alpaca", "chatml", "bedrock"]


def export(place: Place, to: Target, *, precision: Precision = "f16", dry_run: bool = False) -> dict[str, Any]:
    """Export; returns what was written. Raises RagkeepError."""
    if to == "bedrock":
        from .customize import customize

        return customize(place, dry_run=dry_run)
    if to in ("alpaca", "chatml"):
        return _rows(place, to, dry_run=dry_run)
    return _gguf(place, precision, dry_run=dry_run)


def _rows(place: Place, kind: Literal["alpaca", "chatml"], *, dry_run: bool) -> dict[str, Any]:
    from .formats import record

    written = {}
    for split, path in (("train", place.train), ("eval", place.eval)):
        rows = read(path)
        out = place.output / "export" / f"{split}-{kind}.jsonl"
        if not dry_run:
            write_rows(out, (record(row, kind, place.params.format.system) for row in rows))
        written[str(out)] = len(rows)
    return {"would_write" if dry_run else "written": written}


def _gguf(place: Place, precision: Precision, *, dry_run: bool) -> dict[str, Any]:
    from . import gguf_file
    from .merge import PROBES, answering

    weights.need_packages()
    weights.quietly()
    folder = answering(place.merged)
    out = place.output / "export" / f"{place.path.parent.name or 'model'}-{precision}.gguf"
    if dry_run:
        return {"model": str(folder), "would_write": str(out)}
    made = gguf_file.write(folder, out, precision=precision, name=place.path.parent.name)
    return {**made, **gguf_file.verify(out, folder, texts=PROBES, precision=precision)}


def inspect(path: Path) -> dict[str, Any]:
    """Look at a model's folder or file; returns what it says of itself. Raises ModelError for what is refused."""
    if path.is_dir():
        adapter = (path / "adapter_model.safetensors").is_file()
        weights.check(path, adapter=adapter)
        kind = "adapter" if adapter else "model"
        return {"folder": str(path), "kind": kind, "sha256": weights.fingerprint(path)}
    if not path.is_file():
        raise ModelError(f"{path} does not exist: name a model's folder, or a .gguf or .safetensors file")
    if path.suffix.lower() == ".gguf":
        return {"file": str(path), "kind": "gguf", **inspect_gguf(path)}
    if path.suffix.lower() == ".safetensors":
        return {"file": str(path), "kind": "safetensors", "tensors": len(weights.safetensors(path))}
    raise ModelError(f"{path} is neither a folder nor a .gguf or .safetensors file: other files may run code when opened")
