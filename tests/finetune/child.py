"""A training in a process of its own: `python -m tests.finetune.child CONFIG [EVENT]`, killed at that event."""

import sys
from pathlib import Path
from types import SimpleNamespace

from tasks.finetune import train
from tasks.finetune.config import Place, load
from tests.kills import count_and_kill


def train_until(place: Place, at: int) -> None:
    """Train in this process, which dies at the given event: a step, or an fsync, a rename or tensors of a file."""
    import safetensors.torch

    steps = SimpleNamespace(tick=lambda done, total: None)
    count_and_kill(at, (safetensors.torch, "save_file"), (steps, "tick"))
    train.train(place, lambda done, total: steps.tick(done, total))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        train_until(load(Path(sys.argv[1])), int(sys.argv[2]))
    else:
        train.train(load(Path(sys.argv[1])), lambda done, total: None)
