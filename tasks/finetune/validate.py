"""Everything that can be known before hours are spent: finetune.yaml, the model behind it, and what this machine can do.

Nothing is trained and no weights are loaded: the model is built without memory, from its configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragkeep.errors import ConfigError, ModelError, RagkeepError

from . import formats, weights
from .config import Place, load
from .train import check_targets, device_of


def validate(path: Path) -> list[dict[str, Any]]:
    """Check a finetune.yaml whole; returns {name, ok, detail} for each check. Raises ConfigError where there is none."""
    place = load(path)
    checks = [{"name": "finetune.yaml", "ok": True, "detail": str(place.path)}]
    checks.append(_one("sources", lambda: _sources(place)))
    checks.append(_one("questions", lambda: _generator(place)))
    checks.append(_one("packages", weights.need_packages))
    if not checks[-1]["ok"]:
        return checks
    weights.quietly()
    checks.append(_one("model", lambda: _model(place)))
    if checks[-1]["ok"]:
        folder = Path(str(checks[-1]["detail"]))
        checks.append(_one("chat template", lambda: _template(place, folder)))
        checks.append(_one("lora", lambda: _lora(place, folder)))
    checks.append(_one("device", lambda: ", ".join(f"{k} {v}" for k, v in device_of(place.params.train).items())))
    return checks


def _one(name: str, check: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "detail": str(check() or "")}
    except RagkeepError as error:
        return {"name": name, "ok": False, "detail": str(error)}


def _sources(place: Place) -> str:
    for source in place.params.data.sources:
        if not place.resolve(source).exists():
            raise ConfigError(f"data.sources: {place.resolve(source)} does not exist")
    return ", ".join(place.params.data.sources)


def _generator(place: Place) -> str:
    from ragkeep.backends import GENERATORS, load
    from ragkeep.config import AnswerParams

    spec = place.params.questions.generator
    if spec.backend == "rules":
        return "rules, offline"
    if spec.backend == "extractive":
        raise ConfigError("questions.generator: extractive asks no questions: take rules, or a language model")
    made = load(GENERATORS, spec.backend, spec=spec, params=AnswerParams(), embedder=None)
    return str(made.name)


def _model(place: Place) -> Path:
    return weights.check(weights.find(place.params.model, place.path.parent))


def _template(place: Place, folder: Path) -> str:
    tokenizer = weights.tokenizer(folder)
    stop = formats.install(tokenizer, place.params.format)
    return f"{place.params.format.template}, an answer ends with {stop}"


def _lora(place: Place, folder: Path) -> str:
    """Build the model and its adapter without memory, and say what share of it would be trained."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    lora = place.params.lora
    try:
        config = AutoConfig.from_pretrained(folder, **weights.SAFE)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # the library raises whatever its parts do
        raise ModelError(f"{folder} is no language model that transformers knows ({str(error)[:150]})") from None
    check_targets(model, lora.targets)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=lora.r, target_modules=sorted(lora.targets)))
    trained, total = adapted.get_nb_trainable_parameters()
    return f"{trained:,} of {total:,} parameters would be trained ({trained / total:.2%})"
