"""GGUF files: a merged Qwen2 or Llama written as one, read back to the same logits, and strangers' looked at first.

Numpy, safetensors and the package gguf are all it takes; no quantization, so that equality can be demanded. `inspect`
reads a header with bounds, so that a broken or hostile file is refused before any library maps it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from ragkeep.errors import MissingExtra, ModelError
from ragkeep.files import read_json, replacing

FAMILIES = {"qwen2": "qwen2", "llama": "llama"}
"""model_type of config.json -> architecture of the GGUF."""
Precision = Literal["f32", "f16"]

_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def write(folder: Path, out: Path, *, precision: Precision = "f16", name: str = "ragkeep") -> dict[str, Any]:
    """Write a merged folder as a GGUF file; returns what it holds. Raises ModelError for what cannot be written."""
    try:
        import gguf
    except ImportError:
        raise MissingExtra("export of GGUF", "train") from None
    config, tokenizer = read_json(folder / "config.json") or {}, read_json(folder / "tokenizer.json") or {}
    _writable(config, tokenizer, folder)
    tensors = dict(_tensors(folder, config))
    with replacing(out) as new:
        writer = gguf.GGUFWriter(str(new), FAMILIES[config["model_type"]])
        _hyperparameters(writer, config, name, precision)
        _vocabulary(writer, folder, config, tokenizer)
        for key, array in tensors.items():
            small = array.ndim > 1 and precision == "f16"
            writer.add_tensor(key, array.astype(np.float16 if small else np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return {
        "file": str(out), "bytes": out.stat().st_size, "tensors": len(tensors), "precision": precision,
        "family": config["model_type"],
    }  # fmt: skip


def _writable(config: dict[str, Any], tokenizer: dict[str, Any], folder: Path) -> None:
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(
            f"{folder} is a {family} model; {' and '.join(FAMILIES)} can be written as GGUF here: "
            "use llama.cpp's convert_hf_to_gguf.py on the merged folder"
        )
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE" or not _pre(tokenizer):
        raise ModelError(f"{folder} has a tokenizer that is not written here: use llama.cpp's convert_hf_to_gguf.py")
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if scaling.get("rope_type", "default") != "default" or config.get("use_sliding_window"):
        raise ModelError(f"{folder} stretches its positions, which is not written here: use convert_hf_to_gguf.py")


_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PRE = {"": "gpt-2", _WORDS % "": "qwen2", _WORDS % "{1,3}": "llama-bpe"}
"""How a byte-level BPE cuts words, as a regular expression ("": GPT-2's own) -> llama.cpp's name for it."""


def _pre(tokenizer: dict[str, Any]) -> str:
    """Llama.cpp's name for how the tokenizer cuts words, "" where it has none."""
    pre = tokenizer.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    if steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return ""
    splits = [step.get("pattern", {}).get("Regex", "?") for step in steps[:-1]]
    if len(splits) > 1 or bool(splits) == bool(steps[-1].get("use_regex", True)):
        return ""
    return _PRE.get(splits[0] if splits else "", "")


def _hyperparameters(writer: Any, config: dict[str, Any], name: str, precision: Precision) -> None:
    import gguf

    heads = int(config["num_attention_heads"])
    head = int(config.get("head_dim") or config["hidden_size"] // heads)
    theta = (config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if precision == "f16" else gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_freq_base(float(theta))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)


def _vocabulary(writer: Any, folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    import gguf

    added = {entry["id"]: entry for entry in tokenizer.get("added_tokens", [])}
    known = {index: token for token, index in tokenizer["model"]["vocab"].items()}
    known |= {index: entry["content"] for index, entry in added.items()}
    size = int(config["vocab_size"])
    types = (_token_type(gguf, index, known, added) for index in range(size))
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(tokenizer))
    writer.add_token_list([known.get(index, f"[PAD{index}]") for index in range(size)])
    writer.add_token_types(list(types))
    writer.add_token_merges(merges)
    special = read_json(folder / "tokenizer_config.json") or {}
    ids = {content: index for index, content in known.items()}
    for key, add in (("bos_token", writer.add_bos_token_id), ("eos_token", writer.add_eos_token_id),
                     ("pad_token", writer.add_pad_token_id), ("unk_token", writer.add_unk_token_id)):  # fmt: skip
        content = special.get(key)
        content = content.get("content") if isinstance(content, dict) else content
        if content in ids:
            add(ids[content])
    writer.add_add_bos_token(False)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(unmarked(template.read_text(encoding="utf-8")))


def _token_type(gguf: Any, index: int, known: dict[int, str], added: dict[int, dict[str, Any]]) -> int:
    if index not in known:
        return int(gguf.TokenType.UNUSED)
    if index in added:
        return int(gguf.TokenType.CONTROL if added[index].get("special") else gguf.TokenType.USER_DEFINED)
    return int(gguf.TokenType.NORMAL)


def unmarked(template: str) -> str:
    """A chat template without the marks of training, which no other reader of Jinja knows."""
    import re

    return re.sub(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}", "", template)


def _tensors(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every weight under its GGUF name, float32. Raises ModelError for one that is not known."""
    heads = int(config["num_attention_heads"])
    permuted = {"q_proj": heads, "k_proj": int(config.get("num_key_value_heads") or heads)}
    for key, array in _weights(folder):
        if key in _NAMES:
            yield _NAMES[key], array
            continue
        parts = key.split(".")
        inner = ".".join(parts[3:-1])
        if parts[:2] != ["model", "layers"] or inner not in _LAYER_NAMES:
            raise ModelError(f"{folder} has a weight {key} that is not written here: use convert_hf_to_gguf.py")
        if config["model_type"] == "llama" and parts[-2] in permuted:
            array = _permute(array, permuted[parts[-2]])
        yield f"blk.{parts[2]}.{_LAYER_NAMES[inner]}.{parts[-1]}", array


def _permute(array: NDArray[Any], heads: int) -> NDArray[Any]:
    """Put the halves of each head's rotation side by side, as llama.cpp reads a Llama."""
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _weights(folder: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    import torch
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - no dictionary
                yield key, file.get_tensor(key).to(torch.float32).numpy()


def verify(out: Path, folder: Path, *, texts: tuple[str, ...], precision: Precision) -> dict[str, Any]:
    """Load a GGUF file in transformers and hold logits, token ids and greedy tokens against the folder's.

    Raises ModelError where they differ. With f16 the folder's own weights are rounded alike before they are compared.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from . import weights

    inspect(out)
    ours, mine = weights.model(folder), weights.tokenizer(folder)
    place: dict[str, Any] = {"gguf_file": out.name, **weights.SAFE}
    theirs = AutoModelForCausalLM.from_pretrained(out.parent, dtype=torch.float32, **place).eval()
    other = AutoTokenizer.from_pretrained(out.parent, **place)
    if precision == "f16":
        for parameter in ours.parameters():
            if parameter.ndim > 1:
                parameter.data = parameter.data.half().float()
    worst, same = 0.0, True
    for text in texts:
        ids = mine(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        same &= ids.tolist() == other(text, return_tensors="pt", add_special_tokens=False)["input_ids"].tolist()
        with torch.inference_mode():
            worst = max(worst, float((ours.eval()(ids).logits - theirs(ids).logits).abs().max()))
            made = [m.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0) for m in (ours, theirs)]
        same &= made[0].tolist() == made[1].tolist()
    if not same or worst > 1e-4:
        raise ModelError(f"{out} reads otherwise than {folder} (logits differ by {worst:.1e}, tokens equal: {same})")
    return {"max_logit_difference": worst, "same_tokens": same}


# Strangers' files

_MAX_COUNT, _MAX_TEXT, _MAX_DEPTH = 10_000_000, 100_000_000, 2
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


@dataclass(slots=True)
class _Reader:
    file: BinaryIO
    size: int
    path: Path

    def take(self, n: int) -> bytes:
        if n < 0 or n > self.size - self.file.tell():
            raise ModelError(f"{self.path} is not a GGUF file, or was cut short: fetch it again")
        return self.file.read(n)

    def number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def text(self) -> str:
        length = self.number("Q")
        if length > _MAX_TEXT:
            raise ModelError(f"{self.path} is not a GGUF file (a text of {length:,} bytes): fetch it again")
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind == _LIST and depth < _MAX_DEPTH:
            inner, count = self.number("I"), self.number("Q")
            self.bounded(count)
            if inner in _SCALARS:
                self.take(count * struct.calcsize(f"<{_SCALARS[inner]}"))
                return None
            for _ in range(count):
                self.value(inner, depth + 1)
            return None
        if kind not in _SCALARS:
            raise ModelError(f"{self.path} is not a GGUF file (an unknown type {kind}): fetch it again")
        return self.number(_SCALARS[kind])

    def bounded(self, count: int) -> None:
        if count > _MAX_COUNT:
            raise ModelError(f"{self.path} is not a GGUF file (it claims {count:,} entries): fetch it again")


def inspect(path: Path) -> dict[str, Any]:
    """Read a GGUF file's header within bounds, its chat template included; returns its plain values.

    Raises ModelError for a file that is broken, lies about its sizes, or carries a template that is no conversation.
    """
    from .weights import chat_template

    with path.open("rb") as file:
        reader = _Reader(file, path.stat().st_size, path)
        if reader.take(4) != b"GGUF" or reader.number("I") not in (2, 3):
            raise ModelError(f"{path} is not a GGUF file of version 2 or 3: fetch it again")
        tensors, keys = reader.number("Q"), reader.number("Q")
        reader.bounded(tensors)
        reader.bounded(keys)
        values = {}
        for _ in range(keys):
            key = reader.text()
            values[key] = reader.value(reader.number("I"))
        for key, value in values.items():
            if key.startswith("tokenizer.chat_template") and isinstance(value, str):
                chat_template(value, path)
        last = _tensor_table(reader, tensors)
        align = values.get("general.alignment", 32)
        if not isinstance(align, int) or not 1 <= align <= 1 << 20:
            raise ModelError(f"{path} is not a GGUF file (alignment {align}): fetch it again")
        begin = -(-file.tell() // align) * align
        if begin + last > reader.size:
            raise ModelError(f"{path} is not as long as its header says: fetch it again")
    return {key: value for key, value in values.items() if value is not None}


def _tensor_table(reader: _Reader, tensors: int) -> int:
    """Read where each tensor lies; returns the least end of the last one that is stored in whole numbers."""
    last = 0
    for _ in range(tensors):
        reader.text()
        dimensions = reader.number("I")
        if dimensions > 4:
            raise ModelError(f"{reader.path} is not a GGUF file (a tensor of {dimensions} dimensions): fetch it again")
        elements = 1
        for _ in range(dimensions):
            elements *= reader.number("Q")
        kind, offset = reader.number("I"), reader.number("Q")
        width = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}.get(kind, 0)  # quantized kinds: at least begun
        last = max(last, offset + elements * width)
    return last
