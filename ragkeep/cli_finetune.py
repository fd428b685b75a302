"""`ragkeep finetune ...`: a language model tuned on one's own documents, step by step; needs extra [train].

Every step reads what the one before it wrote below `output` of finetune.yaml; any of them may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import Json, emit_json, logs_to_stderr, next_step, project, room, table
from .errors import CannotJudge, ConfigError

finetune_app = typer.Typer(
    no_args_is_help=True, help="Tune a language model on your own documents, from a PDF to a GGUF."
)

File = Annotated[Path, typer.Option("--config", help="finetune.yaml, or the folder that holds it.")]
DryRun = Annotated[bool, typer.Option(help="Only check, and say what would be done.")]
HERE = Path("finetune.yaml")


def _ticking(label: str) -> AbstractContextManager[Callable[[int, int], None]]:
    made: AbstractContextManager[Callable[[int, int], None]] = room("tasks.stage").ticking(label)
    return made


def _tell(result: dict[str, Any], *, json: bool, title: str, following: str) -> None:
    if json:
        emit_json(result)
        return
    table(title, ("what", "value"), [(key, _short(value)) for key, value in result.items() if key != "curve"])
    next_step(following)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _place(config: Path) -> Any:
    return room("tasks.finetune.config").load(config)


@finetune_app.command()
def init(
    *,
    config: File = HERE,
    model: Annotated[str, typer.Option(help="A folder with safetensors, or a model of the Hugging Face cache.")] = "",
    force: Annotated[bool, typer.Option(help="Replace the one that is there.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a finetune.yaml with every key and what it means."""
    module = room("tasks.finetune.config")
    written = config if dry_run else module.init(config, model=model, force=force)
    _tell({"written" if not dry_run else "would_write": str(written)}, json=json, title="New",
          following="name your model and sources in it, then `ragkeep finetune validate`")  # fmt: skip


@finetune_app.command()
def validate(*, config: File = HERE, json: Json = False) -> None:
    """Check finetune.yaml, the model and this machine, and name what is wrong. Exit code 1 when something is."""
    with logs_to_stderr():
        checks = room("tasks.finetune.validate").validate(config)
    good = all(check["ok"] for check in checks)
    if json:
        emit_json({"ok": good, "checks": checks})
    else:
        table(
            "Checks",
            ("check", "state", "detail"),
            [(c["name"], "ok" if c["ok"] else "WRONG", c["detail"]) for c in checks],
        )
        next_step("ragkeep finetune prepare-data" if good else "mend what is marked WRONG")
    if not good:
        raise SystemExit(1)


@finetune_app.command("prepare-data")
def prepare_data(*, config: File = HERE, dry_run: DryRun = False, json: Json = False) -> None:
    """Read the sources (JSON, PDF, DOCX, TXT and more) and cut them into chunks."""
    place = _place(config)
    with logs_to_stderr(), _ticking("read") as tick:
        result = room("tasks.finetune.documents").prepare(place, tick, dry_run=dry_run)
    _tell(result, json=json, title="Documents", following="ragkeep finetune generate-qa")


@finetune_app.command("generate-qa")
def generate_qa(*, config: File = HERE, dry_run: DryRun = False, json: Json = False) -> None:
    """Ask questions of every chunk whose answers stand in it, by rules or by any provider; keep some for evaluation."""
    place = _place(config)
    with logs_to_stderr(), _ticking("ask") as tick:
        result = room("tasks.finetune.questions").generate(place, tick, dry_run=dry_run)
    _tell(result, json=json, title="Questions", following="ragkeep finetune augment")


@finetune_app.command()
def augment(*, config: File = HERE, dry_run: DryRun = False, json: Json = False) -> None:
    """Ask the questions for training in other ways as well; those for evaluation stay as they are."""
    place = _place(config)
    with logs_to_stderr():
        result = room("tasks.finetune.augment").build(place, dry_run=dry_run)
    _tell(result, json=json, title="Rows", following="ragkeep finetune train")


