"""The loop of every learner that trains a tower: batches by a seed, one loss, AdamW, and a checkpoint to go on from.

Everything random is fixed before the first step, so that a run that was killed and goes on makes the same bytes as one
that was not. A checkpoint is taken by the clock, which changes nothing of what comes out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ragkeep.files import fsync_dir, fsync_file
from ragkeep.models import sha256
from ragkeep.types import Vectors, content_id

from ..lessons import TrainingSet
from . import Base
from .encoder import _WORDS, Tower, save_tower, torch_on_one_thread

CHECKPOINT_S = 45.0
"""Seconds between checkpoints: one of 90 million numbers takes about one to write."""
SCALE = 20.0
"""What cosines are multiplied by before the softmax, as in training all-MiniLM-L6-v2."""
_CHECKPOINT = "checkpoint.safetensors"
_BETAS, _EPSILON, _CLIP, _WARMUP = (0.9, 0.999), 1e-8, 1.0, 0.1


def batches(keys: Sequence[tuple[str, ...]], size: int, *, epochs: int, seed: int) -> list[list[int]]:
    """Deal rows into batches, epoch after epoch in another order, no two rows of a batch with a key in common.

    A row that meets its like waits for the next batch. The last, short batch of an epoch is left out if it is smaller
    than half of the others: its in-batch negatives are too few to mean the same.
    """
    dealt: list[list[int]] = []
    for epoch in range(epochs):
        waiting = np.random.default_rng((seed, epoch)).permutation(len(keys)).tolist()
        fresh: list[list[int]] = []
        while waiting:
            taken: list[int] = []
            held: set[str] = set()
            left: list[int] = []
            for at, row in enumerate(waiting):
                if len(taken) == size:
                    left += waiting[at:]
                    break
                if held.isdisjoint(keys[row]):
                    taken.append(row)
                    held.update(keys[row])
                else:
                    left.append(row)
            fresh.append(taken)
            waiting = left
        dealt += [one for one in fresh if len(one) * 2 >= size or len(fresh) == 1]
    return dealt


def contrast(scores: Any, labels: Any, base: Any, banned: Any, *, anchor: float, sure: Any) -> Any:
    """Return the mean cross-entropy of a batch against what users took, mixed with what the base would have said.

    `scores` and `base` are cosines (n, m), `labels` (n, m) has the shares of each row's answers, `banned` (n, m) is True
    where a candidate may answer as well and counts as nothing, `sure` (n,) weighs the rows. With `anchor` as the base's
    share of the target a wrong label pulls less, and what the base knows is not unlearned.
    """
    import torch

    f = torch.nn.functional
    least = torch.finfo(scores.dtype).min
    logs = f.log_softmax((SCALE * scores).masked_fill(banned, least), dim=1)
    said = f.softmax((SCALE * base).masked_fill(banned, least), dim=1)
    target = (1 - anchor) * labels + anchor * said
    rows = -(target * logs.masked_fill(banned, 0)).sum(dim=1)
    return (rows * sure).sum() / sure.sum()


def false_negatives(base: Vectors, positive: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Say which candidates (n, m) the base holds for nearly as good as the best answer: more than `share` of its cosine.

    After NV-Retriever (arXiv 2407.15831, section 3.2, TopK-PercPos): such a negative is often an answer nobody clicked.
    """
    best = np.where(positive, base, -np.inf).max(axis=1, keepdims=True)
    return np.asarray((base > share * np.maximum(best, 0)) & ~positive, np.bool_)


def fit(
    start: Mapping[str, Any],
    loss: Callable[[int, Mapping[str, Any]], Any],
    *,
    steps: int,
    rate: float,
    out: Path,
    key: str,
    tick: Callable[[int, int], None],
) -> tuple[dict[str, Any], list[float]]:
    """Train the tensors `start` by AdamW (rate up, then linearly to 0) and return them and each step's loss.

    `loss(step, weights)` must depend on nothing else. A checkpoint in `out` of the same `key` is gone on from; it is
    left behind at the end, for what comes after training may be killed too: `forget` removes it.
    """
    torch = torch_on_one_thread()
    held = _read_checkpoint(out / _CHECKPOINT, key)
    done, losses = (held[0], held[1]) if held else (0, [])
    tensors = held[2] if held else {f"w.{n}": t.detach().clone() for n, t in start.items()}
    weights = {n: tensors[f"w.{n}"].requires_grad_(True) for n in start}
    moments = {n: (tensors.get(f"m.{n}", torch.zeros_like(w)), tensors.get(f"v.{n}", torch.zeros_like(w)))
               for n, w in weights.items()}  # fmt: skip
    saved = time.monotonic()
    for step in range(done, steps):
        value = loss(step, weights)
        grads = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
        losses.append(round(float(value.detach()), 6))
        _adam(weights, moments, grads, step, rate * _slope(step, steps))
        tick(step + 1, steps)
        if time.monotonic() - saved > CHECKPOINT_S or (step + 1 == steps and done < steps):
            _write_checkpoint(out / _CHECKPOINT, key, losses, weights, moments)
            saved = time.monotonic()
    return {n: w.detach() for n, w in weights.items()}, losses


