"""Train an adapter through TRL: SFT on train.jsonl, or DPO on preferences.jsonl; a killed run goes on where it was.

On one machine's CPU the same rows, base, configuration and seed give the same adapter to the byte, also after a kill.
What was learned is written last and at once, as safetensors and a card, into `adapter/`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from ragkeep.errors import ConfigError, ModelError, SourceError
from ragkeep.files import read_json, read_rows, replacing_folder, write_json
from ragkeep.models import sha256
from ragkeep.types import content_id

from . import checkpoints, formats, weights
from .augment import Row, read
from .config import Place, TrainParams

Method = Literal["sft", "dpo"]
Tick = Callable[[int, int], None]


def train(
    place: Place, tick: Tick, *, method: Method = "sft", fresh: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Train; returns the card. `fresh` forgets what an earlier run left.

    Raises ConfigError, MissingExtra, ModelError, SourceError.
    """
    weights.need_packages()
    weights.quietly()
    params = place.params
    base = weights.check(weights.find(params.model, place.path.parent))
    rows = read(place.train) if method == "sft" else read_preferences(place.preferences)
    how = device_of(params.train)
    key = _key(place, base, rows, method)
    if dry_run:
        return {"method": method, "rows": len(rows), "base": str(base), **how, "would_write": str(place.adapter)}
    done = read_json(place.adapter / "card.json") if (place.adapter / "card.json").is_file() else None
    if done and done.get("key") == key and not fresh:
        return {**done, "unchanged": True}
    work = place.output / "work" / f"{method}-{key[:12]}"
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    began, cpu = time.monotonic(), time.process_time()
    tokenizer = weights.tokenizer(base)
    formats.install(tokenizer, params.format)
    trainer = _trainer(place, base, tokenizer, rows, method, work, how, tick)
    resumed = checkpoints.last(work)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    card = {
        "method": method, "key": key, "base": called(params.model), "base_sha256": weights.fingerprint(base),
        "rows": len(rows),
        "seed": params.seed, "steps": trainer.state.global_step, "resumed_from": resumed.name if resumed else None,
        "trainable": _share(trainer.model), "lora": asdict(params.lora), "format": asdict(params.format), **how,
        "curve": _curve(trainer.state.log_history), "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }  # fmt: skip
    _save(trainer.model, tokenizer, place.adapter, card, params.model)
    shutil.rmtree(work)
    return {**card, "sha256": sha256(place.adapter / "adapter_model.safetensors"), "written": str(place.adapter)}


def device_of(params: TrainParams) -> dict[str, Any]:
    """Where and how exactly is trained. Raises ConfigError for what this machine cannot do."""
    import importlib.util

    import torch

    gpu = torch.cuda.is_available()
    if params.quantize == "4bit":
        if not gpu:
            raise ConfigError(
                "train.quantize: 4bit needs a CUDA GPU and there is none here: set it to none, or use a GPU"
            )
        if not importlib.util.find_spec("bitsandbytes"):
            raise ConfigError("train.quantize: 4bit needs bitsandbytes beside it: pip install bitsandbytes")
    able = torch.cuda.is_bf16_supported() if gpu else False
    if params.precision == "bf16" and gpu and not able:
        raise ConfigError("train.precision: bf16 is not known to this GPU: set it to auto or fp32")
    bf16 = params.precision == "bf16" or (params.precision == "auto" and able)
    return {"device": "cuda" if gpu else "cpu", "precision": "bf16" if bf16 else "fp32", "quantize": params.quantize}


def _key(place: Place, base: Path, rows: Sequence[Any], method: Method) -> str:
    """Hash everything that decides the adapter."""
    params = place.params
    parts = [asdict(params.lora), asdict(params.train), asdict(params.format), params.seed, method]
    texts = [json.dumps(asdict(row) if isinstance(row, Row) else row, sort_keys=True) for row in rows]
    return content_id(json.dumps(parts, sort_keys=True), weights.fingerprint(base), *texts)


def _trainer(
    place: Place, base: Path, tokenizer: Any, rows: list[Any], method: Method, work: Path, how: dict[str, Any], tick: Tick
) -> Any:
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed

    params, lora = place.params, place.params.lora
    set_seed(params.seed)
    model = weights.model(base, quantize=params.train.quantize == "4bit")
    check_targets(model, lora.targets)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
        target_modules=sorted(lora.targets), bias="none",
    )  # fmt: skip
    shared = _arguments(params.train, params.seed, work, how)
    if method == "sft":
        data = _fitting(rows, tokenizer, place)
        args: Any = trl.SFTConfig(packing=params.train.packing, assistant_only_loss=True, **shared)
        kind: Any = trl.SFTTrainer
    else:
        data = [_conversation(row, params.format.system) for row in rows]
        args = trl.DPOConfig(beta=params.train.beta, **shared)
        kind = trl.DPOTrainer
    made = type(f"Keeping{kind.__name__}", (checkpoints.Keeping, kind), {})(
        model, args=args, train_dataset=Dataset.from_list(data), processing_class=tokenizer, peft_config=config,
        callbacks=[_ticking(tick)],
    )  # fmt: skip
    made.remove_callback(PrinterCallback)
    return made


