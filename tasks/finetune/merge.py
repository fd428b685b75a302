"""Adapter and base to one folder of safetensors, checked: the same logits as base and adapter side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragkeep.errors import ModelError
from ragkeep.files import read_json, replacing_folder, write_json

from . import weights
from .config import Place
from .train import called

TOLERANCE = 1e-4
"""Largest difference of a logit: a merge adds in another order, and nothing else."""
PROBES = ("What is it?", "The valve is closed at noon, and the pump runs.\n1, 2, 3: äöü 水")


def merge(place: Place, *, dry_run: bool = False) -> dict[str, Any]:
    """Write `merged/`; returns its card. Raises MissingExtra, and ModelError where anything differs."""
    weights.need_packages()
    weights.quietly()
    import torch

    base = weights.check(weights.find(place.params.model, place.path.parent))
    adapter = weights.check(place.adapter, adapter=True)
    trained = read_json(adapter / "card.json") or {}
    if trained.get("base_sha256") not in (None, weights.fingerprint(base)):
        raise ModelError(f"{adapter} was trained on other weights than {base} holds: train again, or name its base")
    if dry_run:
        return {"base": str(base), "adapter": str(adapter), "would_write": str(place.merged)}
    tokenizer = weights.tokenizer(adapter)
    model = weights.adapted(weights.model(base), adapter).eval()
    before = _logits(model, tokenizer)
    model = model.merge_and_unload(safe_merge=True).eval()
    worst = _difference(before, _logits(model, tokenizer))
    _settle(model, tokenizer)
    with replacing_folder(place.merged) as new:
        model.save_pretrained(str(new), safe_serialization=True)
        tokenizer.save_pretrained(str(new))
        again = weights.model(weights.check(new)).eval()
        reloaded = _difference(_logits(model, tokenizer), _logits(again, weights.tokenizer(new)))
        if worst > TOLERANCE or reloaded > 1e-5:
            raise ModelError(f"merging moved logits by {worst:.1e} and saving by {reloaded:.1e}: nothing was written")
        card = {
            "base": called(place.params.model), "base_sha256": weights.fingerprint(base),
            "adapter_sha256": trained.get("sha256"),
            "max_logit_difference": worst, "max_reload_difference": reloaded, "sha256": weights.fingerprint(new),
            "parameters": sum(p.numel() for p in again.parameters()), "dtype": str(torch.float32),
        }  # fmt: skip
        write_json(new / "card.json", card)
    return {**card, "written": str(place.merged)}


def _settle(model: Any, tokenizer: Any) -> None:
    """Let the model end where the tokenizer's answers end, also where whoever serves it does not say so."""
    model.generation_config.do_sample = False
    for name in ("temperature", "top_p", "top_k"):
        setattr(model.generation_config, name, None)
    known = model.generation_config.eos_token_id
    ends = [known] if isinstance(known, int) else list(known or ())
    model.generation_config.eos_token_id = list(dict.fromkeys([tokenizer.eos_token_id, *ends]))
    model.generation_config.pad_token_id = tokenizer.pad_token_id


def _logits(model: Any, tokenizer: Any) -> list[Any]:
    import torch

    asked = [tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"] for text in PROBES]
    with torch.inference_mode():
        return [model(ids).logits for ids in asked]


def _difference(one: list[Any], other: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def answering(folder: Path) -> Path:
    """The folder to serve. Raises ModelError where nothing was merged yet."""
    if not (folder / "card.json").is_file():
        raise ModelError(f"{folder} holds no merged model: run `ragkeep finetune merge-adapter`")
    return weights.check(folder)
