"""MLflow: one run a night, one registered model whose versions are releases, aliases that follow the champion.

The only module that imports mlflow (2-4 CPU seconds, so late). The default is SQLite and a folder under the state;
MLFLOW_TRACKING_URI names a server instead.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ragkeep.config import Paths
from ragkeep.files import write_json
from ragkeep.types import Release

MODEL = "ragkeep"
FINETUNE = "ragkeep-finetune"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


def _client(paths: Paths) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    paths.state.mkdir(parents=True, exist_ok=True)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.state / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: Any, paths: Paths, name: str = MODEL) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = str(client.tracking_uri).startswith("sqlite")
    location = (paths.state / "mlartifacts").as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def record(
    paths: Paths,
    release: Release,
    *,
    params: dict[str, Any],
    metrics: dict[str, float],
    tags: dict[str, str],
    artifacts: list[Path],
) -> Release:
    """Log a night and register its release as a version; return the release with number and run id.

    Safe to repeat: a release whose sha is registered already keeps its number.
    """
    client = _client(paths)
    number, run_id = _find(client, release.sha)
    if number:
        return replace(release, number=number, run_id=run_id)
    run = client.create_run(_experiment(client, paths), run_name=f"night {release.created_at}", tags=tags)
    run_id = run.info.run_id
    _log(client, run_id, params, metrics)
    folder = paths.state / "runs" / run_id
    write_json(folder / "release.json", asdict(release))
    for path in (folder / "release.json", *artifacts):
        if path.is_file():
            client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    _ensure_model(client, MODEL, "Versions are releases: index, embedder, fusion, generator.")
    version = client.create_model_version(
        MODEL,
        source=run.info.artifact_uri,
        run_id=run_id,
        tags={**tags, "release_sha": release.sha, "reason": release.reason, "index": release.index.name},
    )
    return replace(release, number=int(version.version), run_id=run_id)


def record_model(
    paths: Paths, name: str, sha: str, folder: Path, *, metrics: dict[str, float], tags: dict[str, str]
) -> int:
    """Register what a learner made as a version of the model `ragkeep-<name>`; return its number.

    Safe to repeat: what has the same sha keeps its number. The version's source is the run's artifacts: the card, and
    the weights too where the registry is a server's, whose readers do not see this disk.
    """
    client, model = _client(paths), f"{MODEL}-{name}"
    _ensure_model(client, model, "Learned from interactions by `ragkeep learn`.")
    for version in client.search_model_versions(f"name='{model}' and tags.`sha`='{sha}'"):
        return int(version.version)
    run = client.create_run(_experiment(client, paths), run_name=f"learn {name}", tags=tags)
    _log(client, run.info.run_id, {"model": name, **tags}, metrics)
    local = str(client.tracking_uri).startswith("sqlite")
    for path in sorted(folder.iterdir()):
        if path.is_file() and not (local and path.suffix == ".safetensors"):
            client.log_artifact(run.info.run_id, str(path), "model")
    client.set_terminated(run.info.run_id)
    source = folder.as_uri() if local else f"{run.info.artifact_uri}/model"
    tags = {**tags, "sha": sha, "folder": folder.name}
    made = client.create_model_version(model, source=source, run_id=run.info.run_id, tags=tags)
    return int(made.version)


def forget_models(paths: Paths, folder: Path) -> None:
    """Remove the version whose files are in a folder that goes; safe to repeat. Its run, with card and figures, stays."""
    client = _client(paths)
    for version in client.search_model_versions(f"tags.`folder`='{folder.name}'"):
        client.delete_model_version(version.name, version.version)


def follow(paths: Paths, numbers: dict[str, dict[str, int]]) -> None:
    """Make learned models' aliases follow the releases: alias -> {learner: version}; those of no release go."""
    client = _client(paths)
    for found in client.search_registered_models(f"name LIKE '{MODEL}-%'"):
        learner, now = found.name.removeprefix(f"{MODEL}-"), dict(found.aliases)
        for alias, versions in numbers.items():
            number = versions.get(learner)
            if number is None and alias in now:
                client.delete_registered_model_alias(found.name, alias)
            elif number is not None and str(now.get(alias)) != str(number):
                client.set_registered_model_alias(found.name, alias, str(number))


def record_finetune(paths: Paths, card: dict[str, Any], path: Path) -> str:
    """Log one training with its curve, parameters and card, in an experiment of its own; returns the run's id."""
    from mlflow.entities import Metric

    client = _client(paths)
    run = client.create_run(_experiment(client, paths, FINETUNE), run_name=f"{card['method']} {card['key'][:8]}")
    run_id = str(run.info.run_id)
    at = int(time.time() * 1000)
    points = [Metric(name, p[name], at, int(p["step"])) for p in card["curve"] for name in ("loss", "tokens")]
    for begin in range(0, len(points), 1000):  # as many as one call takes
        client.log_batch(run_id, metrics=points[begin : begin + 1000])
    kept = {k: v for k, v in card.items() if k not in ("curve", "trainable", "seconds", "cpu_seconds")}
    _log(client, run_id, kept, {"seconds": card["seconds"], "trainable_share": card["trainable"]["share"]})
    client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    return run_id


def _log(client: Any, run_id: str, params: dict[str, Any], metrics: dict[str, float]) -> None:
    """Write parameters and metrics in one transaction each; one by one they cost a commit apiece."""
    from mlflow.entities import Metric, Param

    at = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, value, at, 0) for key, value in sorted(metrics.items())])
    logged = [Param(key, str(value)[:6000]) for key, value in sorted(_flat(params).items())]
    for begin in range(0, len(logged), 100):  # as many as one call takes
        client.log_batch(run_id, params=logged[begin : begin + 100])


def _find(client: Any, sha: str) -> tuple[int, str]:
    for version in client.search_model_versions(f"name='{MODEL}' and tags.`release_sha`='{sha}'"):
        return int(version.version), str(version.run_id)
    return 0, ""


def _ensure_model(client: Any, name: str, description: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, item in value.items() for k, v in _flat(item, f"{prefix}.{name}" if prefix else name).items()}


def set_aliases(paths: Paths, aliases: dict[str, int | None]) -> None:
    """Make the registry's aliases follow the pointer; None removes one. Safe to repeat."""
    client = _client(paths)
    now = dict(client.get_registered_model(MODEL).aliases)
    for alias, number in aliases.items():
        if number is None:
            if alias in now:
                client.delete_registered_model_alias(MODEL, alias)
        elif str(now.get(alias)) != str(number):
            client.set_registered_model_alias(MODEL, alias, str(number))


def tag(paths: Paths, number: int, tags: dict[str, str]) -> None:
    """Add tags to a version: the gate's verdict, who promoted it and why."""
    client = _client(paths)
    for key, value in sorted(tags.items()):
        client.set_model_version_tag(MODEL, str(number), key, value[:5000])


def aliases(paths: Paths) -> dict[str, int]:
    """Read alias -> version number."""
    return {alias: int(number) for alias, number in _client(paths).get_registered_model(MODEL).aliases.items()}