def _arguments(params: TrainParams, seed: int, work: Path, how: dict[str, Any]) -> dict[str, Any]:
    """What SFTConfig and DPOConfig have in common."""
    return {
        "output_dir": str(work), "per_device_train_batch_size": params.batch,
        "gradient_accumulation_steps": params.accumulate, "num_train_epochs": params.epochs,
        "max_steps": params.steps or -1, "learning_rate": params.learning_rate, "warmup_steps": params.warmup,
        "max_length": params.max_tokens, "activation_checkpointing": params.checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False} if params.checkpointing else None,
        "bf16": how["precision"] == "bf16", "use_cpu": how["device"] == "cpu", "seed": seed, "data_seed": seed,
        "save_strategy": "steps", "save_steps": params.save_steps, "save_total_limit": 2, "logging_steps": 1,
        "report_to": [], "disable_tqdm": True, "dataloader_pin_memory": how["device"] == "cuda",
        "dataset_num_proc": None,
    }  # fmt: skip


def check_targets(model: Any, targets: Sequence[str]) -> None:
    """Raise ConfigError naming a LoRA target that the model does not have."""
    known = {
        name.rpartition(".")[2] for name, module in model.named_modules() if hasattr(module, "weight") and "." in name
    }
    for target in targets:
        if target not in known:
            linear = sorted(name for name in known if name.endswith(("proj", "fc1", "fc2", "attn", "dense")))
            raise ConfigError(
                f"lora.targets: the model has no layer {target!r}; it has {', '.join(linear or sorted(known))}"
            )


def _fitting(rows: Sequence[Row], tokenizer: Any, place: Place) -> list[dict[str, Any]]:
    """Rows as conversations; one that holds a control token of the model is left out: it could end its own turn.

    Raises SourceError where nothing is left.
    """
    control = [token for token in tokenizer.all_special_tokens if token]
    kept = [row for row in rows if not any(token in text for token in control for text in _texts(row))]
    if not kept:
        raise SourceError("every row holds a control token of the model: clean the documents")
    return [{"messages": formats.turns(row, place.params.format)} for row in kept]


def _texts(row: Row) -> tuple[str, str, str]:
    return row.instruction, row.input, row.output


def read_preferences(path: Path) -> list[dict[str, str]]:
    """Read {prompt, chosen, rejected} rows. Raises SourceError."""
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        if not all(isinstance(row.get(key), str) and row[key].strip() for key in ("prompt", "chosen", "rejected")):
            raise SourceError(f"{path}:{number} needs the texts prompt, chosen and rejected: mend the line")
    if not rows:
        raise SourceError(f"{path} holds no preferences: run `ragkeep finetune preferences`")
    return [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]


def _conversation(row: dict[str, str], system: str) -> dict[str, list[dict[str, str]]]:
    said = [{"role": "system", "content": system}] if system else []
    answers = {key: [{"role": "assistant", "content": row[key]}] for key in ("chosen", "rejected")}
    return {"prompt": [*said, {"role": "user", "content": row["prompt"]}], **answers}


def _ticking(tick: Tick) -> Any:
    from transformers import TrainerCallback

    class Ticking(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            tick(state.global_step, state.max_steps)

    return Ticking()


def _share(model: Any) -> dict[str, Any]:
    trained, total = model.get_nb_trainable_parameters()
    return {"parameters": trained, "of": total, "share": round(trained / total, 6)}


def _curve(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Loss and tokens by step; of long runs every n-th."""
    points = [
        {"step": row["step"], "loss": round(row["loss"], 6), "tokens": row.get("num_tokens", 0)}
        for row in history
        if "loss" in row
    ]
    return points if len(points) <= 200 else [*points[:: len(points) // 200 + 1], points[-1]]


def _save(model: Any, tokenizer: Any, folder: Path, card: dict[str, Any], base: str) -> None:
    """Write the adapter beside the old one, then take its place; the card comes last."""
    with replacing_folder(folder) as new:
        model.save_pretrained(str(new), safe_serialization=True)
        tokenizer.save_pretrained(str(new))
        portable(new, base)
        digest = sha256(new / "adapter_model.safetensors")
        write_json(new / "card.json", {**card, "sha256": digest})


def portable(folder: Path, base: str) -> None:
    """Take this machine's paths out of an adapter: its base is called by its name in the hub, or its folder's."""
    path = folder / "adapter_config.json"
    config = read_json(path)
    if config is None:
        raise ModelError(f"{path} was not written")
    write_json(path, {**config, "base_model_name_or_path": called(base), "auto_mapping": None, "revision": None})
    (folder / "README.md").unlink(missing_ok=True)


def called(base: str) -> str:
    """What a base model is called on any machine: its name in the hub, or its folder's."""
    return Path(base).name if base.startswith(("/", "~", ".")) else base
