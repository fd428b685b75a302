"""What a night needs, checked one by one; `ragkeep doctor` prints it. Only the live embedder is really started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from .config import Params, Paths, find_project, load_params
from .errors import RagkeepError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a night needs."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Check]:
    """Run every check; the first that fails for a reason of its own does not hide the others."""
    try:
        paths = find_project()
        params = load_params(paths.params)
    except RagkeepError as error:
        return [Check("params.yaml", ok=False, detail=str(error))]
    checks: list[tuple[str, Callable[[Paths, Params], str]]] = [
        ("params.yaml", lambda p, _: str(p.params)),
        ("sources", _sources),
        ("model", _model),
        ("pipeline packages", _packages),
        ("fastapi beside prefect", _fastapi),
        ("git and dvc", _dvc),
        ("disk", _disk),
        ("state folder", _writable),
        ("index", _index),
        ("embedder", _embedder),
    ]
    return [_run(name, check, paths, params) for name, check in checks]


def _run(name: str, check: Callable[[Paths, Params], str], paths: Paths, params: Params) -> Check:
    try:
        return Check(name, ok=True, detail=check(paths, params))
    except (RagkeepError, OSError) as error:
        return Check(name, ok=False, detail=str(error))


def _sources(paths: Paths, params: Params) -> str:
    missing = [s.name for s in params.sources if s.path and not (paths.root / s.root).exists()]
    if missing:
        raise RagkeepError(f"no such path for source {', '.join(missing)}: correct params.yaml")
    return ", ".join(s.name for s in params.sources)


def _model(_paths: Paths, params: Params) -> str:
    if params.embed.backend != "minilm":
        return f"{params.embed.backend} {params.embed.model}".strip()
    from .models import packaged_minilm

    return str(packaged_minilm())


def _packages(_paths: Paths, _params: Params) -> str:
    missing = []
    for name in ("prefect", "dvc", "mlflow", "great-expectations", "ragas", "ir-measures"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        raise RagkeepError(f"not installed: {', '.join(missing)}; run `uv sync` in the checkout")
    return "prefect, dvc, mlflow, great-expectations, ragas, ir-measures"


def _fastapi(_paths: Paths, _params: Params) -> str:
    version = metadata.version("fastapi")
    if not (0, 139) <= tuple(int(x) for x in version.split(".")[:2]) < (0, 151):
        raise RagkeepError(f"fastapi {version} breaks prefect's server: install fastapi>=0.139,<0.151")
    return version


def _dvc(paths: Paths, _params: Params) -> str:
    if not (paths.root / ".dvc").is_dir() or not (paths.root / "dvc.yaml").is_file():
        raise RagkeepError(f"{paths.root} has no .dvc folder or no dvc.yaml: start from a clone of the project")
    if shutil.which("git") is None:
        raise RagkeepError("git is not installed; DVC and the lineage of releases need it")
    return str(paths.root / "dvc.yaml")


def _disk(paths: Paths, _params: Params) -> str:
    free = shutil.disk_usage(paths.root).free / 1e9
    if free < 2:
        raise RagkeepError(f"{free:.1f} GB free where 2 GB are needed: free some space or set RAGKEEP_STATE elsewhere")
    return f"{free:.0f} GB free"


def _writable(paths: Paths, _params: Params) -> str:
    paths.state.mkdir(parents=True, exist_ok=True)
    if not os.access(paths.state, os.W_OK):
        raise RagkeepError(f"{paths.state} cannot be written: set RAGKEEP_STATE to a folder that can")
    return str(paths.state)


def _index(paths: Paths, params: Params) -> str:
    from .releases import champion
    from .stores import open_store

    release = champion(paths)
    if release is None:
        return "nothing published yet; `ragkeep nightly` does"
    if release.index.name not in {v.name for v in open_store(params.index, paths).versions(params.index.alias)}:
        raise RagkeepError(
            f"the index {release.index.name} of the live release is gone: `ragkeep nightly` builds it again"
        )
    return f"release {release.number} on {release.index.name}, {release.index.chunks:,} chunks"


def _embedder(paths: Paths, params: Params) -> str:
    from .releases import champion

    release = champion(paths)
    if release is None:
        return "nothing published yet; watched from the first release on"
    from . import canary
    from .app import release_params
    from .embedders import load_embedder

    found = canary.check(load_embedder(release_params(params, release).embed, paths.cache), paths.monitor)
    if found.state != "same":
        raise RagkeepError(
            f"{found.fingerprint} moved by a cosine distance of {found.distance:.4f} since {found.since}, "
            f"{canary.MOVED} at most: put the model or library back, or run `ragkeep monitor --accept-embedder`"
        )
    return f"{found.fingerprint}, the same as on {found.since}"