@finetune_app.command()
def preferences(
    *,
    config: File = HERE,
    workspace: Annotated[str | None, typer.Option(help="Only what was asked in this workspace.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make pairs for `train --method dpo` of corrections and votes in this project's interaction log."""
    place = _place(config)
    paths, _ = project()
    with logs_to_stderr():
        module = room("tasks.finetune.preferences")
        result = module.collect(paths.interactions, place.preferences, workspace=workspace, dry_run=dry_run)
    _tell(result, json=json, title="Preferences", following="ragkeep finetune train --method dpo")


@finetune_app.command()
def train(
    *,
    config: File = HERE,
    method: Annotated[Literal["sft", "dpo"], typer.Option(help="On rows with answers, or on preferences.")] = "sft",
    fresh: Annotated[bool, typer.Option(help="Forget what an earlier run left, instead of going on from it.")] = False,
    track: Annotated[bool, typer.Option(help="Log the run to MLflow.")] = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train a LoRA adapter; a run that was stopped goes on from its last checkpoint."""
    place = _place(config)
    with logs_to_stderr(), _ticking("train") as tick:
        erased = _without_erased(place) if method == "dpo" and not dry_run else 0
        result = room("tasks.finetune.train").train(place, tick, method=method, fresh=fresh, dry_run=dry_run)
        if method == "dpo" and not dry_run:
            result |= {"erased": erased, "known_as": _noted(result, place)}
        if track and not dry_run and not result.get("unchanged"):
            result["run"] = _tracked(result, place)
    _tell(result, json=json, title="Training", following="ragkeep finetune evaluate")


def _without_erased(place: Any) -> int:
    """Leave out of preferences what was erased from this project's log since they were made."""
    try:
        paths, _ = project()
    except ConfigError:  # a rented machine, with the rows alone
        return 0
    return int(room("tasks.finetune.preferences").without_erased(place.preferences, paths.interactions))


def _noted(card: dict[str, Any], place: Any) -> str:
    """Note which interactions the adapter knows, so that a deletion names it; return what it is called there."""
    from .learned import FINETUNED, note_trained

    name = f"{FINETUNED}{place.path.parent.name}-{card['key'][:12]}"
    with suppress(ConfigError):
        note_trained(project()[0].state, name, room("tasks.finetune.preferences").known(place.preferences))
    return name


def _tracked(card: dict[str, Any], place: Any) -> str:
    """Log a run with its curve to MLflow; "" where that is not installed."""
    try:
        return str(room("flows.registry").record_finetune(project()[0], card, place.adapter / "card.json"))
    except ConfigError:
        return ""


@finetune_app.command()
def evaluate(
    *,
    config: File = HERE,
    must_gain: Annotated[
        bool, typer.Option(help="Exit with 1 unless the loss falls, its whole interval below 0.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compare base and tuned model on the questions kept apart. Exit code 2: there is nothing to judge by."""
    place = _place(config)
    with logs_to_stderr(), _ticking("evaluate") as tick:
        result = room("tasks.finetune.measure").measure(place, tick, dry_run=dry_run)
    _tell(result, json=json, title="Base and tuned", following="ragkeep finetune merge-adapter")
    if must_gain and not dry_run:
        ceiling = result["metrics"]["loss"]["ci"][1]
        if ceiling is None or ceiling != ceiling:
            raise CannotJudge("the rows kept apart gave no interval: raise questions.eval_share")
        if ceiling >= 0:
            raise SystemExit(1)


@finetune_app.command("merge-adapter")
def merge_adapter(*, config: File = HERE, dry_run: DryRun = False, json: Json = False) -> None:
    """Merge adapter and base into one folder with the same logits."""
    place = _place(config)
    with logs_to_stderr():
        result = room("tasks.finetune.merge").merge(place, dry_run=dry_run)
    _tell(result, json=json, title="Merged",
          following=f"answer: {{generators: [{{backend: local, model: {place.merged}}}]}} in params.yaml, or "
          "`ragkeep finetune export`")  # fmt: skip


@finetune_app.command()
def export(
    *,
    config: File = HERE,
    to: Annotated[
        Literal["gguf", "alpaca", "chatml", "bedrock"],
        typer.Option(help="A GGUF file, rows for other tools, or a customization job of Amazon Bedrock."),
    ] = "gguf",
    precision: Annotated[Literal["f16", "f32"], typer.Option(help="Of the GGUF's weights.")] = "f16",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write the merged model as GGUF, verified by loading it again; or the rows for somebody else's training."""
    place = _place(config)
    with logs_to_stderr():
        result = room("tasks.finetune.export").export(place, to, precision=precision, dry_run=dry_run)
    after = {
        "gguf": "llama-cli -m FILE, or ollama create",
        "bedrock": "ragkeep finetune export --to bedrock, to ask again",
    }
    _tell(result, json=json, title="Exported", following=after.get(to, "train elsewhere with these files"))


@finetune_app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A model's folder, or a .gguf or .safetensors file.")],
    *,
    json: Json = False,
) -> None:
    """Look at somebody else's model without opening it, and refuse what could run code."""
    with logs_to_stderr():
        result = room("tasks.finetune.export").inspect(path)
    _tell(result, json=json, title="Looked at", following="name it as `model` in finetune.yaml")
