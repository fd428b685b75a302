"""A training in a process of its own: `python -m tests.finetune.child CONFIG [EVENT]`, killed at that event."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.finetune import checkpoints, train
from tasks.finetune.config import Place, load


def dying(at: int) -> Callable[[], None]:
    """Count what is done to files and steps in this process, and kill it at the given one."""
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def train_until(place: Place, at: int) -> None:
    """Train in this process, which is killed at the given event: a step, or a file of a checkpoint or an adapter."""
    import safetensors.torch

    count = dying(at)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def both(*args: Any, **kwargs: Any) -> Any:
            count()
            made = function(*args, **kwargs)
            count()
            return made

        return both

    for module, name in ((checkpoints, "write_json"), (checkpoints, "fsync_file"), (train, "write_json"),
                         (train, "fsync_file"), (train, "swap_folder"), (safetensors.torch, "save_file")):  # fmt: skip
        setattr(module, name, counted(getattr(module, name)))
    Path.rename = counted(Path.rename)  # type: ignore[method-assign]
    train.train(place, lambda done, total: count())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        train_until(load(Path(sys.argv[1])), int(sys.argv[2]))
    else:
        train.train(load(Path(sys.argv[1])), lambda done, total: None)