class Problem(Protocol):
    """What a tower is trained on: the tensors to begin with, and the loss of each batch.

    Of the table of words `start` has the rows `known` alone, if any.
    """

    recipe: Any
    tower: Tower
    batches: list[list[int]]
    known: list[int]
    start: dict[str, Any]

    def loss(self, step: int, weights: Any) -> Any:
        """See `fit`."""
        ...


def train(
    name: str,
    problem: Problem,
    lessons: TrainingSet,
    base: Base,
    out: Path,
    *,
    count: int,
    seed: int,
    began: float,
    tick: Callable[[int, int], None],
    share: float = 1.0,
) -> tuple[Path, str, dict[str, Any]]:
    """Train a tower into `out/model`; return the folder, its weights' sha256 and the card.

    `count` is how many lessons were read, `began` the start on `time.process_time`, `share` how far the weights go from
    the base's to what was trained (Wortsman et al., CVPR 2022, section 3: what lies between forgets less and, where
    labels are wrong, is better than either).
    """
    recipe, tower = problem.recipe, problem.tower
    key = content_id(name, lessons.sha, sha256(tower.encoder.weights), repr(recipe), str(seed))
    out.mkdir(parents=True, exist_ok=True)
    steps = len(problem.batches)
    trained, losses = fit(problem.start, problem.loss, steps=steps, rate=recipe.rate, out=out, key=key, tick=tick)
    if share < 1:
        trained = {name: problem.start[name].lerp(made, share) for name, made in trained.items()}
    if _WORDS in trained:  # rows of words nobody used stay the base's
        words = tower.weights[_WORDS].clone()
        words[problem.known] = trained[_WORDS]
        trained[_WORDS] = words
    tower.weights |= trained
    save_tower(tower, out / "model")
    forget(out)
    card = {
        "learner": name, "base": base.embedder.fingerprint, "training_set": lessons.sha, "lessons": count, "seed": seed,
        "recipe": asdict(recipe), "share": round(share, 3), "curve": losses,
        "cpu_s": round(time.process_time() - began, 1),
    }  # fmt: skip
    return out / "model", sha256(out / "model" / "model.safetensors"), card


def forget(out: Path) -> None:
    """Remove the checkpoint of a training whose result is safe."""
    for left in (out / _CHECKPOINT, (out / _CHECKPOINT).with_suffix(".tmp")):
        left.unlink(missing_ok=True)


def _slope(step: int, steps: int) -> float:
    warm = max(1, math.ceil(_WARMUP * steps))
    return (step + 1) / warm if step < warm else (steps - step) / max(1, steps - warm)


def _adam(weights: Mapping[str, Any], moments: Mapping[str, Any], grads: Sequence[Any], step: int, rate: float) -> None:
    import torch

    with torch.no_grad():
        norm = math.sqrt(sum(float((g * g).sum()) for g in grads if g is not None))
        shrink = min(1.0, _CLIP / (norm + 1e-6))
        a, b = _BETAS
        for (name, weight), grad in zip(weights.items(), grads, strict=True):
            if grad is None:
                continue
            first, second = moments[name]
            grad = grad * shrink
            first.mul_(a).add_(grad, alpha=1 - a)
            second.mul_(b).addcmul_(grad, grad, value=1 - b)
            bottom = (second / (1 - b ** (step + 1))).sqrt_().add_(_EPSILON)
            weight.addcdiv_(first, bottom, value=-rate / (1 - a ** (step + 1)))


def _write_checkpoint(
    path: Path, key: str, losses: Sequence[float], weights: Mapping[str, Any], moments: Mapping[str, Any]
) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"w.{n}": w.detach() for n, w in weights.items()}
    for name, (first, second) in moments.items():
        tensors |= {f"m.{name}": first, f"v.{name}": second}
    new = path.with_suffix(".tmp")
    save_file(tensors, str(new), metadata={"key": key, "losses": " ".join(map(repr, losses))})
    fsync_file(new)
    new.replace(path)
    fsync_dir(path.parent)


def _read_checkpoint(path: Path, key: str) -> tuple[int, list[float], dict[str, Any]] | None:
    """Steps done, their losses and the tensors; None where there is none, it is of other lessons, or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            said = file.metadata() or {}
            if said.get("key") != key:
                return None
            losses = [float(x) for x in said["losses"].split()]
            return len(losses), losses, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
