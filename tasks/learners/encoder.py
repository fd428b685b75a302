"""A BERT-family encoder that can be trained: its safetensors as torch tensors, read and written under their own names.

The layers are those of ragkeep/embedders/bert.py, in plain torch: importing transformers costs 5 CPU-s and nothing of it
is needed. Tokens of a batch lie in one row without padding, so that no work is done for padding (a question is a tenth
of a passage), and what is trained is what the product's embedder later computes. Dropout is left out: one pass over the
lessons does not overfit by it, and vectors compare with those of the index.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkeep.embedders.openvino import clean
from ragkeep.errors import MissingExtra, ModelError
from ragkeep.files import fsync_dir, fsync_file
from ragkeep.models import Encoder, read_encoder, require_safetensors
from ragkeep.types import Role

_WORDS = "embeddings.word_embeddings.weight"
_KEPT = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "modules.json",
         "sentence_bert_config.json", "config_sentence_transformers.json")  # fmt: skip


@dataclass(slots=True)
class Tower:
    """An encoder's weights: float32 tensors by their name in the bare encoder; `prefix` is what they are saved under."""

    encoder: Encoder
    weights: dict[str, Any]
    prefix: str
    tokenizer: Any

    def tokenize(self, texts: Sequence[str], role: Role, limit: int) -> list[list[int]]:
        """Return the token ids of each text with the role's prompt, at most `limit` of them, markers included."""
        prompt = self.encoder.prompts.get(role, "")
        self.tokenizer.enable_truncation(min(limit, self.encoder.max_tokens))
        return [e.ids for e in self.tokenizer.encode_batch_fast([clean(prompt + text) for text in texts])]


def torch_on_one_thread() -> Any:
    """Import torch for training: one thread and deterministic kernels, so that equal input gives equal bytes.

    Raises MissingExtra.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("learning a retrieval model", "torch") from None
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    return torch


def load_tower(folder: Path) -> Tower:
    """Read a sentence-transformers folder. Raises ModelError on what cannot be trained here."""
    torch = torch_on_one_thread()
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    encoder = read_encoder(folder)
    if encoder.activation not in ("gelu", "relu"):
        raise ModelError(f"{folder} uses {encoder.activation}; gelu and relu can be trained here: choose another base")
    try:
        loaded = load_file(str(require_safetensors(folder)))
    except SafetensorError as error:
        raise ModelError(f"{encoder.weights} cannot be read ({error}): fetch the model again") from error
    full = next((name for name in loaded if name.endswith(_WORDS)), None)
    if full is None:
        raise ModelError(f"{encoder.weights} has no {_WORDS}: it is not a BERT-family encoder")
    prefix = full.removesuffix(_WORDS)
    weights = {n.removeprefix(prefix): t for n, t in loaded.items() if n.startswith(prefix)}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    as_float = {n: t.to(torch.float32) if t.is_floating_point() else t for n, t in weights.items()}
    return Tower(encoder, as_float, prefix, tokenizer)


def save_tower(tower: Tower, folder: Path) -> None:
    """Write a whole sentence-transformers folder, weights last, durably; nothing of it needs the base any more."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name in _KEPT:
        if (tower.encoder.folder / name).is_file():
            shutil.copyfile(tower.encoder.folder / name, folder / name)
    for part in tower.encoder.folder.glob("[0-9]_*/config.json"):
        (folder / part.parent.name).mkdir(exist_ok=True)
        shutil.copyfile(part, folder / part.parent.name / part.name)
    new = folder / "model.safetensors.tmp"
    held = {tower.prefix + name: tensor.detach().contiguous() for name, tensor in sorted(tower.weights.items())}
    save_file(held, str(new), metadata={"format": "pt"})
    fsync_file(new)
    new.replace(folder / "model.safetensors")
    fsync_dir(folder)


def embed(tower: Tower, rows: Sequence[Sequence[int]], weights: Mapping[str, Any] | None = None) -> Any:
    """Embed token ids: float32 tensor (n, hidden) of unit rows, in the order given; gradients flow into `weights`."""
    import torch

    w, f = weights or tower.weights, torch.nn.functional
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    ids = torch.tensor([token for i in order for token in rows[i]])
    places = torch.cat([torch.arange(len(rows[i])) for i in order]) + tower.encoder.first_position
    x = f.embedding(ids, w[_WORDS]) + f.embedding(places, w["embeddings.position_embeddings.weight"])
    x = _norm(w, x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm", tower.encoder)
    groups = _groups([len(rows[i]) for i in order])
    for number in range(tower.encoder.layers):
        x = _block(w, x, f"encoder.layer.{number}.", tower.encoder, groups)
    pooled = torch.cat([_pool(x[a : a + n * length].view(n, length, -1), tower.encoder) for a, n, length in groups])
    back = torch.tensor(order).argsort()
    return f.normalize(pooled[back], dim=1)


def _groups(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Runs of equal lengths as (first token, rows, length)."""
    found: list[tuple[int, int, int]] = []
    for length in lengths:
        first, rows, same = found[-1] if found else (0, 0, -1)
        if same == length:
            found[-1] = (first, rows + 1, length)
        else:
            found.append((first + rows * max(same, 0), 1, length))
    return found


def _block(w: Mapping[str, Any], x: Any, name: str, encoder: Encoder, groups: list[tuple[int, int, int]]) -> Any:
    """One transformer layer over all tokens (n, hidden); tokens attend to those of their own text."""
    import torch

    f = torch.nn.functional
    q, k, v = (_linear(w, x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
    seen = []
    for first, rows, length in groups:
        shape = (rows, length, encoder.heads, encoder.hidden // encoder.heads)
        a, b, c = (t[first : first + rows * length].view(shape).transpose(1, 2) for t in (q, k, v))
        mixed = f.scaled_dot_product_attention(a, b, c)
        seen.append(mixed.transpose(1, 2).reshape(rows * length, encoder.hidden))
    out = _linear(w, torch.cat(seen), f"{name}attention.output.dense")
    x = _norm(w, x + out, f"{name}attention.output.LayerNorm", encoder)
    act = f.gelu if encoder.activation == "gelu" else f.relu
    wide = act(_linear(w, x, f"{name}intermediate.dense"))
    return _norm(w, x + _linear(w, wide, f"{name}output.dense"), f"{name}output.LayerNorm", encoder)


def _linear(w: Mapping[str, Any], x: Any, name: str) -> Any:
    import torch

    return torch.nn.functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: Mapping[str, Any], x: Any, name: str, encoder: Encoder) -> Any:
    import torch

    return torch.nn.functional.layer_norm(x, (encoder.hidden,), w[f"{name}.weight"], w[f"{name}.bias"], encoder.epsilon)


def _pool(x: Any, encoder: Encoder) -> Any:
    return x[:, 0] if encoder.pooling == "cls" else x.mean(dim=1)
